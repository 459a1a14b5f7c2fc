//! The server's half.

use base::Timestamp;
use hmac::Mac;
use http::HeaderMap;
use http::header::{AUTHORIZATION, DATE, HOST};
use http::request::Parts;

use super::{
    ALGORITHM, AUTHORIZATION_MAXIMUM_BYTES, CLOCK_SKEW_SECONDS, PRESIGNED_MAXIMUM_SECONDS, Scope, SecretKey,
    UNSIGNED_PAYLOAD, canonical, sha256_hex, signature,
};
use crate::call::Principal;
use crate::protocol::timestamp;
use crate::schema::TimestampFormat;

/// Where access keys are known.
pub trait Credentials: Send + Sync + 'static {
    /// The key called `access_key_id`, if there is one and it may be used.
    fn lookup(&self, access_key_id: &str) -> Option<KnownKey>;
}

/// An access key, and whose it is.
#[derive(Clone, Debug)]
pub struct KnownKey {
    /// The secret that its signatures are made with.
    pub secret_access_key: SecretKey,
    /// The session token that must come with it, for temporary credentials.
    pub session_token: Option<String>,
    /// Whose.
    pub principal: Principal,
}

/// Who signed, and for where.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Whose key it was.
    pub principal: Principal,
    /// The scope's region.
    pub region: String,
    /// The scope's service.
    pub aws_service: String,
}

/// Why a signature is not accepted. The texts are AWS's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No signature at all.
    #[error("Missing Authentication Token")]
    Missing,
    /// A signature that lacks something or is malformed.
    #[error("{0}")]
    Incomplete(String),
    /// The key is not known, or the session token is not its own.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The signature is not what the key makes.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key \
         and signing method. Consult the service documentation for details."
    )]
    Mismatch,
    /// The scope is for another service, date or version.
    #[error("{0}")]
    Scope(String),
    /// Too old, not yet current, or a presigned URL past its time.
    #[error("{0}")]
    Expired(String),
}

/// What a request says of its signer, before anything is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The access key id.
    pub access_key_id: String,
    /// `YYYYMMDD`.
    pub date: String,
    /// The region that the signature is for.
    pub region: String,
    /// The service that the signature is for.
    pub aws_service: String,
    signed_headers: Vec<String>,
    signature: String,
    moment: Timestamp,
    /// Seconds that a presigned URL lives; `None` for the header form.
    expires_seconds: Option<i64>,
    session_token: Option<String>,
}

/// Reads the claim of a request: from `Authorization`, else from the query of a presigned URL.
pub fn claim(parts: &Parts) -> Result<Claim, Refusal> {
    let query = parts.uri.query().unwrap_or_default();
    let presigned =
        parameter(query, "X-Amz-Algorithm")?.is_some() || parameter(query, "X-Amz-Signature")?.is_some();
    match (parts.headers.contains_key(AUTHORIZATION), presigned) {
        (true, true) => {
            Err(incomplete("A request carries its signature in a header or in its query, not in both."))
        }
        (true, false) => header_claim(&parts.headers),
        (false, true) => query_claim(query),
        (false, false) => Err(Refusal::Missing),
    }
}

fn incomplete(text: impl Into<String>) -> Refusal {
    Refusal::Incomplete(text.into())
}

/// The one value of a header; a second one is refused, lest we check one and use the other.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(incomplete(format!("The header '{name}' may stand only once.")));
    }
    match first.map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(incomplete(format!("The header '{name}' is no text."))),
    }
}

/// The one value of a query parameter, decoded.
fn parameter(query: &str, name: &str) -> Result<Option<String>, Refusal> {
    let mut values = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(key, _)| canonical::decode(key) == name.as_bytes());
    let first = values.next().map(|(_, value)| canonical::decode(value));
    if values.next().is_some() {
        return Err(incomplete(format!("The query parameter '{name}' may stand only once.")));
    }
    first
        .map(|bytes| String::from_utf8(bytes).map_err(|_| incomplete(format!("'{name}' is no text."))))
        .transpose()
}

