//! awsJson 1.0 and 1.1: a JSON body each way, the operation in `X-Amz-Target`.

use super::{Reply, json};
use crate::fault::Fault;
use crate::schema::Protocol;
use crate::shape::{Shape, Unit};

/// The answer to a call that went well.
pub fn answer(protocol: Protocol, output: &dyn Shape) -> Reply {
    // Operations without output answer an empty body in AWS; SDKs take either, and an object parses everywhere.
    Reply::new(200, content_type(protocol), json::write(output).into_bytes())
}

/// The answer to a call that did not.
pub fn fault(protocol: Protocol, fault: &Fault) -> Reply {
    let mut reply = Reply::new(fault.status(), content_type(protocol), fault_body(fault, true).into_bytes());
    reply.header("x-amzn-errortype", fault.code());
    reply
}

/// `{"__type": code, "message": …}` and the exception's other members. restJson leaves the type to a header.
pub fn fault_body(fault: &Fault, with_type: bool) -> String {
    let mut body = String::with_capacity(256);
    let head = &mut |output: &mut String| {
        if with_type {
            json::write_key(output, "__type");
            json::write_text(output, fault.code());
        }
        if let Some(message) = fault.message_to_write() {
            json::write_key(output, fault.message_key());
            json::write_text(output, message);
        }
    };
    json::write_structure(&mut body, fault.details().unwrap_or(&Unit {}), head);
    body
}

fn content_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::AwsJson10 => "application/x-amz-json-1.0",
        _ => "application/x-amz-json-1.1",
    }
}
