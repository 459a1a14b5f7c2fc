//! Certificates that are made here: self-signed, for development.

use std::collections::BTreeMap;

use base::{Ids, Scope, Tag, Timestamp};
use domain::Certificate;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SerialNumber,
};
use time::OffsetDateTime;
use wire::Fault;

use crate::faults::unsupported;
use crate::resources::certificate::{TRANSPARENCY, VALIDATION_METHOD};
use crate::x509;

/// What a request that names no algorithm gets: keys for RSA are not made here.
pub(crate) const DEFAULT_KEY_ALGORITHM: &str = "EC_prime256v1";
/// Days. Source: "ACM certificate characteristics", validity period.
const VALID_DAYS: i64 = 395;
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// Bytes of a serial number, of which the first is positive.
const SERIAL_BYTES: usize = 16;

/// A certificate and its private key, as PEM texts.
struct Issued {
    certificate: String,
    private_key: String,
}

/// The row of a self-signed certificate for one name, as RequestCertificate would make it with the validation method DNS: for
/// what is managed by another AWS service.
///
/// # Errors
/// A name that no certificate can have.
pub fn managed_certificate(
    scope: &Scope,
    id: &str,
    name: &str,
    tags: Vec<Tag>,
    now: Timestamp,
    ids: &dyn Ids,
) -> Result<Certificate, Fault> {
    let made = certificate(scope, &[name.to_owned()], DEFAULT_KEY_ALGORITHM, now, ids)?;
    let words = [(VALIDATION_METHOD, "DNS"), (TRANSPARENCY, "ENABLED")];
    let mut facts: BTreeMap<String, String> =
        words.map(|(name, word)| (name.to_owned(), word.to_owned())).into();
    facts.extend(made.facts.clone());
    Ok(Certificate { id: id.to_owned(), facts, tags, ..made })
}

/// The row of a certificate for `names`, of which the first is the main one. It has no id yet, and what was asked for is not
/// among its facts.
pub(crate) fn certificate(
    scope: &Scope,
    names: &[String],
    key_algorithm: &str,
    now: Timestamp,
    ids: &dyn Ids,
) -> Result<Certificate, Fault> {
    let issued = issue(names, key_algorithm, now, ids)?;
    let read = x509::read(issued.certificate.as_bytes(), None, issued.private_key.as_bytes(), now)?;
    Ok(Certificate {
        scope: scope.clone(),
        id: String::new(),
        certificate_type: "AMAZON_ISSUED".to_owned(),
        domain_name: read.domain_name,
        subject_alternative_names: names.to_vec(),
        certificate: read.certificate,
        certificate_chain: None,
        private_key: read.private_key,
        facts: read.facts,
        created_at: now,
        imported_at: None,
        not_before: read.not_before,
        not_after: read.not_after,
        tags: Vec::new(),
    })
}

fn issue(names: &[String], key_algorithm: &str, now: Timestamp, ids: &dyn Ids) -> Result<Issued, Fault> {
    let algorithm = match key_algorithm {
        "EC_prime256v1" => &PKCS_ECDSA_P256_SHA256,
        "EC_secp384r1" => &PKCS_ECDSA_P384_SHA384,
        other => return Err(unsupported(&format!("Making keys of the algorithm {other}"))),
    };
    let mut params = CertificateParams::new(names.to_vec()).map_err(Fault::server)?;
    params.distinguished_name = DistinguishedName::new();
    if let Some(main) = names.first() {
        params.distinguished_name.push(DnType::CommonName, main.as_str());
    }
    params.distinguished_name.push(DnType::OrganizationName, "Roadstead");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let seconds = now.as_millis().div_euclid(1000);
    let moment = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(Fault::server);
    params.not_before = moment(seconds - DAY_SECONDS)?;
    params.not_after = moment(seconds + VALID_DAYS * DAY_SECONDS)?;
    let mut serial = [0; SERIAL_BYTES];
    ids.fill(&mut serial);
    serial[0] = serial[0] & 0x7f | 0x01;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let key = KeyPair::generate_for(algorithm).map_err(Fault::server)?;
    let certificate = params.self_signed(&key).map_err(Fault::server)?;
    Ok(Issued { certificate: certificate.pem(), private_key: key.serialize_pem() })
}
