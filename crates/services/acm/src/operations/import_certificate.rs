//! ImportCertificate: takes a certificate with its private key, or replaces one that was imported. Source: AWS Certificate
//! Manager API reference, "ImportCertificate".
//!
//! Differs from AWS: certificates with the keys RSA_1024 and EC_secp521r1 are refused by name: the TLS library cannot serve
//! them. The certificate must be signed by the first of its chain, that one by the second, and so on, or by itself.

use api::acm::operations::ImportCertificate;
use api::acm::{ImportCertificateRequest, ImportCertificateResponse, faults};
use domain::Certificate;
use store::{Key, Snapshot, Transaction};
use wire::{Call, Fault, Operation, Permission};

use crate::Acm;
use crate::faults::{of_update, validation};
use crate::resources::{certificate, tag};
use crate::x509::{self, ReadCertificate};

/// Source: "ACM quotas", imported certificates.
const IMPORTED_MAXIMUM: usize = 2500;

impl Operation<ImportCertificate> for Acm {
    fn permissions(&self, call: &Call, input: &ImportCertificateRequest) -> Vec<Permission> {
        let any = || base::Arn::new("acm", &call.scope, "certificate/*").to_string();
        let arn = input.certificate_arn.clone().unwrap_or_else(any);
        vec![Permission::new("acm:ImportCertificate", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ImportCertificateRequest,
    ) -> Result<ImportCertificateResponse, Fault> {
        let tags = tag::parse(input.tags)?;
        if input.certificate_arn.is_some() && !tags.is_empty() {
            return Err(validation("Tagging is not permitted on re-import."));
        }
        let bytes = |blob: Option<wire::Blob>| blob.map(|blob| blob.0);
        let chain = bytes(input.certificate_chain);
        let certificate = bytes(input.certificate).unwrap_or_default();
        let private_key = bytes(input.private_key).unwrap_or_default();
        let read = x509::read(&certificate, chain.as_deref(), &private_key, call.now)?;
        let mut known_tags = Vec::new();
        tag::add(&mut known_tags, &tags)?;
        let new = Certificate { tags: known_tags, ..row(call, self.ids.uuid(), &read) };
        let arn = self.store.update(|snapshot| match &input.certificate_arn {
            None => insert(snapshot, call, &new),
            Some(arn) => replace(snapshot, call, arn, &new),
        });
        let arn = arn.await.map_err(of_update)?;
        Ok(ImportCertificateResponse { certificate_arn: Some(arn) })
    }
}

fn row(call: &Call, id: String, read: &ReadCertificate) -> Certificate {
    Certificate {
        scope: call.scope.clone(),
        id,
        certificate_type: "IMPORTED".to_owned(),
        domain_name: read.domain_name.clone(),
        subject_alternative_names: read.names.clone(),
        certificate: read.certificate.clone(),
        certificate_chain: read.chain.clone(),
        private_key: read.private_key.clone(),
        facts: read.facts.clone(),
        created_at: call.now,
        imported_at: Some(call.now),
        not_before: read.not_before,
        not_after: read.not_after,
        tags: Vec::new(),
    }
}

fn insert(snapshot: &Snapshot, call: &Call, new: &Certificate) -> Result<(Transaction, String), Fault> {
    let rows = snapshot.scan::<Certificate>(Key::prefix(&call.scope, &[]), None);
    if rows.filter(|row| !certificate::is_issued_here(row)).count() >= IMPORTED_MAXIMUM {
        let message =
            format!("The maximum number of imported certificates, {IMPORTED_MAXIMUM}, has been reached.");
        return Err(faults::limit_exceeded_exception(message));
    }
    let mut transaction = Transaction::new();
    transaction.insert(new.clone());
    Ok((transaction, new.arn().to_string()))
}

fn replace(
    snapshot: &Snapshot,
    call: &Call,
    arn: &str,
    new: &Certificate,
) -> Result<(Transaction, String), Fault> {
    let known = certificate::find(snapshot, &call.scope, arn)?;
    if certificate::is_issued_here(&known) {
        return Err(validation("Only imported certificates can be re-imported."));
    }
    let row = Certificate {
        id: known.id.clone(),
        created_at: known.created_at,
        tags: known.tags.clone(),
        ..new.clone()
    };
    let mut transaction = Transaction::new();
    transaction.replace(&known, row);
    Ok((transaction, arn.to_owned()))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Authority, Server, import_body, self_signed};

    /// Self-signed, of the first version: without extensions. Made with `openssl x509 -req`.
    const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBIjCByQIULY7DZFkvCW1MC2FCYnkenG00Fe4wCgYIKoZIzj0EAwIwEzERMA8G
A1UEAwwIb2xkLnRlc3QwIBcNMjYxMTI4MTYyNTAxWhgPMjEyNjExMDQxNjI1MDFa
MBMxETAPBgNVBAMMCG9sZC50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
7niBhmW5P5Mo6+Rr3DjAoBlxxvv+bgV82xxMK0fQUBhnY86yAiixzYy4RRVdtMB9
O+18Gohit31t5p1N9wiO0jAKBggqhkjOPQQDAgNIADBFAiAH2aunsTFCLn2u6H9Y
p8o470XucXFvI7Se3mHFjr+/FQIhANnpin/7OK/YU6GbyXnMOmE+QPFVJ2EDUMo2
mxm+R3WL
-----END CERTIFICATE-----
";

    #[tokio::test]
    async fn a_self_signed_certificate_and_one_of_an_authority() {
        let server = Server::new();
        let own = self_signed(&["example.com", "www.example.com"]);
        let arn = server.import(&own.certificate, None, &own.private_key).await;
        let told = server.ok("DescribeCertificate", &format!(r#"{{"CertificateArn":"{arn}"}}"#)).await;
        assert!(told.contains(r#""DomainName":"example.com""#), "{told}");
        assert!(told.contains(r#""SubjectAlternativeNames":["example.com","www.example.com"]"#), "{told}");
        let authority = Authority::new();
        let leaf = authority.sign(&["*.example.org"]);
        let arn = server.import(&leaf.certificate, Some(&authority.certificate), &leaf.private_key).await;
        let told = server.ok("GetCertificate", &format!(r#"{{"CertificateArn":"{arn}"}}"#)).await;
        assert!(told.contains("CertificateChain") && !told.contains("PRIVATE"), "{told}");
    }

    #[tokio::test]
    async fn an_imported_certificate_is_replaced_in_place() {
        let server = Server::new();
        let (old, new) = (self_signed(&["a.example.com"]), self_signed(&["b.example.com"]));
        let arn = server.import(&old.certificate, None, &old.private_key).await;
        let body = import_body(&new.certificate, None, &new.private_key);
        let again = body.replacen('{', &format!(r#"{{"CertificateArn":"{arn}","#), 1);
        assert!(server.ok("ImportCertificate", &again).await.contains(&arn));
        let told = server.ok("DescribeCertificate", &format!(r#"{{"CertificateArn":"{arn}"}}"#)).await;
        assert!(told.contains(r#""DomainName":"b.example.com""#), "{told}");
        let tagged = again.replacen('{', r#"{"Tags":[{"Key":"a"}],"#, 1);
        assert_eq!(
            server.fault("ImportCertificate", &tagged).await,
            "400 ValidationException: Tagging is not permitted on re-import."
        );
        let gone = again.replace(&arn, &format!("{arn}0"));
        assert_eq!(
            server.fault("ImportCertificate", &gone).await,
            format!("400 ResourceNotFoundException: Could not find certificate {arn}0.")
        );
    }

    #[tokio::test]
    async fn what_cannot_be_served_is_refused_without_a_word_of_the_key() {
        let server = Server::new();
        let (own, other) = (self_signed(&["a.example.com"]), self_signed(&["a.example.com"]));
        let (authority, stranger) = (Authority::new(), Authority::new());
        let leaf = authority.sign(&["a.example.com"]);
        let two = format!("{}{}", own.certificate, other.certificate);
        let upside_down = format!("{}{}", leaf.certificate, authority.certificate);
        let encrypted = own.private_key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        for (certificate, chain, key, fault) in [
            ("x", None, own.private_key.as_str(), "Could not parse certificate."),
            (VERSION_1, None, &own.private_key, "The certificate must be an X.509 version 3 certificate."),
            (&two, None, &own.private_key, "The certificate field contains more than one certificate."),
            (
                &own.certificate,
                None,
                &other.private_key,
                "The private key does not match the certificate's public key.",
            ),
            (
                &own.certificate,
                None,
                "secret",
                "The private key must be a PEM-encoded, unencrypted private key.",
            ),
            (&own.certificate, None, &encrypted, "The private key must be unencrypted."),
            (&leaf.certificate, None, &leaf.private_key, "Provided certificate is not a valid self signed."),
            (
                &leaf.certificate,
                Some(stranger.certificate.as_str()),
                &leaf.private_key,
                "Could not validate the certificate with",
            ),
            (
                &leaf.certificate,
                Some(&upside_down),
                &leaf.private_key,
                "Could not validate the certificate with",
            ),
            (&leaf.certificate, Some("x"), &leaf.private_key, "Could not validate the certificate with"),
        ] {
            let body = import_body(certificate, chain, key);
            let told = server.fault("ImportCertificate", &body).await;
            assert!(told.starts_with(&format!("400 ValidationException: {fault}")), "{fault}: {told}");
            assert!(!told.contains("secret") && !told.contains("PRIVATE KEY-"), "{told}");
        }
        server.clock.advance_millis(1000 * 60 * 60 * 24 * 365 * 3000);
        let body = import_body(&own.certificate, None, &own.private_key);
        assert_eq!(
            server.fault("ImportCertificate", &body).await,
            "400 ValidationException: The certificate has expired."
        );
    }

    #[tokio::test]
    async fn the_row_does_not_print_its_key() {
        let server = Server::new();
        let own = self_signed(&["example.com"]);
        let arn = server.import(&own.certificate, None, &own.private_key).await;
        let found = store::rows_load_balancing::certificate_by_arn(&server.store.snapshot(), &arn).unwrap();
        assert!(found.private_key.contains("PRIVATE KEY"));
        assert!(!format!("{found:?}").contains("PRIVATE"));
    }
}
