//! Signature Version 4: AWS's test suite is accepted, and nothing that differs from what was signed.
#![allow(missing_docs, clippy::print_stdout)]

mod common;

use std::path::{Path, PathBuf};

use base::{AccountId, Timestamp};
use http::request::Parts;
use proptest::prelude::*;
use wire::Principal;
use wire::sigv4::{
    Credentials, KnownKey, Refusal, SecretKey, SigningKey, Verified, presign, sign, sign_url, verify,
};

/// 2015-08-30T12:36:00Z, the moment of AWS's test suite.
const MOMENT: Timestamp = Timestamp::from_millis(1_440_938_160_000);
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// Suite cases that are not run, and why.
const EXCLUDED: &[(&str, &str)] = &[("get-space", "a request line cannot have a space in its path")];

struct Keys(Option<String>);

impl Credentials for Keys {
    fn lookup(&self, access_key_id: &str) -> Option<KnownKey> {
        let account: AccountId = "123456789012".parse().unwrap();
        match access_key_id {
            "AKIDEXAMPLE" => Some(KnownKey {
                secret_access_key: SecretKey::new(SECRET),
                session_token: self.0.clone(),
                principal: Principal::root(&account, access_key_id),
            }),
            "AKIDEMPTY" => Some(KnownKey {
                secret_access_key: SecretKey::new(""),
                session_token: None,
                principal: Principal::root(&account, access_key_id),
            }),
            _ => None,
        }
    }
}

fn key() -> SigningKey {
    SigningKey {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: SecretKey::new(SECRET),
        session_token: None,
    }
}

fn check(parts: &Parts, body: &[u8]) -> Result<Verified, Refusal> {
    verify(parts, body, &Keys(None), MOMENT)
}

/// A request as it stands in the suite's files.
fn parse(text: &str) -> (Parts, Vec<u8>) {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    // A folded header line goes on with the next one.
    let head = head.replace("\n ", " ").replace("\n\t", " ");
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().splitn(3, ' ');
    let (method, target) = (first.next().unwrap(), first.next().unwrap());
    let mut request = http::Request::builder().method(method).uri(target);
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        request = request.header(name, value.trim());
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    (parts, body.as_bytes().to_vec())
}

fn signed_requests(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            signed_requests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "sreq") {
            found.push(path);
        }
    }
}

