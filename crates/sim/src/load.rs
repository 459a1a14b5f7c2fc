//! [`Load`]: a client that calls the API at random, and holds the answers against what it was promised.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::balancer;
use crate::random::Random;
use crate::world::World;

/// Live tasks above which a client starts no more by itself.
const LIVE_TASKS_MAXIMUM: usize = 60;
/// Task ARNs that a client remembers.
const REMEMBERED: usize = 50;
/// Families that RunTask uses.
const FAMILIES: [&str; 9] = ["web", "web", "port", "network", "checked", "crash", "nopull", "job", "job"];
/// Families that services use: most work.
const SERVICE_FAMILIES: [&str; 8] = ["web", "web2", "checked", "web", "web2", "crash", "nopull", "sick"];

/// A client.
pub(crate) struct Load {
    world: Arc<World>,
    random: Random,
    number: usize,
    tasks: Vec<String>,
    tokens: u64,
    has_services: bool,
}

impl Load {
    pub(crate) fn new(world: Arc<World>, random: Random, number: usize) -> Self {
        Self { world, random, number, tasks: Vec::new(), tokens: 0, has_services: true }
    }

    /// Calls until it is over.
    pub(crate) async fn run(mut self, every_millis: (u64, u64), over: Arc<AtomicBool>) {
        loop {
            let mut wait = self.random.between(every_millis.0, every_millis.1);
            while wait > 0 && !over.load(Ordering::Relaxed) {
                let step = wait.min(1000);
                tokio::time::sleep(Duration::from_millis(step)).await;
                wait -= step;
            }
            if over.load(Ordering::Relaxed) {
                return;
            }
            self.act().await;
        }
    }

    async fn act(&mut self) {
        match self.random.below(100) {
            0..28 => self.run_task().await,
            28..42 => self.stop_task().await,
            42..50 => self.describe_tasks().await,
            50..54 => self.drain().await,
            54..56 => self.deregister().await,
            56..60 => self.protect().await,
            60..72 if self.has_services => self.create_service().await,
            72..90 if self.has_services => self.update_service().await,
            90..94 if self.has_services => self.delete_service().await,
            94..97 if self.has_services => self.stop_deployment().await,
            _ => {}
        }
    }

