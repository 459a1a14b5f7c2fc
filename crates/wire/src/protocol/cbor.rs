//! rpcv2Cbor: CBOR bodies (RFC 8949), read straight into slots.

use base::limits::REQUEST_DEPTH;

use super::timestamp;
use crate::schema::{Kind, Member, StructureSchema};
use crate::shape::{Blob, DecodeError, Fill, ListSlot, MapSlot, Shape, Slot, View};

/// Reads the map in `bytes` into `shape`; nothing at all counts as an empty map.
pub fn read(bytes: &[u8], shape: &mut dyn Shape) -> Result<(), DecodeError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut reader = Reader { bytes, depth: 0 };
    reader.structure(shape)?;
    if reader.bytes.is_empty() { Ok(()) } else { Err(malformed()) }
}

fn malformed() -> DecodeError {
    DecodeError("The request body is not valid CBOR".to_owned())
}

fn mistyped(member: &Member) -> DecodeError {
    DecodeError(format!("The value of {} has the wrong type", member.wire_name()))
}

/// The head of a data item.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Head {
    Unsigned(u64),
    /// -1 - n.
    Negative(u64),
    Bytes(Option<u64>),
    Text(Option<u64>),
    Array(Option<u64>),
    Map(Option<u64>),
    Tag(u64),
    Boolean(bool),
    Null,
    Float(f64),
    Break,
}

