//! PAX records: `<length> <key>=<value>\n` (POSIX, pax "Extended Header").

use crate::error::ImageError;
use crate::unpack::tar::malformed;

/// Prefix of extended attributes, as GNU tar, star, Go and docker write them.
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// What a PAX header says about the entry after it. An empty value takes back what an earlier record said.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) modified: Option<(i64, u32)>,
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Option<Sparse>,
}

/// GNU tar's description of a sparse file in PAX records, formats 0.1 and 1.0.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: u64,
    /// Offsets and lengths by turns; absent in format 1.0, where they stand in the data.
    pub(super) map: Option<Vec<u64>>,
}

impl Records {
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, ImageError> {
        let mut records = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or_else(|| malformed("malformed PAX record"))?;
            records.set(key, value)?;
            bytes = rest;
        }
        Ok(records)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), ImageError> {
        let text = (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = text,
            b"linkpath" => self.link = text,
            b"size" => self.size = optional(value, decimal)?,
            b"uid" => self.uid = optional(value, small)?,
            b"gid" => self.gid = optional(value, small)?,
            b"mtime" => self.modified = optional(value, time)?,
            b"GNU.sparse.major" => match value {
                b"0" => {}
                b"1" => drop(self.sparse.get_or_insert_default()),
                _ => return Err(malformed("unknown format of sparse file")),
            },
            b"GNU.sparse.name" => self.sparse.get_or_insert_default().name = text,
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => {
                self.sparse.get_or_insert_default().real_size = decimal(value)?;
            }
            b"GNU.sparse.map" => {
                let numbers: Result<Vec<u64>, ImageError> =
                    value.split(|byte| *byte == b',').map(decimal).collect();
                self.sparse.get_or_insert_default().map = Some(numbers?);
            }
            // Format 0.0, which GNU tar wrote until 2005.
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                return Err(malformed("sparse file of GNU tar's format 0.0"));
            }
            _ => {
                if let Some(name) = key.strip_prefix(ATTRIBUTE) {
                    self.attributes.retain(|(other, _)| other != name);
                    self.attributes.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Key, value and what follows the first record.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    // The length is at most the header's, which is bounded: more digits than this are nonsense.
    let space = bytes.iter().take(12).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(bytes.get(..space)?).ok()?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (body.get(..equals)?, body.get(equals + 1..)?);
    (!key.is_empty() && !key.contains(&0)).then_some((key, value, rest))
}

fn optional<T>(value: &[u8], parse: fn(&[u8]) -> Result<T, ImageError>) -> Result<Option<T>, ImageError> {
    if value.is_empty() { Ok(None) } else { parse(value).map(Some) }
}

/// Digits only: no sign, no space.
pub(super) fn decimal(value: &[u8]) -> Result<u64, ImageError> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    // Sizes and offsets are signed for the kernel.
    text.and_then(|text| text.parse::<i64>().ok())
        .and_then(|number| u64::try_from(number).ok())
        .ok_or_else(|| malformed("a PAX number is malformed or out of range"))
}

fn small(value: &[u8]) -> Result<u32, ImageError> {
    u32::try_from(decimal(value)?).map_err(|_| malformed("an owner is out of range"))
}

/// `-?digits[.digits]`, to nanoseconds rounded down.
fn time(value: &[u8]) -> Result<(i64, u32), ImageError> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let point = value.iter().position(|byte| *byte == b'.').unwrap_or(value.len());
    let seconds = decimal(value.get(..point).unwrap_or_default())?.cast_signed();
    let mut nanoseconds = 0u32;
    let mut weight = 100_000_000;
    for digit in value.get(point + 1..).unwrap_or_default() {
        if !digit.is_ascii_digit() {
            return Err(malformed("a PAX time is malformed"));
        }
        nanoseconds += u32::from(digit - b'0') * weight;
        weight /= 10;
    }
    Ok(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &[u8]) -> Vec<u8> {
        let mut length = key.len() + value.len() + 3;
        length += length.to_string().len();
        length = key.len() + value.len() + 3 + length.to_string().len();
        [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn records_and_their_values() {
        let bytes = [
            one("path", b"a\xff=\n b"),
            one("size", b"10"),
            one("mtime", b"-1.5"),
            one("SCHILY.xattr.user.x", b"1\0\n2"),
            one("SCHILY.xattr.user.x", b"3"),
            one("linkpath", b"l"),
            one("linkpath", b""),
            one("comment", b"ignored"),
        ];
        let records = Records::parse(&bytes.concat()).unwrap();
        assert_eq!(records.path.unwrap(), b"a\xff=\n b");
        assert_eq!((records.size, records.link, records.modified), (Some(10), None, Some((-2, 500_000_000))));
        assert_eq!(records.attributes, [(b"user.x".to_vec(), b"3".to_vec())]);
        assert_eq!(time(b"5.123456789999").unwrap(), (5, 123_456_789));
    }

    #[test]
    fn malformed_records_are_refused() {
        for bytes in [
            &b"5"[..],
            b"0 a=b\n",
            b"6 a=b",
            b"99999999999999999999 a=b\n",
            b"-6 a=b\n",
            b"6 a=b\n7",
            b"5 =b\n",
            b"6 a b\n",
            b"3 \n",
            b" 6 a=b\n",
            b"7 \0a=b\n",
        ] {
            assert!(Records::parse(bytes).is_err(), "{bytes:?}");
        }
        for (key, value) in [
            ("size", "-1"),
            ("size", "99999999999999999999"),
            ("uid", "4294967296"),
            ("mtime", "1.x"),
            ("size", "+1"),
        ] {
            assert!(Records::parse(&one(key, value.as_bytes())).is_err(), "{key}={value}");
        }
    }
}
