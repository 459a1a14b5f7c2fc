//! DeleteCertificate: deletes a certificate that no listener has. Source: AWS Certificate Manager API reference,
//! "DeleteCertificate".
//!
//! Differs from AWS: nothing known.

use api::acm::operations::DeleteCertificate;
use api::acm::{DeleteCertificateRequest, faults};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::Acm;
use crate::faults::of_update;
use crate::resources::certificate;

impl Operation<DeleteCertificate> for Acm {
    fn permissions(&self, _call: &Call, input: &DeleteCertificateRequest) -> Vec<Permission> {
        let arn = input.certificate_arn.as_deref().unwrap_or_default();
        vec![Permission::new("acm:DeleteCertificate", arn)]
    }

    async fn handle(&self, call: &Call, input: DeleteCertificateRequest) -> Result<Unit, Fault> {
        let arn = input.certificate_arn.unwrap_or_default();
        let deleted = self.store.update(|snapshot| {
            let found = certificate::find(snapshot, &call.scope, &arn)?;
            if !certificate::used_by(snapshot, &found).is_empty() {
                let message = format!("Certificate {arn} in account {} is in use.", call.scope.account);
                return Err(faults::resource_in_use_exception(message));
            }
            let mut transaction = Transaction::new();
            transaction.remove(&found);
            Ok((transaction, ()))
        });
        deleted.await.map_err(of_update)?;
        Ok(Unit::default())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, self_signed};

    #[tokio::test]
    async fn one_that_a_listener_has_stays() {
        let server = Server::new();
        let own = self_signed(&["example.com"]);
        let (used, free) = (
            server.import(&own.certificate, None, &own.private_key).await,
            server.import(&own.certificate, None, &own.private_key).await,
        );
        server.use_certificate(&used).await;
        let body = |arn: &str| format!(r#"{{"CertificateArn":"{arn}"}}"#);
        assert_eq!(
            server.fault("DeleteCertificate", &body(&used)).await,
            format!("400 ResourceInUseException: Certificate {used} in account 123456789012 is in use.")
        );
        server.ok("DeleteCertificate", &body(&free)).await;
        assert_eq!(
            server.fault("DeleteCertificate", &body(&free)).await,
            format!("400 ResourceNotFoundException: Could not find certificate {free}.")
        );
    }
}
