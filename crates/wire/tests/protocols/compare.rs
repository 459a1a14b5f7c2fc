//! When two messages say the same.

use bytes::Bytes;
use serde_json::{Map, Value};
use wire::protocol::xml::{self, Element};
use wire::schema::{Kind, Location, Member, OperationSchema, Protocol, ShapeSchema};

use crate::dynamic::Dynamic;

/// Whether what was read is what the case's client meant to say.
pub fn params(schema: &'static ShapeSchema, seen: &Value, meant: &Value) -> Result<(), String> {
    let mut seen = seen.clone();
    let mut meant = meant.clone();
    prune(schema, &mut seen, &mut meant);
    if same(&seen, &meant) { Ok(()) } else { Err(format!("read {seen}, meant {meant}")) }
}

/// Levels what the wire cannot carry or the client adds.
fn prune(schema: &'static ShapeSchema, seen: &mut Value, meant: &mut Value) {
    let (Some(structure), Some(seen), Some(meant)) =
        (schema.structure(), seen.as_object_mut(), meant.as_object_mut())
    else {
        return;
    };
    meant.retain(|_, value| !value.is_null());
    let bound: Vec<&str> = structure
        .members
        .iter()
        .filter(|member| member.traits.location == Some(Location::QueryString))
        .map(Member::wire_name)
        .collect();
    for member in structure.members {
        if member.traits.idempotency_token && !meant.contains_key(member.name) {
            seen.remove(member.name);
        }
        match (member.traits.location, member.shape.kind) {
            // HTTP has no case in header names.
            (Some(Location::Headers), _) => meant.get_mut(member.name).into_iter().for_each(lower_keys),
            // The server puts parameters that are bound by name into the map too.
            (Some(Location::QueryString), Kind::Map(..)) => {
                for side in [&mut *seen, &mut *meant] {
                    let map = side.get_mut(member.name).and_then(Value::as_object_mut);
                    if let Some(map) = map {
                        map.retain(|key, _| !bound.contains(&key.as_str()));
                    }
                }
            }
            _ => {}
        }
        // What is empty leaves no trace in a form, a header or a query, and as payload it is not told from nothing.
        let empty = |side: &Map<String, Value>| {
            side.get(member.name).is_none_or(|value| {
                value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
            })
        };
        if empty(seen) && empty(meant) {
            meant.remove(member.name);
            seen.remove(member.name);
        }
    }
}

fn lower_keys(value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        *map =
            std::mem::take(map).into_iter().map(|(key, value)| (key.to_ascii_lowercase(), value)).collect();
    }
}

/// Equality that takes 1 for 1.0 and 7.625 for what an f32 makes of it.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (a, b) => a == b,
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, theirs: T) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: ours {ours:?}, theirs {theirs:?}")) }
}

/// Whether our answer is the one that the case has.
pub fn answer(
    protocol: Protocol,
    operation: &'static OperationSchema,
    response: &http::Response<Bytes>,
    case: &Value,
) -> Result<(), String> {
    let theirs = &case["response"];
    expect("status", u64::from(response.status().as_u16()), theirs["status_code"].as_u64().unwrap())?;
    headers(response, theirs)?;
    let body = theirs["body"].as_str().unwrap_or_default();
    let schema = operation.output;
    match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => json_bodies(response.body(), body),
        Protocol::RestJson => match payload(schema) {
            Some(member) if matches!(member.shape.kind, Kind::Blob | Kind::String) => {
                expect("body", &String::from_utf8_lossy(response.body()), &body.into())
            }
            _ => json_bodies(response.body(), body),
        },
        Protocol::AwsQuery | Protocol::Ec2Query => xml_bodies(response.body(), body),
        Protocol::RestXml => match payload(schema) {
            Some(member) if matches!(member.shape.kind, Kind::Blob | Kind::String) => {
                expect("body", &String::from_utf8_lossy(response.body()), &body.into())
            }
            _ => xml_bodies(response.body(), body),
        },
        Protocol::RpcV2Cbor => cbor_bodies(response.body(), body, schema, &case["result"]),
    }
}