fn header_claim(headers: &HeaderMap) -> Result<Claim, Refusal> {
    let text = single(headers, "authorization")?.unwrap_or_default();
    if text.len() > AUTHORIZATION_MAXIMUM_BYTES {
        return Err(incomplete("The Authorization header is too long."));
    }
    let Some(rest) = text.strip_prefix(ALGORITHM).filter(|rest| rest.starts_with(' ')) else {
        return Err(incomplete(format!(
            "Unsupported AWS 'algorithm': the Authorization header requires {ALGORITHM}."
        )));
    };
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for pair in rest.split([',', ' ']).filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(incomplete("Invalid key=value pair (missing equal-sign) in Authorization header."));
        };
        let place = match key {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => return Err(incomplete("The Authorization header has a parameter that is not known.")),
        };
        if place.replace(value).is_some() {
            return Err(incomplete(format!("Authorization header has '{key}' twice.")));
        }
    }
    let stamp = match single(headers, "x-amz-date")? {
        Some(stamp) => timestamp::read_basic(stamp),
        None => single(headers, DATE.as_str())?.and_then(|date| {
            timestamp::read(date, TimestampFormat::Rfc822).or_else(|| timestamp::read_basic(date))
        }),
    };
    let lacking: Vec<&str> = [
        (credential.is_none(), "Authorization header requires 'Credential' parameter."),
        (signature.is_none(), "Authorization header requires 'Signature' parameter."),
        (signed_headers.is_none(), "Authorization header requires 'SignedHeaders' parameter."),
        (
            stamp.is_none(),
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        ),
    ]
    .into_iter()
    .filter_map(|(lacks, text)| lacks.then_some(text))
    .collect();
    let (Some(credential), Some(signed_headers), Some(signature), Some(moment)) =
        (credential, signed_headers, signature, stamp)
    else {
        return Err(incomplete(lacking.join(" ")));
    };
    let session_token = single(headers, "x-amz-security-token")?.map(str::to_owned);
    assemble(credential, signed_headers, signature, moment, None, session_token)
}

fn query_claim(query: &str) -> Result<Claim, Refusal> {
    let need = |name: &str| {
        parameter(query, name)?
            .filter(|value| !value.is_empty())
            .ok_or_else(|| incomplete(format!("AWS query-string parameters must include '{name}'.")))
    };
    if need("X-Amz-Algorithm")? != ALGORITHM {
        return Err(incomplete(format!(
            "Unsupported AWS 'algorithm': X-Amz-Algorithm requires {ALGORITHM}."
        )));
    }
    let credential = need("X-Amz-Credential")?;
    let signed_headers = need("X-Amz-SignedHeaders")?;
    let signature = need("X-Amz-Signature")?;
    let moment = timestamp::read_basic(&need("X-Amz-Date")?)
        .ok_or_else(|| incomplete("X-Amz-Date must be in the format YYYYMMDDTHHMMSSZ."))?;
    // STS and others take a presigned URL without a life of its own: then the clock skew bounds it.
    let expires_seconds = match parameter(query, "X-Amz-Expires")? {
        None => CLOCK_SKEW_SECONDS,
        Some(text) => text
            .parse::<i64>()
            .ok()
            .filter(|seconds| (0..=PRESIGNED_MAXIMUM_SECONDS).contains(seconds))
            .ok_or_else(|| incomplete("X-Amz-Expires must be between 0 and 604800 seconds."))?,
    };
    let session_token = parameter(query, "X-Amz-Security-Token")?;
    assemble(&credential, &signed_headers, &signature, moment, Some(expires_seconds), session_token)
}

