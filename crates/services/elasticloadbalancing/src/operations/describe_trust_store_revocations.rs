//! DescribeTrustStoreRevocations: tells the revocation lists of a trust store. Source: Elastic Load Balancing API reference, "DescribeTrustStoreRevocations".
//!
//! Differs from AWS: there are no trust stores: their certificates would come from Amazon S3, which is not here.

use api::elasticloadbalancing::operations::DescribeTrustStoreRevocations;
use api::elasticloadbalancing::{DescribeTrustStoreRevocationsInput, DescribeTrustStoreRevocationsOutput};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::resources::trust_store;

impl Operation<DescribeTrustStoreRevocations> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &DescribeTrustStoreRevocationsInput) -> Vec<Permission> {
        let arn = input.trust_store_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:DescribeTrustStoreRevocations", arn)]
    }

    async fn handle(
        &self,
        _call: &Call,
        input: DescribeTrustStoreRevocationsInput,
    ) -> Result<DescribeTrustStoreRevocationsOutput, Fault> {
        Err(trust_store::missing(input.trust_store_arn))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn there_is_none() {
        let server = Server::new().await;
        let arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:truststore/x/0123456789abcdef";
        let query = |arn: &str| format!("Action=DescribeTrustStoreRevocations&TrustStoreArn={arn}");
        assert_eq!(
            server.fault(&query(arn)).await,
            format!("400 TrustStoreNotFound: Trust store '{arn}' not found")
        );
        assert_eq!(
            server.fault(&query("x")).await,
            "400 ValidationError: 'x' is not a valid trust store ARN"
        );
    }
}
