//! What a DNS record says, read from the text that Route 53 takes. Source: "Supported DNS record types", Amazon Route 53
//! developer guide. The errors' words are Route 53's.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::dns::RecordType;
use crate::dns_name::DnsName;

/// Bytes of one character string of a TXT record. Source: RFC 1035, section 3.3.
const CHARACTER_STRING_BYTES: usize = 255;
/// Characters of a record's value. Source: "Quotas", Amazon Route 53 developer guide.
const VALUE_CHARACTERS_MAXIMUM: usize = 4000;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordValue {
    /// A.
    A(Ipv4Addr),
    /// AAAA.
    Aaaa(Ipv6Addr),
    /// CNAME, NS, PTR.
    Name(DnsName),
    /// MX.
    Mx {
        /// The lowest first.
        preference: u16,
        /// The mail server.
        exchange: DnsName,
    },
    /// SRV.
    Srv {
        /// The lowest first.
        priority: u16,
        /// Among those of one priority.
        weight: u16,
        /// Port.
        port: u16,
        /// The server.
        target: DnsName,
    },
    /// SOA.
    Soa(SoaValue),
    /// TXT, SPF.
    Txt(Vec<Vec<u8>>),
    /// CAA.
    Caa {
        /// 0 or 128.
        flags: u8,
        /// `issue`, `issuewild`, `iodef`.
        tag: String,
        /// What it says.
        value: Vec<u8>,
    },
}

/// A start of authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoaValue {
    /// The primary name server.
    pub primary: DnsName,
    /// Whose zone it is, a mail address written as a name.
    pub responsible: DnsName,
    /// Serial number.
    pub serial: u32,
    /// Seconds.
    pub refresh: u32,
    /// Seconds.
    pub retry: u32,
    /// Seconds.
    pub expire: u32,
    /// Seconds for which "no such name" may be kept.
    pub minimum: u32,
}

/// Why a text is no value: what stands behind `FATAL problem: ` in Route 53's answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} encountered with '{value}'")]
pub struct RecordValueError {
    problem: String,
    value: String,
}

impl RecordValue {
    /// Reads the value of a record of this type.
    pub fn parse(record_type: RecordType, text: &str) -> Result<Self, RecordValueError> {
        let failed = |problem: &str| RecordValueError { problem: problem.to_owned(), value: text.to_owned() };
        if text.len() > VALUE_CHARACTERS_MAXIMUM {
            return Err(failed("ValueTooLong (Value is too long)"));
        }
        let name = |text: &str| DnsName::parse(text).map_err(|error| failed(&error.to_string()));
        let number = |text: &str| {
            text.parse::<u16>().map_err(|_| failed("InvalidInteger (Value is not a valid integer)"))
        };
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        match record_type {
            RecordType::A => text
                .parse()
                .map(Self::A)
                .map_err(|_| failed("ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address)")),
            RecordType::Aaaa => text
                .parse()
                .map(Self::Aaaa)
                .map_err(|_| failed("AAAARRDATAIllegalIPv6Address (Value is not a valid IPv6 address)")),
            RecordType::Cname | RecordType::Ns | RecordType::Ptr => name(text).map(Self::Name),
            RecordType::Mx => match fields[..] {
                [preference, exchange] => {
                    Ok(Self::Mx { preference: number(preference)?, exchange: name(exchange)? })
                }
                _ => Err(failed("MXRRDATANotTwoFields (MX record doesn't have 2 fields)")),
            },
            RecordType::Srv => match fields[..] {
                [priority, weight, port, target] => Ok(Self::Srv {
                    priority: number(priority)?,
                    weight: number(weight)?,
                    port: number(port)?,
                    target: name(target)?,
                }),
                _ => Err(failed("SRVRRDATANotFourFields (SRV record doesn't have 4 fields)")),
            },
            RecordType::Soa => soa(&fields)
                .map(Self::Soa)
                .ok_or_else(|| failed("SOARRDATAInvalid (SOA record doesn't have 7 valid fields)")),
            RecordType::Txt | RecordType::Spf => character_strings(text).map(Self::Txt).map_err(failed),
            RecordType::Caa => caa(text).map_err(failed),
        }
    }
}

