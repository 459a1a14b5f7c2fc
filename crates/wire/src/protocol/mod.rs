//! One codec per AWS protocol, over [`Shape`](crate::Shape) reflection.

pub mod aws_json;
pub mod form;
pub mod json;
pub mod query;
pub mod timestamp;
pub mod uri;

use http::request::Parts;

use crate::fault::Fault;
use crate::schema::{OperationSchema, Protocol, ServiceSchema};
use crate::shape::{DecodeError, Shape};

/// An HTTP answer in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Header names (lower case) and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// An answer with a content type.
    pub fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        Self { status, headers: vec![("content-type".to_owned(), content_type.to_owned())], body }
    }

    /// Adds a header.
    pub fn header(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.headers.push((name.into(), value.into()));
    }
}

/// Reads a request of `operation` into `input`. `labels` are those of a REST path.
pub fn read(
    protocol: Protocol,
    _operation: &'static OperationSchema,
    parts: &Parts,
    body: &[u8],
    _labels: &[(String, String)],
    input: &mut dyn Shape,
) -> Result<(), DecodeError> {
    match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => aws_json::read(body, input),
        Protocol::AwsQuery => {
            query::read(parts.uri.query().unwrap_or_default(), body, query::Dialect::Aws, input)
        }
        Protocol::Ec2Query => {
            query::read(parts.uri.query().unwrap_or_default(), body, query::Dialect::Ec2, input)
        }
        _ => Err(DecodeError("This protocol is not served".to_owned())),
    }
}

/// The answer to a call that went well.
pub fn answer(
    protocol: Protocol,
    _operation: &'static OperationSchema,
    output: &dyn Shape,
    _request_id: &str,
) -> Reply {
    aws_json::answer(protocol, output)
}

/// The answer to a call that did not.
pub fn fault(
    protocol: Protocol,
    _service: Option<&'static ServiceSchema>,
    fault: &Fault,
    _request_id: &str,
) -> Reply {
    aws_json::fault(protocol, fault)
}
