//! DescribeTrustStores: tells trust stores, of which there are none. Source: Elastic Load Balancing API reference, "DescribeTrustStores".
//!
//! Differs from AWS: there are no trust stores: their certificates would come from Amazon S3, which is not here.

use api::elasticloadbalancing::operations::DescribeTrustStores;
use api::elasticloadbalancing::{DescribeTrustStoresInput, DescribeTrustStoresOutput};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::listing;
use crate::resources::trust_store;

impl Operation<DescribeTrustStores> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &DescribeTrustStoresInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:DescribeTrustStores", "*")]
    }

    async fn handle(
        &self,
        _call: &Call,
        input: DescribeTrustStoresInput,
    ) -> Result<DescribeTrustStoresOutput, Fault> {
        if let Some(arn) = input.trust_store_arns.into_iter().flatten().next() {
            return Err(trust_store::missing(Some(arn)));
        }
        if let Some(name) = input.names.into_iter().flatten().next() {
            return Err(trust_store::not_found(&name));
        }
        listing::page(
            "DescribeTrustStores",
            Vec::<String>::new(),
            Clone::clone,
            input.marker.as_deref(),
            None,
        )?;
        Ok(DescribeTrustStoresOutput { next_marker: None, trust_stores: Some(Vec::new()) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn there_is_none() {
        let server = Server::new().await;
        let answer = server.ok("Action=DescribeTrustStores").await;
        assert!(answer.contains("<TrustStores></TrustStores>"), "{answer}");
        for (query, fault) in [
            ("Names.member.1=x", "400 TrustStoreNotFound: Trust store 'x' not found"),
            ("TrustStoreArns.member.1=x", "400 ValidationError: 'x' is not a valid trust store ARN"),
            ("Marker=x", "400 ValidationError: Marker 'x' is invalid"),
        ] {
            assert_eq!(server.fault(&format!("Action=DescribeTrustStores&{query}")).await, fault);
        }
    }
}