impl fmt::Display for RecordValue {
    /// The text that [`RecordValue::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => address.fmt(f),
            Self::Aaaa(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::Mx { preference, exchange } => write!(f, "{preference} {exchange}"),
            Self::Srv { priority, weight, port, target } => write!(f, "{priority} {weight} {port} {target}"),
            Self::Soa(SoaValue { primary, responsible, serial, refresh, retry, expire, minimum }) => {
                write!(f, "{primary} {responsible} {serial} {refresh} {retry} {expire} {minimum}")
            }
            Self::Txt(strings) => {
                for (index, string) in strings.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { " " })?;
                    write_character_string(f, string)?;
                }
                Ok(())
            }
            Self::Caa { flags, tag, value } => {
                write!(f, "{flags} {tag} ")?;
                write_character_string(f, value)
            }
        }
    }
}

fn write_character_string(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_char('"')?;
    for byte in bytes {
        match byte {
            b'"' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
            b' '..=b'~' => f.write_char(char::from(*byte))?,
            _ => write!(f, "\\{byte:03o}")?,
        }
    }
    f.write_char('"')
}

fn soa(fields: &[&str]) -> Option<SoaValue> {
    let &[primary, responsible, serial, refresh, retry, expire, minimum] = fields else { return None };
    Some(SoaValue {
        primary: DnsName::parse(primary).ok()?,
        responsible: DnsName::parse(responsible).ok()?,
        serial: serial.parse().ok()?,
        refresh: refresh.parse().ok()?,
        retry: retry.parse().ok()?,
        expire: expire.parse().ok()?,
        minimum: minimum.parse().ok()?,
    })
}

fn caa(text: &str) -> Result<RecordValue, &'static str> {
    const NOT_THREE: &str = "CAARRDATANotThreeFields (CAA record doesn't have 3 fields)";
    let mut fields = text.trim().splitn(3, ' ');
    let (Some(flags), Some(tag), Some(value)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(NOT_THREE);
    };
    let flags = flags.parse().map_err(|_| "CAARRDATAInvalidFlags (Flags are not a number from 0 to 255)")?;
    if tag.is_empty() || tag.len() > 255 || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err("CAARRDATAInvalidTag (Tag is not made of letters and digits)");
    }
    let mut values = character_strings(value)?;
    match (values.pop(), values.is_empty()) {
        (Some(value), true) => Ok(RecordValue::Caa { flags, tag: tag.to_owned(), value }),
        _ => Err(NOT_THREE),
    }
}

