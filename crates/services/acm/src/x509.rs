//! What is read from certificates and keys, and what is asked of them. Source: "Prerequisites for importing ACM
//! certificates". Texts of keys never go into a fault.

use std::collections::BTreeMap;

use balancer::tls::CertificateError;
use base::Timestamp;
use wire::Fault;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name, X509Version};

use crate::faults::{unsupported, validation};

/// Certificates of a chain. Ours: no chain of the web has more than a few.
const CHAIN_MAXIMUM: usize = 16;

/// The names of [`domain::Certificate::facts`].
pub(crate) const SERIAL: &str = "serial";
pub(crate) const SUBJECT: &str = "subject";
pub(crate) const ISSUER: &str = "issuer";
pub(crate) const KEY_ALGORITHM: &str = "key_algorithm";
pub(crate) const SIGNATURE_ALGORITHM: &str = "signature_algorithm";
/// Separated by commas.
pub(crate) const KEY_USAGES: &str = "key_usages";
/// `NAME OID`, separated by commas.
pub(crate) const EXTENDED_KEY_USAGES: &str = "extended_key_usages";

/// A certificate that can be served.
#[derive(Debug)]
pub(crate) struct ReadCertificate {
    pub(crate) domain_name: String,
    /// All names, the main one first.
    pub(crate) names: Vec<String>,
    pub(crate) facts: BTreeMap<String, String>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    /// As it was given, with line ends as ACM tells them.
    pub(crate) certificate: String,
    pub(crate) chain: Option<String>,
    pub(crate) private_key: String,
}

/// Reads what is imported, and checks that it can be served at `now`.
pub(crate) fn read(
    certificate: &[u8],
    chain: Option<&[u8]>,
    private_key: &[u8],
    now: Timestamp,
) -> Result<ReadCertificate, Fault> {
    let not_parsed = || validation("Could not parse certificate. The certificate must be PEM-encoded X.509.");
    let pems = pems(certificate).ok_or_else(not_parsed)?;
    let pem = match pems.as_slice() {
        [pem] => pem,
        [] => return Err(not_parsed()),
        _ => {
            return Err(validation(
                "The certificate field contains more than one certificate. You can specify only one certificate in \
                 this field.",
            ));
        }
    };
    let leaf = pem.parse_x509().map_err(|_| not_parsed())?;
    // Said here: the TLS library refuses it too, but not by its version.
    if leaf.version() != X509Version::V3 {
        return Err(validation("The certificate must be an X.509 version 3 certificate."));
    }
    check_validity(&leaf, now)?;
    let key_algorithm = key_algorithm(leaf.public_key())?;
    let chain_pems = chain.map(|chain| self::pems(chain).ok_or_else(bad_chain)).transpose()?;
    check_chain(&leaf, chain_pems.as_deref(), now)?;
    let names = names(&leaf);
    let Some(domain_name) = names.first().cloned() else {
        return Err(validation("The certificate has neither a common name nor a subject alternative name."));
    };
    let read = ReadCertificate {
        facts: facts(&leaf, key_algorithm),
        not_before: Timestamp::from_millis(leaf.validity().not_before.timestamp().saturating_mul(1000)),
        not_after: Timestamp::from_millis(leaf.validity().not_after.timestamp().saturating_mul(1000)),
        certificate: encode(pem),
        chain: chain_pems.map(|pems| pems.iter().map(encode).collect()),
        private_key: text(private_key).ok_or_else(bad_key)?,
        domain_name,
        names,
    };
    check_key(&read)?;
    Ok(read)
}

