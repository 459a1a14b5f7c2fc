//! A structure over a model that is read at run time: what reflection makes possible.
#![allow(dead_code)] // each test takes what it needs

use std::collections::BTreeMap;

use serde_json::Value;
use wire::schema::{
    Constraints, Kind, Location, Member, ShapeSchema, StructureSchema, TimestampFormat, Traits, XmlNamespace,
};
use wire::{Blob, DecodeError, Fill, ListSlot, ListView, MapSlot, MapView, Shape, Slot, StructureSlot, View};

/// How often a shape may stand within itself; the cases need three.
const RECURSION_MAXIMUM: usize = 5;

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn leaked(value: &Value) -> Option<&'static str> {
    value.as_str().map(|text| &**leak(text.to_owned()))
}

pub fn schema(shapes: &Value, name: &str) -> &'static ShapeSchema {
    build(shapes, name, &mut Vec::new())
}

fn build(shapes: &Value, name: &str, path: &mut Vec<String>) -> &'static ShapeSchema {
    let shape = &shapes[name];
    path.push(name.to_owned());
    let recursion = path.iter().filter(|other| *other == name).count();
    let kind = match shape["type"].as_str().unwrap_or_else(|| panic!("no shape {name}")) {
        "boolean" => Kind::Boolean,
        "integer" | "short" | "byte" => Kind::Integer,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "string" | "character" => Kind::String,
        "blob" => Kind::Blob,
        "timestamp" => Kind::Timestamp,
        "structure" if shape["document"] == true => Kind::Document,
        "structure" => Kind::Structure(structure(shapes, shape, path, recursion > RECURSION_MAXIMUM)),
        "list" => Kind::List(leak(member(shapes, "member", &shape["member"], path))),
        "map" => Kind::Map(
            leak(member(shapes, "key", &shape["key"], path)),
            leak(member(shapes, "value", &shape["value"], path)),
        ),
        other => panic!("{name} is a {other}"),
    };
    path.pop();
    leak(ShapeSchema {
        name: leak(name.to_owned()),
        kind,
        traits: traits(shape),
        constraints: Constraints::NONE,
    })
}

fn structure(shapes: &Value, shape: &Value, path: &mut Vec<String>, cut: bool) -> &'static StructureSchema {
    let members: Vec<Member> = shape["members"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|_| !cut)
        .map(|(name, reference)| member(shapes, name, reference, path))
        .collect();
    let payload =
        shape["payload"].as_str().and_then(|name| members.iter().position(|member| member.name == name));
    leak(StructureSchema { members: leak(members), union: shape["union"] == true, payload })
}

fn member(shapes: &Value, name: &str, reference: &Value, path: &mut Vec<String>) -> Member {
    let target = reference["shape"].as_str().unwrap_or_else(|| panic!("{name} has no shape"));
    Member {
        name: leak(name.to_owned()),
        shape: build(shapes, target, path),
        traits: traits(reference),
        required: false,
    }
}

pub fn traits(value: &Value) -> Traits {
    Traits {
        location_name: leaked(&value["locationName"]),
        location: value["location"].as_str().map(|location| match location {
            "header" => Location::Header,
            "headers" => Location::Headers,
            "uri" => Location::Uri,
            "querystring" => Location::QueryString,
            "statusCode" => Location::StatusCode,
            other => panic!("location {other}"),
        }),
        query_name: leaked(&value["queryName"]),
        flattened: value["flattened"] == true,
        xml_attribute: value["xmlAttribute"] == true,
        xml_namespace: leaked(&value["xmlNamespace"]["uri"])
            .or_else(|| leaked(&value["xmlNamespace"]))
            .map(|uri| XmlNamespace { uri, prefix: leaked(&value["xmlNamespace"]["prefix"]) }),
        timestamp_format: value["timestampFormat"].as_str().map(|format| match format {
            "iso8601" => TimestampFormat::Iso8601,
            "rfc822" => TimestampFormat::Rfc822,
            "unixTimestamp" => TimestampFormat::UnixTimestamp,
            other => panic!("timestamp format {other}"),
        }),
        streaming: value["streaming"] == true,
        json_value: value["jsonvalue"] == true,
        sensitive: value["sensitive"] == true,
        idempotency_token: value["idempotencyToken"] == true,
    }
}

/// A structure whose members are known by its schema alone.
#[derive(Debug)]
pub struct Dynamic {
    schema: &'static ShapeSchema,
    cells: Vec<Cell>,
}

#[derive(Debug)]
enum Cell {
    Boolean(Option<bool>),
    Integer(Option<i32>),
    Long(Option<i64>),
    Float(Option<f32>),
    Double(Option<f64>),
    String(Option<String>),
    Blob(Option<Blob>),
    Timestamp(Option<base::Timestamp>),
    Document(Option<Value>),
    Structure(StructureCell),
    List(ListCell),
    Map(MapCell),
}

