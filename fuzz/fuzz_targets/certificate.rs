//! Certificates, chains and keys: whatever is imported is taken or refused, never by a fault of ours, and what is taken is shown.
#![no_main]

use std::sync::{Arc, LazyLock};

use acm::Acm;
use base::{ManualClock, Scope, SeededIds, Timestamp};
use base64::Engine as _;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use store::{Options, Store};
use wire::{Authentication, Gateway, GatewaySettings, RootAndNodes};

static GATEWAY: LazyLock<Gateway> = LazyLock::new(|| {
    let store = Store::ephemeral(store::rows::register(Options::ephemeral()));
    let ids = Arc::new(SeededIds::new(1));
    let acm = Arc::new(Acm { store, ids: ids.clone() });
    let scope = Scope::new("000000000000".parse().expect("an account"), "us-east-1".parse().expect("a region"));
    Gateway::new(GatewaySettings {
        tables: vec![api::acm::service(acm)],
        authentication: Authentication::Any,
        authorizer: Arc::new(RootAndNodes),
        clock: Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000))),
        ids,
        default_scope: scope,
        endpoint: "http://localhost".to_owned(),
    })
});

fn call(operation: &str, body: String) -> http::Response<Bytes> {
    let request = http::Request::post("/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("CertificateManager.{operation}"))
        .body(Bytes::from(body))
        .expect("a request");
    let mut future = std::pin::pin!(GATEWAY.call(request, None));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(response) => response,
        std::task::Poll::Pending => panic!("nothing here waits"),
    }
}

/// As PEM: what comes between the lines is the fuzzer's, or all of it.
fn pem(label: &str, bytes: &[u8], as_it_is: bool) -> String {
    let base64 = base64::engine::general_purpose::STANDARD;
    if as_it_is {
        return base64.encode(bytes);
    }
    base64.encode(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", base64.encode(bytes)))
}

fuzz_target!(|input: (&[u8], &[u8], &[u8], bool)| {
    let (certificate, chain, key, as_it_is) = input;
    let body = format!(
        r#"{{"Certificate":"{}","CertificateChain":"{}","PrivateKey":"{}"}}"#,
        pem("CERTIFICATE", certificate, as_it_is),
        pem("CERTIFICATE", chain, as_it_is),
        pem("PRIVATE KEY", key, as_it_is)
    );
    let status = call("ImportCertificate", body).status().as_u16();
    assert!(status == 200 || (400..500).contains(&status), "{status}");
    if status == 200 {
        assert_eq!(call("ListCertificates", "{}".to_owned()).status().as_u16(), 200);
    }
});
