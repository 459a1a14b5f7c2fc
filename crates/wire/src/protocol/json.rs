//! JSON bodies: awsJson 1.0 and 1.1, and the bodies of restJson.
//!
//! Reading goes straight from bytes into slots: no tree is built. A body that nests deeper than
//! [`REQUEST_DEPTH`] is refused by a scan before anything is parsed, unknown members included.

use std::fmt;

use base::limits::REQUEST_DEPTH;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

use super::timestamp;
use crate::schema::{Kind, Member, StructureSchema, TimestampFormat};
use crate::shape::{Blob, DecodeError, ListSlot, MapSlot, Shape, Slot, View};

/// Reads the JSON object in `bytes` into `shape`; nothing at all counts as `{}`.
pub fn read(bytes: &[u8], shape: &mut dyn Shape) -> Result<(), DecodeError> {
    if bytes.is_empty() {
        return Ok(());
    }
    parse(bytes, StructureSeed(shape))
}

/// Reads a body that is one member's value (restJson's `payload`).
pub fn read_member(bytes: &[u8], member: &'static Member, slot: Slot<'_>) -> Result<(), DecodeError> {
    parse(bytes, SlotSeed { slot, member })
}

fn parse<'de, S: DeserializeSeed<'de, Value = ()>>(bytes: &'de [u8], seed: S) -> Result<(), DecodeError> {
    if too_deep(bytes) {
        return Err(DecodeError("The request nests too deeply".to_owned()));
    }
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    seed.deserialize(&mut parser).and_then(|()| parser.end()).map_err(said)
}

/// Our own words where the value was at fault; never a piece of the input.
fn said(error: serde_json::Error) -> DecodeError {
    if error.classify() == Category::Data {
        let text = error.to_string();
        // serde_json puts the place behind a custom message; AWS's texts end before it.
        let end = text.rfind(" at line ").unwrap_or(text.len());
        return DecodeError(text.get(..end).unwrap_or_default().to_owned());
    }
    DecodeError(format!(
        "The request body is not valid JSON (line {}, column {})",
        error.line(),
        error.column()
    ))
}

/// Whether brackets outside of strings nest deeper than allowed.
fn too_deep(bytes: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > REQUEST_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

struct StructureSeed<'a>(&'a mut dyn Shape);

impl<'de> DeserializeSeed<'de> for StructureSeed<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(StructureVisitor(self.0))
    }
}

struct StructureVisitor<'a>(&'a mut dyn Shape);

impl<'de> Visitor<'de> for StructureVisitor<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a structure")
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        fill_structure(self.0, map)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom("Start of list found where not expected"))
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(E::custom("Expected structure or null, found STRING_VALUE"))
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        Err(E::custom(format_args!("Expected structure or null, found {}", name_of_bool(value))))
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Err(E::custom("Expected structure or null, found NUMBER_VALUE"))
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.visit_i64(0)
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.visit_i64(0)
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Err(E::custom("Expected structure, found null"))
    }
}

fn name_of_bool(value: bool) -> &'static str {
    if value { "TRUE_VALUE" } else { "FALSE_VALUE" }
}

fn fill_structure<'de, A: MapAccess<'de>>(shape: &mut dyn Shape, mut map: A) -> Result<(), A::Error> {
    static EMPTY: StructureSchema = StructureSchema { members: &[], union: false, payload: None };
    let schema = shape.schema().structure().unwrap_or(&EMPTY);
    let mut seen = vec![false; schema.members.len()];
    while let Some(index) = map.next_key_seed(KeySeed(schema))? {
        let Some((index, member)) = index.and_then(|index| Some((index, schema.members.get(index)?))) else {
            map.next_value::<serde::de::IgnoredAny>()?;
            continue;
        };
        if std::mem::replace(&mut seen[index], true) {
            return Err(A::Error::custom(format_args!("Duplicate member {}", member.wire_name())));
        }
        map.next_value_seed(SlotSeed { slot: shape.member_mut(index), member })?;
    }
    Ok(())
}

/// Reads a key as the index of the member that it names.
struct KeySeed(&'static StructureSchema);

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Option<usize>;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Option<usize>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self
            .0
            .members
            .iter()
            .position(|member| member.traits.location.is_none() && member.wire_name() == key))
    }
}

struct SlotSeed<'a> {
    slot: Slot<'a>,
    member: &'static Member,
}

impl<'de> DeserializeSeed<'de> for SlotSeed<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.slot {
            Slot::Document(target) => {
                let value = deserializer.deserialize_any(DocumentVisitor)?;
                if !value.is_null() {
                    *target = Some(value);
                }
                Ok(())
            }
            slot => deserializer.deserialize_any(SlotVisitor { slot, member: self.member }),
        }
    }
}

struct SlotVisitor<'a> {
    slot: Slot<'a>,
    member: &'static Member,
}

