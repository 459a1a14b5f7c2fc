//! The client's half.

use base::Timestamp;
use hmac::Mac;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use http::request::Parts;

use super::{ALGORITHM, Scope, SecretKey, canonical, sha256_hex, signature};

/// What a client signs with.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The access key id.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: SecretKey,
    /// The session token of temporary credentials.
    pub session_token: Option<String>,
}

/// Signs a request: adds `Host` (from the URI, if absent), `X-Amz-Date`, `X-Amz-Security-Token` and `Authorization`.
///
/// All headers that are there are signed but `User-Agent`, `Connection` and the like, which proxies may change.
pub fn sign(
    parts: &mut Parts,
    body: &[u8],
    key: &SigningKey,
    aws_service: &str,
    region: &str,
    now: Timestamp,
) {
    if !parts.headers.contains_key(HOST)
        && let Some(authority) = parts.uri.authority()
        && let Ok(value) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(HOST, value);
    }
    parts.headers.remove(AUTHORIZATION);
    put(&mut parts.headers, "x-amz-date", &now.to_basic_iso8601());
    if let Some(token) = &key.session_token {
        put(&mut parts.headers, "x-amz-security-token", token);
    }
    let names: Vec<String> = parts.headers.keys().map(|name| name.as_str().to_owned()).collect();
    let mut signed: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !CHANGEABLE.contains(name)).collect();
    signed.sort_unstable();
    let query = canonical::query(parts.uri.query().unwrap_or_default(), None);
    let hash = match parts.headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok()) {
        Some(hash) => hash.to_owned(),
        None => sha256_hex(body),
    };
    let canonical = canonical::Parts {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: &query,
        headers: &parts.headers,
        authority: None,
        keeps_path: aws_service == "s3",
    };
    let Some(text) = canonical.request(&signed, &hash) else {
        unreachable!("the signed headers are those that are there")
    };
    let stamp = now.to_basic_iso8601();
    let scope = Scope { date: &stamp[..8], region, aws_service };
    let mac = signature(&key.secret_access_key, &scope, now, &text);
    let value = format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={}",
        key.access_key_id,
        scope.text(),
        signed.join(";"),
        hex::encode(mac.finalize().into_bytes())
    );
    put(&mut parts.headers, "authorization", &value);
}

/// Headers that something between client and server may add or change.
const CHANGEABLE: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "expect",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    // A token or date with control characters is left out, and the server refuses the request by name.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// The headers that a bare `GET url` needs, such as a web socket's handshake: `Host`, `X-Amz-Date`, `Authorization`, …
///
/// `None` if `url` is no absolute URL.
pub fn sign_url(
    url: &str,
    key: &SigningKey,
    aws_service: &str,
    region: &str,
    now: Timestamp,
) -> Option<HeaderMap> {
    let request = http::Request::get(url).body(()).ok()?;
    let (mut parts, ()) = request.into_parts();
    parts.uri.authority()?;
    sign(&mut parts, b"", key, aws_service, region, now);
    Some(parts.headers)
}

/// `url` for a GET with the signature in its query, good for `expires_seconds`. `None` if `url` is no absolute URL.
pub fn presign(
    url: &str,
    key: &SigningKey,
    aws_service: &str,
    region: &str,
    now: Timestamp,
    expires_seconds: u32,
) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let authority = uri.authority()?.as_str();
    let stamp = now.to_basic_iso8601();
    let scope = Scope { date: &stamp[..8], region, aws_service };
    let mut query: Vec<String> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(str::to_owned)
        .collect();
    let credential = format!("{}/{}", key.access_key_id, scope.text());
    let mut add =
        |name: &str, value: &str| query.push(format!("{name}={}", canonical::encode(value.as_bytes())));
    add("X-Amz-Algorithm", ALGORITHM);
    add("X-Amz-Credential", &credential);
    add("X-Amz-Date", &stamp);
    add("X-Amz-Expires", &expires_seconds.to_string());
    add("X-Amz-SignedHeaders", "host");
    if let Some(token) = &key.session_token {
        add("X-Amz-Security-Token", token);
    }
    let query = canonical::query(&query.join("&"), None);
    let keeps_path = aws_service == "s3";
    let hash = if keeps_path { super::UNSIGNED_PAYLOAD.to_owned() } else { sha256_hex(b"") };
    let headers = HeaderMap::new();
    let canonical = canonical::Parts {
        method: "GET",
        path: uri.path(),
        query: &query,
        headers: &headers,
        authority: Some(authority),
        keeps_path,
    };
    let text = canonical.request(&["host"], &hash)?;
    let mac = signature(&key.secret_access_key, &scope, now, &text);
    let scheme = uri.scheme_str().unwrap_or("http");
    let signature = hex::encode(mac.finalize().into_bytes());
    Some(format!("{scheme}://{authority}{}?{query}&X-Amz-Signature={signature}", uri.path()))
}
