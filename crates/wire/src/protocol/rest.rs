//! restJson and restXml: members in the path, the query, headers, the status, and a body in JSON or XML.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::request::Parts;

use super::query::read_text;
use super::{Reply, form, json, query_answer, xml};
use crate::fault::Fault;
use crate::schema::{Kind, Location, Member, OperationSchema, ServiceSchema, TimestampFormat, Traits};
use crate::shape::{Blob, DecodeError, ListSlot, Shape, Slot, View};

/// The format of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// restJson.
    Json,
    /// restXml.
    Xml,
}

/// Reads a request. `labels` are those of the path.
pub fn read(
    format: Format,
    parts: &Parts,
    body: &[u8],
    labels: &[(String, String)],
    input: &mut dyn Shape,
) -> Result<(), DecodeError> {
    let Some(schema) = input.schema().structure() else { return Ok(()) };
    let query = form::pairs(parts.uri.query().unwrap_or_default().as_bytes())
        .ok_or_else(|| DecodeError("The query string is malformed".to_owned()))?;
    for (index, member) in schema.members.iter().enumerate() {
        let name = member.wire_name();
        match member.traits.location {
            None | Some(Location::StatusCode) => {}
            Some(Location::Uri) => {
                if let Some((_, text)) = labels.iter().find(|(label, _)| label == name) {
                    read_text(text, member, TimestampFormat::Iso8601, input.member_mut(index))?;
                }
            }
            Some(Location::QueryString) => read_query(&query, member, input.member_mut(index))?,
            Some(Location::Header) => read_header(&parts.headers, member, input.member_mut(index))?,
            Some(Location::Headers) => read_headers(&parts.headers, member, input.member_mut(index))?,
        }
    }
    let in_body = |member: &Member| member.traits.location.is_none();
    match schema.payload.and_then(|index| Some((index, schema.members.get(index)?))) {
        Some((index, member)) => read_payload(format, body, member, input.member_mut(index)),
        None if body.is_empty() || !schema.members.iter().any(in_body) => Ok(()),
        None => match format {
            Format::Json => json::read(body, input),
            Format::Xml => xml::read_structure(&xml::parse(body)?, input),
        },
    }
}

fn read_query(
    query: &[(String, String)],
    member: &'static Member,
    slot: Slot<'_>,
) -> Result<(), DecodeError> {
    let name = member.wire_name();
    match (slot, member.shape.kind) {
        (Slot::List(list), Kind::List(element)) => {
            let values: Vec<&str> =
                query.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value).collect();
            read_values(&values, element, TimestampFormat::Iso8601, list)
        }
        // A map takes all parameters, those that are bound by name too.
        (Slot::Map(map), Kind::Map(_, value)) => {
            let mut keys: Vec<&str> = query.iter().map(|(key, _)| key.as_str()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let values: Vec<&str> =
                    query.iter().filter(|(other, _)| other == key).map(|(_, value)| value.as_str()).collect();
                map.insert(key.to_owned(), &mut |slot| match (slot, value.shape.kind) {
                    (Slot::List(list), Kind::List(element)) => {
                        read_values(&values, element, TimestampFormat::Iso8601, list)
                    }
                    (slot, _) => {
                        let first = values.first().copied().unwrap_or_default();
                        read_text(first, value, TimestampFormat::Iso8601, slot)
                    }
                })?;
            }
            Ok(())
        }
        (slot, _) => match query.iter().find(|(key, _)| key == name) {
            Some((_, text)) => read_text(text, member, TimestampFormat::Iso8601, slot),
            None => Ok(()),
        },
    }
}

fn read_values(
    values: &[&str],
    element: &'static Member,
    format: TimestampFormat,
    list: &mut dyn ListSlot,
) -> Result<(), DecodeError> {
    values.iter().try_for_each(|text| list.push(&mut |slot| read_text(text, element, format, slot)))
}

fn text_of(value: &http::HeaderValue, member: &Member) -> Result<String, DecodeError> {
    String::from_utf8(value.as_bytes().to_vec())
        .map_err(|_| DecodeError(format!("The header {} is no text", member.wire_name())))
}