/// `"one" "two"`: each at most 255 bytes; within the quotes a backslash stands before a quote, a backslash, or three octal
/// digits.
fn character_strings(text: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    const QUOTES: &str = "InvalidCharacterString (Value should be enclosed in quotation marks)";
    const TOO_LONG: &str = "CharacterStringTooLong (Value is too long)";
    const UNSUPPORTED: &str = "UnsupportedCharacter (Value contains unsupported characters)";
    let mut strings = Vec::new();
    let mut rest = text.trim_matches(' ').bytes().peekable();
    loop {
        while rest.next_if_eq(&b' ').is_some() {}
        match rest.next() {
            None if strings.is_empty() => return Err(QUOTES),
            None => return Ok(strings),
            Some(b'"') => {}
            Some(_) => return Err(QUOTES),
        }
        let mut string = Vec::new();
        loop {
            match rest.next().ok_or(QUOTES)? {
                b'"' => break,
                b'\\' => match rest.next().ok_or(QUOTES)? {
                    first @ b'0'..=b'7' => {
                        let mut value = u16::from(first - b'0');
                        for _ in 0..2 {
                            let digit = rest.next().filter(|byte| (b'0'..=b'7').contains(byte));
                            value = value * 8 + u16::from(digit.ok_or(UNSUPPORTED)? - b'0');
                        }
                        string.push(u8::try_from(value).map_err(|_| UNSUPPORTED)?);
                    }
                    other => string.push(other),
                },
                byte @ b' '..=b'~' => string.push(byte),
                _ => return Err(UNSUPPORTED),
            }
        }
        if string.len() > CHARACTER_STRING_BYTES {
            return Err(TOO_LONG);
        }
        strings.push(string);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DnsName {
        DnsName::parse(text).unwrap()
    }

    #[test]
    fn values_are_read() {
        let read = |record_type, text| RecordValue::parse(record_type, text).unwrap();
        assert_eq!(read(RecordType::A, "192.0.2.1"), RecordValue::A(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(read(RecordType::Cname, "WWW.example"), RecordValue::Name(name("www.example.")));
        assert_eq!(
            read(RecordType::Mx, "10 mail.example.com"),
            RecordValue::Mx { preference: 10, exchange: name("mail.example.com") }
        );
        assert_eq!(
            read(RecordType::Srv, "1 2 80 a.example"),
            RecordValue::Srv { priority: 1, weight: 2, port: 80, target: name("a.example") }
        );
        assert_eq!(
            read(RecordType::Txt, r#""v=spf1 \"x\"" "b\\\101""#),
            RecordValue::Txt(vec![b"v=spf1 \"x\"".to_vec(), b"b\\A".to_vec()])
        );
        let RecordValue::Caa { flags, tag, value } = read(RecordType::Caa, r#"128 issue "ca.example; x=y""#)
        else {
            panic!("a CAA record")
        };
        assert_eq!((flags, tag.as_str(), value.as_slice()), (128, "issue", &b"ca.example; x=y"[..]));
        for (record_type, text) in [
            (RecordType::Txt, r#""a\"b\\" "\001""#),
            (RecordType::Caa, r#"0 issue "x""#),
            (RecordType::Mx, "10 a.example."),
            (RecordType::Srv, "1 2 3 a.example."),
            (RecordType::Aaaa, "2001:db8::1"),
            (RecordType::Soa, "a.example. b.example. 1 2 3 4 5"),
        ] {
            assert_eq!(read(record_type, text).to_string(), text);
        }
        let soa = read(RecordType::Soa, "ns.example. admin.example. 1 7200 900 1209600 86400");
        assert!(matches!(soa, RecordValue::Soa(soa) if soa.minimum == 86400));
    }

    #[test]
    fn what_is_no_value_is_refused_in_route_53s_words() {
        let long = format!("\"{}\"", "a".repeat(256));
        for (record_type, text, words) in [
            (RecordType::A, "foo", "ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address)"),
            (RecordType::Aaaa, "1.2.3.4", "AAAARRDATAIllegalIPv6Address (Value is not a valid IPv6 address)"),
            (RecordType::Mx, "10", "MXRRDATANotTwoFields (MX record doesn't have 2 fields)"),
            (
                RecordType::Txt,
                "plain",
                "InvalidCharacterString (Value should be enclosed in quotation marks)",
            ),
            (
                RecordType::Txt,
                "\"open",
                "InvalidCharacterString (Value should be enclosed in quotation marks)",
            ),
            (RecordType::Txt, &long, "CharacterStringTooLong (Value is too long)"),
            (RecordType::Cname, "a..b", "DomainLabelEmpty (Domain label is empty)"),
            (RecordType::Caa, "0 issue", "CAARRDATANotThreeFields (CAA record doesn't have 3 fields)"),
        ] {
            let error = RecordValue::parse(record_type, text).unwrap_err();
            assert_eq!(error.to_string(), format!("{words} encountered with '{text}'"));
        }
        assert!(RecordValue::parse(RecordType::Srv, "1 2 70000 a").is_err());
        assert!(RecordValue::parse(RecordType::Soa, "a b c").is_err());
    }
}
