//! The static description of a service's shapes: what the codecs and the validation read.
//!
//! Generated crates hold one `static` per shape of an AWS service model, and they point at each other by
//! reference; a runtime model (the protocol tests build one) leaks the same types.

/// One shape of a service model: its kind, and the traits that stand at its definition.
#[derive(Debug)]
pub struct ShapeSchema {
    /// The shape's name in the model, such as `RunTaskRequest`.
    pub name: &'static str,
    /// What it is made of.
    pub kind: Kind,
    /// Traits at the definition. A member may add to them.
    pub traits: Traits,
    /// What a value must satisfy.
    pub constraints: Constraints,
}

/// What a shape is made of.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A signed 32-bit number.
    Integer,
    /// A signed 64-bit number.
    Long,
    /// A 32-bit floating point number.
    Float,
    /// A 64-bit floating point number.
    Double,
    /// Text, enumerations too.
    String,
    /// Bytes, base64 in the text protocols.
    Blob,
    /// A moment.
    Timestamp,
    /// Untyped JSON.
    Document,
    /// Named members. For a union exactly one of them is present.
    Structure(&'static StructureSchema),
    /// A list of the member.
    List(&'static Member),
    /// A map from the first (text) to the second.
    Map(&'static Member, &'static Member),
}

/// The members of a structure.
#[derive(Debug)]
pub struct StructureSchema {
    /// In the order of the reflection indices.
    pub members: &'static [Member],
    /// Whether exactly one member is present in a valid value.
    pub union: bool,
    /// The member that is the whole body in the REST protocols.
    pub payload: Option<usize>,
}

impl StructureSchema {
    /// The index of the member called `name` in the model.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.name == name)
    }
}

/// A member of a structure, the element of a list, or the key or value of a map.
#[derive(Debug)]
pub struct Member {
    /// The name in the model: the JSON key.
    pub name: &'static str,
    /// What it holds.
    pub shape: &'static ShapeSchema,
    /// Traits at this member; they win over the shape's own.
    pub traits: Traits,
    /// Whether a valid structure must have it.
    pub required: bool,
}

impl Member {
    /// The name on the wire where the protocol honours `locationName`.
    pub fn wire_name(&self) -> &'static str {
        self.traits.location_name.unwrap_or(self.name)
    }

    /// The timestamp's form, if the model says one at the member or at the shape.
    pub fn timestamp_format(&self) -> Option<TimestampFormat> {
        self.traits.timestamp_format.or(self.shape.traits.timestamp_format)
    }

    /// Whether values must stay out of logs and messages.
    pub fn sensitive(&self) -> bool {
        self.traits.sensitive || self.shape.traits.sensitive
    }

    /// Whether a list or map stands in its parent without a wrapping element.
    pub fn flattened(&self) -> bool {
        self.traits.flattened || self.shape.traits.flattened
    }

    /// The name of each element of a flattened list. Where the list's shape is flattened, and not this member, the
    /// name at the list's element wins (the older models); else it is this member's.
    pub fn flat_name(&self) -> &'static str {
        match self.shape.kind {
            Kind::List(element) if self.shape.traits.flattened && !self.traits.flattened => {
                element.traits.location_name.unwrap_or_else(|| self.wire_name())
            }
            _ => self.wire_name(),
        }
    }

    /// Whether it stands in an answer's body: only headers and the status carry members besides.
    pub fn in_answer_body(&self) -> bool {
        !matches!(self.traits.location, Some(Location::Header | Location::Headers | Location::StatusCode))
    }

    /// The XML namespace at the member, else at the shape.
    pub fn xml_namespace(&self) -> Option<XmlNamespace> {
        self.traits.xml_namespace.or(self.shape.traits.xml_namespace)
    }
}

/// Marks in the model that steer a protocol.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traits {
    /// `locationName`: the name on the wire.
    pub location_name: Option<&'static str>,
    /// `location`: where in an HTTP message, the body if absent.
    pub location: Option<Location>,
    /// `queryName`: the name in the ec2Query protocol, taken as written.
    pub query_name: Option<&'static str>,
    /// `flattened`.
    pub flattened: bool,
    /// `xmlAttribute`.
    pub xml_attribute: bool,
    /// `xmlNamespace`.
    pub xml_namespace: Option<XmlNamespace>,
    /// `timestampFormat`.
    pub timestamp_format: Option<TimestampFormat>,
    /// `streaming`.
    pub streaming: bool,
    /// `jsonvalue`: JSON text, base64 in a header.
    pub json_value: bool,
    /// `sensitive`.
    pub sensitive: bool,
    /// `idempotencyToken`: clients fill it in.
    pub idempotency_token: bool,
}

impl Traits {
    /// No marks.
    pub const NONE: Self = Self {
        location_name: None,
        location: None,
        query_name: None,
        flattened: false,
        xml_attribute: false,
        xml_namespace: None,
        timestamp_format: None,
        streaming: false,
        json_value: false,
        sensitive: false,
        idempotency_token: false,
    };
}

