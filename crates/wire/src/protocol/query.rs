//! Requests of awsQuery and ec2Query: dotted names in a form.

use std::collections::BTreeMap;

use base::limits::REQUEST_DEPTH;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{form, timestamp};
use crate::schema::{Kind, Member, TimestampFormat};
use crate::shape::{Blob, DecodeError, ListSlot, MapSlot, Shape, Slot};

/// Which of the two dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `Names.member.1`.
    Aws,
    /// `Name.1`.
    Ec2,
}

/// Reads the parameters of `query` and `body` into `input`. Both are read, as AWS does: a POST may put `Action` in its URL.
pub fn read(query: &str, body: &[u8], dialect: Dialect, input: &mut dyn Shape) -> Result<(), DecodeError> {
    let malformed = || DecodeError("The form is malformed or has too many parameters".to_owned());
    let mut root = Node::default();
    for bytes in [query.as_bytes(), body] {
        for (key, value) in form::pairs(bytes).ok_or_else(malformed)? {
            root.add(&key, value)?;
        }
    }
    read_structure(&root, dialect, input)
}

/// A parameter, and those whose names go on behind it.
#[derive(Default)]
struct Node {
    value: Option<String>,
    children: BTreeMap<String, Node>,
}

impl Node {
    fn add(&mut self, key: &str, value: String) -> Result<(), DecodeError> {
        let mut node = self;
        for (depth, part) in key.split('.').enumerate() {
            // Every structure takes one name, every list element two, every map entry three.
            if depth >= 3 * REQUEST_DEPTH {
                return Err(DecodeError("The request nests too deeply".to_owned()));
            }
            node = node.children.entry(part.to_owned()).or_default();
        }
        if node.value.replace(value).is_some() {
            return Err(DecodeError("A parameter is given twice".to_owned()));
        }
        Ok(())
    }

    /// The children whose names are numbers, in their order.
    fn numbered(&self) -> Result<Vec<&Node>, DecodeError> {
        let mut numbered = Vec::with_capacity(self.children.len());
        for (name, node) in &self.children {
            let number = name
                .parse::<u32>()
                .map_err(|_| DecodeError("A list's parameters must be numbered".to_owned()))?;
            numbered.push((number, node));
        }
        numbered.sort_unstable_by_key(|(number, _)| *number);
        Ok(numbered.into_iter().map(|(_, node)| node).collect())
    }
}

/// A member's name in ec2Query: `queryName`, else its wire name with a capital.
pub fn ec2_name(member: &Member) -> String {
    if let Some(name) = member.traits.query_name {
        return name.to_owned();
    }
    let name = member.wire_name();
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}", first.to_ascii_uppercase(), chars.as_str()))
}

fn read_structure(node: &Node, dialect: Dialect, shape: &mut dyn Shape) -> Result<(), DecodeError> {
    let Some(schema) = shape.schema().structure() else { return Ok(()) };
    for (index, member) in schema.members.iter().enumerate() {
        let child = match dialect {
            Dialect::Ec2 => node.children.get(&ec2_name(member)),
            Dialect::Aws => {
                node.children.get(member.flat_name()).or_else(|| node.children.get(member.wire_name()))
            }
        };
        if let Some(child) = child {
            read_member(child, member, dialect, shape.member_mut(index))?;
        }
    }
    Ok(())
}

/// A structure, list or map has its content in parameters behind its own; a text in their place is refused.
fn no_text(node: &Node, member: &Member) -> Result<(), DecodeError> {
    match &node.value {
        Some(text) if !text.is_empty() => Err(DecodeError(format!(
            "The parameter {} must be numbered or name a member",
            member.wire_name()
        ))),
        _ => Ok(()),
    }
}

