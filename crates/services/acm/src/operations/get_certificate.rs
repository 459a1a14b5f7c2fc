//! GetCertificate: tells the texts of a certificate and of its chain. Source: AWS Certificate Manager API reference,
//! "GetCertificate".
//!
//! Differs from AWS: nothing known.

use api::acm::operations::GetCertificate;
use api::acm::{GetCertificateRequest, GetCertificateResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Acm;
use crate::resources::certificate;

impl Operation<GetCertificate> for Acm {
    fn permissions(&self, _call: &Call, input: &GetCertificateRequest) -> Vec<Permission> {
        let arn = input.certificate_arn.as_deref().unwrap_or_default();
        vec![Permission::new("acm:GetCertificate", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: GetCertificateRequest,
    ) -> Result<GetCertificateResponse, Fault> {
        let arn = input.certificate_arn.unwrap_or_default();
        let found = certificate::find(&self.store.snapshot(), &call.scope, &arn)?;
        Ok(GetCertificateResponse {
            certificate: Some(found.certificate.clone()),
            certificate_chain: found.certificate_chain.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, self_signed};

    #[tokio::test]
    async fn the_text_is_told_and_the_key_is_not() {
        let server = Server::new();
        let own = self_signed(&["example.com"]);
        let arn = server.import(&own.certificate, None, &own.private_key).await;
        let told = server.ok("GetCertificate", &format!(r#"{{"CertificateArn":"{arn}"}}"#)).await;
        let line = own.certificate.lines().nth(1).unwrap();
        assert!(told.contains(line), "{told}");
        assert!(!told.contains("CertificateChain") && !told.contains("PRIVATE"), "{told}");
        let gone = format!(r#"{{"CertificateArn":"{arn}0"}}"#);
        assert_eq!(
            server.fault("GetCertificate", &gone).await,
            format!("400 ResourceNotFoundException: Could not find certificate {arn}0.")
        );
    }
}
