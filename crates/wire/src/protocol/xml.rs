//! XML bodies: the answers of awsQuery and ec2Query, and both ways of restXml.
//!
//! What comes in is read into a small tree first, bounded in depth and in number of elements. Document types are
//! refused, so there are no entities to expand but XML's own five.

use base::limits::REQUEST_DEPTH;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::json::float_name;
use super::query::read_text;
use super::timestamp;
use crate::schema::{Kind, Member, TimestampFormat, XmlNamespace};
use crate::shape::{DecodeError, Shape, Slot, View};

/// The most elements that one request may have. Ours; a tree of so many stays below some tens of megabytes.
pub const ELEMENTS_MAXIMUM: usize = 100_000;

/// The most attributes that one element may have. Ours; the models have two.
pub const ATTRIBUTES_MAXIMUM: usize = 64;

/// Writes `<name …>members</name>`.
pub fn write_root(output: &mut String, name: &str, namespace: Option<XmlNamespace>, shape: &dyn Shape) {
    output.push('<');
    output.push_str(name);
    write_namespace(output, namespace);
    write_attributes(output, shape);
    output.push('>');
    write_members(output, shape);
    close(output, name);
}

fn close(output: &mut String, name: &str) {
    output.push_str("</");
    output.push_str(name);
    output.push('>');
}

fn write_namespace(output: &mut String, namespace: Option<XmlNamespace>) {
    let Some(XmlNamespace { uri, prefix }) = namespace else { return };
    output.push_str(" xmlns");
    if let Some(prefix) = prefix {
        output.push(':');
        output.push_str(prefix);
    }
    output.push_str("=\"");
    escape(output, uri);
    output.push('"');
}

fn write_attributes(output: &mut String, shape: &dyn Shape) {
    let members = shape.schema().structure().map_or(&[][..], |structure| structure.members);
    for (index, member) in members.iter().enumerate().filter(|(_, member)| member.traits.xml_attribute) {
        if let Some(text) =
            shape.member(index).and_then(|view| scalar(view, member, TimestampFormat::Iso8601))
        {
            output.push(' ');
            output.push_str(member.wire_name());
            output.push_str("=\"");
            escape(output, &text);
            output.push('"');
        }
    }
}

/// Writes the members of `shape` that stand in a body, each as an element.
pub fn write_members(output: &mut String, shape: &dyn Shape) {
    let members = shape.schema().structure().map_or(&[][..], |structure| structure.members);
    for (index, member) in members.iter().enumerate() {
        if !member.in_answer_body() || member.traits.xml_attribute {
            continue;
        }
        if let Some(view) = shape.member(index) {
            write_element(output, member.wire_name(), view, member);
        }
    }
}

/// Writes a value as the element `name`; a flattened list or map as many of them.
pub fn write_element(output: &mut String, name: &str, view: View<'_>, member: &'static Member) {
    match (view, member.shape.kind) {
        (View::List(list), Kind::List(element)) if member.flattened() => {
            for view in (0..list.count()).filter_map(|index| list.item(index)) {
                write_element(output, member.flat_name(), view, element);
            }
        }
        (View::Map(map), Kind::Map(key, value)) if member.flattened() => {
            for (text, view) in map.entries() {
                open(output, name, member.xml_namespace());
                write_entry(output, text, view, [key, value]);
                close(output, name);
            }
        }
        (View::List(list), Kind::List(element)) => {
            open(output, name, member.xml_namespace());
            let element_name = element.traits.location_name.unwrap_or("member");
            for view in (0..list.count()).filter_map(|index| list.item(index)) {
                write_element(output, element_name, view, element);
            }
            close(output, name);
        }
        (View::Map(map), Kind::Map(key, value)) => {
            open(output, name, member.xml_namespace());
            for (text, view) in map.entries() {
                output.push_str("<entry>");
                write_entry(output, text, view, [key, value]);
                output.push_str("</entry>");
            }
            close(output, name);
        }
        (View::Structure(shape), _) => write_root(output, name, member.xml_namespace(), shape),
        (view, _) => {
            open(output, name, member.xml_namespace());
            if let Some(text) = scalar(view, member, TimestampFormat::Iso8601) {
                escape(output, &text);
            }
            close(output, name);
        }
    }
}

fn open(output: &mut String, name: &str, namespace: Option<XmlNamespace>) {
    output.push('<');
    output.push_str(name);
    write_namespace(output, namespace);
    output.push('>');
}

fn write_entry(output: &mut String, text: &str, view: Option<View<'_>>, [key, value]: [&'static Member; 2]) {
    write_element(output, key.traits.location_name.unwrap_or("key"), View::String(text), key);
    if let Some(view) = view {
        write_element(output, value.traits.location_name.unwrap_or("value"), view, value);
    }
}

