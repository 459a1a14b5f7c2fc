//! RenewCertificate: renews a certificate of a private authority. Source: AWS Certificate Manager API reference,
//! "RenewCertificate".
//!
//! Differs from AWS: there are no private authorities, so no certificate is eligible.

use api::acm::RenewCertificateRequest;
use api::acm::operations::RenewCertificate;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::Acm;
use crate::faults::validation;
use crate::resources::certificate;

impl Operation<RenewCertificate> for Acm {
    fn permissions(&self, _call: &Call, input: &RenewCertificateRequest) -> Vec<Permission> {
        let arn = input.certificate_arn.as_deref().unwrap_or_default();
        vec![Permission::new("acm:RenewCertificate", arn)]
    }

    async fn handle(&self, call: &Call, input: RenewCertificateRequest) -> Result<Unit, Fault> {
        let arn = input.certificate_arn.unwrap_or_default();
        certificate::find(&self.store.snapshot(), &call.scope, &arn)?;
        Err(validation(format!(
            "Certificate {arn} is not eligible for renewal: it is not a private certificate."
        )))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn none_is_eligible() {
        let server = Server::new();
        let arn = server.arn("RequestCertificate", r#"{"DomainName":"example.com"}"#).await;
        let body = |arn: &str| format!(r#"{{"CertificateArn":"{arn}"}}"#);
        let told = server.fault("RenewCertificate", &body(&arn)).await;
        assert_eq!(
            told,
            format!(
                "400 ValidationException: Certificate {arn} is not eligible for renewal: it is not a private certificate."
            )
        );
        let told = server.fault("RenewCertificate", &body(&format!("{arn}0"))).await;
        assert!(told.starts_with("400 ResourceNotFoundException: "), "{told}");
    }
}