#[test]
fn the_aws_test_suite_is_accepted() {
    let tests = match common::botocore_tests() {
        Ok(tests) => tests,
        Err(reason) => {
            println!("SKIPPED the_aws_test_suite_is_accepted: botocore cannot be had: {reason}");
            return;
        }
    };
    let mut files = Vec::new();
    signed_requests(&tests.join("auth/aws4_testsuite"), &mut files);
    assert!(files.len() >= 30, "{} cases", files.len());
    let (mut passed, mut failures) = (0, Vec::new());
    for file in &files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if let Some((_, reason)) = EXCLUDED.iter().find(|(excluded, _)| *excluded == name) {
            println!("left out {name}: {reason}");
            continue;
        }
        let (mut parts, body) = parse(&std::fs::read_to_string(file).unwrap().replace('\r', ""));
        // One signed request has a signature that is not the one beside it; that one is right in all cases.
        let authorization = std::fs::read_to_string(file.with_extension("authz")).unwrap();
        parts.headers.insert("authorization", authorization.trim().parse().unwrap());
        let token = parts.headers.get("x-amz-security-token").map(|token| token.to_str().unwrap().to_owned());
        match verify(&parts, &body, &Keys(token), MOMENT) {
            Ok(verified) if verified.region == "us-east-1" && verified.aws_service == "service" => {
                passed += 1;
            }
            other => failures.push(format!("{name}: {other:?}")),
        }
    }
    println!("{passed} of {} accepted", files.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn signed(method: &str, uri: &str, headers: &[(&str, &str)], body: &[u8]) -> Parts {
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    sign(&mut parts, body, &key(), "ecs", "eu-west-1", MOMENT);
    parts
}

fn run_task() -> (Parts, &'static [u8]) {
    let headers = [
        ("host", "127.0.0.1:4566"),
        ("x-amz-target", "AmazonEC2ContainerServiceV20141113.RunTask"),
        ("content-type", "application/x-amz-json-1.1"),
    ];
    let body = br#"{"taskDefinition":"hello"}"#;
    (signed("POST", "/", &headers, body), body)
}

#[test]
fn what_we_sign_we_accept() {
    let (parts, body) = run_task();
    let verified = check(&parts, body).unwrap();
    assert_eq!((verified.region.as_str(), verified.aws_service.as_str()), ("eu-west-1", "ecs"));
    assert_eq!(verified.principal.access_key_id, "AKIDEXAMPLE");

    let headers =
        sign_url("http://127.0.0.1:51678/ws?a=b%20c&cluster=x", &key(), "ecs", "eu-west-1", MOMENT).unwrap();
    let (mut parts, ()) = http::Request::get("/ws?a=b%20c&cluster=x").body(()).unwrap().into_parts();
    parts.headers = headers;
    check(&parts, b"").unwrap();
    parts.uri = "/ws?a=b%20c&cluster=y".parse().unwrap();
    assert_eq!(check(&parts, b"").unwrap_err(), Refusal::Mismatch);
}

#[test]
fn a_presigned_url_lives_as_long_as_it_says() {
    let url = presign("http://localhost/a?b=c+d", &key(), "ecs", "eu-west-1", MOMENT, 60).unwrap();
    let target = url.strip_prefix("http://localhost").unwrap();
    let (parts, ()) = http::Request::get(target).header("host", "localhost").body(()).unwrap().into_parts();
    check(&parts, b"").unwrap();
    verify(&parts, b"", &Keys(None), MOMENT.plus_seconds(60)).unwrap();
    let late = verify(&parts, b"", &Keys(None), MOMENT.plus_seconds(61)).unwrap_err();
    assert!(matches!(late, Refusal::Expired(_)), "{late:?}");
    assert_eq!(check(&parts, b"x").unwrap_err(), Refusal::Mismatch);

    let longest = presign("http://localhost/", &key(), "ecs", "eu-west-1", MOMENT, 604_800).unwrap();
    let too_long = presign("http://localhost/", &key(), "ecs", "eu-west-1", MOMENT, 604_801).unwrap();
    let (mut parts, ()) = http::Request::get(longest).body(()).unwrap().into_parts();
    check(&parts, b"").unwrap();
    parts.uri = too_long.parse().unwrap();
    assert!(matches!(check(&parts, b"").unwrap_err(), Refusal::Incomplete(_)));
}

#[test]
fn the_clock_may_differ_by_fifteen_minutes() {
    let (parts, body) = run_task();
    for seconds in [-900, 0, 900] {
        verify(&parts, body, &Keys(None), MOMENT.plus_seconds(seconds)).unwrap();
    }
    let late = verify(&parts, body, &Keys(None), MOMENT.plus_seconds(901)).unwrap_err();
    assert_eq!(
        late.to_string(),
        "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)"
    );
    let early = verify(&parts, body, &Keys(None), MOMENT.plus_seconds(-901)).unwrap_err();
    assert_eq!(
        early.to_string(),
        "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T122059Z + 15 min.)"
    );
}

#[test]
fn payload_hashes_are_held_against_the_body() {
    let hash = |text: &str| {
        use sha2::Digest;
        hex::encode(sha2::Sha256::digest(text))
    };
    let host = ("host", "localhost");
    let unsigned = signed("POST", "/", &[host, ("x-amz-content-sha256", "UNSIGNED-PAYLOAD")], b"");
    check(&unsigned, b"any body at all").unwrap();
    let right = signed("POST", "/", &[host, ("x-amz-content-sha256", &hash("body"))], b"body");
    check(&right, b"body").unwrap();
    assert_eq!(check(&right, b"bodY").unwrap_err(), Refusal::Mismatch);
    let wrong = signed("POST", "/", &[host, ("x-amz-content-sha256", &hash("other"))], b"body");
    assert_eq!(check(&wrong, b"body").unwrap_err(), Refusal::Mismatch);
    // A signed payload cannot be passed off as an unsigned one.
    let mut turned = right;
    turned.headers.insert("x-amz-content-sha256", "UNSIGNED-PAYLOAD".parse().unwrap());
    assert_eq!(check(&turned, b"evil").unwrap_err(), Refusal::Mismatch);
    let chunked =
        signed("POST", "/", &[host, ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")], b"");
    assert_eq!(check(&chunked, b"").unwrap_err(), Refusal::Mismatch);
}

#[test]
fn what_carries_meaning_must_be_signed_and_single() {
    let (parts, body) = run_task();
    for name in ["host", "x-amz-date", "x-amz-target", "authorization", "content-type"] {
        let mut twice = parts.clone();
        twice.headers.append(name, parts.headers[name].clone());
        assert!(matches!(check(&twice, body).unwrap_err(), Refusal::Incomplete(_)), "{name}");
    }
    let mut added = signed("POST", "/", &[("host", "localhost")], b"{}");
    check(&added, b"{}").unwrap();
    added.headers.insert("x-amz-target", "AmazonEC2ContainerServiceV20141113.DeleteCluster".parse().unwrap());
    assert!(matches!(check(&added, b"{}").unwrap_err(), Refusal::Incomplete(_)));
    let mut both = run_task().0;
    both.uri = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256".parse().unwrap();
    assert!(matches!(check(&both, body).unwrap_err(), Refusal::Incomplete(_)));
}

#[test]
fn keys_and_tokens_must_be_known() {
    let (parts, body) = run_task();
    let with = |from: &str, to: &str| {
        let mut changed = parts.clone();
        let text = changed.headers["authorization"].to_str().unwrap().replace(from, to);
        changed.headers.insert("authorization", text.parse().unwrap());
        check(&changed, body).unwrap_err()
    };
    assert_eq!(with("AKIDEXAMPLE", "AKIDOTHER"), Refusal::UnknownKey);
    assert_eq!(with("AKIDEXAMPLE", "AKIDEMPTY"), Refusal::UnknownKey);
    assert_eq!(with("eu-west-1", "eu-west-2"), Refusal::Mismatch);
    assert_eq!(with("/ecs/", "/ec2/"), Refusal::Mismatch);
    assert!(matches!(with("20150830/", "20150831/"), Refusal::Scope(_)));
    assert!(matches!(with("aws4_request", "aws4_reques"), Refusal::Scope(_)));
    assert!(matches!(with("/ecs", ""), Refusal::Incomplete(_)));
    assert!(matches!(with("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), Refusal::Incomplete(_)));
    assert!(matches!(with("Signature=", "Nothing="), Refusal::Incomplete(_)));
    assert!(matches!(with("host;", ""), Refusal::Incomplete(_)));
    let mut lone = parts.clone();
    lone.headers.remove("authorization");
    assert_eq!(check(&lone, body).unwrap_err(), Refusal::Missing);
    // Temporary credentials need their own token, long-lived ones none.
    assert_eq!(
        verify(&parts, body, &Keys(Some("token".to_owned())), MOMENT).unwrap_err(),
        Refusal::UnknownKey
    );
    let mut signing_key = key();
    signing_key.session_token = Some("token".to_owned());
    let mut tokened = run_task().0;
    sign(&mut tokened, body, &signing_key, "ecs", "eu-west-1", MOMENT);
    verify(&tokened, body, &Keys(Some("token".to_owned())), MOMENT).unwrap();
    assert_eq!(
        verify(&tokened, body, &Keys(Some("tokem".to_owned())), MOMENT).unwrap_err(),
        Refusal::UnknownKey
    );
    assert_eq!(check(&tokened, body).unwrap_err(), Refusal::UnknownKey);
}

/// Every letter case of a signature but the lower one, and every length but the right one, is refused.
#[test]
fn the_signature_has_one_spelling() {
    let (parts, body) = run_task();
    let text = parts.headers["authorization"].to_str().unwrap().to_owned();
    let (head, signature) = text.split_once("Signature=").unwrap();
    for other in [
        signature.to_ascii_uppercase(),
        String::new(),
        signature[..62].to_owned(),
        format!("{signature}00"),
        signature.repeat(50),
        "0".repeat(64),
    ] {
        let mut changed = parts.clone();
        changed.headers.insert("authorization", format!("{head}Signature={other}").parse().unwrap());
        assert_eq!(check(&changed, body).unwrap_err(), Refusal::Mismatch, "{other}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A request of any form verifies; the same with one byte changed anywhere that is signed does not.
    #[test]
    fn one_changed_byte_is_refused(
        method in prop::sample::select(vec!["GET", "POST", "PUT", "DELETE"]),
        path in "(/[a-zA-Z0-9._~-]{1,8}){0,3}",
        query in "([a-zA-Z]{1,5}=[a-zA-Z0-9%]{0,4}&?){0,3}",
        value in "[!-~]{1,12}",
        body in prop::collection::vec(any::<u8>(), 0..40),
        place in 0_usize..5,
        at in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let uri = format!("/p{path}?{query}");
        let parts = signed(method, &uri, &[("host", "localhost"), ("x-amz-target", &value)], &body);
        check(&parts, &body).unwrap();
        let mut changed = parts.clone();
        let mut changed_body = body.clone();
        let flipped = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let at = at.index(bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) { *byte ^= flip; }
            bytes
        };
        match place {
            0 => {
                if let Ok(method) = http::Method::from_bytes(&flipped(method)) { changed.method = method; }
            }
            1 => {
                let bytes = flipped(&uri);
                if let Ok(uri) = http::Uri::try_from(bytes) { changed.uri = uri; }
            }
            2 => {
                if let Ok(value) = http::HeaderValue::from_bytes(&flipped(&value)) {
                    changed.headers.insert("x-amz-target", value);
                }
            }
            3 => {
                if let Some(byte) = (!body.is_empty()).then(|| at.index(body.len())) { changed_body[byte] ^= flip; }
            }
            _ => {
                let text = parts.headers["authorization"].to_str().unwrap();
                if let Ok(value) = http::HeaderValue::from_bytes(&flipped(text)) {
                    changed.headers.insert("authorization", value);
                }
            }
        }
        let outcome = check(&changed, &changed_body);
        if same_meaning(&parts, &changed) && body == changed_body {
            prop_assert!(outcome.is_ok(), "{outcome:?}");
        } else {
            prop_assert!(outcome.is_err(), "{changed:?}");
        }
    }
}

/// Whether a server would read the same from both: a query's escapes and its order of parameters may be spelt in
/// several ways, header values may be trimmed, and so may the separators in `Authorization`.
fn same_meaning(a: &Parts, b: &Parts) -> bool {
    let query = |parts: &Parts| {
        let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (unescaped(key), unescaped(value)))
            .collect();
        pairs.sort();
        pairs
    };
    let header = |parts: &Parts, name: &str| {
        let value = parts.headers[name].as_bytes();
        value
            .iter()
            .map(|byte| if *byte == b'\t' { b' ' } else { *byte })
            .collect::<Vec<u8>>()
            .trim_ascii()
            .to_vec()
    };
    let authorization = |parts: &Parts| {
        let bytes = header(parts, "authorization");
        // A space ends the algorithm; behind it commas and spaces separate alike.
        let head = bytes.get(..17).map(<[u8]>::to_vec);
        let words = bytes.split(|byte| matches!(byte, b',' | b' ')).filter(|word| !word.is_empty());
        (head, words.collect::<Vec<_>>().join(&b' '))
    };
    a.method == b.method
        && resolved(a.uri.path()) == resolved(b.uri.path())
        && query(a) == query(b)
        && header(a, "x-amz-target") == header(b, "x-amz-target")
        && authorization(a) == authorization(b)
}

/// The segments of a path, and whether it ends as a folder.
fn resolved(path: &str) -> (Vec<&str>, bool) {
    let mut segments = Vec::new();
    for segment in path.split('/').filter(|segment| !matches!(*segment, "" | ".")) {
        if segment == ".." {
            segments.pop();
        } else {
            segments.push(segment);
        }
    }
    let folder = segments.is_empty() || path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    (segments, folder)
}

fn unescaped(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut output, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let escape =
            text.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match (bytes[at], escape) {
            (b'%', Some(digits)) => {
                output.push(u8::from_str_radix(digits, 16).unwrap());
                at += 2;
            }
            (b'+', _) => output.push(b' '),
            (byte, _) => output.push(byte),
        }
        at += 1;
    }
    output
}
