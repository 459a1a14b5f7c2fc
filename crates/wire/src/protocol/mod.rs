//! One codec per AWS protocol, over [`Shape`](crate::Shape) reflection.

pub mod aws_json;
pub mod cbor;
pub mod form;
pub mod json;
pub mod query;
pub mod query_answer;
pub mod rest;
pub mod timestamp;
pub mod uri;
pub mod xml;

use http::request::Parts;

use crate::fault::Fault;
use crate::schema::{OperationSchema, Protocol, ServiceSchema};
use crate::shape::{DecodeError, Shape, Unit};

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

/// Reads a request into `input`. `labels` are those of a REST path.
pub fn read(
    protocol: Protocol,
    parts: &Parts,
    body: &[u8],
    labels: &[(String, String)],
    input: &mut dyn Shape,
) -> Result<(), DecodeError> {
    let query = parts.uri.query().unwrap_or_default();
    match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => json::read(body, input),
        Protocol::AwsQuery => query::read(query, body, query::Dialect::Aws, input),
        Protocol::Ec2Query => query::read(query, body, query::Dialect::Ec2, input),
        Protocol::RestJson => rest::read(rest::Format::Json, parts, body, labels, input),
        Protocol::RestXml => rest::read(rest::Format::Xml, parts, body, labels, input),
        Protocol::RpcV2Cbor => cbor::read(body, input),
    }
}

/// The answer to a call that went well.
pub fn answer(
    protocol: Protocol,
    operation: &'static OperationSchema,
    output: &dyn Shape,
    request_id: &str,
) -> Reply {
    match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => aws_json::answer(protocol, output),
        Protocol::AwsQuery => query_answer::aws(operation, output, request_id),
        Protocol::Ec2Query => query_answer::ec2(operation, output, request_id),
        Protocol::RestJson => rest::answer(rest::Format::Json, operation, output),
        Protocol::RestXml => rest::answer(rest::Format::Xml, operation, output),
        Protocol::RpcV2Cbor => cbor_reply(200, cbor::write(output)),
    }
}

/// The answer to a call that did not.
pub fn fault(
    protocol: Protocol,
    service: Option<&'static ServiceSchema>,
    fault: &Fault,
    request_id: &str,
) -> Reply {
    match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => aws_json::fault(protocol, fault),
        Protocol::AwsQuery => {
            Reply::new(fault.status(), "text/xml", query_answer::aws_fault(service, fault, request_id))
        }
        Protocol::Ec2Query => {
            Reply::new(fault.status(), "text/xml;charset=UTF-8", query_answer::ec2_fault(fault, request_id))
        }
        Protocol::RestJson => rest::fault(rest::Format::Json, service, fault, request_id),
        Protocol::RestXml => rest::fault(rest::Format::Xml, service, fault, request_id),
        Protocol::RpcV2Cbor => {
            let mut head = vec![("__type", fault.code())];
            head.extend(fault.message_to_write().map(|message| (fault.message_key(), message)));
            let mut body = Vec::with_capacity(256);
            cbor::write_structure(&mut body, fault.details().unwrap_or(&Unit {}), &head);
            cbor_reply(fault.status(), body)
        }
    }
}

fn cbor_reply(status: u16, body: Vec<u8>) -> Reply {
    let mut reply = Reply::new(status, "application/cbor", body);
    reply.header("smithy-protocol", "rpc-v2-cbor");
    reply
}