impl SlotVisitor<'_> {
    /// Refuses a scalar of the token type `found`.
    fn refuse<E: Error>(&self, found: &str) -> E {
        let wanted = match self.slot {
            Slot::Boolean(_) => "a Boolean",
            Slot::Integer(_) => "an Integer",
            Slot::Long(_) => "a Long",
            Slot::Float(_) => "a Float",
            Slot::Double(_) => "a Double",
            Slot::String(_) => "a String",
            Slot::Blob(_) => "a Blob",
            Slot::Timestamp(_) => "a Timestamp",
            Slot::Structure(_) => {
                return E::custom(format_args!("Expected structure or null, found {found}"));
            }
            Slot::List(_) => return E::custom(format_args!("Expected list or null, found {found}")),
            Slot::Map(_) => return E::custom(format_args!("Expected map or null, found {found}")),
            Slot::Document(_) | Slot::Nowhere => "a value",
        };
        E::custom(format_args!("{found} can not be converted to {wanted}"))
    }

    fn timestamp_format(&self) -> TimestampFormat {
        self.member.timestamp_format().unwrap_or(TimestampFormat::UnixTimestamp)
    }
}

impl<'de> Visitor<'de> for SlotVisitor<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.slot {
            Slot::Boolean(target) => *target = Some(value),
            _ => return Err(self.refuse(name_of_bool(value))),
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        let refusal = self.refuse("NUMBER_VALUE");
        match self.slot {
            Slot::Integer(target) => *target = Some(i32::try_from(value).map_err(|_| refusal)?),
            Slot::Long(target) => *target = Some(value),
            slot => return SlotVisitor { slot, member: self.member }.visit_f64(value as f64),
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match (i64::try_from(value), &self.slot) {
            (Ok(value), _) => self.visit_i64(value),
            (Err(_), Slot::Long(_) | Slot::Integer(_)) => Err(self.refuse("NUMBER_VALUE")),
            (Err(_), _) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        // Whole numbers with a fraction or an exponent (1.0, 1e3) are integers still; 2^53 is where f64 stops counting.
        let whole = (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(value as i64);
        let format = self.timestamp_format();
        let refusal = self.refuse("NUMBER_VALUE");
        match self.slot {
            Slot::Double(target) => *target = Some(value),
            Slot::Float(target) => *target = Some(value as f32),
            Slot::Long(target) => *target = Some(whole.ok_or(refusal)?),
            Slot::Integer(target) => {
                *target = Some(whole.and_then(|whole| i32::try_from(whole).ok()).ok_or(refusal)?);
            }
            Slot::Timestamp(target) if format == TimestampFormat::UnixTimestamp => {
                *target = Some(timestamp::from_seconds(value).ok_or(refusal)?);
            }
            _ => return Err(refusal),
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        let format = self.timestamp_format();
        let refusal = self.refuse("STRING_VALUE");
        match self.slot {
            Slot::String(target) => *target = Some(value.to_owned()),
            Slot::Blob(target) => *target = Some(Blob(STANDARD.decode(value).map_err(|_| refusal)?)),
            Slot::Float(target) => *target = Some(named_float(value).ok_or(refusal)? as f32),
            Slot::Double(target) => *target = Some(named_float(value).ok_or(refusal)?),
            Slot::Timestamp(target) if format != TimestampFormat::UnixTimestamp => {
                *target = Some(timestamp::read(value, format).ok_or(refusal)?);
            }
            _ => return Err(refusal),
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        match (self.slot, self.member.shape.kind) {
            (Slot::List(list), Kind::List(member)) => fill_list(list, member, seq),
            _ => Err(A::Error::custom("Start of list found where not expected")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        match (self.slot, self.member.shape.kind) {
            (Slot::Structure(structure), _) => fill_structure(structure.start(), map),
            (Slot::Map(target), Kind::Map(_, value)) => fill_map(target, value, map),
            _ => Err(A::Error::custom("Start of structure or map found where not expected.")),
        }
    }
}

/// `NaN` and the infinities, which JSON has no numbers for.
fn named_float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn fill_list<'de, A: SeqAccess<'de>>(
    list: &mut dyn ListSlot,
    member: &'static Member,
    mut seq: A,
) -> Result<(), A::Error> {
    list.start();
    let mut more = true;
    while more {
        // The end of the sequence is known only inside `push`; it is told apart from a null by this mark.
        let mut failure = None;
        let mut ended = false;
        let pushed = list.push(&mut |slot| match seq.next_element_seed(SlotSeed { slot, member }) {
            Ok(Some(())) => Ok(()),
            Ok(None) => {
                ended = true;
                Err(DecodeError(String::new()))
            }
            Err(error) => {
                failure = Some(error);
                Err(DecodeError(String::new()))
            }
        });
        match (failure, ended, pushed) {
            (Some(error), _, _) => return Err(error),
            (None, true, _) => more = false,
            (None, false, Err(error)) => return Err(A::Error::custom(error)),
            (None, false, Ok(())) => {}
        }
    }
    Ok(())
}

fn fill_map<'de, A: MapAccess<'de>>(
    target: &mut dyn MapSlot,
    member: &'static Member,
    mut map: A,
) -> Result<(), A::Error> {
    target.start();
    while let Some(key) = map.next_key::<String>()? {
        let mut failure = None;
        let inserted = target.insert(key, &mut |slot| {
            map.next_value_seed(SlotSeed { slot, member }).map_err(|error| {
                failure = Some(error);
                DecodeError(String::new())
            })
        });
        if let Some(error) = failure {
            return Err(error);
        }
        inserted.map_err(A::Error::custom)?;
    }
    Ok(())
}

/// Untyped JSON that refuses duplicate keys.
struct DocumentVisitor;

impl<'de> DeserializeSeed<'de> for DocumentVisitor {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(DocumentVisitor)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = serde_json::Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.insert(key, map.next_value_seed(DocumentVisitor)?).is_some() {
                return Err(A::Error::custom("Duplicate key in a document"));
            }
        }
        Ok(Value::Object(object))
    }
}

/// Writes `shape` as a JSON object.
pub fn write(shape: &dyn Shape) -> String {
    let mut output = String::with_capacity(256);
    write_structure(&mut output, shape, &mut |_| {});
    output
}

/// Writes one member's value (restJson's `payload`).
pub fn write_member(view: View<'_>, member: &'static Member) -> String {
    let mut output = String::with_capacity(256);
    write_view(&mut output, view, member);
    output
}

/// Writes the body members of `shape`; `head` may put members of its own first (and says nothing if it has none).
pub fn write_structure(output: &mut String, shape: &dyn Shape, head: &mut dyn FnMut(&mut String)) {
    output.push('{');
    head(output);
    let members = shape.schema().structure().map_or(&[][..], |structure| structure.members);
    for (index, member) in members.iter().enumerate() {
        if !member.in_answer_body() {
            continue;
        }
        if let Some(view) = shape.member(index) {
            write_key(output, member.wire_name());
            write_view(output, view, member);
        }
    }
    output.push('}');
}

/// Writes `"key":`, with a comma first unless the object is still empty.
pub fn write_key(output: &mut String, key: &str) {
    if !output.ends_with('{') {
        output.push(',');
    }
    write_text(output, key);
    output.push(':');
}

/// Writes a JSON string.
pub fn write_text(output: &mut String, text: &str) {
    // Nearly every text of an answer stands as it is: no copy of it is made first.
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        // Writing a str into a String cannot fail.
        output.push_str(&serde_json::to_string(text).unwrap_or_default());
        return;
    }
    output.push('"');
    output.push_str(text);
    output.push('"');
}

/// Writes a number.
fn write_number(output: &mut String, number: impl fmt::Display) {
    use fmt::Write as _;
    // Writing into a String cannot fail.
    let _ = write!(output, "{number}");
}

fn write_view(output: &mut String, view: View<'_>, member: &'static Member) {
    match view {
        View::Boolean(value) => output.push_str(if value { "true" } else { "false" }),
        View::Integer(value) => write_number(output, value),
        View::Long(value) => write_number(output, value),
        View::Float(value) => match float_name(f64::from(value)) {
            Some(name) => write_text(output, name),
            None => output.push_str(&serde_json::to_string(&value).unwrap_or_default()),
        },
        View::Double(value) => match float_name(value) {
            Some(name) => write_text(output, name),
            None => output.push_str(&serde_json::to_string(&value).unwrap_or_default()),
        },
        View::String(value) => write_text(output, value),
        View::Blob(value) => write_text(output, &STANDARD.encode(value)),
        View::Timestamp(value) => {
            let format = member.timestamp_format().unwrap_or(TimestampFormat::UnixTimestamp);
            let text = timestamp::write(value, format);
            match format {
                TimestampFormat::UnixTimestamp => output.push_str(&text),
                _ => write_text(output, &text),
            }
        }
        View::Document(value) => output.push_str(&value.to_string()),
        View::Structure(shape) => write_structure(output, shape, &mut |_| {}),
        View::List(list) => {
            output.push('[');
            for index in 0..list.count() {
                if index > 0 {
                    output.push(',');
                }
                match (list.item(index), member.shape.kind) {
                    (Some(view), Kind::List(member)) => write_view(output, view, member),
                    _ => output.push_str("null"),
                }
            }
            output.push(']');
        }
        View::Map(map) => {
            output.push('{');
            for (key, view) in map.entries() {
                write_key(output, key);
                match (view, member.shape.kind) {
                    (Some(view), Kind::Map(_, member)) => write_view(output, view, member),
                    _ => output.push_str("null"),
                }
            }
            output.push('}');
        }
    }
}

/// The name of a float that JSON and XML have no number for.
pub fn float_name(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("Infinity")
    } else if value == f64::NEG_INFINITY {
        Some("-Infinity")
    } else {
        None
    }
}
