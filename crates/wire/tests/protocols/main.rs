//! botocore's protocol cases, run as the server would: its requests are read, its answers are written.
#![allow(missing_docs, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod compare;
#[path = "../common/dynamic.rs"]
mod dynamic;

use std::sync::{Arc, Mutex};

use base::{ManualClock, Scope, SeededIds, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dynamic::Dynamic;
use serde_json::Value;
use wire::schema::{FaultSchema, OperationSchema, Protocol, ServiceSchema, UNIT, Validation};
use wire::{
    Answer, Authentication, Call, ErasedOperation, Fault, Gateway, GatewaySettings, Permission, RootAndNodes,
    ServiceTable, Shape,
};

/// Input cases that are not run, and why.
const EXCLUDED_INPUTS: &[(&str, &str)] = &[
    ("SDKAppliedContentEncoding_", "about the client's compression; the case has no body to read"),
    (
        "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_",
        "about the client's compression; the case has no body to read",
    ),
    ("SDKAppendedGzipAfterProvidedEncoding_", "about the client's compression; the case has no body to read"),
    ("RestJsonHostWithPath", "the path's first part belongs to the client's endpoint, not to the service"),
];
/// Output cases that are not run, and why.
const EXCLUDED_OUTPUTS: &[(&str, &str)] = &[];
/// Output cases about what a client must put up with. Our answer says the same in the plain form; it is read back
/// and compared with the case's result.
const READ_BACK: &[(&str, &str)] = &[
    ("DateTimeWithNegativeOffset", "we write UTC"),
    ("DateTimeWithPositiveOffset", "we write UTC"),
    ("DeserializeIgnoreType", "we write no __type within a union"),
    ("nexpected", "we write no members that the model does not have"),
    ("request_id", "the request id is ours"),
    ("DeserializeAllowNulls", "we write no nulls"),
    ("DeserializeNull", "we write no nulls"),
    ("SkipsNull", "we write no nulls"),
    ("Ec2XmlNamespaces", "the case leaves out the namespace that restXml's same case has"),
    ("QueryXmlNamespaces", "the case leaves out the namespace that restXml's same case has"),
];

/// An operation that keeps what it was given and answers what it was told.
struct Scripted {
    schema: &'static OperationSchema,
    seen: Arc<Mutex<Option<Value>>>,
    answer: Mutex<Option<Result<Box<dyn Shape>, Fault>>>,
}

impl ErasedOperation for Scripted {
    fn schema(&self) -> &'static OperationSchema {
        self.schema
    }
    fn empty_input(&self) -> Box<dyn Shape> {
        Box::new(Dynamic::new(self.schema.input))
    }
    fn permissions(&self, _: &Call, input: &dyn Shape) -> Vec<Permission> {
        let input = (input as &dyn std::any::Any).downcast_ref::<Dynamic>().unwrap();
        *self.seen.lock().unwrap() = Some(input.to_params());
        Vec::new()
    }
    fn handle<'a>(&'a self, _: &'a Call, _: Box<dyn Shape>) -> Answer<'a> {
        let answer = self.answer.lock().unwrap().take().unwrap();
        Box::pin(async move { answer })
    }
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn text(value: &Value) -> &'static str {
    leak(value.as_str().unwrap_or_default().to_owned())
}

fn service(suite: &Value, operation: &str) -> &'static ServiceSchema {
    let metadata = &suite["metadata"];
    let protocol = match (metadata["protocol"].as_str().unwrap(), metadata["jsonVersion"].as_str()) {
        ("json", Some("1.0")) => Protocol::AwsJson10,
        ("json", _) => Protocol::AwsJson11,
        ("query", _) => Protocol::AwsQuery,
        ("ec2", _) => Protocol::Ec2Query,
        ("rest-json", _) => Protocol::RestJson,
        ("rest-xml", _) => Protocol::RestXml,
        ("smithy-rpc-v2-cbor", _) => Protocol::RpcV2Cbor,
        (other, _) => panic!("protocol {other}"),
    };
    leak(ServiceSchema {
        name: "test",
        service_id: "Test",
        api_version: text(&metadata["apiVersion"]),
        protocols: leak(vec![protocol]),
        target_prefix: text(&metadata["targetPrefix"]),
        xml_namespace: None,
        query_compatible: metadata.get("awsQueryCompatible").is_some(),
        validation: Validation::Coral("ValidationException"),
        operations: leak(vec![&**leak(operation.to_owned())]),
    })
}

