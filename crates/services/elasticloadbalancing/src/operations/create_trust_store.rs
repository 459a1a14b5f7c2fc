//! CreateTrustStore: makes a store of certificates that clients are checked against. Source: Elastic Load Balancing API reference, "CreateTrustStore".
//!
//! Differs from AWS: there is no Amazon S3 to take the certificates from, so none is ever found.

use api::elasticloadbalancing::operations::CreateTrustStore;
use api::elasticloadbalancing::{CreateTrustStoreInput, CreateTrustStoreOutput, faults};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;

impl Operation<CreateTrustStore> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &CreateTrustStoreInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:CreateTrustStore", "*")]
    }

    async fn handle(
        &self,
        _call: &Call,
        input: CreateTrustStoreInput,
    ) -> Result<CreateTrustStoreOutput, Fault> {
        let bucket = input.ca_certificates_bundle_s3_bucket.unwrap_or_default();
        let key = input.ca_certificates_bundle_s3_key.unwrap_or_default();
        Err(faults::ca_certificates_bundle_not_found_exception(format!(
            "The certificates bundle 's3://{bucket}/{key}' was not found: Amazon S3 is not supported by this release of \
             Roadstead."
        )))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn nothing_is_found_without_s3() {
        let server = Server::new().await;
        let query =
            "Action=CreateTrustStore&Name=x&CaCertificatesBundleS3Bucket=b&CaCertificatesBundleS3Key=k";
        assert_eq!(
            server.fault(query).await,
            "400 CaCertificatesBundleNotFound: The certificates bundle 's3://b/k' was not found: Amazon S3 is not \
             supported by this release of Roadstead."
        );
    }
}
