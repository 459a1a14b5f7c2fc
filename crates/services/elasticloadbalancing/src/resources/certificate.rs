//! Certificates of listeners: those of AWS Certificate Manager, in this account and region.

use api::elasticloadbalancing::{Certificate, faults};
use base::Scope;
use store::{Snapshot, Transaction, rows_load_balancing};
use wire::Fault;

use crate::faults::validation;

/// The one certificate that a listener is made or changed with.
pub(crate) fn only(certificates: Option<Vec<Certificate>>) -> Result<Option<String>, Fault> {
    let mut certificates = certificates.unwrap_or_default();
    if certificates.len() > 1 {
        let count = certificates.len();
        return Err(validation(format!(
            "Up to '1' certificate can be specified, but '{count}' were specified"
        )));
    }
    certificates.pop().map(arn_of).transpose()
}

/// The certificates that are added to a listener or removed from it, each once.
pub(crate) fn many(certificates: Option<Vec<Certificate>>) -> Result<Vec<String>, Fault> {
    let mut arns: Vec<String> = Vec::new();
    for certificate in certificates.unwrap_or_default() {
        let arn = arn_of(certificate)?;
        if !arns.contains(&arn) {
            arns.push(arn);
        }
    }
    if arns.is_empty() {
        return Err(validation("Certificates cannot be empty"));
    }
    Ok(arns)
}

fn arn_of(certificate: Certificate) -> Result<String, Fault> {
    if certificate.is_default.is_some() {
        return Err(validation("You cannot set the isDefault parameter when specifying a certificate"));
    }
    certificate.certificate_arn.ok_or_else(|| validation("A certificate ARN must be specified"))
}

/// Checks that the certificate is there. Its row is written again, so that it is not deleted meanwhile.
pub(crate) fn hold(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    scope: &Scope,
    arn: &str,
) -> Result<(), Fault> {
    let found = rows_load_balancing::certificate_by_arn(snapshot, arn);
    let found = found.filter(|certificate| certificate.scope == *scope);
    let not_found = || faults::certificate_not_found_exception(format!("Certificate '{arn}' not found"));
    let found = found.ok_or_else(not_found)?;
    transaction.replace(&found, domain::Certificate::clone(&found));
    Ok(())
}
