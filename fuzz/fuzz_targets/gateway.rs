//! Whole requests: whatever comes is answered, and never by a fault of ours.
#![no_main]

use std::sync::{Arc, LazyLock};

use api::{ec2, ecs, sts};
use base::{ManualClock, Scope, SeededIds, Timestamp};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::{
    Authentication, Call, Fault, Gateway, GatewaySettings, Operation, OperationType, Permission, RootAndNodes,
    ServiceTable,
};

struct Quiet;

impl<O: OperationType> Operation<O> for Quiet {
    fn permissions(&self, _: &Call, _: &O::Input) -> Vec<Permission> {
        Vec::new()
    }
    async fn handle(&self, _: &Call, _: O::Input) -> Result<O::Output, Fault> {
        Ok(O::Output::default())
    }
}

static GATEWAY: LazyLock<Gateway> = LazyLock::new(|| {
    let quiet = Arc::new(Quiet);
    let tables: Vec<ServiceTable> = vec![
        ecs::service(Arc::clone(&quiet)),
        ec2::service(Arc::clone(&quiet)),
        sts::service(Arc::clone(&quiet)),
    ];
    let scope = Scope::new("000000000000".parse().expect("an account"), "us-east-1".parse().expect("a region"));
    Gateway::new(GatewaySettings {
        tables,
        authentication: Authentication::Any,
        authorizer: Arc::new(RootAndNodes),
        clock: Arc::new(ManualClock::new(Timestamp::from_millis(0))),
        ids: Arc::new(SeededIds::new(1)),
        default_scope: scope,
        endpoint: "http://localhost".to_owned(),
    })
});

fuzz_target!(|input: (bool, &str, &str, &str, &str, &[u8])| {
    let (post, uri, target, content_type, protocol, body) = input;
    let mut request = http::Request::builder().method(if post { "POST" } else { "GET" }).uri(uri);
    for (name, value) in [("x-amz-target", target), ("content-type", content_type), ("smithy-protocol", protocol)] {
        if !value.is_empty() {
            request = request.header(name, value);
        }
    }
    let Ok(request) = request.body(Bytes::copy_from_slice(body)) else { return };
    let mut future = std::pin::pin!(GATEWAY.call(request, None));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(response) = future.as_mut().poll(&mut context) else {
        panic!("nothing here waits");
    };
    let status = response.status().as_u16();
    assert!(status == 200 || status == 501 || (400..500).contains(&status), "{status}");
});
