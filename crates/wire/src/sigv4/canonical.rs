//! The canonical form of a request, which both sides hash.

use std::fmt::Write as _;

use http::HeaderMap;
use http::header::HeaderName;

/// A request's parts, as the signature covers them.
pub struct Parts<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as on the wire.
    pub path: &'a str,
    /// The query, already canonical.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The host where there is no `Host` header.
    pub authority: Option<&'a str>,
    /// S3 keeps its path as it came.
    pub keeps_path: bool,
}

impl Parts<'_> {
    /// The canonical request. `signed` are lower-case header names, in the order signed. `None` if one is not there.
    pub fn request(&self, signed: &[&str], payload_hash: &str) -> Option<String> {
        let path = canonical_path(self.path, self.keeps_path);
        let mut text = format!("{}\n{path}\n{}\n", self.method, self.query);
        for name in signed {
            let _ = writeln!(text, "{name}:{}", header(self.headers, self.authority, name)?);
        }
        let _ = write!(text, "\n{}\n{payload_hash}", signed.join(";"));
        Some(text)
    }
}

/// All values of a header, trimmed, runs of spaces folded, joined by commas. `None` if it is not there.
fn header(headers: &HeaderMap, authority: Option<&str>, name: &str) -> Option<String> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let values: Vec<String> = headers
        .get_all(parsed)
        .iter()
        .map(|value| fold(&String::from_utf8_lossy(value.as_bytes())))
        .collect();
    if values.is_empty() {
        return (name == "host").then(|| authority.map(str::to_owned)).flatten();
    }
    Some(values.join(","))
}

fn fold(value: &str) -> String {
    let mut folded = String::with_capacity(value.len());
    for word in value.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()) {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(word);
    }
    folded
}

/// The path with dot segments resolved and every byte but the unreserved ones encoded (once more, if it was). S3
/// alone keeps its path as it came.
fn canonical_path(path: &str, keeps_path: bool) -> String {
    if keeps_path {
        return if path.is_empty() { "/".to_owned() } else { path.to_owned() };
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut output = String::with_capacity(path.len() + 8);
    for segment in &segments {
        output.push('/');
        encode_into(&mut output, segment.as_bytes());
    }
    let ends_as_folder = path.ends_with(['/']) || path.ends_with("/.") || path.ends_with("/..");
    if ends_as_folder || output.is_empty() {
        output.push('/');
    }
    output
}

/// The query's parameters, decoded and encoded anew, sorted; without the one called `except`.
///
/// A plus is a space, here as in the form parser: were they to differ, a signed `%2B` could be exchanged for `+`.
pub fn query(raw: &str, except: Option<&str>) -> String {
    let mut pairs: Vec<(String, String)> = raw
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(&decode(name)), encode(&decode(value))))
        .filter(|(name, _)| Some(name.as_str()) != except)
        .collect();
    pairs.sort();
    pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Percent-decodes, plus as space. What is no escape stays as it is.
pub fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut output = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let escaped = (byte == b'%')
            .then(|| bytes.get(index + 1..index + 3))
            .flatten()
            .and_then(|digits| Some((hex_digit(digits[0])? << 4) | hex_digit(digits[1])?));
        match escaped {
            Some(escaped) => {
                output.push(escaped);
                index += 3;
            }
            None => {
                output.push(if byte == b'+' { b' ' } else { byte });
                index += 1;
            }
        }
    }
    output
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub fn encode(bytes: &[u8]) -> String {
    let mut output = String::with_capacity(bytes.len());
    encode_into(&mut output, bytes);
    output
}

fn encode_into(output: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            output.push(char::from(byte));
        } else {
            let _ = write!(output, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_and_encoded() {
        for (path, canonical) in [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("/./", "/"),
            ("/a/../b/", "/b/"),
            ("/a/..", "/"),
            ("/../../x", "/x"),
            ("/a%20b", "/a%2520b"),
            ("/clusters/a~b", "/clusters/a~b"),
        ] {
            assert_eq!(canonical_path(path, false), canonical, "{path}");
        }
        assert_eq!(canonical_path("/a//b/../c", true), "/a//b/../c");
    }

    #[test]
    fn queries_are_sorted_and_encoded_anew() {
        assert_eq!(query("b=2&a=1&a=0&c&X=%2b+", None), "X=%2B%20&a=0&a=1&b=2&c=");
        assert_eq!(query("X-Amz-Signature=1&z=%zz", Some("X-Amz-Signature")), "z=%25zz");
    }
}
