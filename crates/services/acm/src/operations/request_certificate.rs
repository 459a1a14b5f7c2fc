//! RequestCertificate: makes a certificate for development. Source: AWS Certificate Manager API reference,
//! "RequestCertificate".
//!
//! Differs from AWS: the certificate is self-signed and issued at once: nobody is asked whether the names are the caller's,
//! and clients trust it only when told to. A request that names no key algorithm gets EC_prime256v1. Not served, and refused
//! by name: keys other than EC_prime256v1 and EC_secp384r1, private authorities, certificates that can be exported, those
//! that CloudFront manages, and validation by HTTP, which is CloudFront's.

use api::acm::operations::RequestCertificate;
use api::acm::{CertificateOptions, RequestCertificateRequest, RequestCertificateResponse, faults};
use domain::Certificate;
use store::{Key, Snapshot, Transaction};
use wire::{Call, Fault, Operation, Permission};

use crate::faults::{of_update, unsupported, validation};
use crate::resources::certificate::{IDEMPOTENCY_TOKEN, TRANSPARENCY, VALIDATION_DOMAIN, VALIDATION_METHOD};
use crate::resources::tag;
use crate::{Acm, issue};

/// Names of a certificate. Source: "ACM quotas".
const NAMES_MAXIMUM: usize = 10;
/// How long a token means the same request. Source: RequestCertificate, `IdempotencyToken`.
const TOKEN_MILLIS: i64 = 60 * 60 * 1000;
/// Certificates that were requested. Source: "ACM quotas".
const REQUESTED_MAXIMUM: usize = 2500;

