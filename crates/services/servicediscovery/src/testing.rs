//! Request text in, answer text out, through the real protocol.

use std::sync::Arc;

use base::{ManualClock, Scope, SeededIds, Timestamp};
use bytes::Bytes;
use serde_json::{Value, json};
use store::{Options, Store, rows, rows_vpc};
use wire::{Authentication, Gateway, GatewaySettings, RootAndNodes};

use crate::Servicediscovery;

/// AWS Cloud Map alone, with ids that repeat from run to run.
pub(crate) struct World {
    pub(crate) store: Store,
    gateway: Gateway,
}

pub(crate) fn scope() -> Scope {
    Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap())
}

impl World {
    pub(crate) fn new() -> Self {
        let store = Store::ephemeral(rows::register(Options::ephemeral()));
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        let service = Servicediscovery { store: store.clone(), ids: Arc::new(SeededIds::new(7)) };
        let gateway = Gateway::new(GatewaySettings {
            tables: vec![api::servicediscovery::service(Arc::new(service))],
            authentication: Authentication::Any,
            authorizer: Arc::new(RootAndNodes),
            clock,
            ids: Arc::new(SeededIds::new(8)),
            default_scope: scope(),
            endpoint: "http://127.0.0.1:4566".to_owned(),
        });
        Self { store, gateway }
    }

    /// The status and the answer to a call.
    pub(crate) async fn ask(&self, operation: &str, body: Value) -> (u16, Value) {
        let credential = "AKID/20231114/us-east-1/servicediscovery/aws4_request";
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature={:064}",
            0
        );
        let request = http::Request::builder()
            .method("POST")
            .uri("/")
            .header("host", "127.0.0.1:4566")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Route53AutoNaming_v20170314.{operation}"))
            .header("x-amz-date", "20231114T000000Z")
            .header("authorization", authorization)
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let response = self.gateway.call(request, None).await;
        let value = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
        (response.status().as_u16(), value)
    }

    /// The answer of a call that goes well.
    pub(crate) async fn ok(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.ask(operation, body).await;
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    /// `Code: message` of a call that is refused.
    pub(crate) async fn refused(&self, operation: &str, body: Value) -> String {
        let (status, answer) = self.ask(operation, body).await;
        assert_ne!(status, 200, "{operation}: {answer}");
        let code = answer["__type"].as_str().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default().to_owned();
        format!("{code}: {}", answer["Message"].as_str().or(answer["message"].as_str()).unwrap_or_default())
    }

    /// The outcome of the operation that a call answers.
    pub(crate) async fn operation(&self, operation: &str, body: Value) -> Value {
        let answer = self.ok(operation, body).await;
        self.ok("GetOperation", json!({ "OperationId": answer["OperationId"] })).await["Operation"].clone()
    }

    /// The id of the thing that a call makes, by an operation that goes well.
    pub(crate) async fn made(&self, operation: &str, body: Value) -> String {
        let done = self.operation(operation, body).await;
        assert_eq!(done["Status"], "SUCCESS", "{done}");
        done["Targets"]["NAMESPACE"].as_str().unwrap().to_owned()
    }

    /// The id of the default VPC.
    pub(crate) async fn vpc(&self) -> String {
        let networks = ["172.31.0.0/16".parse().unwrap()];
        let ids = SeededIds::new(9);
        rows_vpc::ensure_default_vpc(&self.store, &scope(), &networks, &ids).await.unwrap().vpc.id
    }

    /// An HTTP namespace called `web`.
    pub(crate) async fn http_namespace(&self) -> String {
        self.made("CreateHttpNamespace", json!({"Name": "web"})).await
    }

    /// A private DNS namespace called `insurance.local`.
    pub(crate) async fn private_namespace(&self) -> String {
        let vpc = self.vpc().await;
        self.made("CreatePrivateDnsNamespace", json!({"Name": "insurance.local", "Vpc": vpc})).await
    }

    /// A service called `backend` in a namespace, with these further members; its id.
    pub(crate) async fn service(&self, namespace: &str, more: Value) -> String {
        let mut body = json!({"Name": "backend", "NamespaceId": namespace});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.ok("CreateService", body).await["Service"]["Id"].as_str().unwrap().to_owned()
    }

    /// A service with A records and custom health, with these instances: id, address, health.
    pub(crate) async fn backend(&self, instances: &[(&str, &str, &str)]) -> String {
        let namespace = self.private_namespace().await;
        let service = self
            .service(
                &namespace,
                json!({
                    "DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 10}]},
                    "HealthCheckCustomConfig": {"FailureThreshold": 1},
                }),
            )
            .await;
        for (id, address, health) in instances {
            let attributes =
                json!({"AWS_INSTANCE_IPV4": address, "AWS_INIT_HEALTH_STATUS": health, "id": id});
            let body = json!({"ServiceId": service, "InstanceId": id, "Attributes": attributes});
            assert_eq!(self.operation("RegisterInstance", body).await["Status"], "SUCCESS");
        }
        service
    }
}