    fn family(&mut self) -> &'static str {
        self.random.pick(&FAMILIES).copied().unwrap_or("web")
    }

    async fn run_task(&mut self) {
        if self.world.watcher.live_tasks().len() > LIVE_TASKS_MAXIMUM {
            return;
        }
        let family = self.family();
        let mut body = json!({"taskDefinition": family, "count": self.random.between(1, 3)});
        if family == "network" {
            body["networkConfiguration"] = self.network();
        }
        if self.random.permille(300) {
            let placement = [
                json!([{"type": "spread", "field": "attribute:ecs.availability-zone"}]),
                json!([{"type": "binpack", "field": "memory"}]),
                json!([{"type": "random"}]),
            ];
            body["placementStrategy"] = self.random.pick(&placement).cloned().unwrap_or_default();
        }
        if self.random.permille(300) {
            self.tokens += 1;
            body["clientToken"] = json!(format!("client-{}-{}", self.number, self.tokens));
            self.run_with_token(body).await;
            return;
        }
        if let Some((200, answer)) = self.world.call("RunTask", body).await {
            self.promised(&answer);
        }
    }

    /// The same call several times at once: one set of tasks comes of it, whoever is answered.
    async fn run_with_token(&mut self, body: Value) {
        let calls = (0..self.random.between(2, 4)).map(|_| {
            let (world, body) = (Arc::clone(&self.world), body.clone());
            tokio::spawn(async move { world.call("RunTask", body).await })
        });
        let calls: Vec<_> = calls.collect();
        let mut first: Option<Vec<String>> = None;
        for call in calls {
            let Ok(Some((200, answer))) = call.await else { continue };
            let tasks = self.promised(&answer);
            if first.as_ref().is_some_and(|first| *first != tasks) {
                self.world.broken(format!("one client token gave {first:?} and {tasks:?}"));
            }
            first = Some(tasks);
        }
    }

    fn network(&self) -> Value {
        let vpc = store::rows_vpc::find_default_vpc(&self.world.store.snapshot(), self.world.scope());
        let subnets: Vec<String> =
            vpc.map(|vpc| vpc.subnets.iter().map(|subnet| subnet.id.clone()).collect()).unwrap_or_default();
        json!({"awsvpcConfiguration": {"subnets": subnets}})
    }

    /// The tasks of an answer: promised, so they are there.
    fn promised(&mut self, answer: &Value) -> Vec<String> {
        let arns: Vec<String> = answer["tasks"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|task| task["taskArn"].as_str().map(str::to_owned))
            .collect();
        for arn in &arns {
            let id = arn.rsplit('/').next().unwrap_or_default();
            if !self.world.watcher.has_seen(id) {
                self.world.broken(format!("{arn} was promised and never written"));
            }
            if self.tasks.len() >= REMEMBERED {
                self.tasks.remove(0);
            }
            self.tasks.push(arn.clone());
        }
        arns
    }

    async fn stop_task(&mut self) {
        let live = self.world.watcher.live_tasks();
        let arn = if self.random.permille(500) {
            self.random.pick(&self.tasks).cloned()
        } else {
            self.random.pick(&live).map(|task| task.arn().to_string())
        };
        let Some(arn) = arn else { return };
        self.world.call("StopTask", json!({"task": arn, "reason": "the load"})).await;
    }

    /// What was promised can be described for a day.
    async fn describe_tasks(&mut self) {
        let recent: Vec<String> = self.tasks.iter().rev().take(5).cloned().collect();
        if recent.is_empty() {
            return;
        }
        let body = json!({"tasks": recent, "include": ["TAGS"]});
        let Some((200, answer)) = self.world.call("DescribeTasks", body).await else { return };
        for task in answer["tasks"].as_array().into_iter().flatten() {
            let desired = task["desiredStatus"].as_str();
            if task["lastStatus"] == "STOPPED" && (desired != Some("STOPPED") || task["stoppedAt"].is_null())
            {
                self.world.broken(format!("a STOPPED task is described as {task}"));
            }
        }
        let failures = answer["failures"].as_array().map_or(0, Vec::len);
        if failures > 0 && self.world.clock.elapsed_millis() < 20 * 3_600_000 {
            self.world.broken(format!("tasks that were promised are missing: {}", answer["failures"]));
        }
    }

    async fn drain(&mut self) {
        let machines = self.world.machines();
        let Some(arn) = self.random.pick(&machines).and_then(|machine| machine.arn()) else { return };
        let status = if self.random.permille(400) { "DRAINING" } else { "ACTIVE" };
        let body = json!({"containerInstances": [arn], "status": status});
        self.world.call("UpdateContainerInstancesState", body).await;
    }

    async fn deregister(&mut self) {
        let machines = self.world.machines();
        let Some(arn) = self.random.pick(&machines).and_then(|machine| machine.arn()) else { return };
        let body = json!({"containerInstance": arn, "force": true});
        self.world.call("DeregisterContainerInstance", body).await;
    }

    async fn protect(&mut self) {
        let mut live = self.world.watcher.live_tasks();
        live.retain(|task| task.group.starts_with("service:"));
        let Some(task) = self.random.pick(&live) else { return };
        let body = json!({"cluster": "default", "tasks": [task.id], "protectionEnabled": self.random.permille(700),
            "expiresInMinutes": self.random.between(1, 5)});
        let mut body = body;
        if body["protectionEnabled"] == json!(false) {
            body.as_object_mut().map(|body| body.remove("expiresInMinutes"));
        }
        self.world.call("UpdateTaskProtection", body).await;
    }

    fn service_name(&mut self) -> String {
        format!("s{}", self.random.between(1, 4))
    }

    fn service_family(&mut self) -> &'static str {
        self.random.pick(&SERVICE_FAMILIES).copied().unwrap_or("web")
    }

    fn deployment_configuration(&mut self) -> Value {
        let percents = [(100, 200), (50, 100), (0, 100), (50, 150), (100, 150), (100, 125)];
        let (minimum, maximum) = self.random.pick(&percents).copied().unwrap_or((100, 200));
        let mut configuration = json!({"minimumHealthyPercent": minimum, "maximumPercent": maximum});
        if self.random.permille(500) {
            configuration["deploymentCircuitBreaker"] =
                json!({"enable": true, "rollback": self.random.permille(700)});
        }
        configuration
    }

    async fn create_service(&mut self) {
        let mut body = json!({
            "serviceName": self.service_name(),
            "taskDefinition": self.service_family(),
            "desiredCount": self.random.between(0, 5),
            "deploymentConfiguration": self.deployment_configuration(),
        });
        match self.random.below(10) {
            0 => {
                body["schedulingStrategy"] = json!("DAEMON");
                body["deploymentConfiguration"] = json!({"minimumHealthyPercent": 0, "maximumPercent": 100});
                body.as_object_mut().map(|body| body.remove("desiredCount"));
            }
            1..4 => {
                let strategy = json!([{"type": "spread", "field": "attribute:ecs.availability-zone"}]);
                body["placementStrategy"] = strategy;
                body["availabilityZoneRebalancing"] = json!("ENABLED");
                body["deploymentConfiguration"]["maximumPercent"] = json!(200);
            }
            4..6 => {
                let kinds = [
                    json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1}),
                    json!({"strategy": "LINEAR", "bakeTimeInMinutes": 1,
                        "linearConfiguration": {"stepPercent": 50.0, "stepBakeTimeInMinutes": 1}}),
                    json!({"strategy": "CANARY", "bakeTimeInMinutes": 1,
                        "canaryConfiguration": {"canaryPercent": 20.0, "canaryBakeTimeInMinutes": 1}}),
                ];
                body["deploymentConfiguration"] = self.random.pick(&kinds).cloned().unwrap_or_default();
            }
            _ => {}
        }
        if self.random.permille(350) {
            let number = body["serviceName"].as_str().and_then(|name| name[1..].parse::<u16>().ok());
            let port = number.filter(|_| self.random.permille(500)).map(|number| 9000 + number);
            body["taskDefinition"] =
                if port.is_some() { body["serviceName"].clone() } else { json!("network") };
            if port.is_none() {
                body["networkConfiguration"] = self.network();
            }
            body["loadBalancers"] = balancer::in_front(&self.world, port);
            body["healthCheckGracePeriodSeconds"] = json!(self.random.between(0, 20));
        }
        if let Some((501, _)) = self.world.call("CreateService", body).await {
            self.has_services = false;
        }
    }

    async fn update_service(&mut self) {
        let mut body = json!({"service": self.service_name()});
        if self.random.permille(500) {
            body["desiredCount"] = json!(self.random.between(0, 6));
        }
        if self.random.permille(400) {
            body["taskDefinition"] = json!(self.service_family());
        }
        if self.random.permille(150) {
            body["forceNewDeployment"] = json!(true);
        }
        self.world.call("UpdateService", body).await;
    }

    async fn delete_service(&mut self) {
        let body = json!({"service": self.service_name(), "force": self.random.permille(800)});
        self.world.call("DeleteService", body).await;
    }

    async fn stop_deployment(&mut self) {
        let body = json!({"service": self.service_name(), "cluster": "default"});
        let Some((200, answer)) = self.world.call("ListServiceDeployments", body).await else { return };
        let Some(arn) = answer.pointer("/serviceDeployments/0/serviceDeploymentArn").cloned() else { return };
        let how = if self.random.permille(500) { "ROLLBACK" } else { "ABORT" };
        self.world.call("StopServiceDeployment", json!({"serviceDeploymentArn": arn, "stopType": how})).await;
    }
}
