//! Headers on the way through: those of one hop only are taken out, and what the target should know is put in.
//! Source: "HTTP headers and Application Load Balancers"; RFC 9110, section 7.6.1.

use std::net::SocketAddr;

use base::Timestamp;
use http::header::{CONNECTION, EXPECT, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Version};

use crate::configuration::{ForwardedForMode, LoadBalancerAttributes};

/// Addresses in `X-Forwarded-For` above which a request is refused (code 463).
const FORWARDED_FOR_MAXIMUM: usize = 30;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
static TLS_VERSION: HeaderName = HeaderName::from_static("x-amzn-tls-version");
static TLS_SUITE: HeaderName = HeaderName::from_static("x-amzn-tls-cipher-suite");
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What the connection of a client is.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where it comes from.
    pub address: SocketAddr,
    /// The listener's port.
    pub listener_port: u16,
    /// TLS version and cipher suite, where it has them.
    pub tls: Option<(&'static str, String)>,
    /// The name that it asked for in its TLS handshake.
    pub server_name: Option<std::sync::Arc<str>>,
}

/// Takes out what is meant for this hop alone. What `Connection` names goes too, but never what frames or routes.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .filter(|name| {
            !matches!(name.as_str(), "host" | "content-length" | "content-type" | "authorization" | "cookie")
        })
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [&CONNECTION, &TRANSFER_ENCODING, &UPGRADE, &KEEP_ALIVE, &PROXY_CONNECTION] {
        headers.remove(name);
    }
    let trailers = headers.get(TE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    headers.remove(TE);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Readies a request's headers for its target. The error is a status to answer with.
pub fn prepare(
    headers: &mut HeaderMap,
    client: &Client,
    attributes: &LoadBalancerAttributes,
    trace: &str,
) -> Result<(), u16> {
    strip_hop_by_hop(headers);
    headers.remove(EXPECT);
    if attributes.drop_invalid_header_fields {
        drop_invalid(headers);
    }
    forwarded_for(headers, client, attributes)?;
    let proto = if client.tls.is_some() { "https" } else { "http" };
    headers.insert(&FORWARDED_PROTO, HeaderValue::from_static(proto));
    headers.insert(&FORWARDED_PORT, HeaderValue::from(client.listener_port));
    let traced = traced(headers.get(&TRACE_ID), trace);
    if let Ok(value) = HeaderValue::try_from(traced) {
        headers.insert(&TRACE_ID, value);
    }
    headers.remove(&TLS_VERSION);
    headers.remove(&TLS_SUITE);
    if attributes.tls_headers
        && let Some((version, suite)) = &client.tls
    {
        headers.insert(&TLS_VERSION, HeaderValue::from_static(version));
        if let Ok(suite) = HeaderValue::try_from(suite) {
            headers.insert(&TLS_SUITE, suite);
        }
    }
    Ok(())
}

fn drop_invalid(headers: &mut HeaderMap) {
    let is_valid =
        |name: &HeaderName| name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let invalid: Vec<HeaderName> = headers.keys().filter(|name| !is_valid(name)).cloned().collect();
    for name in invalid {
        headers.remove(name);
    }
}

fn forwarded_for(
    headers: &mut HeaderMap,
    client: &Client,
    attributes: &LoadBalancerAttributes,
) -> Result<(), u16> {
    match attributes.forwarded_for {
        ForwardedForMode::Preserve => return Ok(()),
        ForwardedForMode::Remove => {
            headers.remove(&FORWARDED_FOR);
            return Ok(());
        }
        ForwardedForMode::Append => {}
    }
    let address = client.address.ip().to_canonical();
    let own = match (attributes.forwarded_client_port, address) {
        (false, address) => address.to_string(),
        (true, std::net::IpAddr::V4(address)) => format!("{address}:{}", client.address.port()),
        (true, std::net::IpAddr::V6(address)) => format!("[{address}]:{}", client.address.port()),
    };
    let before: Vec<&str> =
        headers.get_all(&FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    let joined = before.join(", ");
    if joined.split(',').count() > FORWARDED_FOR_MAXIMUM {
        return Err(463);
    }
    let text = if joined.is_empty() { own } else { format!("{joined}, {own}") };
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(&FORWARDED_FOR, value);
    }
    Ok(())
}

/// `Root=…` where the client sent none; else its own, with `Self=…` before it.
fn traced(there: Option<&HeaderValue>, trace: &str) -> String {
    let there = there.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let fields: Vec<&str> = there
        .split(';')
        .map(str::trim)
        .filter(|field| !field.is_empty() && !field.starts_with("Self="))
        .collect();
    if fields.iter().any(|field| field.starts_with("Root=")) {
        format!("Self={trace};{}", fields.join(";"))
    } else if fields.is_empty() {
        format!("Root={trace}")
    } else {
        format!("Root={trace};{}", fields.join(";"))
    }
}

/// `1-TIME-ID`: seconds in 8 hexadecimal digits, and 24 random ones.
pub fn trace_id(now: Timestamp, random: &str) -> String {
    format!("1-{:08x}-{random}", now.as_millis() / 1000)
}

/// Readies an answer's headers for the client.
pub fn prepare_answer(headers: &mut HeaderMap, version: Version) {
    let trailer = headers.get(TRAILER).cloned();
    strip_hop_by_hop(headers);
    if version == Version::HTTP_2
        && let Some(trailer) = trailer
    {
        headers.insert(TRAILER, trailer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(tls: bool) -> Client {
        Client {
            address: "203.0.113.9:4711".parse().unwrap(),
            listener_port: 443,
            tls: tls.then(|| ("TLSv1.3", "TLS_AES_128_GCM_SHA256".to_owned())),
            server_name: None,
        }
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let parse = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(parse).collect()
    }

    fn text(headers: &HeaderMap, name: &str) -> String {
        headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn a20_what_the_client_says_of_itself_is_not_believed() {
        let mut sent = headers(&[
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "1"),
            ("connection", "x-forwarded-for, x-forwarded-proto, close, host"),
            ("host", "a"),
            ("x-amzn-tls-version", "fake"),
        ]);
        prepare(&mut sent, &client(false), &LoadBalancerAttributes::default(), "1-0-a").unwrap();
        assert_eq!(text(&sent, "x-forwarded-for"), "203.0.113.9", "named by Connection, so gone; then set");
        assert_eq!(text(&sent, "x-forwarded-proto"), "http");
        assert_eq!(text(&sent, "x-forwarded-port"), "443");
        assert_eq!(text(&sent, "host"), "a");
        assert_eq!(text(&sent, "connection") + &text(&sent, "x-amzn-tls-version"), "");
    }

    #[test]
    fn forwarded_for_by_mode() {
        let with = |mode, port| {
            let mut sent = headers(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")]);
            let attributes = LoadBalancerAttributes {
                forwarded_for: mode,
                forwarded_client_port: port,
                ..Default::default()
            };
            prepare(&mut sent, &client(true), &attributes, "t").unwrap();
            text(&sent, "x-forwarded-for")
        };
        assert_eq!(with(ForwardedForMode::Append, false), "1.1.1.1, 2.2.2.2, 203.0.113.9");
        assert_eq!(with(ForwardedForMode::Append, true), "1.1.1.1, 2.2.2.2, 203.0.113.9:4711");
        assert_eq!(with(ForwardedForMode::Preserve, true), "1.1.1.1");
        assert_eq!(with(ForwardedForMode::Remove, false), "");
        let mut many = headers(&[("x-forwarded-for", &vec!["1.1.1.1"; 31].join(","))]);
        assert_eq!(prepare(&mut many, &client(true), &LoadBalancerAttributes::default(), "t"), Err(463));
    }

    #[test]
    fn trace_ids() {
        let of = |there: Option<&'static str>| traced(there.map(HeaderValue::from_static).as_ref(), "1-a-b");
        assert_eq!(of(None), "Root=1-a-b");
        assert_eq!(of(Some("Root=1-x-y;Sampled=1")), "Self=1-a-b;Root=1-x-y;Sampled=1");
        assert_eq!(of(Some("Self=1-q-q;Root=1-x-y")), "Self=1-a-b;Root=1-x-y");
        assert_eq!(of(Some("CalledFrom=app")), "Root=1-a-b;CalledFrom=app");
    }

    #[test]
    fn names_that_are_not_plain_go_where_asked() {
        let mut sent = headers(&[("x_under", "1"), ("x-dash", "2")]);
        let attributes = LoadBalancerAttributes { drop_invalid_header_fields: true, ..Default::default() };
        prepare(&mut sent, &client(false), &attributes, "t").unwrap();
        assert_eq!(text(&sent, "x_under") + &text(&sent, "x-dash"), "2");
    }
}
