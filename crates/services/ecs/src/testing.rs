//! Text in, text out: the service behind the real protocol, on a store in memory.

use std::sync::Arc;

use base::{AccountId, ManualClock, Region, Scope, SeededIds, Timestamp};
use bytes::Bytes;
use domain::{ContainerInstance, TaskStatus};
use serde_json::{Value, json};
use store::{Options, Store, Transaction};
use wire::{Authentication, Gateway, GatewaySettings, RootAndNodes};

use crate::{Ecs, EcsConfig};

/// The service, its clock and its store.
pub struct World {
    pub gateway: Gateway,
    pub store: Store,
    pub clock: Arc<ManualClock>,
}

/// 2026-11-22T12:00:00Z.
const START: i64 = 1_795_348_800_000;

impl World {
    /// A service without any state.
    pub fn new() -> Self {
        let store = Store::ephemeral(store::rows::register(Options::ephemeral()));
        let ids = Arc::new(SeededIds::new(7));
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(START)));
        let ecs = Arc::new(Ecs { store: store.clone(), ids: ids.clone(), config: EcsConfig::default() });
        let settings = GatewaySettings {
            tables: vec![crate::service(ecs)],
            authentication: Authentication::Any,
            authorizer: Arc::new(RootAndNodes),
            clock: clock.clone(),
            ids,
            default_scope: scope(),
            endpoint: "http://127.0.0.1:4566".to_owned(),
        };
        Self { gateway: Gateway::new(settings), store, clock }
    }

    /// A service with the cluster `default`.
    pub async fn with_cluster() -> Self {
        let world = Self::new();
        world.ok("CreateCluster", json!({})).await;
        world
    }

    /// One with a container instance of this size in `default` too, whose agent is connected; and its ARN.
    pub async fn with_instance(cpu: i64, memory: i64, attributes: &[(&str, Option<&str>)]) -> (Self, String) {
        let world = Self::with_cluster().await;
        let arn = world.add_instance(cpu, memory, attributes).await;
        (world, arn)
    }

    /// Registers a container instance of this size whose agent is connected.
    pub async fn add_instance(&self, cpu: i64, memory: i64, attributes: &[(&str, Option<&str>)]) -> String {
        let attributes: Vec<Value> = attributes
            .iter()
            .map(|(name, value)| match value {
                Some(value) => json!({"name": name, "value": value}),
                None => json!({ "name": name }),
            })
            .collect();
        let answer = self
            .ok(
                "RegisterContainerInstance",
                json!({
                    "cluster": "default",
                    "instanceIdentityDocument": "",
                    "instanceIdentityDocumentSignature": "",
                    "totalResources": [
                        {"name": "CPU", "type": "INTEGER", "integerValue": cpu},
                        {"name": "MEMORY", "type": "INTEGER", "integerValue": memory},
                        {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22", "51678"]},
                        {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
                    ],
                    "attributes": attributes,
                }),
            )
            .await;
        let arn = text(&answer, "/containerInstance/containerInstanceArn");
        let id = arn.rsplit('/').next().unwrap().to_owned();
        let key = store::rows::container_instance_key(&scope(), "default", &id);
        let row = self.store.snapshot().get::<ContainerInstance>(&key).unwrap();
        let mut transaction = Transaction::new();
        transaction.put(ContainerInstance { agent_connected: true, ..ContainerInstance::clone(&row) });
        self.store.transact(transaction).await.unwrap();
        arn
    }

    /// A service with a machine that is Fargate capacity, the default VPC, and the task definition `fargate`.
    pub async fn with_fargate() -> Self {
        let fargate = [("roadstead.fargate-capacity", None), ("ecs.capability.task-eni", None)];
        let (world, _) = Self::with_instance(8192, 2048, &fargate).await;
        let networks = ["172.31.0.0/16".parse().unwrap()];
        store::rows_vpc::ensure_default_vpc(&world.store, &scope(), &networks, &SeededIds::new(9))
            .await
            .unwrap();
        let definition = json!({
            "family": "fargate",
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "256",
            "memory": "512",
            "containerDefinitions": [{"name": "app", "image": "busybox"}],
        });
        world.ok("RegisterTaskDefinition", definition).await;
        world
    }

    /// Runs the task definition `fargate` in the default VPC, with `change` over the plain request (null takes away).
    pub async fn run_on_fargate(&self, change: Value) -> Value {
        let vpc = store::rows_vpc::find_default_vpc(&self.store.snapshot(), &scope()).unwrap();
        let subnets: Vec<&str> = vpc.subnets.iter().map(|subnet| subnet.id.as_str()).collect();
        let mut body = json!({
            "taskDefinition": "fargate",
            "launchType": "FARGATE",
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": subnets, "assignPublicIp": "ENABLED"}},
        });
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.ok("RunTask", body).await
    }

    /// Registers a small task definition in the network mode `host`.
    pub async fn register(&self, family: &str) {
        let definition = json!({
            "family": family,
            "networkMode": "host",
            "containerDefinitions": [{"name": "app", "image": "busybox", "memory": 128, "cpu": 100}],
        });
        self.ok("RegisterTaskDefinition", definition).await;
    }

    /// Puts every association of a capacity provider with a cluster in force, as the control plane does.
    pub async fn attachments_are_created(&self) {
        let mut transaction = Transaction::new();
        let everything = store::Prefix::everything();
        for row in self.store.snapshot().scan::<domain::CapacityProviderAssociation>(everything, None) {
            let mut next = domain::CapacityProviderAssociation::clone(&row);
            next.status = domain::AssociationStatus::Created;
            transaction.replace(&row, next);
        }
        self.store.transact(transaction).await.unwrap();
    }

    /// Makes the capacity provider `mine` over the Auto Scaling group `group`, in force in the cluster `default`, whose
    /// default strategy it is.
    pub async fn with_provider(&self, managed_scaling: Value) {
        let provider = json!({"autoScalingGroupArn": "group", "managedScaling": managed_scaling});
        self.ok("CreateCapacityProvider", json!({"name": "mine", "autoScalingGroupProvider": provider}))
            .await;
        let strategy = json!([{"capacityProvider": "mine", "weight": 1}]);
        let put = json!({
            "cluster": "default",
            "capacityProviders": ["mine"],
            "defaultCapacityProviderStrategy": strategy,
        });
        self.ok("PutClusterCapacityProviders", put).await;
        self.attachments_are_created().await;
    }

    /// Status and body of the answer to one call.
    pub async fn call(&self, operation: &str, body: Value) -> (u16, Value) {
        let request = http::Request::post("/")
            .header("host", "127.0.0.1:4566")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("AmazonEC2ContainerServiceV20141113.{operation}"))
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let answer = self.gateway.call(request, None).await;
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(answer.body()).unwrap())
    }

    /// The answer to a call that must succeed.
    pub async fn ok(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.call(operation, body.clone()).await;
        assert_eq!(status, 200, "{operation} {body}: {answer}");
        answer
    }

    /// `Code: message` of a call that must be refused.
    pub async fn refused(&self, operation: &str, body: Value) -> String {
        let (status, answer) = self.call(operation, body.clone()).await;
        assert_eq!(status, 400, "{operation} {body}: {answer}");
        let code = answer["__type"].as_str().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default();
        let message = answer["message"].as_str().or(answer["Message"].as_str()).unwrap_or_default();
        format!("{code}: {message}")
    }

    /// Makes every DRAINING service INACTIVE, as the service scheduler does when the last task is gone.
    pub async fn finish_services(&self) {
        let mut transaction = Transaction::new();
        for service in self.store.snapshot().scan::<domain::Service>(store::Prefix::everything(), None) {
            if service.status == domain::ServiceStatus::Draining {
                let inactive = domain::ServiceStatus::Inactive;
                transaction.put(domain::Service { status: inactive, ..domain::Service::clone(&service) });
            }
        }
        self.store.transact(transaction).await.unwrap();
    }

    /// Reports a task's status as an agent does.
    pub async fn report(&self, task: &str, status: TaskStatus, containers: Value) {
        let body = json!({"cluster": "default", "task": task, "status": status.as_str(), "reason": "", "containers": containers});
        self.ok("SubmitTaskStateChange", body).await;
    }
}

/// Account and region of all calls.
pub fn scope() -> Scope {
    let account: AccountId = "000000000000".parse().unwrap();
    let region: Region = "us-east-1".parse().unwrap();
    Scope::new(account, region)
}

/// The text at a JSON pointer.
pub fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer).and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => panic!("no text at {pointer} of {value}"),
    }
}
