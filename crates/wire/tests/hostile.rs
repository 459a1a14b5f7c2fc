//! Whatever bytes come: no panic, no fault of ours, and what cannot be understood is the caller's mistake.
#![allow(missing_docs)]

mod common;
#[path = "common/dynamic.rs"]
mod dynamic;

use std::sync::Arc;

use base::{ManualClock, Scope, SeededIds, Timestamp};
use bytes::Bytes;
use dynamic::Dynamic;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use wire::schema::{OperationSchema, Protocol, ServiceSchema, Traits, Validation};
use wire::sigv4::{Credentials, KnownKey, SecretKey, SigningKey, sign};
use wire::{
    Answer, Authentication, Call, ErasedOperation, Gateway, GatewaySettings, Permission, Principal,
    RootAndNodes, ServiceTable, Shape,
};

const NOW: Timestamp = Timestamp::from_millis(1_440_938_160_000);
const PROTOCOLS: [Protocol; 7] = [
    Protocol::AwsJson10,
    Protocol::AwsJson11,
    Protocol::AwsQuery,
    Protocol::Ec2Query,
    Protocol::RestJson,
    Protocol::RestXml,
    Protocol::RpcV2Cbor,
];

/// A structure with a member of every kind, in every place.
fn shapes() -> Value {
    json!({
        "In": {"type": "structure", "members": {
            "text": {"shape": "Text"}, "flag": {"shape": "Flag"}, "number": {"shape": "Number"},
            "big": {"shape": "Big"}, "real": {"shape": "Real"}, "single": {"shape": "Single"},
            "bytes": {"shape": "Bytes"}, "when": {"shape": "When"}, "document": {"shape": "Document"},
            "list": {"shape": "List"}, "flat": {"shape": "List", "flattened": true},
            "map": {"shape": "Map"}, "flatMap": {"shape": "Map", "flattened": true},
            "nested": {"shape": "In"}, "attribute": {"shape": "Text", "xmlAttribute": true},
        }},
        "Rest": {"type": "structure", "members": {
            "label": {"shape": "Text", "location": "uri", "locationName": "label"},
            "rest": {"shape": "Text", "location": "uri", "locationName": "rest"},
            "query": {"shape": "Number", "location": "querystring", "locationName": "q"},
            "queries": {"shape": "Map", "location": "querystring", "locationName": "qs"},
            "header": {"shape": "When", "location": "header", "locationName": "x-when"},
            "headers": {"shape": "Texts", "location": "header", "locationName": "x-list"},
            "times": {"shape": "Times", "location": "header", "locationName": "x-times"},
            "json": {"shape": "Text", "location": "header", "locationName": "x-json", "jsonvalue": true},
            "prefixed": {"shape": "Prefixed", "location": "headers", "locationName": "x-p-"},
            "body": {"shape": "In"}, "list": {"shape": "List"},
        }},
        "Text": {"type": "string"}, "Flag": {"type": "boolean"}, "Number": {"type": "integer"},
        "Big": {"type": "long"}, "Real": {"type": "double"}, "Single": {"type": "float"},
        "Bytes": {"type": "blob"}, "When": {"type": "timestamp"},
        "Document": {"type": "structure", "members": {}, "document": true},
        "List": {"type": "list", "member": {"shape": "In"}},
        "Texts": {"type": "list", "member": {"shape": "Text"}},
        "Times": {"type": "list", "member": {"shape": "When"}},
        "Map": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Texts"}},
        "Prefixed": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Text"}},
    })
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// An operation that answers with an empty structure.
struct Quiet(&'static OperationSchema);

impl ErasedOperation for Quiet {
    fn schema(&self) -> &'static OperationSchema {
        self.0
    }
    fn empty_input(&self) -> Box<dyn Shape> {
        Box::new(Dynamic::new(self.0.input))
    }
    fn permissions(&self, _: &Call, _: &dyn Shape) -> Vec<Permission> {
        Vec::new()
    }
    fn handle<'a>(&'a self, _: &'a Call, input: Box<dyn Shape>) -> Answer<'a> {
        // The answer is the request, so that what was read is written too.
        Box::pin(async move { Ok(input) })
    }
}

fn table(protocol: Protocol, name: &'static str) -> ServiceTable {
    let shapes = shapes();
    let rest = matches!(protocol, Protocol::RestJson | Protocol::RestXml);
    let input = dynamic::schema(&shapes, if rest { "Rest" } else { "In" });
    let service = leak(ServiceSchema {
        name,
        service_id: name,
        api_version: name,
        protocols: leak(vec![protocol]),
        target_prefix: name,
        xml_namespace: None,
        query_compatible: false,
        validation: Validation::Coral("ValidationException"),
        operations: &["Echo"],
    });
    let uri = if rest { leak(format!("/{name}/{{label}}/x/{{rest+}}")).as_str() } else { "/" };
    let operation = leak(OperationSchema {
        service,
        name: "Echo",
        method: "POST",
        uri,
        status: 200,
        input,
        output: input,
        result_wrapper: Some("EchoResult"),
        input_traits: Traits::NONE,
        faults: &[],
    });
    ServiceTable::new(service).with_erased(Box::new(Quiet(operation)))
}

const NAMES: [&str; 7] = ["json10", "json11", "query", "ec2", "restjson", "restxml", "cbor"];

struct Keys;

impl Credentials for Keys {
    fn lookup(&self, access_key_id: &str) -> Option<KnownKey> {
        let account = "000000000000".parse().unwrap();
        (access_key_id == "KEY").then(|| KnownKey {
            secret_access_key: SecretKey::new("secret"),
            session_token: None,
            principal: Principal::root(&account, access_key_id),
        })
    }
}

fn gateway(authentication: Authentication) -> Gateway {
    Gateway::new(GatewaySettings {
        tables: PROTOCOLS.into_iter().zip(NAMES).map(|(protocol, name)| table(protocol, name)).collect(),
        authentication,
        authorizer: Arc::new(RootAndNodes),
        clock: Arc::new(ManualClock::new(NOW)),
        ids: Arc::new(SeededIds::new(1)),
        default_scope: Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap()),
        endpoint: "http://localhost".to_owned(),
    })
}

