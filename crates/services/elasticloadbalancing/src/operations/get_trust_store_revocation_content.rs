//! GetTrustStoreRevocationContent: tells where a revocation list is. Source: Elastic Load Balancing API reference, "GetTrustStoreRevocationContent".
//!
//! Differs from AWS: there are no trust stores: their certificates would come from Amazon S3, which is not here.

use api::elasticloadbalancing::operations::GetTrustStoreRevocationContent;
use api::elasticloadbalancing::{GetTrustStoreRevocationContentInput, GetTrustStoreRevocationContentOutput};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::resources::trust_store;

impl Operation<GetTrustStoreRevocationContent> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &GetTrustStoreRevocationContentInput) -> Vec<Permission> {
        let arn = input.trust_store_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:GetTrustStoreRevocationContent", arn)]
    }

    async fn handle(
        &self,
        _call: &Call,
        input: GetTrustStoreRevocationContentInput,
    ) -> Result<GetTrustStoreRevocationContentOutput, Fault> {
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
        let query =
            |arn: &str| format!("Action=GetTrustStoreRevocationContent&TrustStoreArn={arn}&RevocationId=1");
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
