//! Task definitions: whatever comes is registered or refused, never by a fault of ours, and what is registered is shown.
#![no_main]

use std::sync::{Arc, LazyLock};

use base::{ManualClock, Scope, SeededIds, Timestamp};
use bytes::Bytes;
use ecs::{Ecs, EcsConfig};
use libfuzzer_sys::fuzz_target;
use store::{Options, Store};
use wire::{Authentication, Gateway, GatewaySettings, RootAndNodes};

static GATEWAY: LazyLock<Gateway> = LazyLock::new(|| {
    let store = Store::ephemeral(store::rows::register(Options::ephemeral()));
    let ids = Arc::new(SeededIds::new(1));
    let ecs = Arc::new(Ecs { store, ids: ids.clone(), config: EcsConfig::default() });
    let scope = Scope::new("000000000000".parse().expect("an account"), "us-east-1".parse().expect("a region"));
    Gateway::new(GatewaySettings {
        tables: vec![ecs::service(ecs)],
        authentication: Authentication::Any,
        authorizer: Arc::new(RootAndNodes),
        clock: Arc::new(ManualClock::new(Timestamp::from_millis(0))),
        ids,
        default_scope: scope,
        endpoint: "http://localhost".to_owned(),
    })
});

fn call(operation: &str, body: &[u8]) -> http::Response<Bytes> {
    let request = http::Request::post("/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("AmazonEC2ContainerServiceV20141113.{operation}"))
        .body(Bytes::copy_from_slice(body))
        .expect("a request");
    let mut future = std::pin::pin!(GATEWAY.call(request, None));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(response) => response,
        std::task::Poll::Pending => panic!("nothing here waits"),
    }
}

fuzz_target!(|body: &[u8]| {
    let status = call("RegisterTaskDefinition", body).status().as_u16();
    assert!(status == 200 || (400..500).contains(&status), "{status}");
    if status == 200 {
        let listed = call("ListTaskDefinitions", b"{\"maxResults\":1}");
        assert_eq!(listed.status().as_u16(), 200);
    }
});
