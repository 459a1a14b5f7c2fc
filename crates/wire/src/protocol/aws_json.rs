//! awsJson 1.0 and 1.1: a JSON body each way, the operation in `X-Amz-Target`.

use super::{Reply, json};
use crate::fault::Fault;
use crate::schema::Protocol;
use crate::shape::{DecodeError, Shape};

/// Reads a request's body.
pub fn read(body: &[u8], input: &mut dyn Shape) -> Result<(), DecodeError> {
    json::read(body, input)
}

/// The answer to a call that went well.
pub fn answer(protocol: Protocol, output: &dyn Shape) -> Reply {
    // Operations without output answer an empty body in AWS; SDKs take either, and an object parses everywhere.
    Reply::new(200, content_type(protocol), json::write(output).into_bytes())
}

/// The answer to a call that did not.
pub fn fault(protocol: Protocol, fault: &Fault) -> Reply {
    let mut reply = Reply::new(fault.status(), content_type(protocol), fault_body(fault).into_bytes());
    reply.header("x-amzn-errortype", fault.code());
    reply
}

/// `{"__type": code, "message": …}` and the exception's other members.
pub fn fault_body(fault: &Fault) -> String {
    let mut body = String::with_capacity(256);
    let head = &mut |output: &mut String| {
        json::write_key(output, "__type");
        json::write_text(output, fault.code());
        json::write_key(output, "message");
        json::write_text(output, fault.message());
    };
    match fault.details() {
        Some(details) => json::write_structure(&mut body, details, head),
        None => json::write_structure(&mut body, &crate::shape::Unit {}, head),
    }
    body
}

fn content_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::AwsJson10 => "application/x-amz-json-1.0",
        _ => "application/x-amz-json-1.1",
    }
}
