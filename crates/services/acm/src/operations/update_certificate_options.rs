//! UpdateCertificateOptions: says whether a certificate that was requested is to be logged publicly. Source: AWS Certificate
//! Manager API reference, "UpdateCertificateOptions".
//!
//! Differs from AWS: the preference is kept and told; there is no public log, for the certificates are self-signed. The
//! other options are refused by name.

use api::acm::operations::UpdateCertificateOptions;
use api::acm::{UpdateCertificateOptionsRequest, faults};
use domain::Certificate;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission, Unit};

use super::request_certificate::check_options;
use crate::Acm;
use crate::faults::{of_update, validation};
use crate::resources::certificate;

impl Operation<UpdateCertificateOptions> for Acm {
    fn permissions(&self, _call: &Call, input: &UpdateCertificateOptionsRequest) -> Vec<Permission> {
        let arn = input.certificate_arn.as_deref().unwrap_or_default();
        vec![Permission::new("acm:UpdateCertificateOptions", arn)]
    }

    async fn handle(&self, call: &Call, input: UpdateCertificateOptionsRequest) -> Result<Unit, Fault> {
        let arn = input.certificate_arn.unwrap_or_default();
        check_options(input.options.as_ref())?;
        let preference =
            input.options.and_then(|options| options.certificate_transparency_logging_preference);
        let preference = preference.ok_or_else(|| validation("An option must be specified."))?;
        let changed = self.store.update(|snapshot| {
            let found = certificate::find(snapshot, &call.scope, &arn)?;
            if !certificate::is_issued_here(&found) {
                let message = format!("The options of the imported certificate {arn} cannot be changed.");
                return Err(faults::invalid_state_exception(message));
            }
            let mut row = Certificate::clone(&found);
            row.facts.insert(certificate::TRANSPARENCY.to_owned(), preference.clone());
            let mut transaction = Transaction::new();
            transaction.replace(&found, row);
            Ok((transaction, ()))
        });
        changed.await.map_err(of_update)?;
        Ok(Unit::default())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, self_signed};

    #[tokio::test]
    async fn the_preference_is_told() {
        let server = Server::new();
        let own = self_signed(&["example.com"]);
        let imported = server.import(&own.certificate, None, &own.private_key).await;
        let requested = server.arn("RequestCertificate", r#"{"DomainName":"example.com"}"#).await;
        let body =
            |arn: &str, options: &str| format!(r#"{{"CertificateArn":"{arn}","Options":{{{options}}}}}"#);
        let off = r#""CertificateTransparencyLoggingPreference":"DISABLED""#;
        server.ok("UpdateCertificateOptions", &body(&requested, off)).await;
        let told = server.ok("DescribeCertificate", &format!(r#"{{"CertificateArn":"{requested}"}}"#)).await;
        assert!(told.contains(off), "{told}");
        for (arn, options, fault) in [
            (&imported, off, "InvalidStateException: The options of the imported certificate"),
            (&requested, "", "ValidationException: An option must be specified."),
            (
                &requested,
                r#""Export":"ENABLED""#,
                "InvalidParameterException: The option Export is not supported by",
            ),
            (&format!("{requested}0"), off, "ResourceNotFoundException: "),
        ] {
            let told = server.fault("UpdateCertificateOptions", &body(arn, options)).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{told}");
        }
    }
}
