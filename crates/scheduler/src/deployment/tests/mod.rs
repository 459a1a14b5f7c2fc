//! Deployments played through: a world of rows and counted tasks, in which any decision may be lost and time passes.

mod laws;
mod played;

use std::collections::BTreeMap;

use base::{AccountId, Region, Scope};
use domain::{DeploymentControllerType, HookStatus, LifecycleStage, MonitorStatus, SourceRevision};

use super::configuration::{ALL_TRAFFIC, CircuitBreaker, Hook, HookTarget, Strategy, ThresholdType};
use super::*;

const START: i64 = 1_795_348_800_000;
const LAMBDA: &str = "arn:aws:lambda:us-east-1:000000000000:function:check";

/// Rows, tasks and neighbours of one service.
#[derive(Clone)]
struct World {
    service: Service,
    deployment: Option<ServiceDeployment>,
    configuration: Configuration,
    now: Timestamp,
    /// Tasks by revision: each the moment since when it is healthy.
    tasks: BTreeMap<String, Vec<Timestamp>>,
    /// Revisions whose tasks fail as soon as they are started.
    broken: Vec<String>,
    failures: BTreeMap<String, u32>,
    firing: Vec<String>,
    /// Whether somebody makes the weights hold.
    balanced: bool,
    ids: u32,
    events: Vec<String>,
    /// Stage, step and production share of the target, as they came to be.
    trace: Vec<(LifecycleStage, u16, u16)>,
}

impl World {
    /// A service with the revision `blue` at rest and three tasks.
    fn new(configuration: Configuration) -> Self {
        let account: AccountId = "000000000000".parse().unwrap();
        let region: Region = "us-east-1".parse().unwrap();
        let now = Timestamp::from_millis(START);
        let document = serde_json::json!({
            "scope": Scope::new(account, region), "cluster": "default", "name": "web", "id": "service",
            "status": "ACTIVE", "scheduling_strategy": "REPLICA", "deployment_controller": "ECS",
            "desired_count": 3, "created_at": now, "deployment_configuration_document": "{}",
        });
        let service: Service = serde_json::from_value(document).unwrap();
        let mut world = Self {
            service,
            deployment: None,
            configuration,
            now,
            tasks: BTreeMap::new(),
            broken: Vec::new(),
            failures: BTreeMap::new(),
            firing: Vec::new(),
            balanced: true,
            ids: 0,
            events: Vec::new(),
            trace: Vec::new(),
        };
        world.revision("blue");
        let blue = &mut world.service.revisions[0];
        blue.rollout_state = RolloutState::Completed;
        (blue.production_weight, blue.test_weight) = (ALL_TRAFFIC, ALL_TRAFFIC);
        blue.desired_count = 3;
        world.tasks.insert("blue".into(), vec![now; 3]);
        world
    }

    fn revision(&mut self, id: &str) {
        for revision in &mut self.service.revisions {
            revision.status = RevisionStatus::Active;
        }
        let revision = RevisionInUse {
            id: id.into(),
            status: RevisionStatus::Primary,
            desired_count: 0,
            created_at: self.now,
            updated_at: self.now,
            rollout_state: RolloutState::InProgress,
            rollout_state_reason: in_progress(id),
            failed_tasks: 0,
            production_weight: 0,
            test_weight: 0,
        };
        self.service.revisions.insert(0, revision);
    }

    /// What UpdateService writes.
    fn deploy(&mut self, id: &str) {
        let source_revisions = self
            .service
            .revisions
            .iter()
            .map(|revision| SourceRevision {
                id: revision.id.clone(),
                requested_count: revision.desired_count,
            })
            .collect();
        self.revision(id);
        self.deployment = Some(ServiceDeployment {
            scope: self.service.scope.clone(),
            cluster: "default".into(),
            service: "web".into(),
            id: format!("deployment-{id}"),
            target_revision: id.into(),
            source_revisions,
            status: ServiceDeploymentStatus::Pending,
            status_reason: None,
            stage: None,
            stage_at: None,
            step: 0,
            step_at: None,
            deployment_configuration_document: "{}".into(),
            created_at: self.now,
            started_at: None,
            finished_at: None,
            stopped_at: None,
            updated_at: self.now,
            failure_count: 0,
            failure_threshold: 0,
            settled_tasks: 0,
            circuit_breaker_status: MonitorStatus::Disabled,
            alarm_status: MonitorStatus::Disabled,
            triggered_alarms: Vec::new(),
            rollback: None,
            hooks: Vec::new(),
        });
    }

    fn observed(&self) -> Vec<RevisionObserved> {
        let settled_since = self.now.plus_seconds(-SETTLE_SECONDS);
        let ids = self.tasks.keys().chain(self.failures.keys());
        let ids: std::collections::BTreeSet<&String> = ids.collect();
        ids.into_iter()
            .map(|id| {
                let tasks = self.tasks.get(id).map_or(&[][..], Vec::as_slice);
                let count = tasks.len() as i32;
                RevisionObserved {
                    id: id.clone(),
                    running: count,
                    healthy: count,
                    settled: tasks.iter().filter(|since| **since <= settled_since).count() as i32,
                    failed: self.failures.get(id).copied().unwrap_or_default(),
                    ..RevisionObserved::default()
                }
            })
            .collect()
    }