/// Where in an HTTP message a member travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// One header.
    Header,
    /// All headers with a prefix, as a map.
    Headers,
    /// A label of the path.
    Uri,
    /// One query parameter, or for a map all of them.
    QueryString,
    /// The response's status.
    StatusCode,
}

/// How a timestamp is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampFormat {
    /// `2026-11-22T14:40:17Z`.
    Iso8601,
    /// `Sun, 22 Nov 2026 14:40:17 GMT`.
    Rfc822,
    /// Seconds since 1970, with a fraction where needed.
    UnixTimestamp,
}

/// An XML namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XmlNamespace {
    /// Its URI.
    pub uri: &'static str,
    /// Its prefix; the default namespace if absent.
    pub prefix: Option<&'static str>,
}

/// What a value must satisfy, by the model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Constraints {
    /// Least length of a text, list, map or blob, or least value of a number.
    pub minimum: Option<f64>,
    /// Greatest length or value.
    pub maximum: Option<f64>,
    /// A regular expression (Java's dialect) that the whole text matches.
    pub pattern: Option<&'static str>,
    /// The only values allowed; any if empty.
    pub values: &'static [&'static str],
}

impl Constraints {
    /// Anything goes.
    pub const NONE: Self = Self { minimum: None, maximum: None, pattern: None, values: &[] };
}

/// How a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// JSON bodies, the operation in `X-Amz-Target`, content type `application/x-amz-json-1.0`.
    AwsJson10,
    /// The same with `application/x-amz-json-1.1`.
    AwsJson11,
    /// Form bodies, XML answers.
    AwsQuery,
    /// EC2's dialect of it.
    Ec2Query,
    /// HTTP bindings with JSON bodies.
    RestJson,
    /// HTTP bindings with XML bodies.
    RestXml,
    /// Smithy's `rpcv2Cbor`.
    RpcV2Cbor,
}

/// How a service refuses a request that breaks the model's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// "1 validation error detected: Value 'x' at 'y' failed to satisfy constraint: …", with this code.
    Coral(&'static str),
    /// `MissingParameter` and `InvalidParameterValue`.
    Ec2,
}

/// One AWS service: its metadata and the names of all operations, served or not.
#[derive(Debug)]
pub struct ServiceSchema {
    /// The IAM action prefix, which is the signing name too: `ecs`, `elasticloadbalancing`.
    pub name: &'static str,
    /// The name in the SDKs: `ECS`, `CloudWatch Logs`.
    pub service_id: &'static str,
    /// `apiVersion`, such as `2014-11-13`.
    pub api_version: &'static str,
    /// What it speaks; the first is the model's own, more are accepted.
    pub protocols: &'static [Protocol],
    /// What stands before the dot in `X-Amz-Target`; rpcv2Cbor's service name too.
    pub target_prefix: &'static str,
    /// The namespace of XML answers.
    pub xml_namespace: Option<&'static str>,
    /// Whether the service spoke awsQuery before and its SDKs still read those codes.
    pub query_compatible: bool,
    /// How a request that breaks the model's rules is refused.
    pub validation: Validation,
    /// Every operation in the model.
    pub operations: &'static [&'static str],
}

/// One operation: names, HTTP binding, shapes, faults.
#[derive(Debug)]
pub struct OperationSchema {
    /// The service that has it.
    pub service: &'static ServiceSchema,
    /// Such as `RunTask`.
    pub name: &'static str,
    /// The HTTP method.
    pub method: &'static str,
    /// The URI template, such as `/clusters/{name}?list`.
    pub uri: &'static str,
    /// The status of a success that says none itself.
    pub status: u16,
    /// The request.
    pub input: &'static ShapeSchema,
    /// The answer.
    pub output: &'static ShapeSchema,
    /// awsQuery's element around the members, such as `GetCallerIdentityResult`.
    pub result_wrapper: Option<&'static str>,
    /// restXml: the name and namespace of a request body's root element.
    pub input_traits: Traits,
    /// The faults that the model lists.
    pub faults: &'static [&'static FaultSchema],
}

/// One modelled exception.
#[derive(Debug)]
pub struct FaultSchema {
    /// The shape's name, such as `ClusterNotFoundException`: `__type`.
    pub name: &'static str,
    /// The code in awsQuery and ec2Query.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// Whether the caller is to blame.
    pub sender: bool,
    /// Its members.
    pub shape: &'static ShapeSchema,
}

/// The empty structure: operations without input or output.
pub static UNIT: ShapeSchema = ShapeSchema {
    name: "Unit",
    kind: Kind::Structure(&StructureSchema { members: &[], union: false, payload: None }),
    traits: Traits::NONE,
    constraints: Constraints::NONE,
};

impl ShapeSchema {
    /// The members, if this is a structure.
    pub fn structure(&self) -> Option<&'static StructureSchema> {
        match self.kind {
            Kind::Structure(structure) => Some(structure),
            _ => None,
        }
    }
}