#[derive(Debug)]
struct StructureCell(&'static ShapeSchema, Option<Box<Dynamic>>);
#[derive(Debug)]
struct ListCell(&'static Member, Option<Items>);
#[derive(Debug)]
struct MapCell(&'static Member, Option<Entries>);
#[derive(Debug, Default)]
struct Items(Vec<Cell>);
#[derive(Debug, Default)]
struct Entries(BTreeMap<String, Cell>);

impl Dynamic {
    pub fn new(schema: &'static ShapeSchema) -> Self {
        let members = schema.structure().map_or(&[][..], |structure| structure.members);
        Self { schema, cells: members.iter().map(|member| Cell::new(member.shape)).collect() }
    }

    /// The structure that botocore's `params` or `result` says.
    pub fn from_params(schema: &'static ShapeSchema, params: &Value) -> Self {
        let mut new = Self::new(schema);
        for (name, value) in params.as_object().into_iter().flatten() {
            let index = schema.structure().and_then(|structure| structure.index_of(name));
            let index = index.unwrap_or_else(|| panic!("{} has no member {name}", schema.name));
            let member = &schema.structure().unwrap().members[index];
            new.cells[index].set(member, value);
        }
        new
    }

    /// What botocore would say of this structure.
    pub fn to_params(&self) -> Value {
        let members = self.schema.structure().map_or(&[][..], |structure| structure.members);
        let pairs = members.iter().zip(&self.cells);
        Value::Object(
            pairs.filter_map(|(member, cell)| Some((member.name.to_owned(), cell.get()?))).collect(),
        )
    }
}

impl Shape for Dynamic {
    fn schema(&self) -> &'static ShapeSchema {
        self.schema
    }
    fn member(&self, index: usize) -> Option<View<'_>> {
        self.cells.get(index)?.view()
    }
    fn member_mut(&mut self, index: usize) -> Slot<'_> {
        self.cells.get_mut(index).map_or(Slot::Nowhere, Cell::slot)
    }
}

impl Cell {
    fn new(schema: &'static ShapeSchema) -> Self {
        match schema.kind {
            Kind::Boolean => Self::Boolean(None),
            Kind::Integer => Self::Integer(None),
            Kind::Long => Self::Long(None),
            Kind::Float => Self::Float(None),
            Kind::Double => Self::Double(None),
            Kind::String => Self::String(None),
            Kind::Blob => Self::Blob(None),
            Kind::Timestamp => Self::Timestamp(None),
            Kind::Document => Self::Document(None),
            Kind::Structure(_) => Self::Structure(StructureCell(schema, None)),
            Kind::List(member) => Self::List(ListCell(member, None)),
            Kind::Map(_, value) => Self::Map(MapCell(value, None)),
        }
    }

