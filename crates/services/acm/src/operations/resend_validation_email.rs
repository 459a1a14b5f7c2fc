//! ResendValidationEmail: would send mail to the owners of a certificate's names. Source: AWS Certificate Manager API
//! reference, "ResendValidationEmail".
//!
//! Differs from AWS: no certificate ever waits for its validation, so none is in the state that this is for.

use api::acm::operations::ResendValidationEmail;
use api::acm::{ResendValidationEmailRequest, faults};
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::Acm;
use crate::resources::certificate;

impl Operation<ResendValidationEmail> for Acm {
    fn permissions(&self, _call: &Call, input: &ResendValidationEmailRequest) -> Vec<Permission> {
        let arn = input.certificate_arn.as_deref().unwrap_or_default();
        vec![Permission::new("acm:ResendValidationEmail", arn)]
    }

    async fn handle(&self, call: &Call, input: ResendValidationEmailRequest) -> Result<Unit, Fault> {
        let arn = input.certificate_arn.unwrap_or_default();
        let found = certificate::find(&self.store.snapshot(), &call.scope, &arn)?;
        let status = certificate::status(&found, call.now);
        Err(faults::invalid_state_exception(format!(
            "Certificate {arn} is in the state {status}. It must be in the state PENDING_VALIDATION."
        )))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn nothing_waits() {
        let server = Server::new();
        let arn = server.arn("RequestCertificate", r#"{"DomainName":"example.com"}"#).await;
        let body = |arn: &str| {
            format!(r#"{{"CertificateArn":"{arn}","Domain":"example.com","ValidationDomain":"example.com"}}"#)
        };
        assert_eq!(
            server.fault("ResendValidationEmail", &body(&arn)).await,
            format!(
                "400 InvalidStateException: Certificate {arn} is in the state ISSUED. It must be in the state \
                 PENDING_VALIDATION."
            )
        );
        let told = server.fault("ResendValidationEmail", &body(&format!("{arn}0"))).await;
        assert!(told.starts_with("400 ResourceNotFoundException: "), "{told}");
    }
}
