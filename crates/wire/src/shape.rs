//! Reflection over generated structures: [`Shape`], and how a codec looks at a value ([`View`]) or fills one ([`Slot`]).

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;

use base::Timestamp;

use crate::schema::{Kind, ShapeSchema, UNIT};

/// A structure of a service model. Members are addressed by their index in the schema.
pub trait Shape: Any + fmt::Debug + Send + Sync {
    /// What it is made of.
    fn schema(&self) -> &'static ShapeSchema;
    /// The member's value; `None` where absent or where there is no such index.
    fn member(&self, index: usize) -> Option<View<'_>>;
    /// The place for the member's value; [`Slot::Nowhere`] where there is no such index.
    fn member_mut(&mut self, index: usize) -> Slot<'_>;
}

/// A present value, seen.
#[derive(Clone, Copy)]
pub enum View<'a> {
    /// A truth value.
    Boolean(bool),
    /// 32 bits.
    Integer(i32),
    /// 64 bits.
    Long(i64),
    /// Single precision.
    Float(f32),
    /// Double precision.
    Double(f64),
    /// Text.
    String(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
    /// A moment.
    Timestamp(Timestamp),
    /// Untyped JSON.
    Document(&'a serde_json::Value),
    /// A structure.
    Structure(&'a dyn Shape),
    /// A list.
    List(&'a dyn ListView),
    /// A map.
    Map(&'a dyn MapView),
}

/// A list, seen.
pub trait ListView {
    /// How many elements.
    fn count(&self) -> usize;
    /// The element; `None` for a null in a sparse list, or behind the end.
    fn item(&self, index: usize) -> Option<View<'_>>;
}

/// A map, seen.
pub trait MapView {
    /// How many entries.
    fn count(&self) -> usize;
    /// Shows every entry, ordered by key; a `None` is a null in a sparse map.
    fn entries<'a>(&'a self) -> Box<dyn Iterator<Item = (&'a str, Option<View<'a>>)> + 'a>;
}

/// The place for one value. What is written into it makes the member present.
pub enum Slot<'a> {
    /// A truth value.
    Boolean(&'a mut Option<bool>),
    /// 32 bits.
    Integer(&'a mut Option<i32>),
    /// 64 bits.
    Long(&'a mut Option<i64>),
    /// Single precision.
    Float(&'a mut Option<f32>),
    /// Double precision.
    Double(&'a mut Option<f64>),
    /// Text.
    String(&'a mut Option<String>),
    /// Bytes.
    Blob(&'a mut Option<Blob>),
    /// A moment.
    Timestamp(&'a mut Option<Timestamp>),
    /// Untyped JSON.
    Document(&'a mut Option<serde_json::Value>),
    /// A structure.
    Structure(&'a mut dyn StructureSlot),
    /// A list.
    List(&'a mut dyn ListSlot),
    /// A map.
    Map(&'a mut dyn MapSlot),
    /// No such member.
    Nowhere,
}

/// Why a value did not get into its slot. The codecs put their own words to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// Fills the slot it is given.
pub type Fill<'f> = &'f mut dyn FnMut(Slot<'_>) -> Result<(), DecodeError>;

/// The place for a structure.
pub trait StructureSlot {
    /// Makes the structure present (empty, if it was not) and gives it out.
    fn start(&mut self) -> &mut dyn Shape;
}

/// The place for a list.
pub trait ListSlot {
    /// Makes the list present, empty if it was absent.
    fn start(&mut self);
    /// Adds the element that `fill` writes. One that stays unwritten is a null, which only sparse lists take.
    fn push(&mut self, fill: Fill<'_>) -> Result<(), DecodeError>;
}

/// The place for a map.
pub trait MapSlot {
    /// Makes the map present, empty if it was absent.
    fn start(&mut self);
    /// Adds the entry whose value `fill` writes; refuses a key that is there.
    fn insert(&mut self, key: String, fill: Fill<'_>) -> Result<(), DecodeError>;
}

/// A type that can stand as a member of a generated structure.
pub trait Field: Sized + Send + Sync + 'static {
    /// Looks at the value.
    fn view(&self) -> View<'_>;
    /// The place for a value of this type.
    fn slot(target: &mut Option<Self>) -> Slot<'_>;
}

macro_rules! scalar_fields {
    ($($type:ty: $variant:ident, $this:ident => $view:expr;)*) => {$(
        impl Field for $type {
            fn view(&self) -> View<'_> {
                let $this = self;
                View::$variant($view)
            }
            fn slot(target: &mut Option<Self>) -> Slot<'_> {
                Slot::$variant(target)
            }
        }
    )*};
}
scalar_fields! {
    bool: Boolean, this => *this;
    i32: Integer, this => *this;
    i64: Long, this => *this;
    f32: Float, this => *this;
    f64: Double, this => *this;
    String: String, this => this;
    Blob: Blob, this => &this.0;
    Timestamp: Timestamp, this => *this;
    serde_json::Value: Document, this => this;
}

impl<T: Field> Field for Vec<T> {
    fn view(&self) -> View<'_> {
        View::List(self)
    }
    fn slot(target: &mut Option<Self>) -> Slot<'_> {
        Slot::List(target)
    }
}

impl<T: Field> ListView for Vec<T> {
    fn count(&self) -> usize {
        self.len()
    }
    fn item(&self, index: usize) -> Option<View<'_>> {
        self.get(index).map(Field::view)
    }
}

impl<T: Field> ListSlot for Option<Vec<T>> {
    fn start(&mut self) {
        self.get_or_insert_default();
    }
    fn push(&mut self, fill: Fill<'_>) -> Result<(), DecodeError> {
        let mut item = None;
        fill(T::slot(&mut item))?;
        let item = item.ok_or_else(|| DecodeError("A list may not hold null".to_owned()))?;
        self.get_or_insert_default().push(item);
        Ok(())
    }
}

impl<T: Field> Field for BTreeMap<String, T> {
    fn view(&self) -> View<'_> {
        View::Map(self)
    }
    fn slot(target: &mut Option<Self>) -> Slot<'_> {
        Slot::Map(target)
    }
}

impl<T: Field> MapView for BTreeMap<String, T> {
    fn count(&self) -> usize {
        self.len()
    }
    fn entries<'a>(&'a self) -> Box<dyn Iterator<Item = (&'a str, Option<View<'a>>)> + 'a> {
        Box::new(self.iter().map(|(key, value)| (key.as_str(), Some(value.view()))))
    }
}

impl<T: Field> MapSlot for Option<BTreeMap<String, T>> {
    fn start(&mut self) {
        self.get_or_insert_default();
    }
    fn insert(&mut self, key: String, fill: Fill<'_>) -> Result<(), DecodeError> {
        let mut value = None;
        fill(T::slot(&mut value))?;
        let value = value.ok_or_else(|| DecodeError("A map may not hold null".to_owned()))?;
        if self.get_or_insert_default().insert(key, value).is_some() {
            return Err(DecodeError("Duplicate key in a map".to_owned()));
        }
        Ok(())
    }
}

/// A type that a [`Slot::Structure`] can make: a generated structure, or a box around one.
pub trait StructureField: Sized {
    /// Makes the structure present (empty, if it was not) and gives it out.
    fn start(target: &mut Option<Self>) -> &mut dyn Shape;
}

impl<T: StructureField> StructureSlot for Option<T> {
    fn start(&mut self) -> &mut dyn Shape {
        T::start(self)
    }
}

impl<T: Shape + Default> StructureField for Box<T> {
    fn start(target: &mut Option<Self>) -> &mut dyn Shape {
        &mut **target.get_or_insert_default()
    }
}

impl<T: Shape + Default> Field for Box<T> {
    fn view(&self) -> View<'_> {
        View::Structure(&**self)
    }
    fn slot(target: &mut Option<Self>) -> Slot<'_> {
        Slot::Structure(target)
    }
}

/// Bytes of a `blob` member. Text protocols carry them in base64. Not shown in debug output.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// The empty structure: operations without input or output.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Unit {}

impl Shape for Unit {
    fn schema(&self) -> &'static ShapeSchema {
        &UNIT
    }
    fn member(&self, _index: usize) -> Option<View<'_>> {
        None
    }
    fn member_mut(&mut self, _index: usize) -> Slot<'_> {
        Slot::Nowhere
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(self, f)
    }
}

/// Writes what is present in `shape`, sensitive members masked. The `Debug` of every generated structure.
pub fn debug(shape: &dyn Shape, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let schema = shape.schema();
    let mut output = f.debug_struct(schema.name);
    for (index, member) in
        schema.structure().map_or(&[][..], |structure| structure.members).iter().enumerate()
    {
        if let Some(view) = shape.member(index) {
            if member.sensitive() {
                output.field(member.name, &format_args!("<sensitive>"));
            } else {
                output.field(member.name, &Shown(view, member.shape));
            }
        }
    }
    output.finish()
}

struct Shown<'a>(View<'a>, &'static ShapeSchema);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1.traits.sensitive {
            return f.write_str("<sensitive>");
        }
        match (self.0, self.1.kind) {
            (View::Boolean(value), _) => value.fmt(f),
            (View::Integer(value), _) => value.fmt(f),
            (View::Long(value), _) => value.fmt(f),
            (View::Float(value), _) => value.fmt(f),
            (View::Double(value), _) => value.fmt(f),
            (View::String(value), _) => value.fmt(f),
            (View::Blob(value), _) => write!(f, "<{} bytes>", value.len()),
            (View::Timestamp(value), _) => fmt::Display::fmt(&value, f),
            (View::Document(value), _) => value.fmt(f),
            (View::Structure(value), _) => value.fmt(f),
            (View::List(list), Kind::List(member)) => f
                .debug_list()
                .entries((0..list.count()).filter_map(|index| Some(Shown(list.item(index)?, member.shape))))
                .finish(),
            (View::Map(map), Kind::Map(_, value)) => f
                .debug_map()
                .entries(map.entries().filter_map(|(key, view)| Some((key, Shown(view?, value.shape)))))
                .finish(),
            (View::List(_) | View::Map(_), _) => f.write_str("?"),
        }
    }
}

