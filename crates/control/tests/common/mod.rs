//! What the tests of the loops share: the real operations over a store in memory, a clock that goes where it is slept through, and
//! what an agent tells of a task.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::Arc;

use base::{Clock, Scope, SeededIds, Timestamp};
use bytes::Bytes;
use control::{Control, ControlConfig};
use domain::{Task, TaskStatus};
use ecs::{Ecs, EcsConfig};
use scheduler::task_lifecycle::{self, ContainerReport, TaskReport};
use serde_json::Value;
use store::rows::task_key;
use store::{Options, Store, Transaction};
use tokio::time::Instant;
use wire::{Authentication, Gateway, GatewaySettings, RootAndNodes};

/// A clock that goes with tokio's.
pub struct Slept(Instant);

impl Clock for Slept {
    fn now(&self) -> Timestamp {
        let since = i64::try_from(self.0.elapsed().as_millis()).unwrap();
        Timestamp::from_millis(1_795_348_800_000 + since)
    }
}

pub fn scope() -> Scope {
    Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap())
}

/// The API over its rows. The loops are started by who tests them.
pub struct Plane {
    pub gateway: Gateway,
    pub store: Store,
    pub clock: Arc<Slept>,
    pub ids: Arc<SeededIds>,
    /// What a container of a task that stops ends with.
    pub exit_code: i32,
}

impl Plane {
    pub fn new() -> Self {
        let store = Store::ephemeral(store::rows::register(Options::ephemeral()));
        let ids = Arc::new(SeededIds::new(7));
        let clock = Arc::new(Slept(Instant::now()));
        let ecs = Arc::new(Ecs { store: store.clone(), ids: ids.clone(), config: EcsConfig::default() });
        let gateway = Gateway::new(GatewaySettings {
            tables: vec![ecs::service(ecs)],
            authentication: Authentication::Any,
            authorizer: Arc::new(RootAndNodes),
            clock: clock.clone(),
            ids: ids.clone(),
            default_scope: scope(),
            endpoint: "http://127.0.0.1:4566".to_owned(),
        });
        Self { gateway, store, clock, ids, exit_code: 0 }
    }

    /// The loops, to be run.
    pub fn control(&self) -> Control {
        Control::new(self.store.clone(), self.clock.clone(), self.ids.clone(), ControlConfig::default())
    }

    /// Calls an operation of ECS: status and answer.
    pub async fn call(&self, operation: &str, body: Value) -> (u16, Value) {
        let request = http::Request::post("/")
            .header("host", "127.0.0.1:4566")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("AmazonEC2ContainerServiceV20141113.{operation}"))
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let answer = self.gateway.call(request, None).await;
        (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap())
    }

    /// The answer of a call that must not fail.
    pub async fn ok(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.call(operation, body.clone()).await;
        assert_eq!(status, 200, "{operation} {body}: {answer}");
        answer
    }

    /// What an agent says of a task and of all its containers.
    pub async fn report(&self, id: &str, status: TaskStatus) {
        let now = self.clock.now();
        let container = |name: &str| ContainerReport {
            name: name.into(),
            status: Some(status),
            exit_code: (status == TaskStatus::Stopped).then_some(self.exit_code),
            image_digest: Some("sha256:feed".into()),
            ..ContainerReport::default()
        };
        let report = |task: &Task| TaskReport {
            status: Some(status),
            containers: task.containers.iter().map(|there| container(&there.name)).collect(),
            ..TaskReport::default()
        };
        self.change_task(id, |task| task_lifecycle::step(task, &report(task), now).task).await;
    }

    /// Changes a task of the cluster `default`.
    pub async fn change_task(&self, id: &str, change: impl Fn(&Task) -> Task) {
        let update = self.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            if let Some(row) = snapshot.get::<Task>(&task_key(&scope(), "default", id)) {
                let next = change(&row);
                if next != *row.value {
                    transaction.replace(&row, next);
                }
            }
            Ok::<_, std::convert::Infallible>((transaction, ()))
        });
        update.await.unwrap();
    }
}