fn read_header(headers: &HeaderMap, member: &'static Member, slot: Slot<'_>) -> Result<(), DecodeError> {
    let mut values = headers.get_all(member.wire_name()).iter().peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    if let (Slot::List(_), Kind::List(element)) = (&slot, member.shape.kind) {
        let Slot::List(list) = slot else { return Ok(()) };
        list.start();
        for value in values {
            let text = text_of(value, member)?;
            let dates = matches!(element.shape.kind, Kind::Timestamp)
                && element.timestamp_format().unwrap_or(TimestampFormat::Rfc822) == TimestampFormat::Rfc822;
            let items = split_list(&text, dates);
            let items: Vec<&str> = items.iter().map(String::as_str).collect();
            read_values(&items, element, TimestampFormat::Rfc822, list)?;
        }
        return Ok(());
    }
    let Some(value) = values.next() else { return Ok(()) };
    let text = text_of(value, member)?;
    if member.traits.json_value {
        let refuse = || DecodeError(format!("The header {} is no base64", member.wire_name()));
        let text = String::from_utf8(STANDARD.decode(&text).map_err(|_| refuse())?).map_err(|_| refuse())?;
        return read_text(&text, member, TimestampFormat::Rfc822, slot);
    }
    read_text(&text, member, TimestampFormat::Rfc822, slot)
}

/// Splits a header's list at commas, outside of quotes. A date of RFC 822 has a comma of its own.
fn split_list(text: &str, dates: bool) -> Vec<String> {
    let mut items = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (item, left) = unquote(quoted);
            items.push(item);
            rest = left.trim_start().strip_prefix(',').unwrap_or_default().trim_start();
            continue;
        }
        let mut commas = rest.match_indices(',').map(|(at, _)| at);
        let cut = if dates { commas.nth(1) } else { commas.next() };
        let (item, left) = match cut {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, ""),
        };
        items.push(item.trim().to_owned());
        rest = left.trim_start();
    }
    items
}

/// The text up to the closing quote, and what stands behind it.
fn unquote(text: &str) -> (String, &str) {
    let mut item = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (item, &text[at + 1..]),
            '\\' => item.extend(chars.next().map(|(_, char)| char)),
            other => item.push(other),
        }
    }
    (item, "")
}

fn read_headers(headers: &HeaderMap, member: &'static Member, slot: Slot<'_>) -> Result<(), DecodeError> {
    let (Slot::Map(map), Kind::Map(_, value)) = (slot, member.shape.kind) else { return Ok(()) };
    let prefix = member.traits.location_name.unwrap_or_default().to_ascii_lowercase();
    for name in headers.keys() {
        let Some(key) = name.as_str().strip_prefix(prefix.as_str()) else { continue };
        let Some(content) = headers.get(name) else { continue };
        let text = text_of(content, member)?;
        map.insert(key.to_owned(), &mut |slot| read_text(&text, value, TimestampFormat::Rfc822, slot))?;
    }
    Ok(())
}

fn read_payload(
    format: Format,
    body: &[u8],
    member: &'static Member,
    slot: Slot<'_>,
) -> Result<(), DecodeError> {
    if body.is_empty() {
        return Ok(());
    }
    match slot {
        Slot::Blob(target) => *target = Some(Blob(body.to_vec())),
        Slot::String(target) => {
            let refuse = |_| DecodeError("The request body is not UTF-8".to_owned());
            *target = Some(String::from_utf8(body.to_vec()).map_err(refuse)?);
        }
        slot => match format {
            Format::Json => json::read_member(body, member, slot)?,
            Format::Xml => xml::read_element(&xml::parse(body)?, member, slot)?,
        },
    }
    Ok(())
}

/// The answer to a call that went well.
pub fn answer(format: Format, operation: &'static OperationSchema, output: &dyn Shape) -> Reply {
    let mut reply = Reply { status: operation.status, headers: Vec::new(), body: Vec::new() };
    write_located(&mut reply, output);
    let name = operation.output.traits.location_name.unwrap_or(operation.output.name);
    write_body(&mut reply, format, output, name, operation.output.traits);
    reply
}