/// A body that the protocol's codec reads without complaint.
fn good_body(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 | Protocol::RestJson => {
            let inner = r#"{"text":"a\u00e9","flag":true,"number":-1,"big":9007199254740993,"real":1.5e300,"single":"NaN",
                "bytes":"aGk=","when":1398796238.123,"document":{"a":[1,null,{"b":"c"}]},"list":[{"text":"x"}],
                "map":{"k":["v"]},"nested":{"nested":{"flag":false}},"strange":[[{}]]}"#;
            let rest = protocol == Protocol::RestJson;
            if rest { format!(r#"{{"body":{inner}}}"#).into_bytes() } else { inner.as_bytes().to_vec() }
        }
        Protocol::AwsQuery => b"Action=Echo&Version=query&text=a%20b&number=7&list.member.1.text=x&list.member.2.flag=true\
            &flat.1.text=y&map.entry.1.key=k&map.entry.1.value.member.1=v&when=2014-04-29T18%3A30%3A38Z\
            &flatMap.1.key=k&flatMap.1.value.member.1=v&nested.nested.real=1e3&bytes=aGk%3D"
            .to_vec(),
        Protocol::Ec2Query => b"Action=Echo&Version=ec2&Text=a&Number=7&List.1.Text=x&Flat.1.Flag=false\
            &Nested.Nested.Single=-Infinity&When=2014-04-29T18:30:38Z"
            .to_vec(),
        Protocol::RestXml => br#"<?xml version="1.0"?><Rest><!-- c --><body attribute="a&amp;b"><text>&lt;&#65;]]&gt;</text>
            <number>5</number><list><member><flag>true</flag></member></list><flat><text>f</text></flat>
            <map><entry><key>k</key><value><member>v</member></value></entry></map>
            <flatMap><key>k</key><value><member>v</member></value></flatMap>
            <nested><when>2014-04-29T18:30:38.5Z</when></nested><bytes><![CDATA[aGk=]]></bytes></body></Rest>"#
            .to_vec(),
        Protocol::RpcV2Cbor => {
            let text = |text: &str| [&[0x60 + text.len() as u8][..], text.as_bytes()].concat();
            [
                vec![0xbf],
                text("text"), text("hello"),
                text("flag"), vec![0xf5],
                text("number"), vec![0x38, 0x20],
                text("big"), vec![0x1b, 0, 0, 1, 0, 0, 0, 0, 0],
                text("real"), vec![0xfb, 0x40, 9, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18],
                text("single"), vec![0xf9, 0x3c, 0],
                text("bytes"), vec![0x5f, 0x41, 1, 0x42, 2, 3, 0xff],
                text("when"), vec![0xc1, 0x1a, 0x53, 0x5f, 0xf0, 0x4e],
                text("list"), vec![0x9f, 0xa1], text("text"), text("x"), vec![0xff],
                text("map"), vec![0xa1], text("k"), vec![0x81], text("v"),
                text("strange"), vec![0xd8, 0x2a, 0x82, 1, 0xf6],
                vec![0xff],
            ]
            .concat()
        }
    }
}