    fn decide(&self) -> Decision {
        let revisions = self.observed();
        let desired = Desired {
            service: &self.service,
            deployment: self.deployment.as_ref(),
            configuration: &self.configuration,
            desired_count: self.service.desired_count,
        };
        let observed = Observed {
            revisions: &revisions,
            firing_alarms: &self.firing,
            alarm_bake_seconds: 60,
            traffic_held: self.balanced,
        };
        decide(&desired, &observed, self.now)
    }

    /// Writes a decision, as the loop does.
    fn apply(&mut self, decision: Decision) {
        self.failures.clear();
        self.events.extend(decision.events);
        self.service.revisions = decision.revisions;
        self.deployment = decision.deployment;
        if let Some(deployment) = &mut self.deployment {
            for mut hook in decision.begin_hooks {
                self.ids += 1;
                hook.id = format!("hook-{}", self.ids);
                deployment.hooks.push(hook);
            }
        }
        self.note();
    }

    fn note(&mut self) {
        let Some(deployment) = &self.deployment else { return };
        let Some(stage) = deployment.stage else { return };
        let target = self.service.revisions.iter().find(|revision| revision.id == deployment.target_revision);
        let entry = (stage, deployment.step, target.map_or(0, |target| target.production_weight));
        if self.trace.last() != Some(&entry) {
            self.trace.push(entry);
        }
    }

    /// Brings tasks to the goals within the bounds, as the service scheduler does, all at once.
    fn schedule(&mut self) {
        let limits = self.decide().limits;
        let revisions = self.service.revisions.clone();
        for revision in &revisions {
            let others: usize = if limits.side_by_side {
                0
            } else {
                self.tasks.iter().filter(|(id, _)| **id != revision.id).map(|(_, tasks)| tasks.len()).sum()
            };
            while may_start(revision)
                && (self.tasks.entry(revision.id.clone()).or_default().len() as i32) < revision.desired_count
                && ((others + self.tasks[&revision.id].len()) as i32) < limits.ceiling
            {
                if self.broken.contains(&revision.id) {
                    *self.failures.entry(revision.id.clone()).or_default() += 1;
                    break;
                }
                self.tasks.entry(revision.id.clone()).or_default().push(self.now);
            }
        }
        let ids: Vec<String> = self.tasks.keys().cloned().collect();
        for id in ids {
            let wanted =
                revisions.iter().find(|revision| revision.id == id).map_or(0, |found| found.desired_count);
            while self.tasks[&id].len() as i32 > wanted {
                let total: usize = self.tasks.values().map(Vec::len).sum();
                if !limits.side_by_side && total as i32 <= limits.floor {
                    break;
                }
                self.tasks.get_mut(&id).unwrap().pop();
            }
        }
        self.tasks.retain(|_, tasks| !tasks.is_empty());
    }

    /// Decides and schedules `rounds` times, a second apart.
    fn play(&mut self, rounds: usize) {
        for _ in 0..rounds {
            let decision = self.decide();
            self.apply(decision);
            self.schedule();
            self.now = self.now.plus_seconds(1);
        }
    }

    fn status(&self) -> ServiceDeploymentStatus {
        self.deployment.as_ref().unwrap().status
    }

    fn stage(&self) -> LifecycleStage {
        self.deployment.as_ref().unwrap().stage.unwrap()
    }

    fn in_use(&self, id: &str) -> &RevisionInUse {
        self.service.revisions.iter().find(|revision| revision.id == id).unwrap()
    }

    fn answer_hooks(&mut self, status: HookStatus) {
        for hook in &mut self.deployment.as_mut().unwrap().hooks {
            if !hook.status.is_final() {
                hook.status = status;
            }
        }
    }

    fn tasks_of(&self, id: &str) -> usize {
        self.tasks.get(id).map_or(0, Vec::len)
    }
}

fn with(strategy: Strategy) -> Configuration {
    Configuration { strategy, bake_minutes: Some(2), ..Configuration::default() }
}

fn hook(target: HookTarget, stages: &[LifecycleStage]) -> Hook {
    Hook { target, stages: stages.to_vec(), timeout_minutes: 10, timeout_rolls_back: true }
}

fn pause_at(stage: LifecycleStage) -> Hook {
    hook(HookTarget::Pause, &[stage])
}

fn lambda_at(stage: LifecycleStage) -> Hook {
    hook(HookTarget::Lambda(LAMBDA.into()), &[stage])
}

const LINEAR: Strategy = Strategy::Linear { step_tenths: 300, step_bake_minutes: 1 };
const CANARY: Strategy = Strategy::Canary { canary_tenths: 50, canary_bake_minutes: 1 };

fn breaker(rollback: bool, threshold_type: ThresholdType, value: i32, reset: bool) -> CircuitBreaker {
    CircuitBreaker {
        enable: true,
        rollback,
        reset_on_healthy_task: reset,
        threshold_type,
        threshold_value: value,
    }
}
