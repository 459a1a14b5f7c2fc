//! Certificates.

use api::acm::{
    CertificateDetail, CertificateOptions, CertificateSummary, DomainValidation, ExtendedKeyUsage, KeyUsage,
    ResourceRecord, faults,
};
use base::{Arn, Scope, Timestamp};
use domain::{Certificate, Listener};
use store::{Snapshot, Versioned, rows_load_balancing};
use wire::Fault;

use crate::x509;

/// Facts of certificates that were requested: what the request said.
pub(crate) const VALIDATION_METHOD: &str = "validation_method";
pub(crate) const TRANSPARENCY: &str = "transparency";
pub(crate) const IDEMPOTENCY_TOKEN: &str = "idempotency_token";
/// Of one name each, behind this.
pub(crate) const VALIDATION_DOMAIN: &str = "validation_domain ";

/// The certificate with this ARN.
pub(crate) fn find(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<Versioned<Certificate>, Fault> {
    let parsed: Option<Arn> = arn.parse().ok();
    let is_certificate = parsed.as_ref().and_then(|arn| arn.resource_type_and_id());
    if is_certificate.is_none_or(|(kind, _)| kind != "certificate") {
        let message = format!("The ARN {arn} is not the ARN of a certificate.");
        return Err(faults::invalid_arn_exception(message));
    }
    let found = rows_load_balancing::certificate_by_arn(snapshot, arn);
    found
        .filter(|found| found.scope == *scope)
        .ok_or_else(|| faults::resource_not_found_exception(format!("Could not find certificate {arn}.")))
}

/// The ARNs of the load balancers whose listeners have the certificate, each once.
pub(crate) fn used_by(snapshot: &Snapshot, certificate: &Certificate) -> Vec<String> {
    let arn = certificate.arn();
    let parts = [arn.as_str()];
    let listeners = snapshot.index::<Listener>(rows_load_balancing::LISTENERS_BY_CERTIFICATE, &parts, None);
    let mut arns: Vec<String> = listeners.map(|listener| listener.load_balancer_arn().to_string()).collect();
    arns.sort();
    arns.dedup();
    arns
}

/// `ISSUED`, until it is too old.
pub(crate) fn status(row: &Certificate, now: Timestamp) -> &'static str {
    if row.not_after < now { "EXPIRED" } else { "ISSUED" }
}

/// Whether it was made here.
pub(crate) fn is_issued_here(row: &Certificate) -> bool {
    row.certificate_type == "AMAZON_ISSUED"
}

fn key_pair_origin(row: &Certificate) -> &'static str {
    if is_issued_here(row) { "AWS_MANAGED" } else { "CUSTOMER_PROVIDED" }
}

/// A fact; `None` where there is none.
pub(crate) fn fact(row: &Certificate, name: &str) -> Option<String> {
    row.facts.get(name).filter(|fact| !fact.is_empty()).cloned()
}

/// The names of key usages.
pub(crate) fn key_usages(row: &Certificate) -> Vec<String> {
    let usages = fact(row, x509::KEY_USAGES).unwrap_or_default();
    usages.split(',').filter(|usage| !usage.is_empty()).map(str::to_owned).collect()
}

/// The names and object identifiers of extended key usages.
pub(crate) fn extended_key_usages(row: &Certificate) -> Vec<(String, String)> {
    let usages = fact(row, x509::EXTENDED_KEY_USAGES).unwrap_or_default();
    let pairs = usages.split(',').filter_map(|usage| usage.split_once(' '));
    pairs.map(|(name, oid)| (name.to_owned(), oid.to_owned())).collect()
}

/// The wire form in full.
pub(crate) fn describe(snapshot: &Snapshot, row: &Certificate, now: Timestamp) -> CertificateDetail {
    let is_issued = is_issued_here(row);
    let transparency = fact(row, TRANSPARENCY).unwrap_or_else(|| "DISABLED".to_owned());
    let extended = extended_key_usages(row).into_iter();
    let validations = || row.subject_alternative_names.iter().map(|name| validation(row, name)).collect();
    CertificateDetail {
        certificate_arn: Some(row.arn().to_string()),
        certificate_key_pair_origin: Some(key_pair_origin(row).to_owned()),
        created_at: Some(row.created_at),
        domain_name: Some(row.domain_name.clone()),
        domain_validation_options: is_issued.then(validations),
        extended_key_usages: Some(
            extended.map(|(name, oid)| ExtendedKeyUsage { name: Some(name), oid: Some(oid) }).collect(),
        ),
        imported_at: row.imported_at,
        in_use_by: Some(used_by(snapshot, row)),
        issued_at: is_issued.then_some(row.created_at),
        issuer: fact(row, x509::ISSUER),
        key_algorithm: fact(row, x509::KEY_ALGORITHM),
        key_usages: Some(key_usages(row).into_iter().map(|name| KeyUsage { name: Some(name) }).collect()),
        not_after: Some(row.not_after),
        not_before: Some(row.not_before),
        options: Some(CertificateOptions {
            certificate_transparency_logging_preference: Some(transparency),
            ..Default::default()
        }),
        renewal_eligibility: Some("INELIGIBLE".to_owned()),
        serial: fact(row, x509::SERIAL),
        signature_algorithm: fact(row, x509::SIGNATURE_ALGORITHM),
        status: Some(status(row, now).to_owned()),
        subject: fact(row, x509::SUBJECT),
        subject_alternative_names: Some(row.subject_alternative_names.clone()),
        type_: Some(row.certificate_type.clone()),
        ..Default::default()
    }
}

/// How a name was validated: it was not, but tools look for what they would have to do.
fn validation(row: &Certificate, name: &str) -> DomainValidation {
    let method = fact(row, VALIDATION_METHOD).unwrap_or_default();
    let validated = fact(row, &format!("{VALIDATION_DOMAIN}{name}"));
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let token = row.id.replace('-', "");
    let record = ResourceRecord {
        name: Some(format!("_{token}.{bare}.")),
        type_: Some("CNAME".to_owned()),
        value: Some(format!("_{token}.acm-validations.aws.")),
    };
    DomainValidation {
        domain_name: Some(name.to_owned()),
        resource_record: (method == "DNS").then_some(record),
        validation_domain: Some(validated.unwrap_or_else(|| name.to_owned())),
        validation_method: Some(method).filter(|method| !method.is_empty()),
        validation_status: Some("SUCCESS".to_owned()),
        ..Default::default()
    }
}

/// The wire form in a list.
pub(crate) fn summarize(snapshot: &Snapshot, row: &Certificate, now: Timestamp) -> CertificateSummary {
    CertificateSummary {
        certificate_arn: Some(row.arn().to_string()),
        certificate_key_pair_origin: Some(key_pair_origin(row).to_owned()),
        created_at: Some(row.created_at),
        domain_name: Some(row.domain_name.clone()),
        exported: Some(false),
        extended_key_usages: Some(extended_key_usages(row).into_iter().map(|(name, _)| name).collect()),
        has_additional_subject_alternative_names: Some(false),
        imported_at: row.imported_at,
        in_use: Some(!used_by(snapshot, row).is_empty()),
        issued_at: is_issued_here(row).then_some(row.created_at),
        key_algorithm: fact(row, x509::KEY_ALGORITHM),
        key_usages: Some(key_usages(row)),
        not_after: Some(row.not_after),
        not_before: Some(row.not_before),
        renewal_eligibility: Some("INELIGIBLE".to_owned()),
        status: Some(status(row, now).to_owned()),
        subject_alternative_name_summaries: Some(row.subject_alternative_names.clone()),
        type_: Some(row.certificate_type.clone()),
        ..Default::default()
    }
}