fn operation(suite: &Value, case: &Value) -> &'static OperationSchema {
    let given = &case["given"];
    let name = text(&given["name"]);
    let service = service(suite, name);
    let schema = |key: &str| match given[key]["shape"].as_str() {
        Some(shape) => dynamic::schema(&suite["shapes"], shape),
        None => &UNIT,
    };
    let wrapper = given["output"]["resultWrapper"].as_str().map_or(format!("{name}Result"), str::to_owned);
    leak(OperationSchema {
        service,
        name,
        method: text(&given["http"]["method"]),
        uri: text(&given["http"]["requestUri"]),
        status: given["http"]["responseCode"].as_u64().unwrap_or(200) as u16,
        input: schema("input"),
        output: schema("output"),
        result_wrapper: (service.protocols[0] == Protocol::AwsQuery).then(|| &**leak(wrapper)),
        input_traits: dynamic::traits(&given["input"]),
        faults: &[],
    })
}

fn gateway(operation: Scripted) -> Gateway {
    let scope = Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap());
    let table = ServiceTable::new(operation.schema.service).with_erased(Box::new(operation));
    Gateway::new(GatewaySettings {
        tables: vec![table],
        authentication: Authentication::Any,
        authorizer: Arc::new(RootAndNodes),
        clock: Arc::new(ManualClock::new(Timestamp::from_millis(0))),
        ids: Arc::new(SeededIds::new(1)),
        default_scope: scope,
        endpoint: "http://localhost".to_owned(),
    })
}

/// The request that botocore sends in an input case.
fn request(protocol: Protocol, target_prefix: &str, case: &Value) -> http::Request<Bytes> {
    let serialized = &case["serialized"];
    let body = serialized["body"].as_str().unwrap_or_default();
    let body = match protocol {
        Protocol::RpcV2Cbor => STANDARD.decode(body).unwrap(),
        _ => body.as_bytes().to_vec(),
    };
    let mut builder =
        http::Request::builder().method(text(&serialized["method"])).uri(text(&serialized["uri"]));
    let mut form = matches!(protocol, Protocol::AwsQuery | Protocol::Ec2Query);
    let mut target = matches!(protocol, Protocol::AwsJson10 | Protocol::AwsJson11);
    for (name, value) in serialized["headers"].as_object().into_iter().flatten() {
        form &= !name.eq_ignore_ascii_case("content-type");
        target &= !name.eq_ignore_ascii_case("x-amz-target");
        builder = builder.header(name, value.as_str().unwrap());
    }
    if form {
        builder = builder.header("content-type", "application/x-www-form-urlencoded");
    }
    if target {
        // Some cases leave out the headers that every request of their protocol has.
        let operation = case["given"]["name"].as_str().unwrap();
        builder = builder.header("x-amz-target", format!("{target_prefix}.{operation}"));
    }
    builder.body(body.into()).unwrap()
}

fn run_input(suite: &Value, case: &Value) -> Result<(), String> {
    let operation = operation(suite, case);
    let protocol = operation.service.protocols[0];
    let seen = Arc::new(Mutex::new(None));
    let answer: Box<dyn Shape> = Box::new(Dynamic::new(operation.output));
    let scripted =
        Scripted { schema: operation, seen: Arc::clone(&seen), answer: Mutex::new(Some(Ok(answer))) };
    let response = common::block_on(
        gateway(scripted).call(request(protocol, operation.service.target_prefix, case), None),
    );
    let Some(seen) = seen.lock().unwrap().take() else {
        return Err(format!("refused: {}", String::from_utf8_lossy(response.body())));
    };
    compare::params(operation.input, &seen, &case["params"])
}

fn run_output(suite: &Value, case: &Value) -> Result<(), String> {
    let operation = operation(suite, case);
    let protocol = operation.service.protocols[0];
    let failed = case["errorCode"].is_string();
    let answer: Result<Box<dyn Shape>, Fault> = if failed {
        Err(fault(suite, case))
    } else {
        Ok(Box::new(Dynamic::from_params(operation.output, &case["result"])))
    };
    let scripted = Scripted { schema: operation, seen: Arc::default(), answer: Mutex::new(Some(answer)) };
    let response = common::block_on(gateway(scripted).call(plain_request(operation), None));
    if failed {
        compare::fault(protocol, &response, case)
    } else if READ_BACK.iter().any(|(part, _)| case["id"].as_str().is_some_and(|id| id.contains(part))) {
        compare::read_back(protocol, operation, &response, &case["result"])
    } else {
        compare::answer(protocol, operation, &response, case)
    }
}