fn request(
    protocol: Protocol,
    name: &str,
    uri: &[u8],
    header: &[u8],
    body: Vec<u8>,
) -> Option<http::Request<Bytes>> {
    let mut builder = http::Request::post(http::Uri::try_from(uri).ok()?).header("host", "localhost");
    builder = match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => builder.header("x-amz-target", format!("{name}.Echo")),
        Protocol::AwsQuery | Protocol::Ec2Query => {
            builder.header("content-type", "application/x-www-form-urlencoded")
        }
        Protocol::RpcV2Cbor => builder.header("smithy-protocol", "rpc-v2-cbor"),
        Protocol::RestJson | Protocol::RestXml => ["x-when", "x-list", "x-times", "x-json", "x-p-a", "x-p-b"]
            .into_iter()
            .fold(builder, |builder, name| match http::HeaderValue::from_bytes(header) {
                Ok(value) if !header.is_empty() => builder.header(name, value),
                _ => builder,
            }),
    };
    builder.body(body.into()).ok()
}

fn good_uri(protocol: Protocol, name: &str) -> String {
    match protocol {
        Protocol::RestJson | Protocol::RestXml => {
            format!("/{name}/label%20one/x/a/b%2Fc?q=7&other=1&other=2")
        }
        Protocol::RpcV2Cbor => format!("/service/{name}/operation/Echo"),
        _ => "/".to_owned(),
    }
}

/// A change to some bytes.
#[derive(Clone, Debug)]
enum Change {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Drop(prop::sample::Index, u8),
    Repeat(prop::sample::Index, u8, u16),
    Insert(prop::sample::Index, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 1_u8..=255).prop_map(|(at, mask)| Change::Flip(at, mask)),
        index().prop_map(Change::Cut),
        (index(), 1_u8..9).prop_map(|(at, count)| Change::Drop(at, count)),
        (index(), 1_u8..9, 1_u16..500).prop_map(|(at, count, times)| Change::Repeat(at, count, times)),
        (index(), prop::collection::vec(any::<u8>(), 1..6)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (
            index(),
            prop::sample::select(vec![
                "{", "[", "<a>", "&a.1.b=", "%ff", "\"", "null", "1e999", "&#0;", "\u{9f}"
            ])
        )
            .prop_map(|(at, text)| Change::Insert(at, text.as_bytes().to_vec())),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match change {
        Change::Flip(at, mask) => bytes[at.index(length)] ^= mask,
        Change::Cut(at) => bytes.truncate(at.index(length)),
        Change::Drop(at, count) => {
            let at = at.index(length);
            bytes.drain(at..(at + usize::from(*count)).min(length));
        }
        Change::Repeat(at, count, times) => {
            let at = at.index(length);
            let piece = bytes[at..(at + usize::from(*count)).min(length)].repeat(usize::from(*times));
            bytes.splice(at..at, piece);
        }
        Change::Insert(at, piece) => {
            let at = at.index(length);
            bytes.splice(at..at, piece.iter().copied());
        }
    }
}

fn status(gateway: &Gateway, request: http::Request<Bytes>) -> u16 {
    let response = common::block_on(gateway.call(request, None));
    response.status().as_u16()
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() })
}