struct Reader<'a> {
    bytes: &'a [u8],
    depth: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], DecodeError> {
        let count = usize::try_from(count).map_err(|_| malformed())?;
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(malformed)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn unsigned(&mut self, bytes: u64) -> Result<u64, DecodeError> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn head(&mut self) -> Result<Head, DecodeError> {
        let first = self.unsigned(1)? as u8;
        let (major, information) = (first >> 5, first & 0x1f);
        if major == 7 {
            return Ok(match information {
                20 => Head::Boolean(false),
                21 => Head::Boolean(true),
                22 | 23 => Head::Null,
                25 => Head::Float(half(self.unsigned(2)? as u16)),
                26 => Head::Float(f64::from(f32::from_bits(self.unsigned(4)? as u32))),
                27 => Head::Float(f64::from_bits(self.unsigned(8)?)),
                31 => Head::Break,
                _ => return Err(malformed()),
            });
        }
        let argument = match information {
            0..=23 => Some(u64::from(information)),
            24 => Some(self.unsigned(1)?),
            25 => Some(self.unsigned(2)?),
            26 => Some(self.unsigned(4)?),
            27 => Some(self.unsigned(8)?),
            31 => None,
            _ => return Err(malformed()),
        };
        Ok(match (major, argument) {
            (0, Some(number)) => Head::Unsigned(number),
            (1, Some(number)) => Head::Negative(number),
            (2, length) => Head::Bytes(length),
            (3, length) => Head::Text(length),
            (4, length) => Head::Array(length),
            (5, length) => Head::Map(length),
            (6, Some(tag)) => Head::Tag(tag),
            _ => return Err(malformed()),
        })
    }

    /// Whether the next item is the break of an indefinite one; takes it if so.
    fn at_break(&mut self) -> bool {
        let ends = self.bytes.first() == Some(&0xff);
        if ends {
            self.bytes = &self.bytes[1..];
        }
        ends
    }

    /// Calls `each` for every item of an array or entry of a map.
    fn items(
        &mut self,
        length: Option<u64>,
        each: &mut dyn FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.depth += 1;
        if self.depth > REQUEST_DEPTH {
            return Err(DecodeError("The request nests too deeply".to_owned()));
        }
        match length {
            // Every item takes a byte at least, so a false length ends at the end of the input.
            Some(length) => {
                for _ in 0..length {
                    each(self)?;
                }
            }
            None => {
                while !self.at_break() {
                    each(self)?;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// A byte or text string whose chunks, if it has several, are of `wanted` kind.
    fn string(&mut self, length: Option<u64>, text: bool) -> Result<Vec<u8>, DecodeError> {
        let Some(length) = length else {
            let mut output = Vec::new();
            while !self.at_break() {
                match (self.head()?, text) {
                    (Head::Bytes(Some(length)), false) | (Head::Text(Some(length)), true) => {
                        output.extend_from_slice(self.take(length)?);
                    }
                    _ => return Err(malformed()),
                }
            }
            return Ok(output);
        };
        self.take(length).map(<[u8]>::to_vec)
    }

    fn text(&mut self, length: Option<u64>) -> Result<String, DecodeError> {
        String::from_utf8(self.string(length, true)?).map_err(|_| malformed())
    }

    fn key(&mut self) -> Result<String, DecodeError> {
        match self.head()? {
            Head::Text(length) => self.text(length),
            _ => Err(malformed()),
        }
    }

    fn structure(&mut self, shape: &mut dyn Shape) -> Result<(), DecodeError> {
        match self.head()? {
            Head::Map(length) => self.members(length, shape),
            _ => Err(DecodeError("Expected a map".to_owned())),
        }
    }

    fn members(&mut self, length: Option<u64>, shape: &mut dyn Shape) -> Result<(), DecodeError> {
        static EMPTY: StructureSchema = StructureSchema { members: &[], union: false, payload: None };
        let schema = shape.schema().structure().unwrap_or(&EMPTY);
        let mut seen = vec![false; schema.members.len()];
        self.items(length, &mut |reader| {
            let key = reader.key()?;
            let found = schema.members.iter().enumerate().find(|(_, member)| member.wire_name() == key);
            let Some((index, member)) = found else { return reader.skip() };
            if std::mem::replace(&mut seen[index], true) {
                return Err(DecodeError(format!("Duplicate member {}", member.wire_name())));
            }
            reader.value(member, shape.member_mut(index))
        })
    }

    fn value(&mut self, member: &'static Member, slot: Slot<'_>) -> Result<(), DecodeError> {
        let head = self.head()?;
        if head == Head::Null {
            return Ok(());
        }
        match (slot, head, member.shape.kind) {
            (Slot::Boolean(target), Head::Boolean(value), _) => *target = Some(value),
            (Slot::Integer(target), head, _) => {
                *target = Some(
                    integer(head)
                        .and_then(|number| number.try_into().ok())
                        .ok_or_else(|| mistyped(member))?,
                );
            }
            (Slot::Long(target), head, _) => *target = Some(integer(head).ok_or_else(|| mistyped(member))?),
            (Slot::Float(target), head, _) => {
                *target = Some(float(head).ok_or_else(|| mistyped(member))? as f32);
            }
            (Slot::Double(target), head, _) => *target = Some(float(head).ok_or_else(|| mistyped(member))?),
            (Slot::String(target), Head::Text(length), _) => *target = Some(self.text(length)?),
            (Slot::Blob(target), Head::Bytes(length), _) => *target = Some(Blob(self.string(length, false)?)),
            (Slot::Timestamp(target), Head::Tag(1), _) => {
                let seconds = float(self.head()?).and_then(timestamp::from_seconds);
                *target = Some(seconds.ok_or_else(|| mistyped(member))?);
            }
            (Slot::Structure(target), Head::Map(length), _) => self.members(length, target.start())?,
            (Slot::List(list), Head::Array(length), Kind::List(element)) => {
                self.list(length, list, element)?;
            }
            (Slot::Map(map), Head::Map(length), Kind::Map(_, value)) => self.map(length, map, value)?,
            _ => return Err(mistyped(member)),
        }
        Ok(())
    }

    fn list(
        &mut self,
        length: Option<u64>,
        list: &mut dyn ListSlot,
        element: &'static Member,
    ) -> Result<(), DecodeError> {
        list.start();
        self.items(length, &mut |reader| {
            let fill: Fill<'_> = &mut |slot| reader.value(element, slot);
            list.push(fill)
        })
    }

    fn map(
        &mut self,
        length: Option<u64>,
        map: &mut dyn MapSlot,
        value: &'static Member,
    ) -> Result<(), DecodeError> {
        map.start();
        self.items(length, &mut |reader| {
            let key = reader.key()?;
            map.insert(key, &mut |slot| reader.value(value, slot))
        })
    }

    /// Passes over one item.
    fn skip(&mut self) -> Result<(), DecodeError> {
        match self.head()? {
            Head::Bytes(length) => self.string(length, false).map(|_| ()),
            Head::Text(length) => self.string(length, true).map(|_| ()),
            Head::Array(length) => self.items(length, &mut |reader| reader.skip()),
            Head::Map(length) => self.items(length, &mut |reader| {
                reader.skip()?;
                reader.skip()
            }),
            // A tag stands before one item; tags upon tags are as deep as anything else.
            Head::Tag(_) => self.items(Some(1), &mut |reader| reader.skip()),
            Head::Break => Err(malformed()),
            _ => Ok(()),
        }
    }
}

fn integer(head: Head) -> Option<i64> {
    match head {
        Head::Unsigned(number) => number.try_into().ok(),
        Head::Negative(number) => i64::try_from(number).ok().map(|number| -1 - number),
        _ => None,
    }
}

fn float(head: Head) -> Option<f64> {
    match head {
        Head::Float(value) => Some(value),
        Head::Unsigned(number) => Some(number as f64),
        Head::Negative(number) => Some(-1.0 - number as f64),
        _ => None,
    }
}

/// A half-precision float, RFC 8949 appendix D.
fn half(bits: u16) -> f64 {
    let exponent = i32::from((bits >> 10) & 0x1f);
    let mantissa = f64::from(bits & 0x3ff);
    let magnitude = match exponent {
        0 => mantissa * 2_f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2_f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

/// Writes `shape` as a map.
pub fn write(shape: &dyn Shape) -> Vec<u8> {
    let mut output = Vec::with_capacity(256);
    write_structure(&mut output, shape, &[]);
    output
}

/// Writes `shape` with text members of its own (`__type`, `message`) first.
pub fn write_structure(output: &mut Vec<u8>, shape: &dyn Shape, head: &[(&str, &str)]) {
    let members = shape.schema().structure().map_or(&[][..], |structure| structure.members);
    let count = (0..members.len()).filter(|index| shape.member(*index).is_some()).count();
    write_head(output, 5, (count + head.len()) as u64);
    for (key, value) in head {
        write_text(output, key);
        write_text(output, value);
    }
    for (index, member) in members.iter().enumerate() {
        if let Some(view) = shape.member(index) {
            write_text(output, member.wire_name());
            write_view(output, view);
        }
    }
}

fn write_head(output: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    match argument {
        0..=23 => output.push(major | argument as u8),
        24..=0xff => output.extend([major | 0x18, argument as u8]),
        0x100..=0xffff => {
            output.push(major | 0x19);
            output.extend((argument as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            output.push(major | 0x1a);
            output.extend((argument as u32).to_be_bytes());
        }
        _ => {
            output.push(major | 0x1b);
            output.extend(argument.to_be_bytes());
        }
    }
}

fn write_integer(output: &mut Vec<u8>, value: i64) {
    match u64::try_from(value) {
        Ok(value) => write_head(output, 0, value),
        Err(_) => write_head(output, 1, value.unsigned_abs() - 1),
    }
}

fn write_text(output: &mut Vec<u8>, text: &str) {
    write_head(output, 3, text.len() as u64);
    output.extend_from_slice(text.as_bytes());
}

fn write_double(output: &mut Vec<u8>, value: f64) {
    output.push(0xfb);
    output.extend(value.to_be_bytes());
}

fn write_view(output: &mut Vec<u8>, view: View<'_>) {
    match view {
        View::Boolean(value) => output.push(if value { 0xf5 } else { 0xf4 }),
        View::Integer(value) => write_integer(output, i64::from(value)),
        View::Long(value) => write_integer(output, value),
        View::Float(value) => {
            output.push(0xfa);
            output.extend(value.to_be_bytes());
        }
        View::Double(value) => write_double(output, value),
        View::String(value) => write_text(output, value),
        View::Blob(value) => {
            write_head(output, 2, value.len() as u64);
            output.extend_from_slice(value);
        }
        View::Timestamp(value) => {
            output.push(0xc1);
            if value.as_millis().rem_euclid(1000) == 0 {
                write_integer(output, value.as_seconds());
            } else {
                write_double(output, value.as_seconds_f64());
            }
        }
        // The protocol has no documents; as text they lose nothing.
        View::Document(value) => write_text(output, &value.to_string()),
        View::Structure(shape) => write_structure(output, shape, &[]),
        View::List(list) => {
            write_head(output, 4, list.count() as u64);
            for index in 0..list.count() {
                write_optional(output, list.item(index));
            }
        }
        View::Map(map) => {
            write_head(output, 5, map.count() as u64);
            for (key, view) in map.entries() {
                write_text(output, key);
                write_optional(output, view);
            }
        }
    }
}

fn write_optional(output: &mut Vec<u8>, view: Option<View<'_>>) {
    match view {
        Some(view) => write_view(output, view),
        None => output.push(0xf6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Unit;

    #[test]
    fn hostile_bodies_are_refused() {
        let deep_tags = [vec![0xa1, 0x61, b'x'], vec![0xc1; 1000]].concat();
        let deep_arrays = [vec![0xa1, 0x61, b'x'], vec![0x9f; 1000]].concat();
        for bad in [
            &[0xff][..],
            &[0xa1],
            &[0xbf],
            &[0xa0, 0xa0],
            &[0x80],
            &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xa1, 0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xa1, 0x61, 0xff, 0x00],
            &[0xa1, 0x00, 0x00],
            &[0xa1, 0x61, b'x', 0xff],
            &[0xa1, 0x61, b'x', 0x7f, 0x41, 0x00, 0xff],
            &deep_tags,
            &deep_arrays,
        ] {
            assert!(read(bad, &mut Unit {}).is_err(), "{bad:x?}");
        }
        assert_eq!(read(&[0xbf, 0x61, b'x', 0x82, 0x01, 0x7f, 0x61, b'a', 0xff, 0xff], &mut Unit {}), Ok(()));
    }

    #[test]
    fn halves_are_read() {
        for (bits, value) in
            [(0x3c00, 1.0_f64), (0xc000, -2.0), (0x7c00, f64::INFINITY), (0x0001, 5.960_464_477_539_063e-8)]
        {
            assert_eq!(half(bits).to_bits(), value.to_bits());
        }
    }
}