/// A scalar's text in XML, a header or a query; `None` for what is no scalar.
pub fn scalar(view: View<'_>, member: &Member, format: TimestampFormat) -> Option<String> {
    Some(match view {
        View::Boolean(value) => value.to_string(),
        View::Integer(value) => value.to_string(),
        View::Long(value) => value.to_string(),
        View::Float(value) => float_name(f64::from(value)).map_or_else(|| value.to_string(), str::to_owned),
        View::Double(value) => float_name(value).map_or_else(|| value.to_string(), str::to_owned),
        View::String(value) => value.to_owned(),
        View::Blob(value) => STANDARD.encode(value),
        View::Timestamp(value) => timestamp::write(value, member.timestamp_format().unwrap_or(format)),
        View::Document(value) => value.to_string(),
        View::Structure(_) | View::List(_) | View::Map(_) => return None,
    })
}

/// Writes text with markup escaped. Characters that XML 1.0 cannot hold become U+FFFD.
pub fn escape(output: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            '&' => output.push_str("&amp;"),
            '<' => output.push_str("&lt;"),
            '>' => output.push_str("&gt;"),
            '"' => output.push_str("&quot;"),
            // A parser would fold these into a line feed, or into a space in an attribute.
            '\r' => output.push_str("&#xD;"),
            '\n' => output.push_str("&#xA;"),
            '\t' => output.push_str("&#x9;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => output.push('\u{fffd}'),
            '\u{85}' => output.push_str("&#x85;"),
            '\u{2028}' => output.push_str("&#x2028;"),
            other => output.push(other),
        }
    }
}

/// An element as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// The name as written, prefix and all.
    pub name: String,
    /// Attributes as written.
    pub attributes: Vec<(String, String)>,
    /// All text directly within.
    pub text: String,
    /// Elements directly within.
    pub children: Vec<Element>,
}

impl Element {
    /// The name without its prefix.
    fn local(&self) -> &str {
        self.name.rsplit(':').next().unwrap_or(&self.name)
    }

    fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.local() == name)
    }
}

/// Reads a document's root element.
pub fn parse(bytes: &[u8]) -> Result<Element, DecodeError> {
    let malformed = || DecodeError("The request body is not well-formed XML".to_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| malformed())?;
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let (mut stack, mut root, mut count) = (Vec::<Element>::new(), None, 0_usize);
    loop {
        match reader.read_event().map_err(|_| malformed())? {
            Event::Start(start) => {
                count += 1;
                if count > ELEMENTS_MAXIMUM || stack.len() >= REQUEST_DEPTH {
                    return Err(DecodeError(
                        "The request nests too deeply or has too many elements".to_owned(),
                    ));
                }
                if root.is_some() {
                    return Err(malformed());
                }
                stack.push(begin(&start).ok_or_else(malformed)?);
            }
            Event::End(_) => {
                let done = stack.pop().ok_or_else(malformed)?;
                match stack.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => root = Some(done),
                }
            }
            Event::Text(content) => {
                let content = content.decode().map_err(|_| malformed())?;
                match stack.last_mut() {
                    Some(element) => element.text.push_str(&content),
                    None if content.trim().is_empty() => {}
                    None => return Err(malformed()),
                }
            }
            Event::CData(content) => {
                let content = content.decode().map_err(|_| malformed())?;
                stack.last_mut().ok_or_else(malformed)?.text.push_str(&content);
            }
            Event::GeneralRef(reference) => {
                let char = match reference.resolve_char_ref().map_err(|_| malformed())? {
                    Some(char) => char,
                    None => {
                        named_entity(&reference.decode().map_err(|_| malformed())?).ok_or_else(malformed)?
                    }
                };
                stack.last_mut().ok_or_else(malformed)?.text.push(char);
            }
            Event::DocType(_) => return Err(DecodeError("A document type is not allowed".to_owned())),
            Event::Eof => break,
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) | Event::Empty(_) => {}
        }
    }
    if !stack.is_empty() {
        return Err(malformed());
    }
    root.ok_or_else(malformed)
}

fn named_entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

fn begin(start: &BytesStart<'_>) -> Option<Element> {
    let name = std::str::from_utf8(start.name().as_ref()).ok()?.to_owned();
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        // The parser holds every name against all before it.
        if attributes.len() >= ATTRIBUTES_MAXIMUM {
            return None;
        }
        let attribute = attribute.ok()?;
        let key = std::str::from_utf8(attribute.key.as_ref()).ok()?.to_owned();
        attributes.push((key, attribute.unescape_value().ok()?.into_owned()));
    }
    Some(Element { name, attributes, ..Element::default() })
}