/// The exception that an output case is about.
fn fault(suite: &Value, case: &Value) -> Fault {
    let code = text(&case["errorCode"]);
    let status = case["response"]["status_code"].as_u64().unwrap() as u16;
    let message = case["errorMessage"].as_str().unwrap_or_default();
    let errors = case["given"]["errors"].as_array().into_iter().flatten();
    let shape = errors
        .filter_map(|error| error["shape"].as_str())
        .find(|name| *name == code || suite["shapes"][name]["error"]["code"] == code);
    let Some(name) = shape else { return Fault::new(code, message, status) };
    let schema = dynamic::schema(&suite["shapes"], name);
    let modelled =
        FaultSchema { name: leak(name.to_owned()), code, status, sender: status < 500, shape: schema };
    Fault::modelled(leak(modelled), message).with_details(Dynamic::from_params(schema, &case["error"]))
}

/// Any request that reaches the operation.
fn plain_request(operation: &'static OperationSchema) -> http::Request<Bytes> {
    let service = operation.service;
    let (method, uri, body) = match service.protocols[0] {
        Protocol::AwsQuery | Protocol::Ec2Query => {
            ("POST", "/".to_owned(), format!("Action={}&Version={}", operation.name, service.api_version))
        }
        Protocol::RpcV2Cbor => (
            "POST",
            format!("/service/{}/operation/{}", service.target_prefix, operation.name),
            String::new(),
        ),
        Protocol::RestJson | Protocol::RestXml => {
            (operation.method, operation.uri.replace(['{', '}', '+'], ""), String::new())
        }
        _ => ("POST", "/".to_owned(), "{}".to_owned()),
    };
    let mut builder = http::Request::builder().method(method).uri(uri).header("x-amzn-query-mode", "true");
    builder = match service.protocols[0] {
        Protocol::AwsJson10 | Protocol::AwsJson11 => {
            builder.header("x-amz-target", format!("{}.{}", service.target_prefix, operation.name)).header(
                "content-type",
                if service.protocols[0] == Protocol::AwsJson10 {
                    "application/x-amz-json-1.0"
                } else {
                    "application/x-amz-json-1.1"
                },
            )
        }
        Protocol::RpcV2Cbor => builder.header("smithy-protocol", "rpc-v2-cbor"),
        Protocol::AwsQuery | Protocol::Ec2Query => {
            builder.header("content-type", "application/x-www-form-urlencoded")
        }
        Protocol::RestJson | Protocol::RestXml => builder,
    };
    builder.body(body.into()).unwrap()
}

fn run_all(kind: &str, excluded: &[(&str, &str)], run: fn(&Value, &Value) -> Result<(), String>) {
    let tests = match common::botocore_tests() {
        Ok(tests) => tests,
        Err(reason) => {
            println!("SKIPPED protocol_{kind}s: botocore's source distribution cannot be had: {reason}");
            return;
        }
    };
    let mut files: Vec<_> = std::fs::read_dir(tests.join("protocols").join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 7, "{files:?}");
    let (mut total, mut failures) = (0, Vec::new());
    for file in files {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let suites: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let (mut passed, mut left_out) = (0, 0);
        for suite in suites.as_array().unwrap() {
            for case in suite["cases"].as_array().unwrap() {
                let id = case["id"].as_str().unwrap_or_default();
                if let Some((_, reason)) = excluded.iter().find(|(name, _)| id.starts_with(name)) {
                    println!("left out {stem} {id}: {reason}");
                    left_out += 1;
                    continue;
                }
                match run(suite, case) {
                    Ok(()) => passed += 1,
                    Err(error) => failures.push(format!("{stem} {id}: {error}")),
                }
            }
        }
        println!("{kind} {stem}: {passed} passed, {left_out} left out");
        total += passed;
    }
    println!("{kind}: {total} passed, {} failed", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn requests_are_read_as_botocore_writes_them() {
    run_all("input", EXCLUDED_INPUTS, run_input);
}

#[test]
fn answers_are_written_as_botocore_reads_them() {
    run_all("output", EXCLUDED_OUTPUTS, run_output);
}