/// Whether a client reads `result` from our answer.
pub fn read_back(
    protocol: Protocol,
    operation: &'static OperationSchema,
    response: &http::Response<Bytes>,
    result: &Value,
) -> Result<(), String> {
    let mut shape = Dynamic::new(operation.output);
    let body = response.body();
    match protocol {
        Protocol::RpcV2Cbor => wire::protocol::cbor::read(body, &mut shape),
        Protocol::AwsQuery | Protocol::Ec2Query | Protocol::RestXml => xml::parse(body).and_then(|root| {
            let inner = operation.result_wrapper.and_then(|name| find(&root, name)).unwrap_or(&root);
            xml::read_structure(inner, &mut shape)
        }),
        _ => wire::protocol::json::read(body, &mut shape),
    }
    .map_err(|error| error.to_string())?;
    let ours = shape.to_params();
    if same(&ours, result) { Ok(()) } else { Err(format!("read back {ours}, result {result}")) }
}

fn payload(schema: &'static ShapeSchema) -> Option<&'static Member> {
    let structure = schema.structure()?;
    structure.payload.map(|index| &structure.members[index])
}

fn headers(response: &http::Response<Bytes>, theirs: &Value) -> Result<(), String> {
    for (name, value) in theirs["headers"].as_object().into_iter().flatten() {
        let name = name.to_ascii_lowercase();
        // A request's header that strayed into one case's answer; and what the HTTP server adds.
        if ["x-amz-target", "content-length"].contains(&name.as_str())
            || (name == "content-type" && response.body().is_empty())
        {
            continue;
        }
        let ours = response.headers().get(&name).and_then(|value| value.to_str().ok());
        let plain = |text: &str| text.split(";charset").next().unwrap_or_default().replace(", ", ",");
        expect(&name, ours.map(plain), value.as_str().map(plain))?;
    }
    Ok(())
}

/// An empty body and an object without members say the same.
fn json_value(body: &[u8]) -> Result<Value, String> {
    if body.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn json_bodies(ours: &[u8], theirs: &str) -> Result<(), String> {
    let (ours, theirs) = (json_value(ours)?, json_value(theirs.as_bytes())?);
    if same(&ours, &theirs) { Ok(()) } else { Err(format!("ours {ours}, theirs {theirs}")) }
}

fn cbor_bodies(
    ours: &[u8],
    theirs: &str,
    schema: &'static ShapeSchema,
    result: &Value,
) -> Result<(), String> {
    use base64::Engine as _;
    let theirs = base64::engine::general_purpose::STANDARD.decode(theirs).unwrap();
    // CBOR says one thing in several ways, so both bodies are read, by the reader that the input cases vouch for.
    let read = |bytes: &[u8]| {
        let mut shape = Dynamic::new(schema);
        wire::protocol::cbor::read(bytes, &mut shape).map_err(|error| error.to_string())?;
        Ok::<_, String>(shape.to_params())
    };
    let (ours, theirs) = (read(ours)?, read(&theirs)?);
    if same(&ours, &theirs) && same(&ours, result) {
        Ok(())
    } else {
        Err(format!("ours {ours}, theirs {theirs}"))
    }
}

fn xml_bodies(ours: &[u8], theirs: &str) -> Result<(), String> {
    let read = |bytes: &[u8]| {
        if bytes.is_empty() {
            return Ok(Element::default());
        }
        let mut root = xml::parse(bytes).map_err(|error| error.to_string())?;
        level(&mut root);
        Ok::<_, String>(root)
    };
    let (mut ours, theirs) = (read(ours)?, read(theirs.as_bytes())?);
    if theirs == Element::default() && ours.children.iter().all(|child| child.children.is_empty()) {
        ours = Element::default();
    }
    if ours == theirs { Ok(()) } else { Err(format!("ours {ours:?}, theirs {theirs:?}")) }
}

/// Takes out the request id and the white space between elements, and orders what has no order.
fn level(root: &mut Element) {
    root.children
        .retain(|child| !["ResponseMetadata", "requestId", "RequestId", "RequestID"].contains(&&*child.name));
    root.attributes.retain(|(name, uri)| !(name == "xmlns" && uri == "https://example.com/"));
    level_within(root);
}

fn level_within(element: &mut Element) {
    if !element.children.is_empty() || element.text.trim().is_empty() {
        element.text.clear();
    }
    element.attributes.sort();
    element.children.iter_mut().for_each(level_within);
    // Map entries are ordered by key; the members of a list keep their order, as they have one name.
    let by_name = |element: &Element| {
        let key =
            element.children.first().filter(|_| element.children.len() == 2).map(|key| key.text.clone());
        (element.name.clone(), key)
    };
    element.children.sort_by_key(by_name);
}

/// Whether our error document tells a client the case's code, message and members.
pub fn fault(protocol: Protocol, response: &http::Response<Bytes>, case: &Value) -> Result<(), String> {
    let theirs = &case["response"];
    expect("status", u64::from(response.status().as_u16()), theirs["status_code"].as_u64().unwrap())?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let (code, mut members) = match protocol {
        Protocol::AwsQuery | Protocol::Ec2Query | Protocol::RestXml => xml_fault(response.body())?,
        Protocol::RpcV2Cbor => cbor_fault(response.body(), case)?,
        _ => {
            let mut body = json_value(response.body())?;
            let code = body.as_object_mut().and_then(|body| body.remove("__type"));
            let code = code.and_then(|code| code.as_str().map(str::to_owned));
            (header("x-amzn-errortype").map(str::to_owned).or(code).unwrap_or_default(), body)
        }
    };
    let query_code =
        header("x-amzn-query-error").and_then(|value| value.split(';').next()).map(str::to_owned);
    expect("code", query_code.unwrap_or(code).as_str(), case["errorCode"].as_str().unwrap())?;
    let message =
        members.as_object_mut().and_then(|map| map.remove("message").or_else(|| map.remove("Message")));
    if let Some(theirs) = case["errorMessage"].as_str() {
        expect("message", message.as_ref().and_then(Value::as_str), Some(theirs))?;
    }
    // Members by their names on the wire stand in the case's body; where that is empty, in its `error`.
    let mut meant = match protocol {
        Protocol::RestJson | Protocol::AwsJson10 | Protocol::AwsJson11 => {
            json_value(theirs["body"].as_str().unwrap_or_default().as_bytes())?
        }
        _ => case["error"].clone(),
    };
    if let Some(meant) = meant.as_object_mut() {
        meant.retain(|name, _| !["message", "Message", "__type", "code"].contains(&name.as_str()));
        let in_header = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            !text.is_empty() && response.headers().values().any(|header| header.as_bytes() == text.as_bytes())
        };
        meant.retain(|name, value| members.get(name).is_some() || !in_header(value));
    }
    headers_of_fault(response, theirs)?;
    let none = members.as_object().is_some_and(Map::is_empty) && meant.is_null();
    if none || same(&members, &meant) { Ok(()) } else { Err(format!("members {members}, meant {meant}")) }
}

/// The exception's members that stand in headers.
fn headers_of_fault(response: &http::Response<Bytes>, theirs: &Value) -> Result<(), String> {
    for (name, value) in theirs["headers"].as_object().into_iter().flatten() {
        let name = name.to_ascii_lowercase();
        if name.starts_with("x-") && !name.starts_with("x-amz") {
            let ours = response.headers().get(&name).and_then(|value| value.to_str().ok());
            expect(&name, ours, value.as_str())?;
        }
    }
    Ok(())
}

fn xml_fault(body: &[u8]) -> Result<(String, Value), String> {
    let root = xml::parse(body).map_err(|error| error.to_string())?;
    let error = find(&root, "Error").ok_or("no Error element")?;
    let mut members = Map::new();
    let mut code = String::new();
    for child in &error.children {
        match child.name.as_str() {
            "Code" => code.clone_from(&child.text),
            "Type" => {}
            name => {
                members.insert(name.to_owned(), to_json(child));
            }
        }
    }
    Ok((code, Value::Object(members)))
}

fn find<'e>(element: &'e Element, name: &str) -> Option<&'e Element> {
    if element.name == name {
        Some(element)
    } else {
        element.children.iter().find_map(|child| find(child, name))
    }
}

fn to_json(element: &Element) -> Value {
    if element.children.is_empty() {
        return element.text.as_str().into();
    }
    Value::Object(element.children.iter().map(|child| (child.name.clone(), to_json(child))).collect())
}

fn cbor_fault(body: &[u8], case: &Value) -> Result<(String, Value), String> {
    // Enough of a model to read any of the cases' exceptions back.
    let shapes = serde_json::json!({
        "Fault": {"type": "structure", "members": {
            "__type": {"shape": "Text"}, "message": {"shape": "Text"}, "Message": {"shape": "Text"},
            "TopLevel": {"shape": "Text"}, "Nested": {"shape": "Nested"}}},
        "Nested": {"type": "structure", "members": {"Foo": {"shape": "Text"}}},
        "Text": {"type": "string"},
    });
    let mut shape = Dynamic::new(crate::dynamic::schema(&shapes, "Fault"));
    wire::protocol::cbor::read(body, &mut shape).map_err(|error| format!("{error}: {case}"))?;
    let mut members = shape.to_params();
    let code = members.as_object_mut().and_then(|members| members.remove("__type"));
    Ok((code.and_then(|code| code.as_str().map(str::to_owned)).unwrap_or_default(), members))
}
