//! Answers of awsQuery and ec2Query.

use super::{Reply, xml};
use crate::fault::Fault;
use crate::schema::{OperationSchema, ServiceSchema, UNIT, XmlNamespace};
use crate::shape::Shape;

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

fn namespace(service: &'static ServiceSchema) -> Option<XmlNamespace> {
    service.xml_namespace.map(|uri| XmlNamespace { uri, prefix: None })
}

fn open(output: &mut String, name: &str, namespace: Option<XmlNamespace>) {
    output.push('<');
    output.push_str(name);
    if let Some(XmlNamespace { uri, .. }) = namespace {
        output.push_str(" xmlns=\"");
        xml::escape(output, uri);
        output.push('"');
    }
    output.push('>');
}

fn element(output: &mut String, name: &str, text: &str) {
    open(output, name, None);
    xml::escape(output, text);
    close(output, name);
}

fn close(output: &mut String, name: &str) {
    output.push_str("</");
    output.push_str(name);
    output.push('>');
}

/// awsQuery: `<OpResponse><OpResult>…</OpResult><ResponseMetadata>…`.
pub fn aws(operation: &'static OperationSchema, output: &dyn Shape, request_id: &str) -> Reply {
    let mut body = String::from(DECLARATION);
    let response = format!("{}Response", operation.name);
    open(&mut body, &response, namespace(operation.service));
    if let Some(wrapper) = operation.result_wrapper {
        xml::write_root(&mut body, wrapper, None, output);
    }
    open(&mut body, "ResponseMetadata", None);
    element(&mut body, "RequestId", request_id);
    close(&mut body, "ResponseMetadata");
    close(&mut body, &response);
    Reply::new(200, "text/xml", body.into_bytes())
}

/// ec2Query: `<OpResponse><requestId>…</requestId>…`.
pub fn ec2(operation: &'static OperationSchema, output: &dyn Shape, request_id: &str) -> Reply {
    let mut body = String::from(DECLARATION);
    let response = format!("{}Response", operation.name);
    open(&mut body, &response, namespace(operation.service));
    element(&mut body, "requestId", request_id);
    if std::ptr::eq(operation.output, &raw const UNIT) {
        // Operations without output say so in one element (DeleteTags, CreateTags).
        element(&mut body, "return", "true");
    }
    xml::write_members(&mut body, output);
    close(&mut body, &response);
    Reply::new(200, "text/xml;charset=UTF-8", body.into_bytes())
}

/// awsQuery's error document, which restXml shares.
pub fn aws_fault(service: Option<&'static ServiceSchema>, fault: &Fault, request_id: &str) -> Vec<u8> {
    let mut body = String::from(DECLARATION);
    open(&mut body, "ErrorResponse", service.and_then(namespace));
    open(&mut body, "Error", None);
    element(&mut body, "Type", if fault.sender() { "Sender" } else { "Receiver" });
    error_members(&mut body, fault);
    close(&mut body, "Error");
    element(&mut body, "RequestId", request_id);
    close(&mut body, "ErrorResponse");
    body.into_bytes()
}

/// ec2Query's error document.
pub fn ec2_fault(fault: &Fault, request_id: &str) -> Vec<u8> {
    let mut body = String::from(DECLARATION);
    body.push_str("<Response><Errors><Error>");
    error_members(&mut body, fault);
    body.push_str("</Error></Errors>");
    element(&mut body, "RequestID", request_id);
    body.push_str("</Response>");
    body.into_bytes()
}

fn error_members(body: &mut String, fault: &Fault) {
    element(body, "Code", fault.query_code());
    if let Some(message) = fault.message_to_write() {
        element(body, "Message", message);
    }
    if let Some(details) = fault.details() {
        xml::write_members(body, details);
    }
}
