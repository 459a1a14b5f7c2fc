//! ListTagsForCertificate: tells the tags of a certificate. Source: AWS Certificate Manager API reference,
//! "ListTagsForCertificate".
//!
//! Differs from AWS: nothing known.

use api::acm::operations::ListTagsForCertificate;
use api::acm::{ListTagsForCertificateRequest, ListTagsForCertificateResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Acm;
use crate::resources::{certificate, tag};

impl Operation<ListTagsForCertificate> for Acm {
    fn permissions(&self, _call: &Call, input: &ListTagsForCertificateRequest) -> Vec<Permission> {
        let arn = input.certificate_arn.as_deref().unwrap_or_default();
        vec![Permission::new("acm:ListTagsForCertificate", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListTagsForCertificateRequest,
    ) -> Result<ListTagsForCertificateResponse, Fault> {
        let arn = input.certificate_arn.unwrap_or_default();
        let found = certificate::find(&self.store.snapshot(), &call.scope, &arn)?;
        Ok(ListTagsForCertificateResponse { tags: Some(tag::describe(&found.tags)) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn of_none() {
        let arn = "arn:aws:acm:us-east-1:123456789012:certificate/0";
        assert_eq!(
            Server::new().fault("ListTagsForCertificate", &format!(r#"{{"CertificateArn":"{arn}"}}"#)).await,
            format!("400 ResourceNotFoundException: Could not find certificate {arn}.")
        );
    }
}
