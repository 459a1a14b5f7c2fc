//! DescribeCertificate: tells all of a certificate but its texts. Source: AWS Certificate Manager API reference,
//! "DescribeCertificate".
//!
//! Differs from AWS: nothing known.

use api::acm::operations::DescribeCertificate;
use api::acm::{DescribeCertificateRequest, DescribeCertificateResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Acm;
use crate::resources::certificate;

impl Operation<DescribeCertificate> for Acm {
    fn permissions(&self, _call: &Call, input: &DescribeCertificateRequest) -> Vec<Permission> {
        let arn = input.certificate_arn.as_deref().unwrap_or_default();
        vec![Permission::new("acm:DescribeCertificate", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeCertificateRequest,
    ) -> Result<DescribeCertificateResponse, Fault> {
        let arn = input.certificate_arn.unwrap_or_default();
        let snapshot = self.store.snapshot();
        let found = certificate::find(&snapshot, &call.scope, &arn)?;
        let told = certificate::describe(&snapshot, &found, call.now);
        Ok(DescribeCertificateResponse { certificate: Some(told) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, self_signed};

    #[tokio::test]
    async fn an_imported_certificate() {
        let server = Server::new();
        let own = self_signed(&["example.com"]);
        let arn = server.import(&own.certificate, None, &own.private_key).await;
        let told = server.ok("DescribeCertificate", &format!(r#"{{"CertificateArn":"{arn}"}}"#)).await;
        for text in [
            r#""Type":"IMPORTED""#,
            r#""Status":"ISSUED""#,
            r#""ImportedAt":1700000000"#,
            r#""InUseBy":[]"#,
            r#""CertificateKeyPairOrigin":"CUSTOMER_PROVIDED""#,
            r#""RenewalEligibility":"INELIGIBLE""#,
            r#""Subject":"CN=example.com""#,
        ] {
            assert!(told.contains(text), "{text}: {told}");
        }
        assert!(!told.contains("DomainValidationOptions") && !told.contains("IssuedAt"), "{told}");
        let used = server.use_certificate(&arn).await;
        let told = server.ok("DescribeCertificate", &format!(r#"{{"CertificateArn":"{arn}"}}"#)).await;
        assert!(told.contains(&format!(r#""InUseBy":["{used}"]"#)), "{told}");
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new();
        let zero = "arn:aws:acm:us-east-1:123456789012:certificate/0";
        for (arn, fault) in [
            (zero, format!("ResourceNotFoundException: Could not find certificate {zero}.")),
            ("arn:aws:acm:us-east-1:123456789012:other/0", "InvalidArnException: The ARN ".to_owned()),
            ("x", "ValidationException: ".to_owned()),
        ] {
            let told = server.fault("DescribeCertificate", &format!(r#"{{"CertificateArn":"{arn}"}}"#)).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{arn}: {told}");
        }
    }
}