#[test]
fn good_bodies_are_good() {
    let gateway = gateway(Authentication::Any);
    for (protocol, name) in PROTOCOLS.into_iter().zip(NAMES) {
        let uri = good_uri(protocol, name);
        let request = request(protocol, name, uri.as_bytes(), b"", good_body(protocol)).unwrap();
        let response = common::block_on(gateway.call(request, None));
        assert_eq!(response.status(), 200, "{name}: {}", String::from_utf8_lossy(response.body()));
    }
}

#[test]
fn changed_requests_are_answered_or_refused() {
    let gateway = gateway(Authentication::Any);
    for (protocol, name) in PROTOCOLS.into_iter().zip(NAMES) {
        let body = good_body(protocol);
        let strategy = (prop::collection::vec(change(), 1..4), prop::option::of(change()), any::<[u8; 12]>());
        runner(1000)
            .run(&strategy, |(changes, of_uri, header)| {
                let mut body = body.clone();
                for change in &changes {
                    apply(&mut body, change);
                }
                let mut uri = good_uri(protocol, name).into_bytes();
                if let Some(change) = &of_uri {
                    apply(&mut uri, change);
                }
                let Some(request) = request(protocol, name, &uri, &header, body) else { return Ok(()) };
                let status = status(&gateway, request);
                prop_assert!(status == 200 || (400..500).contains(&status), "{status}");
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn random_bodies_are_the_callers_mistake() {
    let gateway = gateway(Authentication::Any);
    for (protocol, name) in PROTOCOLS.into_iter().zip(NAMES) {
        let uri = good_uri(protocol, name);
        runner(800)
            .run(&prop::collection::vec(any::<u8>(), 1..200), |body| {
                // A form of random bytes has no action; a lone space is no JSON, but 0xa0 is an empty CBOR map.
                let empty_map =
                    protocol == Protocol::RpcV2Cbor && matches!(body.as_slice(), [0xa0] | [0xbf, 0xff]);
                let request = request(protocol, name, uri.as_bytes(), b"", body).unwrap();
                let status = status(&gateway, request);
                prop_assert!((400..500).contains(&status) || empty_map, "{status}");
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn random_requests_are_refused_when_keys_are_asked_for() {
    let gateway = gateway(Authentication::Keys(Arc::new(Keys)));
    let text = || {
        prop::collection::vec(prop::sample::select(b" ,=;/AWS4-HMACSHA256redntilgu0123%&".to_vec()), 0..60)
    };
    let strategy =
        (any::<prop::sample::Index>(), text(), text(), text(), prop::collection::vec(change(), 0..3));
    runner(2000)
        .run(&strategy, |(which, authorization, date, query, changes)| {
            let (protocol, name) = (*which.get(&PROTOCOLS), *which.get(&NAMES));
            let mut uri = good_uri(protocol, name).into_bytes();
            uri.extend_from_slice(b"&X-Amz-Algorithm=");
            uri.extend_from_slice(&query);
            let uri: Vec<u8> = uri.into_iter().filter(|byte| *byte != b' ').collect();
            let Some(mut request) = request(protocol, name, &uri, b"", good_body(protocol)) else {
                return Ok(());
            };
            let signing_key = SigningKey {
                access_key_id: "KEY".to_owned(),
                secret_access_key: SecretKey::new("secret"),
                session_token: None,
            };
            let (mut parts, body) = request.into_parts();
            sign(&mut parts, &body, &signing_key, name, "us-east-1", NOW);
            let mut header = parts.headers["authorization"].as_bytes().to_vec();
            if changes.is_empty() {
                header = [b"AWS4-HMAC-SHA256 ".to_vec(), authorization].concat();
            }
            for change in &changes {
                apply(&mut header, change);
            }
            let plain = |bytes: &[u8]| {
                let parts = bytes.split(|byte| b", \t".contains(byte)).filter(|part| !part.is_empty());
                parts.map(<[u8]>::to_vec).collect::<Vec<_>>()
            };
            // Separators may be doubled.
            let same = plain(parts.headers["authorization"].as_bytes()) == plain(&header);
            let Ok(header) = http::HeaderValue::from_bytes(&header) else { return Ok(()) };
            parts.headers.insert("authorization", header);
            if let (true, Ok(date)) = (changes.is_empty(), http::HeaderValue::from_bytes(&date)) {
                parts.headers.insert("x-amz-date", date);
            }
            request = http::Request::from_parts(parts, body);
            let status = status(&gateway, request);
            prop_assert!((400..500).contains(&status) || same, "{status}");
            Ok(())
        })
        .unwrap();
}

/// Nothing that nests or repeats takes long or is taken in.
#[test]
fn floods_are_bounded() {
    let gateway = gateway(Authentication::Any);
    let size = base::limits::REQUEST_BODY_BYTES;
    let floods: Vec<(Protocol, Vec<u8>)> = vec![
        (Protocol::AwsJson11, b"[".repeat(size)),
        (Protocol::AwsJson11, b"{\"nested\":".repeat(size / 10)),
        (Protocol::AwsJson11, [b"{\"x\":".to_vec(), b"[".repeat(size - 10)].concat()),
        (Protocol::AwsJson11, [b"{\"text\":\"".to_vec(), b"\\".repeat(size - 10)].concat()),
        (Protocol::AwsQuery, [b"Action=Echo&Version=query".to_vec(), b"&a=b".repeat(size / 4 - 10)].concat()),
        (Protocol::AwsQuery, [b"Action=Echo&Version=query&".to_vec(), b"a.".repeat(size / 2 - 20)].concat()),
        (Protocol::AwsQuery, [b"Action=Echo&Version=query&".to_vec(), b"list.member.1.".repeat(size / 14 - 10)].concat()),
        (Protocol::Ec2Query, [b"Action=Echo&Version=ec2&".to_vec(), b"List.1.".repeat(size / 7 - 10)].concat()),
        (Protocol::RestXml, b"<a>".repeat(size / 3)),
        (Protocol::RestXml, [b"<a>".to_vec(), b"<b/>".repeat(size / 4 - 2)].concat()),
        (Protocol::RestXml, [b"<a ".to_vec(), b"b=\"\" ".repeat(size / 5 - 2)].concat()),
        (
            Protocol::RestXml,
            b"<!DOCTYPE l [<!ENTITY a \"lol\"><!ENTITY b \"&a;&a;&a;&a;\">]><Rest><body><text>&b;</text></body></Rest>".to_vec(),
        ),
        (
            Protocol::RestXml,
            b"<!DOCTYPE x [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><Rest><body><text>&f;</text></body></Rest>".to_vec(),
        ),
        (Protocol::RpcV2Cbor, vec![0x9f; size]),
        (Protocol::RpcV2Cbor, vec![0xd8; size]),
        (Protocol::RpcV2Cbor, [vec![0xa1, 0x64], b"list".to_vec(), vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]].concat()),
        (Protocol::AwsJson11, vec![b' '; size + 1]),
    ];
    for (number, (protocol, body)) in floods.into_iter().enumerate() {
        let name = NAMES[PROTOCOLS.iter().position(|other| *other == protocol).unwrap()];
        let uri = good_uri(protocol, name);
        let started = std::time::Instant::now();
        let status = status(&gateway, request(protocol, name, uri.as_bytes(), b"", body).unwrap());
        assert!((400..500).contains(&status), "flood {number}: {status}");
        assert!(started.elapsed().as_secs() < 20, "flood {number} took {:?}", started.elapsed());
    }
}

/// A body that unpacks to more than is allowed is refused before it is unpacked whole.
#[test]
fn a_gzip_bomb_is_refused() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..64 {
        encoder.write_all(&vec![b' '; 1024 * 1024]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let gateway = gateway(Authentication::Any);
    let send = |body: Vec<u8>, encoding: &'static str| {
        let mut request = request(Protocol::AwsJson11, "json11", b"/", b"", body).unwrap();
        request.headers_mut().insert("content-encoding", http::HeaderValue::from_static(encoding));
        status(&gateway, request)
    };
    assert_eq!(send(bomb, "gzip"), 413);
    assert_eq!(send(b"{}".to_vec(), "gzip"), 400);
    assert_eq!(send(b"{}".to_vec(), "br"), 415);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"{}").unwrap();
    assert_eq!(send(encoder.finish().unwrap(), "gzip"), 200);
}