    fn view(&self) -> Option<View<'_>> {
        Some(match self {
            Self::Boolean(value) => View::Boolean((*value)?),
            Self::Integer(value) => View::Integer((*value)?),
            Self::Long(value) => View::Long((*value)?),
            Self::Float(value) => View::Float((*value)?),
            Self::Double(value) => View::Double((*value)?),
            Self::String(value) => View::String(value.as_deref()?),
            Self::Blob(value) => View::Blob(&value.as_ref()?.0),
            Self::Timestamp(value) => View::Timestamp((*value)?),
            Self::Document(value) => View::Document(value.as_ref()?),
            Self::Structure(cell) => View::Structure(&**cell.1.as_ref()?),
            Self::List(cell) => View::List(cell.1.as_ref()?),
            Self::Map(cell) => View::Map(cell.1.as_ref()?),
        })
    }

    fn slot(&mut self) -> Slot<'_> {
        match self {
            Self::Boolean(value) => Slot::Boolean(value),
            Self::Integer(value) => Slot::Integer(value),
            Self::Long(value) => Slot::Long(value),
            Self::Float(value) => Slot::Float(value),
            Self::Double(value) => Slot::Double(value),
            Self::String(value) => Slot::String(value),
            Self::Blob(value) => Slot::Blob(value),
            Self::Timestamp(value) => Slot::Timestamp(value),
            Self::Document(value) => Slot::Document(value),
            Self::Structure(cell) => Slot::Structure(cell),
            Self::List(cell) => Slot::List(cell),
            Self::Map(cell) => Slot::Map(cell),
        }
    }

    fn set(&mut self, member: &'static Member, value: &Value) {
        if value.is_null() {
            return;
        }
        let text = || value.as_str().unwrap_or_else(|| panic!("{} is no text", member.name)).to_owned();
        let number = || match value.as_str() {
            Some("NaN") => f64::NAN,
            Some("Infinity") => f64::INFINITY,
            Some("-Infinity") => f64::NEG_INFINITY,
            _ => value.as_f64().unwrap_or_else(|| panic!("{} is no number", member.name)),
        };
        match self {
            Self::Boolean(target) => *target = Some(value.as_bool().unwrap()),
            Self::Integer(target) => *target = Some(i32::try_from(value.as_i64().unwrap()).unwrap()),
            Self::Long(target) => *target = Some(value.as_i64().unwrap()),
            Self::Float(target) => *target = Some(number() as f32),
            Self::Double(target) => *target = Some(number()),
            Self::String(target) => *target = Some(text()),
            Self::Blob(target) => *target = Some(Blob(text().into_bytes())),
            Self::Timestamp(target) => {
                *target = Some(base::Timestamp::from_millis((number() * 1000.0).round() as i64));
            }
            Self::Document(target) => *target = Some(value.clone()),
            Self::Structure(cell) => cell.1 = Some(Box::new(Dynamic::from_params(cell.0, value))),
            Self::List(cell) => {
                let items = value.as_array().unwrap().iter().map(|value| {
                    let mut item = Self::new(cell.0.shape);
                    item.set(cell.0, value);
                    item
                });
                cell.1 = Some(Items(items.collect()));
            }
            Self::Map(cell) => {
                let entries = value.as_object().unwrap().iter().map(|(key, value)| {
                    let mut entry = Self::new(cell.0.shape);
                    entry.set(cell.0, value);
                    (key.clone(), entry)
                });
                cell.1 = Some(Entries(entries.collect()));
            }
        }
    }

    fn get(&self) -> Option<Value> {
        let float = |value: f64| match value {
            value if value.is_nan() => "NaN".into(),
            f64::INFINITY => "Infinity".into(),
            f64::NEG_INFINITY => "-Infinity".into(),
            value => Value::from(value),
        };
        Some(match self {
            Self::Boolean(value) => (*value)?.into(),
            Self::Integer(value) => (*value)?.into(),
            Self::Long(value) => (*value)?.into(),
            Self::Float(value) => float(f64::from((*value)?)),
            Self::Double(value) => float((*value)?),
            Self::String(value) => value.as_deref()?.into(),
            Self::Blob(value) => String::from_utf8_lossy(&value.as_ref()?.0).into(),
            Self::Timestamp(value) => (*value)?.as_seconds_f64().into(),
            Self::Document(value) => value.clone()?,
            Self::Structure(cell) => cell.1.as_ref()?.to_params(),
            Self::List(cell) => {
                let items = cell.1.as_ref()?.0.iter();
                items.map(|item| item.get().unwrap_or(Value::Null)).collect()
            }
            Self::Map(cell) => {
                let entries = cell.1.as_ref()?.0.iter();
                Value::Object(
                    entries.map(|(key, value)| (key.clone(), value.get().unwrap_or(Value::Null))).collect(),
                )
            }
        })
    }
}

impl StructureSlot for StructureCell {
    fn start(&mut self) -> &mut dyn Shape {
        &mut **self.1.get_or_insert_with(|| Box::new(Dynamic::new(self.0)))
    }
}

impl ListSlot for ListCell {
    fn start(&mut self) {
        self.1.get_or_insert_default();
    }
    fn push(&mut self, fill: Fill<'_>) -> Result<(), DecodeError> {
        let mut item = Cell::new(self.0.shape);
        fill(item.slot())?;
        item.view().ok_or_else(|| DecodeError("null in a list".to_owned()))?;
        self.1.get_or_insert_default().0.push(item);
        Ok(())
    }
}

impl MapSlot for MapCell {
    fn start(&mut self) {
        self.1.get_or_insert_default();
    }
    fn insert(&mut self, key: String, fill: Fill<'_>) -> Result<(), DecodeError> {
        let mut value = Cell::new(self.0.shape);
        fill(value.slot())?;
        value.view().ok_or_else(|| DecodeError("null in a map".to_owned()))?;
        match self.1.get_or_insert_default().0.insert(key, value) {
            None => Ok(()),
            Some(_) => Err(DecodeError("duplicate key".to_owned())),
        }
    }
}

impl ListView for Items {
    fn count(&self) -> usize {
        self.0.len()
    }
    fn item(&self, index: usize) -> Option<View<'_>> {
        self.0.get(index)?.view()
    }
}

impl MapView for Entries {
    fn count(&self) -> usize {
        self.0.len()
    }
    fn entries<'a>(&'a self) -> Box<dyn Iterator<Item = (&'a str, Option<View<'a>>)> + 'a> {
        Box::new(self.0.iter().map(|(key, value)| (key.as_str(), value.view())))
    }
}
