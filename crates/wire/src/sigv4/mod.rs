//! Signature Version 4: [`verify`] for what comes in, [`sign`] for what our own clients send.
//!
//! Source: "AWS Signature Version 4 for API requests", IAM User Guide.

mod canonical;
mod sign;
mod verify;

use std::fmt;

use base::Timestamp;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

pub(crate) use canonical::decode;
pub use sign::{SigningKey, presign, sign, sign_url};
pub use verify::{Claim, Credentials, KnownKey, Refusal, Verified, claim, verify};

/// How far a request's date may be from ours, either way. AWS: 15 minutes.
pub const CLOCK_SKEW_SECONDS: i64 = 15 * 60;
/// The longest life of a presigned URL. AWS: seven days.
pub const PRESIGNED_MAXIMUM_SECONDS: i64 = 7 * 24 * 3600;
/// The only algorithm.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The longest `Authorization` header that is looked at.
pub const AUTHORIZATION_MAXIMUM_BYTES: usize = 8 * 1024;

const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// A secret access key. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(String);

impl SecretKey {
    /// Takes the key.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The key itself, to store or hand over.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

fn hmac(key: &[u8], data: &[u8]) -> Hmac<Sha256> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.update(data);
    mac
}

fn hmac_bytes(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac(key, data).finalize().into_bytes().to_vec()
}

fn sha256_hex(data: &[u8]) -> String {
    hex::encode(Sha256::digest(data))
}

/// The signature over `canonical_request`, not yet in hexadecimal.
fn signature(
    secret: &SecretKey,
    scope: &Scope<'_>,
    moment: Timestamp,
    canonical_request: &str,
) -> Hmac<Sha256> {
    let text = format!(
        "{ALGORITHM}\n{}\n{}\n{}",
        moment.to_basic_iso8601(),
        scope.text(),
        sha256_hex(canonical_request.as_bytes())
    );
    let key = hmac_bytes(format!("AWS4{}", secret.expose()).as_bytes(), scope.date.as_bytes());
    let key = hmac_bytes(&key, scope.region.as_bytes());
    let key = hmac_bytes(&key, scope.aws_service.as_bytes());
    let key = hmac_bytes(&key, b"aws4_request");
    hmac(&key, text.as_bytes())
}

/// A credential's scope: `20150830/us-east-1/ecs/aws4_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scope<'a> {
    date: &'a str,
    region: &'a str,
    aws_service: &'a str,
}

impl Scope<'_> {
    fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.aws_service)
    }
}