/// The certificates of a PEM text; `None` where it is none, or has something else in it.
fn pems(text: &[u8]) -> Option<Vec<Pem>> {
    let pems: Vec<Pem> =
        Pem::iter_from_buffer(text).take(CHAIN_MAXIMUM + 1).collect::<Result<_, _>>().ok()?;
    let is_good = pems.len() <= CHAIN_MAXIMUM && pems.iter().all(|pem| pem.label == "CERTIFICATE");
    is_good.then_some(pems)
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// In lines of 64 characters, as ACM tells them.
fn encode(pem: &Pem) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(&pem.contents);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

fn check_validity(certificate: &X509Certificate<'_>, now: Timestamp) -> Result<(), Fault> {
    let seconds = now.as_millis().div_euclid(1000);
    if certificate.validity().not_before.timestamp() > seconds {
        return Err(validation("The certificate is not in effect yet."));
    }
    if certificate.validity().not_after.timestamp() < seconds {
        return Err(validation("The certificate has expired."));
    }
    Ok(())
}

/// The algorithm, in the model's words. Those that the TLS library cannot sign with are refused by name.
fn key_algorithm(key: &SubjectPublicKeyInfo<'_>) -> Result<&'static str, Fault> {
    let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    let curve = curve.map(|curve| curve.to_id_string());
    match (key.parsed(), curve.as_deref()) {
        (Ok(PublicKey::RSA(key)), _) => match key.key_size() {
            2048 => Ok("RSA_2048"),
            3072 => Ok("RSA_3072"),
            4096 => Ok("RSA_4096"),
            1024 => Err(unsupported("The key algorithm RSA_1024")),
            _ => Err(validation("The private key length is not supported for key algorithm.")),
        },
        (_, Some("1.2.840.10045.3.1.7")) => Ok("EC_prime256v1"),
        (_, Some("1.3.132.0.34")) => Ok("EC_secp384r1"),
        (_, Some("1.3.132.0.35")) => Err(unsupported("The key algorithm EC_secp521r1")),
        _ => Err(validation("The certificate's key algorithm is not supported.")),
    }
}

fn bad_chain() -> Fault {
    validation("Could not validate the certificate with the certificate chain.")
}

/// Each certificate must be signed by the next one.
fn check_chain(leaf: &X509Certificate<'_>, chain: Option<&[Pem]>, now: Timestamp) -> Result<(), Fault> {
    let Some(chain) = chain else {
        if leaf.issuer() == leaf.subject() && leaf.verify_signature(None).is_ok() {
            return Ok(());
        }
        return Err(validation(
            "Provided certificate is not a valid self signed. Please provide either a valid self-signed certificate or \
             certificate chain.",
        ));
    };
    let chain: Vec<X509Certificate<'_>> =
        chain.iter().map(Pem::parse_x509).collect::<Result<_, _>>().map_err(|_| bad_chain())?;
    let mut below = leaf;
    for issuer in &chain {
        let is_issued = below.issuer() == issuer.subject()
            && issuer.is_ca()
            && below.verify_signature(Some(issuer.public_key())).is_ok();
        if !is_issued || check_validity(issuer, now).is_err() {
            return Err(bad_chain());
        }
        below = issuer;
    }
    if chain.is_empty() { Err(bad_chain()) } else { Ok(()) }
}

/// The main name, then the others, each once.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut names: Vec<String> = common.take(1).map(str::to_owned).collect();
    let alternative = certificate.subject_alternative_name().ok().flatten();
    for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
        if let GeneralName::DNSName(name) = name
            && !names.iter().any(|known| known == name)
        {
            names.push((*name).to_owned());
        }
    }
    names
}