/// The answer to a call that did not.
pub fn fault(
    format: Format,
    service: Option<&'static ServiceSchema>,
    fault: &Fault,
    request_id: &str,
) -> Reply {
    let (content_type, body) = match format {
        Format::Json => ("application/json", super::aws_json::fault_body(fault, false).into_bytes()),
        Format::Xml => ("application/xml", query_answer::aws_fault(service, fault, request_id)),
    };
    let mut reply = Reply::new(fault.status(), content_type, body);
    if format == Format::Json {
        reply.header("x-amzn-errortype", fault.code());
    }
    if let Some(details) = fault.details() {
        write_located(&mut reply, details);
    }
    reply
}

/// Writes the members that stand in headers or in the status.
fn write_located(reply: &mut Reply, shape: &dyn Shape) {
    let members = shape.schema().structure().map_or(&[][..], |structure| structure.members);
    for (index, member) in members.iter().enumerate() {
        let Some(view) = shape.member(index) else { continue };
        match (member.traits.location, view) {
            (Some(Location::StatusCode), View::Integer(status)) => {
                reply.status = u16::try_from(status).unwrap_or(reply.status);
            }
            (Some(Location::Header), view) => {
                if let Some(text) = header_text(view, member) {
                    reply.header(member.wire_name().to_ascii_lowercase(), text);
                }
            }
            (Some(Location::Headers), View::Map(map)) => {
                let prefix = member.traits.location_name.unwrap_or_default();
                for (key, view) in map.entries() {
                    if let Some(View::String(text)) = view {
                        reply.header(format!("{prefix}{key}").to_ascii_lowercase(), text);
                    }
                }
            }
            _ => {}
        }
    }
}

fn header_text(view: View<'_>, member: &'static Member) -> Option<String> {
    match (view, member.shape.kind) {
        (View::List(list), Kind::List(element)) => {
            let items: Vec<String> = (0..list.count())
                .filter_map(|index| xml::scalar(list.item(index)?, element, TimestampFormat::Rfc822))
                .map(|item| if matches!(element.shape.kind, Kind::String) { quote(item) } else { item })
                .collect();
            Some(items.join(", "))
        }
        (View::String(text), _) if member.traits.json_value => Some(STANDARD.encode(text)),
        (view, _) => xml::scalar(view, member, TimestampFormat::Rfc822),
    }
}

/// A list's text with quotes around it where a comma or a quote would be misread.
fn quote(text: String) -> String {
    if !text.contains([',', '"']) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn write_body(reply: &mut Reply, format: Format, shape: &dyn Shape, name: &str, traits: Traits) {
    let Some(schema) = shape.schema().structure() else { return };
    let payload = schema.payload.and_then(|index| Some((schema.members.get(index)?, shape.member(index))));
    let (content_type, body) = match (payload, format) {
        (Some((_, None)), _) => return,
        (Some((_, Some(View::Blob(bytes)))), _) => ("application/octet-stream", bytes.to_vec()),
        (Some((_, Some(View::String(text)))), _) => ("text/plain", text.as_bytes().to_vec()),
        (Some((member, Some(view))), Format::Json) => {
            ("application/json", json::write_member(view, member).into_bytes())
        }
        (Some((member, Some(view))), Format::Xml) => {
            // A name at the member counts only where it is more than the member's own.
            let name = member.traits.location_name.filter(|name| *name != member.name);
            let name = name.or(member.shape.traits.location_name).unwrap_or(member.shape.name);
            let mut output = String::new();
            xml::write_element(&mut output, name, view, member);
            ("application/xml", output.into_bytes())
        }
        (None, _) if !schema.members.iter().any(Member::in_answer_body) => match format {
            Format::Json => ("application/json", b"{}".to_vec()),
            Format::Xml => return,
        },
        (None, Format::Json) => ("application/json", json::write(shape).into_bytes()),
        (None, Format::Xml) => {
            let mut output = String::new();
            xml::write_root(&mut output, name, traits.xml_namespace, shape);
            ("application/xml", output.into_bytes())
        }
    };
    reply.body = body;
    if !reply.headers.iter().any(|(name, _)| name == "content-type") {
        reply.header("content-type", content_type);
    }
}