fn assemble(
    credential: &str,
    signed_headers: &str,
    signature: &str,
    moment: Timestamp,
    expires_seconds: Option<i64>,
    session_token: Option<String>,
) -> Result<Claim, Refusal> {
    // An access key id may not hold a slash, so the scope is what stands behind the first.
    let parts: Vec<&str> = credential.split('/').collect();
    let [access_key_id, date, region, aws_service, terminator] = parts.as_slice() else {
        return Err(incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.",
        ));
    };
    if *terminator != "aws4_request" {
        return Err(Refusal::Scope(
            "Credential should be scoped with a valid terminator: 'aws4_request'.".to_owned(),
        ));
    }
    let stamp = moment.to_basic_iso8601();
    if stamp.get(..8) != Some(*date) {
        return Err(Refusal::Scope(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP."
                .to_owned(),
        ));
    }
    let signed_headers: Vec<String> = signed_headers.split(';').map(str::to_owned).collect();
    let well_formed = |name: &String| !name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_uppercase());
    if !signed_headers.iter().all(well_formed) || !signed_headers.is_sorted_by(|a, b| a < b) {
        return Err(incomplete("SignedHeaders must be lower-case names in order, each of them once."));
    }
    if !signed_headers.iter().any(|name| name == "host") {
        return Err(incomplete("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
    }
    Ok(Claim {
        access_key_id: (*access_key_id).to_owned(),
        date: (*date).to_owned(),
        region: (*region).to_owned(),
        aws_service: (*aws_service).to_owned(),
        signed_headers,
        signature: signature.to_owned(),
        moment,
        expires_seconds,
        session_token,
    })
}

/// Verifies a request's signature. For a web socket's handshake the body is empty.
///
/// Whether the scope's service and region are the right ones is the caller's to judge.
pub fn verify(
    parts: &Parts,
    body: &[u8],
    credentials: &dyn Credentials,
    now: Timestamp,
) -> Result<Verified, Refusal> {
    let claim = claim(parts)?;
    check_time(&claim, now)?;
    let key = credentials.lookup(&claim.access_key_id).ok_or(Refusal::UnknownKey)?;
    if key.secret_access_key.expose().is_empty() || !same_token(&key, &claim) {
        return Err(Refusal::UnknownKey);
    }
    check_headers(parts, &claim)?;
    let hash = payload_hash(parts, body, &claim)?;
    let query = canonical::query(
        parts.uri.query().unwrap_or_default(),
        claim.expires_seconds.is_some().then_some("X-Amz-Signature"),
    );
    let signed: Vec<&str> = claim.signed_headers.iter().map(String::as_str).collect();
    let canonical = canonical::Parts {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: &query,
        headers: &parts.headers,
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
        keeps_path: claim.aws_service == "s3",
    };
    let canonical_request = canonical
        .request(&signed, &hash)
        .ok_or_else(|| incomplete("A header in SignedHeaders is not in the request."))?;
    let scope = Scope { date: &claim.date, region: &claim.region, aws_service: &claim.aws_service };
    let mac = signature(&key.secret_access_key, &scope, claim.moment, &canonical_request);
    let lower = !claim.signature.bytes().any(|byte| byte.is_ascii_uppercase());
    let given = hex::decode(&claim.signature).ok().filter(|_| lower).ok_or(Refusal::Mismatch)?;
    // Compares in constant time, lengths included.
    mac.verify_slice(&given).map_err(|_| Refusal::Mismatch)?;
    Ok(Verified { principal: key.principal, region: claim.region, aws_service: claim.aws_service })
}

fn same_token(key: &KnownKey, claim: &Claim) -> bool {
    use sha2::{Digest, Sha256};
    match (&key.session_token, &claim.session_token) {
        // A long-lived key needs none; one that comes along is signed and harmless, and AWS refuses it.
        (None, token) => token.is_none(),
        // Digests are compared, so that the time does not tell how much of the token is right.
        (Some(known), Some(given)) => Sha256::digest(known.as_bytes()) == Sha256::digest(given.as_bytes()),
        (Some(_), None) => false,
    }
}

/// The headers that carry meaning for us must be signed where they are present, and single.
fn check_headers(parts: &Parts, claim: &Claim) -> Result<(), Refusal> {
    single(&parts.headers, HOST.as_str())?;
    for name in ["x-amz-date", "x-amz-target", "x-amz-content-sha256"] {
        let present = single(&parts.headers, name)?.is_some();
        let unsigned = !claim.signed_headers.iter().any(|signed| signed == name);
        if present && unsigned {
            return Err(incomplete(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")));
        }
    }
    single(&parts.headers, "content-type")?;
    Ok(())
}

fn payload_hash(parts: &Parts, body: &[u8], claim: &Claim) -> Result<String, Refusal> {
    let stated = single(&parts.headers, "x-amz-content-sha256")?;
    match stated {
        Some(UNSIGNED_PAYLOAD) => Ok(UNSIGNED_PAYLOAD.to_owned()),
        None if claim.expires_seconds.is_some() && claim.aws_service == "s3" => {
            Ok(UNSIGNED_PAYLOAD.to_owned())
        }
        None => Ok(sha256_hex(body)),
        Some(stated) => {
            let hash = sha256_hex(body);
            if stated == hash { Ok(hash) } else { Err(Refusal::Mismatch) }
        }
    }
}

fn check_time(claim: &Claim, now: Timestamp) -> Result<(), Refusal> {
    let age = now.since_millis(claim.moment).div_euclid(1000);
    let life = claim.expires_seconds.unwrap_or(CLOCK_SKEW_SECONDS);
    let stamp = claim.moment.to_basic_iso8601();
    let clock = now.to_basic_iso8601();
    if age > life {
        let edge = now.plus_seconds(-life).to_basic_iso8601();
        let window = if life % 60 == 0 { format!("{} min.", life / 60) } else { format!("{life} sec.") };
        return Err(Refusal::Expired(format!(
            "Signature expired: {stamp} is now earlier than {edge} ({clock} - {window})"
        )));
    }
    if age < -CLOCK_SKEW_SECONDS {
        let edge = now.plus_seconds(CLOCK_SKEW_SECONDS).to_basic_iso8601();
        return Err(Refusal::Expired(format!(
            "Signature not yet current: {stamp} is still later than {edge} ({clock} + 15 min.)"
        )));
    }
    Ok(())
}
