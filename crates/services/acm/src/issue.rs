//! Certificates that are made here: self-signed, for development.

use base::{Ids, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SerialNumber,
};
use time::OffsetDateTime;
use wire::Fault;

use crate::faults::unsupported;

/// What a request that names no algorithm gets: keys for RSA are not made here.
pub(crate) const DEFAULT_KEY_ALGORITHM: &str = "EC_prime256v1";
/// Days. Source: "ACM certificate characteristics", validity period.
const VALID_DAYS: i64 = 395;
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// Bytes of a serial number, of which the first is positive.
const SERIAL_BYTES: usize = 16;

/// A certificate and its private key, as PEM texts.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) private_key: String,
}

/// Makes a certificate for `names`, of which the first is the main one.
pub(crate) fn issue(
    names: &[String],
    key_algorithm: &str,
    now: Timestamp,
    ids: &dyn Ids,
) -> Result<Issued, Fault> {
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
