//! `application/x-www-form-urlencoded`, in a body or a query string.

/// The most parameters that one request may have. Ours: EC2's longest lists stay far below.
pub const PARAMETERS_MAXIMUM: usize = 20_000;

/// The decoded pairs in order; `None` if a part is no UTF-8 or there are too many.
pub fn pairs(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        if pairs.len() >= PARAMETERS_MAXIMUM {
            return None;
        }
        let (key, value) = split(pair);
        pairs.push((decode(key)?, decode(value)?));
    }
    Some(pairs)
}

/// The first value of the parameter `name`.
pub fn first(bytes: &[u8], name: &str) -> Option<String> {
    bytes
        .split(|byte| *byte == b'&')
        .map(split)
        .find(|(key, _)| decode(key).as_deref() == Some(name))
        .and_then(|(_, value)| decode(value))
}

fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, b""),
    }
}

/// Percent-decodes, plus as space.
pub fn decode(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    String::from_utf8(crate::sigv4::decode(text)).ok()
}