impl Operation<RequestCertificate> for Acm {
    fn permissions(&self, _call: &Call, _input: &RequestCertificateRequest) -> Vec<Permission> {
        vec![Permission::new("acm:RequestCertificate", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: RequestCertificateRequest,
    ) -> Result<RequestCertificateResponse, Fault> {
        check(&input)?;
        let names = names(&input)?;
        let mut facts = facts(&input, &names)?;
        let algorithm = input.key_algorithm.as_deref().unwrap_or(issue::DEFAULT_KEY_ALGORITHM);
        let mut tags = Vec::new();
        tag::add(&mut tags, &tag::parse(input.tags)?)?;
        let made = issue::certificate(&call.scope, &names, algorithm, call.now, &*self.ids)?;
        facts.extend(made.facts.clone());
        let new = Certificate { id: self.ids.uuid(), facts, tags, ..made };
        let arn = self.store.update(|snapshot| insert(snapshot, call, &new)).await.map_err(of_update)?;
        Ok(RequestCertificateResponse { certificate_arn: Some(arn) })
    }
}

fn check(input: &RequestCertificateRequest) -> Result<(), Fault> {
    if input.certificate_authority_arn.is_some() {
        return Err(unsupported("CertificateAuthorityArn"));
    }
    if input.managed_by.is_some() {
        return Err(unsupported("ManagedBy"));
    }
    if input.validation_method.as_deref() == Some("HTTP") {
        return Err(unsupported("The validation method HTTP"));
    }
    check_options(input.options.as_ref())
}

/// Refuses options that would not act.
pub(super) fn check_options(options: Option<&CertificateOptions>) -> Result<(), Fault> {
    let Some(options) = options else { return Ok(()) };
    if options.export.as_deref() == Some("ENABLED") {
        return Err(unsupported("The option Export"));
    }
    if options.validation_method.is_some() {
        return Err(unsupported("The option ValidationMethod"));
    }
    Ok(())
}

fn names(input: &RequestCertificateRequest) -> Result<Vec<String>, Fault> {
    let mut names: Vec<String> = Vec::new();
    let alternative = input.subject_alternative_names.iter().flatten();
    for name in input.domain_name.iter().chain(alternative) {
        check_name(name)?;
        let name = name.to_ascii_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > NAMES_MAXIMUM {
        let message = format!("The certificate has more than {NAMES_MAXIMUM} domain names.");
        return Err(faults::limit_exceeded_exception(message));
    }
    Ok(names)
}

/// The model's pattern looks ahead, which the pattern library does not do.
fn check_name(name: &str) -> Result<(), Fault> {
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if bare.contains('.') && bare.split('.').all(is_label) {
        return Ok(());
    }
    Err(validation(format!(
        "1 validation error detected: Value '{name}' at 'domainName' failed to satisfy constraint: Member must satisfy \
         regular expression pattern: (\\*\\.)?(((?!-)[A-Za-z0-9-]{{0,62}}[A-Za-z0-9])\\.)+((?!-)[A-Za-z0-9-]{{1,62}}[A-Za-z0-9])"
    )))
}

fn facts(
    input: &RequestCertificateRequest,
    names: &[String],
) -> Result<std::collections::BTreeMap<String, String>, Fault> {
    let method = input.validation_method.as_deref().unwrap_or("EMAIL");
    let transparency = input
        .options
        .as_ref()
        .and_then(|options| options.certificate_transparency_logging_preference.as_deref())
        .unwrap_or("ENABLED");
    let mut facts = std::collections::BTreeMap::new();
    facts.insert(VALIDATION_METHOD.to_owned(), method.to_owned());
    facts.insert(TRANSPARENCY.to_owned(), transparency.to_owned());
    if let Some(token) = &input.idempotency_token {
        facts.insert(IDEMPOTENCY_TOKEN.to_owned(), token.clone());
    }
    for option in input.domain_validation_options.iter().flatten() {
        let name = option.domain_name.as_deref().unwrap_or_default().to_ascii_lowercase();
        let domain = option.validation_domain.as_deref().unwrap_or_default().to_ascii_lowercase();
        let bare = name.strip_prefix("*.").unwrap_or(&name);
        let is_above = bare == domain || bare.ends_with(&format!(".{domain}"));
        if !names.contains(&name) || !is_above {
            return Err(faults::invalid_domain_validation_options_exception(format!(
                "The domain {domain} is not the domain {name} of the certificate, or a superdomain of it."
            )));
        }
        facts.insert(format!("{VALIDATION_DOMAIN}{name}"), domain);
    }
    Ok(facts)
}

fn insert(snapshot: &Snapshot, call: &Call, new: &Certificate) -> Result<(Transaction, String), Fault> {
    let rows: Vec<_> = snapshot.scan::<Certificate>(Key::prefix(&call.scope, &[]), None).collect();
    let is_repeated = |row: &Certificate| {
        let token = new.facts.get(IDEMPOTENCY_TOKEN);
        token.is_some()
            && row.facts.get(IDEMPOTENCY_TOKEN) == token
            && row.subject_alternative_names == new.subject_alternative_names
            && call.now.since_millis(row.created_at) < TOKEN_MILLIS
    };
    if let Some(known) = rows.iter().find(|row| is_repeated(row)) {
        return Ok((Transaction::new(), known.arn().to_string()));
    }
    if rows.iter().filter(|row| row.certificate_type == new.certificate_type).count() >= REQUESTED_MAXIMUM {
        let message = format!("The maximum number of certificates, {REQUESTED_MAXIMUM}, has been reached.");
        return Err(faults::limit_exceeded_exception(message));
    }
    let mut transaction = Transaction::new();
    transaction.insert(new.clone());
    Ok((transaction, new.arn().to_string()))
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn it_is_issued_at_once_and_can_be_served() {
        let server = Server::new();
        let request = r#"{"DomainName":"Example.com","SubjectAlternativeNames":["*.example.com","example.com"],
            "ValidationMethod":"DNS","IdempotencyToken":"t1"}"#;
        let arn = server.arn("RequestCertificate", request).await;
        assert_eq!(server.arn("RequestCertificate", request).await, arn);
        let told = server.ok("DescribeCertificate", &format!(r#"{{"CertificateArn":"{arn}"}}"#)).await;
        for text in [
            r#""Status":"ISSUED""#,
            r#""Type":"AMAZON_ISSUED""#,
            r#""SubjectAlternativeNames":["example.com","*.example.com"]"#,
            r#""KeyAlgorithm":"EC_prime256v1""#,
            r#""SignatureAlgorithm":"SHA256WITHECDSA""#,
            r#""ValidationStatus":"SUCCESS""#,
            r#""Type":"CNAME""#,
            r#""Issuer":"Roadstead""#,
            r#""Name":"TLS_WEB_SERVER_AUTHENTICATION""#,
        ] {
            assert!(told.contains(text), "{text}: {told}");
        }
        let found = store::rows_load_balancing::certificate_by_arn(&server.store.snapshot(), &arn).unwrap();
        let served = balancer::tls::Certificate::from_pem(
            &arn,
            found.subject_alternative_names.clone(),
            found.certificate.as_bytes(),
            b"",
            found.private_key.as_bytes(),
        );
        assert!(served.is_ok());
        server.clock.advance_millis(1000 * 60 * 60 * 24 * 396);
        let told = server.ok("DescribeCertificate", &format!(r#"{{"CertificateArn":"{arn}"}}"#)).await;
        assert!(told.contains(r#""Status":"EXPIRED""#), "{told}");
        assert_ne!(server.arn("RequestCertificate", request).await, arn, "the token is forgotten");
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new();
        let many: Vec<_> = (0..10).map(|n| format!(r#""n{n}.example.com""#)).collect();
        for (request, fault) in [
            (r#"{"DomainName":"localhost"}"#.to_owned(), "ValidationException: 1 validation error detected: Value 'localhost' at 'domainName'"),
            (r#"{"DomainName":"a.example.com","KeyAlgorithm":"RSA_2048"}"#.to_owned(), "InvalidParameterException: Making keys of the algorithm RSA_2048 is not supported by"),
            (r#"{"DomainName":"a.example.com","ValidationMethod":"HTTP"}"#.to_owned(), "InvalidParameterException: The validation method HTTP is not supported by"),
            (r#"{"DomainName":"a.example.com","Options":{"Export":"ENABLED"}}"#.to_owned(), "InvalidParameterException: The option Export is not supported by"),
            (r#"{"DomainName":"a.example.com","ManagedBy":"CLOUDFRONT"}"#.to_owned(), "InvalidParameterException: ManagedBy is not supported by"),
            (r#"{"DomainName":"a.example.com","CertificateAuthorityArn":"arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/0"}"#.to_owned(), "InvalidParameterException: CertificateAuthorityArn is not supported by"),
            (r#"{"DomainName":"a.example.com","DomainValidationOptions":[{"DomainName":"a.example.com","ValidationDomain":"example.org"}]}"#.to_owned(), "InvalidDomainValidationOptionsException: The domain example.org is not"),
            (format!(r#"{{"DomainName":"a.example.com","SubjectAlternativeNames":[{}]}}"#, many.join(",")), "LimitExceededException: The certificate has more than 10 domain names."),
            (r#"{"DomainName":"a.example.com","Tags":[{"Key":"aws:x"}]}"#.to_owned(), "InvalidTagException: Tag key 'aws:x' is invalid"),
        ] {
            let told = server.fault("RequestCertificate", &request).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{request}: {told}");
        }
    }
}