/// Reflection for a generated structure: `structure!(Task: &TASK; 0 attachments, 1 attributes);`.
#[macro_export]
macro_rules! structure {
    ($name:ident: $schema:expr; $($index:literal $field:ident),* $(,)?) => {
        impl $crate::Shape for $name {
            fn schema(&self) -> &'static $crate::schema::ShapeSchema {
                $schema
            }
            fn member(&self, index: usize) -> ::std::option::Option<$crate::View<'_>> {
                match index {
                    $($index => self.$field.as_ref().map($crate::Field::view),)*
                    _ => ::std::option::Option::None,
                }
            }
            fn member_mut(&mut self, index: usize) -> $crate::Slot<'_> {
                match index {
                    $($index => $crate::Field::slot(&mut self.$field),)*
                    _ => $crate::Slot::Nowhere,
                }
            }
        }
        impl $crate::Field for $name {
            fn view(&self) -> $crate::View<'_> {
                $crate::View::Structure(self)
            }
            fn slot(target: &mut ::std::option::Option<Self>) -> $crate::Slot<'_> {
                $crate::Slot::Structure(target)
            }
        }
        impl $crate::StructureField for $name {
            fn start(target: &mut ::std::option::Option<Self>) -> &mut dyn $crate::Shape {
                target.get_or_insert_default()
            }
        }
        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                $crate::debug(self, f)
            }
        }
    };
}
