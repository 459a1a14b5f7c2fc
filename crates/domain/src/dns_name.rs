//! Names in DNS as Route 53 writes them: lower case, a dot behind every label, and every other character than a letter, a
//! digit, a hyphen or an underscore as a backslash and three octal digits. Source: "DNS domain name format", Amazon Route 53
//! developer guide; RFC 1035, section 2.3.4.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Bytes of a label. Source: RFC 1035, section 2.3.4.
const LABEL_BYTES_MAXIMUM: usize = 63;
/// Bytes of a name on the wire, with a length before every label and a zero behind the last. Source: the same.
const NAME_BYTES_MAXIMUM: usize = 255;

/// A name. Equal names are equal text, and the text can be compared, cut at its dots and printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DnsName(String);

/// Why a text is no name. The words are Route 53's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsNameError {
    /// Two dots in a row, or nothing at all.
    #[error("DomainLabelEmpty (Domain label is empty)")]
    LabelEmpty,
    /// More than 63 bytes between two dots.
    #[error("DomainLabelTooLong (Domain label is too long)")]
    LabelTooLong,
    /// More than 255 bytes.
    #[error("DomainNameTooLong (Domain name is too long)")]
    NameTooLong,
    /// Not ASCII, a control character, a space, or a broken escape code.
    #[error("UnsupportedCharacter (Value contains unsupported characters)")]
    UnsupportedCharacter,
}

impl DnsName {
    /// Reads a name; the last dot may be missing.
    pub fn parse(text: &str) -> Result<Self, DnsNameError> {
        if text == "." {
            return Ok(Self::root());
        }
        let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            let byte = match byte {
                b'.' => {
                    labels.push(Vec::new());
                    continue;
                }
                b'\\' => octal(&mut bytes)?,
                b'!'..=b'~' => byte,
                _ => return Err(DnsNameError::UnsupportedCharacter),
            };
            if let Some(label) = labels.last_mut() {
                label.push(byte);
            }
        }
        if labels.len() > 1 && labels.last().is_some_and(Vec::is_empty) {
            labels.pop();
        }
        Self::from_labels(labels.iter().map(Vec::as_slice))
    }

    /// The name of these labels, the leftmost first.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, DnsNameError> {
        let (mut text, mut bytes) = (String::new(), 1);
        for label in labels {
            if label.is_empty() {
                return Err(DnsNameError::LabelEmpty);
            }
            if label.len() > LABEL_BYTES_MAXIMUM {
                return Err(DnsNameError::LabelTooLong);
            }
            bytes += label.len() + 1;
            for byte in label {
                push(&mut text, *byte);
            }
            text.push('.');
        }
        if bytes > NAME_BYTES_MAXIMUM {
            return Err(DnsNameError::NameTooLong);
        }
        if text.is_empty() { Ok(Self::root()) } else { Ok(Self(text)) }
    }

    /// The name above all others.
    pub fn root() -> Self {
        Self(".".to_owned())
    }

    /// With the dot at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its labels as they go over the wire, the leftmost first.
    pub fn labels(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let text = self.0.strip_suffix('.').unwrap_or(&self.0);
        text.split('.').filter(|label| !label.is_empty()).map(|label| {
            let (mut bytes, mut given) = (Vec::with_capacity(label.len()), label.bytes());
            while let Some(byte) = given.next() {
                // What `push` wrote is read back.
                bytes.push(if byte == b'\\' { octal(&mut given).unwrap_or_default() } else { byte });
            }
            bytes
        })
    }

    /// How many labels it has; the root has none.
    pub fn label_count(&self) -> usize {
        if self.0 == "." { 0 } else { self.0.bytes().filter(|byte| *byte == b'.').count() }
    }

    /// The name without its first label; `None` of the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_once('.').filter(|(first, _)| !first.is_empty())?;
        Some(if rest.is_empty() { Self::root() } else { Self(rest.to_owned()) })
    }

    /// Itself, its parent and so on; the root last.
    pub fn upwards(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.clone()), Self::parent)
    }

    /// Whether it is `zone` or below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        zone.0 == "."
            || self.0.strip_suffix(zone.0.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Whether its first label is an asterisk.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("\\052.")
    }

    /// `*.` and the name.
    pub fn wildcard(&self) -> Self {
        if self.0 == "." { Self("\\052.".to_owned()) } else { Self(format!("\\052.{}", self.0)) }
    }

    /// Its labels turned around, `com.example.www.`: how Route 53 orders names.
    pub fn reversed(&self) -> String {
        if self.0 == "." {
            return self.0.clone();
        }
        let mut text = String::with_capacity(self.0.len());
        for label in self.0.split('.').rev().filter(|label| !label.is_empty()) {
            text.push_str(label);
            text.push('.');
        }
        text
    }
}

impl std::fmt::Display for DnsName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Three octal digits, behind a backslash.
fn octal(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, DnsNameError> {
    let mut value = 0_u16;
    for _ in 0..3 {
        let digit = bytes.next().filter(|byte| (b'0'..=b'7').contains(byte));
        let digit = digit.ok_or(DnsNameError::UnsupportedCharacter)?;
        value = value * 8 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| DnsNameError::UnsupportedCharacter)
}

fn push(text: &mut String, byte: u8) {
    match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => text.push(char::from(byte)),
        b'A'..=b'Z' => text.push(char::from(byte.to_ascii_lowercase())),
        _ => {
            let _ = write!(text, "\\{byte:03o}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DnsName {
        DnsName::parse(text).unwrap()
    }

    #[test]
    fn names_are_written_as_route_53_writes_them() {
        for (given, written) in [
            ("WWW.Example.com", "www.example.com."),
            ("*.example.com.", "\\052.example.com."),
            ("\\052.example.com.", "\\052.example.com."),
            ("_sip._tcp.example.com", "_sip._tcp.example.com."),
            ("a/b.example.com", "a\\057b.example.com."),
            (".", "."),
        ] {
            assert_eq!(name(given).as_str(), written);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(64);
        let all = "abcdefg.".repeat(32);
        for (given, error) in [
            ("", DnsNameError::LabelEmpty),
            ("a..b", DnsNameError::LabelEmpty),
            (".a", DnsNameError::LabelEmpty),
            (long.as_str(), DnsNameError::LabelTooLong),
            (all.as_str(), DnsNameError::NameTooLong),
            ("a b", DnsNameError::UnsupportedCharacter),
            ("ä.example", DnsNameError::UnsupportedCharacter),
            ("\\9.example", DnsNameError::UnsupportedCharacter),
            ("\\777.example", DnsNameError::UnsupportedCharacter),
        ] {
            assert_eq!(DnsName::parse(given), Err(error), "{given}");
        }
    }

    #[test]
    fn names_know_their_place() {
        let www = name("a.www.example.com");
        assert!(
            www.is_within(&name("example.com")) && www.is_within(&www) && www.is_within(&DnsName::root())
        );
        assert!(!name("badexample.com").is_within(&name("example.com")));
        assert_eq!(www.reversed(), "com.example.www.a.");
        let up: Vec<String> = www.upwards().map(|name| name.to_string()).collect();
        assert_eq!(up, ["a.www.example.com.", "www.example.com.", "example.com.", "com.", "."]);
        assert_eq!(name("*.x").labels().collect::<Vec<_>>(), [b"*".to_vec(), b"x".to_vec()]);
        assert_eq!(name("x.y").wildcard(), name("*.x.y"));
        assert_eq!((www.label_count(), DnsName::root().label_count()), (4, 0));
    }
}
