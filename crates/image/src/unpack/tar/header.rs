//! The 512 bytes before every member.

use crate::error::ImageError;
use crate::unpack::tar::{BLOCK_BYTES, malformed};

/// A member's fixed fields. Text fields hold no NUL.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) modified: i64,
    pub(super) type_flag: u8,
    pub(super) device: (u32, u32),
}

impl Header {
    pub(super) fn parse(block: &[u8; BLOCK_BYTES]) -> Result<Self, ImageError> {
        check_sum(block)?;
        let field = |start: usize, bytes: usize| block.get(start..start + bytes).unwrap_or_default();
        let magic = field(257, 6);
        let mut path = text(field(0, 100)).to_vec();
        // POSIX only: GNU's own magic, with a space, has other things where the prefix would be.
        if magic == b"ustar\0" {
            // Jörg Schilling's star keeps times after a shorter prefix and signs at the block's end.
            let prefix = text(field(345, if field(508, 4) == b"tar\0" { 131 } else { 155 }));
            if !prefix.is_empty() {
                path = [prefix, b"/", &path].concat();
            }
        }
        let has_devices = magic.starts_with(b"ustar");
        let device = |start| if has_devices { number(field(start, 8)) } else { Ok(0) };
        let small = |value: i64, what: &str| {
            u32::try_from(value)
                .map_err(|_| ImageError::layer(&path, format!("{what} out of range: {value}")))
        };
        let type_flag = block.get(156).copied().unwrap_or(0);
        // Only devices have device numbers; what others have there does not matter.
        let is_device = matches!(type_flag, b'3' | b'4');
        let device = if is_device {
            (small(device(329)?, "device number")?, small(device(337)?, "device number")?)
        } else {
            (0, 0)
        };
        let size = number(field(124, 12))?;
        Ok(Self {
            link: text(field(157, 100)).to_vec(),
            mode: (number(field(100, 8))? & 0o7777) as u32,
            uid: small(number(field(108, 8))?, "owner")?,
            gid: small(number(field(116, 8))?, "group")?,
            size: u64::try_from(size).map_err(|_| ImageError::layer(&path, "negative size"))?,
            modified: number(field(136, 12))?,
            type_flag,
            device,
            path,
        })
    }
}

/// The sum of all bytes with the sum's own field as spaces. Some old writers summed signed bytes.
fn check_sum(block: &[u8; BLOCK_BYTES]) -> Result<(), ImageError> {
    let stored = number(block.get(148..156).unwrap_or_default())?;
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (index, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&index) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    if stored == unsigned || stored == signed {
        Ok(())
    } else {
        Err(malformed("not a tar header: wrong checksum"))
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    field.get(..end).unwrap_or_default()
}

/// Octal digits among spaces and NULs, or GNU's base 256 where the first bit is set.
pub(super) fn number(field: &[u8]) -> Result<i64, ImageError> {
    let first = field.first().copied().unwrap_or(0);
    if first & 0x80 != 0 {
        // Two's complement; the marker bit is not part of the number, the next is the sign.
        let negative = first & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (index, byte) in field.iter().enumerate() {
            let byte = match (index, negative) {
                (0, false) => byte & 0x7f,
                (0, true) => byte | 0x80,
                _ => *byte,
            };
            value = (value << 8) | i128::from(byte);
            if i64::try_from(value).is_err() {
                return Err(malformed("a number is out of range"));
            }
        }
        return i64::try_from(value).map_err(|_| malformed("a number is out of range"));
    }
    let mut value = 0i64;
    let trimmed =
        field.iter().skip_while(|byte| matches!(byte, b' ' | 0)).take_while(|byte| !matches!(byte, b' ' | 0));
    for digit in trimmed {
        if !(b'0'..=b'7').contains(digit) {
            return Err(malformed("a number is not octal"));
        }
        // 12 octal digits at most: 36 bits.
        value = value << 3 | i64::from(digit - b'0');
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_octal_and_base_256() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"  644 \0\0", 0o644),
            (b"\0\0\0\0", 0),
            (b"", 0),
            (b"777777777777", 0o777_777_777_777),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", 256),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", -1),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", i64::MAX),
        ] {
            assert_eq!(number(field).unwrap(), value, "{field:?}");
        }
        for field in [
            &b"0x10"[..],
            b"-1",
            b"8",
            b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
            b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(number(field).is_err(), "{field:?}");
        }
    }
}