/// Reads the members that stand in a body from `element`.
pub fn read_structure(element: &Element, shape: &mut dyn Shape) -> Result<(), DecodeError> {
    let Some(schema) = shape.schema().structure() else { return Ok(()) };
    for (index, member) in schema.members.iter().enumerate() {
        if member.traits.location.is_some() {
            continue;
        }
        if member.traits.xml_attribute {
            let found = element.attributes.iter().find(|(name, _)| name == member.wire_name());
            if let Some((_, text)) = found {
                read_text(text, member, TimestampFormat::Iso8601, shape.member_mut(index))?;
            }
            continue;
        }
        let name = if member.flattened() { member.flat_name() } else { member.wire_name() };
        let local = name.rsplit(':').next().unwrap_or(name);
        let mut found = element.children.iter().filter(|child| child.local() == local).peekable();
        let Some(first) = found.peek().copied() else { continue };
        if member.flattened() {
            read_flat(found.collect(), member, shape.member_mut(index))?;
        } else {
            found.next();
            if found.next().is_some() {
                return Err(DecodeError(format!("The element {name} is given twice")));
            }
            read_element(first, member, shape.member_mut(index))?;
        }
    }
    Ok(())
}

/// Reads a value from its element.
pub fn read_element(element: &Element, member: &'static Member, slot: Slot<'_>) -> Result<(), DecodeError> {
    match (slot, member.shape.kind) {
        (Slot::Structure(target), _) => read_structure(element, target.start()),
        (slot @ Slot::List(_), Kind::List(inner)) => {
            let name = inner.traits.location_name.unwrap_or("member");
            read_items(element.children.iter().filter(|child| child.local() == name).collect(), member, slot)
        }
        (slot @ Slot::Map(_), Kind::Map(..)) => read_items(
            element.children.iter().filter(|child| child.local() == "entry").collect(),
            member,
            slot,
        ),
        (_, _) if !element.children.is_empty() => {
            Err(DecodeError(format!("The value of {} is no text", member.wire_name())))
        }
        (slot, _) => read_text(&element.text, member, TimestampFormat::Iso8601, slot),
    }
}

fn read_flat(elements: Vec<&Element>, member: &'static Member, slot: Slot<'_>) -> Result<(), DecodeError> {
    match (&slot, elements.first()) {
        (Slot::List(_) | Slot::Map(_), _) => read_items(elements, member, slot),
        (_, Some(first)) => read_element(first, member, slot),
        (_, None) => Ok(()),
    }
}

/// Reads list elements or map entries.
fn read_items(elements: Vec<&Element>, member: &'static Member, slot: Slot<'_>) -> Result<(), DecodeError> {
    match (slot, member.shape.kind) {
        (Slot::List(list), Kind::List(inner)) => {
            list.start();
            elements
                .into_iter()
                .try_for_each(|element| list.push(&mut |slot| read_element(element, inner, slot)))
        }
        (Slot::Map(map), Kind::Map(key, value)) => {
            map.start();
            for entry in elements {
                let lacking =
                    || DecodeError(format!("An entry of the map {} has no key", member.wire_name()));
                let name = entry.child(key.traits.location_name.unwrap_or("key")).ok_or_else(lacking)?;
                let content = entry.child(value.traits.location_name.unwrap_or("value"));
                map.insert(name.text.clone(), &mut |slot| match content {
                    Some(content) => read_element(content, value, slot),
                    None => Ok(()),
                })?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_documents_are_refused() {
        let deep = "<a>".repeat(REQUEST_DEPTH + 1);
        let many = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS_MAXIMUM));
        for bad in [
            "",
            "x",
            "<a>",
            "</a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>x",
            "<a>&nope;</a>",
            "<a x=1/>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            &deep,
            &many,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{}", &bad[..bad.len().min(40)]);
        }
        let element =
            parse(b"<?xml version=\"1.0\"?><!-- c --><a b=\"&lt;\">x&amp;&#65;<![CDATA[<]]><c/></a>")
                .unwrap();
        assert_eq!(element.text, "x&A<");
        assert_eq!(element.attributes, [("b".to_owned(), "<".to_owned())]);
        assert_eq!(element.children.len(), 1);
    }

    #[test]
    fn text_is_escaped_so_that_it_comes_back() {
        let mut output = String::from("<a>");
        escape(&mut output, "<&>\"'\r\n\t\u{1}\u{2028}é");
        output.push_str("</a>");
        assert_eq!(parse(output.as_bytes()).unwrap().text, "<&>\"'\r\n\t\u{fffd}\u{2028}é");
    }
}