fn read_member(
    node: &Node,
    member: &'static Member,
    dialect: Dialect,
    slot: Slot<'_>,
) -> Result<(), DecodeError> {
    if matches!(slot, Slot::Structure(_) | Slot::List(_) | Slot::Map(_)) {
        no_text(node, member)?;
    }
    match (slot, member.shape.kind) {
        (Slot::Structure(target), _) => read_structure(node, dialect, target.start()),
        (Slot::List(list), Kind::List(element)) => read_list(node, member, element, dialect, list),
        (Slot::Map(map), Kind::Map(key, value)) => read_map(node, member, [key, value], dialect, map),
        (slot, _) => match &node.value {
            Some(text) => read_text(text, member, TimestampFormat::Iso8601, slot),
            None => Err(DecodeError(format!("The parameter {} is no structure", member.wire_name()))),
        },
    }
}

fn read_list(
    node: &Node,
    member: &'static Member,
    element: &'static Member,
    dialect: Dialect,
    list: &mut dyn ListSlot,
) -> Result<(), DecodeError> {
    list.start();
    let flat = dialect == Dialect::Ec2 || member.flattened();
    let elements = if flat {
        node
    } else {
        match node.children.get(element.traits.location_name.unwrap_or("member")) {
            Some(elements) => elements,
            // `Names=` is a list without elements.
            None if node.children.is_empty() => return Ok(()),
            None => return Err(DecodeError(format!("The list {} is malformed", member.wire_name()))),
        }
    };
    for child in elements.numbered()? {
        list.push(&mut |slot| read_member(child, element, dialect, slot))?;
    }
    Ok(())
}

fn read_map(
    node: &Node,
    member: &'static Member,
    [key, value]: [&'static Member; 2],
    dialect: Dialect,
    map: &mut dyn MapSlot,
) -> Result<(), DecodeError> {
    map.start();
    let entries = if member.flattened() { Some(node) } else { node.children.get("entry") };
    for entry in entries.map_or(Ok(Vec::new()), Node::numbered)? {
        let lacking = || DecodeError(format!("An entry of the map {} has no key", member.wire_name()));
        let name = entry.children.get(key.traits.location_name.unwrap_or("key")).ok_or_else(lacking)?;
        let name = name.value.clone().ok_or_else(lacking)?;
        let content = entry.children.get(value.traits.location_name.unwrap_or("value"));
        map.insert(name, &mut |slot| match content {
            Some(content) => read_member(content, value, dialect, slot),
            None => Ok(()),
        })?;
    }
    Ok(())
}

/// Reads a scalar from its text: a form value, a header, a label, an XML element.
pub fn read_text(
    text: &str,
    member: &'static Member,
    format: TimestampFormat,
    slot: Slot<'_>,
) -> Result<(), DecodeError> {
    let refuse = |kind: &str| DecodeError(format!("The value of {} is not {kind}", member.wire_name()));
    match slot {
        Slot::Boolean(target) => {
            *target = Some(match text {
                "true" => true,
                "false" => false,
                _ => return Err(refuse("a Boolean")),
            });
        }
        Slot::Integer(target) => *target = Some(text.parse().map_err(|_| refuse("an Integer"))?),
        Slot::Long(target) => *target = Some(text.parse().map_err(|_| refuse("a Long"))?),
        Slot::Float(target) => *target = Some(read_float(text).ok_or_else(|| refuse("a Float"))? as f32),
        Slot::Double(target) => *target = Some(read_float(text).ok_or_else(|| refuse("a Double"))?),
        Slot::String(target) => *target = Some(text.to_owned()),
        Slot::Blob(target) => {
            *target = Some(Blob(STANDARD.decode(text).map_err(|_| refuse("base64"))?));
        }
        Slot::Timestamp(target) => {
            let format = member.timestamp_format().unwrap_or(format);
            *target = Some(timestamp::read(text, format).ok_or_else(|| refuse("a Timestamp"))?);
        }
        Slot::Document(target) => {
            *target = Some(serde_json::from_str(text).map_err(|_| refuse("JSON"))?);
        }
        Slot::Structure(_) | Slot::List(_) | Slot::Map(_) => return Err(refuse("well-formed")),
        Slot::Nowhere => {}
    }
    Ok(())
}

/// A decimal number or one of the three names; Rust's own further spellings (`inf`, `nan`) are none of AWS's.
fn read_float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => text.parse().ok(),
        _ => None,
    }
}