fn facts(certificate: &X509Certificate<'_>, key_algorithm: &str) -> BTreeMap<String, String> {
    let usages = certificate.key_usage().ok().flatten().map(|extension| key_usages(extension.value.flags));
    let extended = certificate.extended_key_usage().ok().flatten();
    let extended = extended.map(|extension| extended_key_usages(extension.value));
    let facts = [
        (SERIAL, certificate.raw_serial_as_string()),
        (SUBJECT, certificate.subject().to_string()),
        (ISSUER, issuer(certificate.issuer())),
        (KEY_ALGORITHM, key_algorithm.to_owned()),
        (SIGNATURE_ALGORITHM, signature_algorithm(certificate)),
        (KEY_USAGES, usages.unwrap_or_default()),
        (EXTENDED_KEY_USAGES, extended.unwrap_or_default()),
    ];
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Its organisation, or else its common name, as ACM tells `Amazon`.
fn issuer(name: &X509Name<'_>) -> String {
    let mut found = name.iter_organization().chain(name.iter_common_name());
    let found = found.find_map(|part| part.as_str().ok());
    found.map_or_else(|| name.to_string(), str::to_owned)
}

fn signature_algorithm(certificate: &X509Certificate<'_>) -> String {
    let oid = certificate.signature_algorithm.algorithm.to_id_string();
    match oid.as_str() {
        "1.2.840.113549.1.1.5" => "SHA1WITHRSA".to_owned(),
        "1.2.840.113549.1.1.11" => "SHA256WITHRSA".to_owned(),
        "1.2.840.113549.1.1.12" => "SHA384WITHRSA".to_owned(),
        "1.2.840.113549.1.1.13" => "SHA512WITHRSA".to_owned(),
        "1.2.840.10045.4.3.2" => "SHA256WITHECDSA".to_owned(),
        "1.2.840.10045.4.3.3" => "SHA384WITHECDSA".to_owned(),
        "1.2.840.10045.4.3.4" => "SHA512WITHECDSA".to_owned(),
        _ => oid,
    }
}

/// Bit by bit, from the first. Source: RFC 5280, 4.2.1.3, and the "KeyUsage" data type.
fn key_usages(flags: u16) -> String {
    let names = [
        "DIGITAL_SIGNATURE",
        "NON_REPUDIATION",
        "KEY_ENCIPHERMENT",
        "DATA_ENCIPHERMENT",
        "KEY_AGREEMENT",
        "CERTIFICATE_SIGNING",
        "CRL_SIGNING",
        "ENCIPHER_ONLY",
        "DECIPHER_ONLY",
    ];
    let set = names.into_iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1);
    set.map(|(_, name)| name).collect::<Vec<_>>().join(",")
}

fn extended_key_usages(usage: &x509_parser::extensions::ExtendedKeyUsage<'_>) -> String {
    let known = [
        (usage.server_auth, "TLS_WEB_SERVER_AUTHENTICATION 1.3.6.1.5.5.7.3.1"),
        (usage.client_auth, "TLS_WEB_CLIENT_AUTHENTICATION 1.3.6.1.5.5.7.3.2"),
        (usage.code_signing, "CODE_SIGNING 1.3.6.1.5.5.7.3.3"),
        (usage.email_protection, "EMAIL_PROTECTION 1.3.6.1.5.5.7.3.4"),
        (usage.time_stamping, "TIME_STAMPING 1.3.6.1.5.5.7.3.8"),
        (usage.ocsp_signing, "OCSP_SIGNING 1.3.6.1.5.5.7.3.9"),
        (usage.any, "ANY 2.5.29.37.0"),
    ];
    let set = known.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name.to_owned());
    let others = usage.other.iter().map(|oid| format!("CUSTOM {}", oid.to_id_string()));
    set.chain(others).collect::<Vec<_>>().join(",")
}

fn bad_key() -> Fault {
    validation("The private key must be a PEM-encoded, unencrypted private key.")
}

/// Asks the balancer's TLS library, which is to serve it.
fn check_key(read: &ReadCertificate) -> Result<(), Fault> {
    if read.private_key.contains("ENCRYPTED") {
        return Err(validation("The private key must be unencrypted."));
    }
    let served = balancer::tls::Certificate::from_pem(
        "",
        read.names.clone(),
        read.certificate.as_bytes(),
        read.chain.as_deref().unwrap_or_default().as_bytes(),
        read.private_key.as_bytes(),
    );
    match served {
        Ok(_) => Ok(()),
        Err(CertificateError::PrivateKey) => Err(bad_key()),
        Err(CertificateError::Mismatch(_)) => {
            Err(validation("The private key does not match the certificate's public key."))
        }
        Err(CertificateError::Certificate) => Err(bad_chain()),
    }
}
