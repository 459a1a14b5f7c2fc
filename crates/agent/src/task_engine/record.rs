//! [`TaskRecord`]: what the agent knows of a task, as it stands on disk. One small JSON file a task.
//!
//! Stale on disk may be: that a container was created or started (the engine knows better, see `adopt.rs`). Never stale:
//! that a task was accepted, that it must stop, how a container ended, and what was reported; these are synced.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;

use agent_protocol::payload::Task;
use base::Timestamp;
use network::PublishedPorts;
use serde::{Deserialize, Serialize};

/// Format of the files. A higher one is refused, a lower one is read.
pub const FORMAT: u32 = 1;
/// Reports that wait to be sent, per task. Each container adds at most three, the task two.
pub const REPORTS_MAXIMUM: usize = 256;

/// Where a container stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KnownStatus {
    /// Nothing was done.
    #[default]
    None,
    /// Its image is here.
    Pulled,
    /// It was made.
    Created,
    /// It was started.
    Running,
    /// It ended, or will never be.
    Stopped,
}

/// What the task is meant to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Desired {
    /// Meant to run.
    #[default]
    Running,
    /// Meant to be stopped.
    Stopped,
}

/// Where a task stands, as reported. Only ever moves forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TaskStatus {
    /// Accepted.
    #[default]
    Pending,
    /// All containers were started.
    Running,
    /// All containers ended.
    Stopped,
}

impl TaskStatus {
    /// AWS's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// A task.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// As ordered, without the secrets of its roles.
    pub task: Arc<Task>,
    /// What it is meant to be.
    pub desired: Desired,
    /// The highest generation of an order about it.
    pub generation: u64,
    /// Why it stops, in ECS's words; the first reason counts.
    #[serde(default)]
    pub stop_reason: Option<String>,
    /// When nothing of it may run any more, whatever its containers' stop timeouts.
    #[serde(default)]
    pub stop_by: Option<Timestamp>,
    /// Status as last put into `reports`.
    #[serde(default)]
    pub reported: TaskStatus,
    /// What the control plane has not taken yet, in order.
    #[serde(default)]
    pub reports: VecDeque<Report>,
    /// In the plan's order.
    pub containers: Vec<ContainerRecord>,
    /// Accepted.
    pub accepted_at: Timestamp,
    /// The first pull began.
    #[serde(default)]
    pub pull_started_at: Option<Timestamp>,
    /// The last pull ended.
    #[serde(default)]
    pub pull_stopped_at: Option<Timestamp>,
    /// The first essential container ended.
    #[serde(default)]
    pub execution_stopped_at: Option<Timestamp>,
    /// Its network interface was given back, so that the control plane may give it to another task: only then STOPPED is told.
    #[serde(default)]
    pub released: bool,
    /// All containers have ended and everything it held was given back: the file only remembers that the task was here.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
}

/// What there is to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Nothing.
    None,
    /// Containers, which may wait a moment for others.
    Some,
    /// The task.
    Urgent,
}

/// A container.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerRecord {
    /// Name in the task.
    pub name: String,
    /// Where it stands.
    pub known: KnownStatus,
    /// Its id in the engine, drawn when the task was accepted.
    pub runtime_id: String,
    /// Names it in the URLs of the metadata endpoint. Unguessable.
    pub endpoint_id: String,
    /// Name as Docker would show it.
    pub docker_name: String,
    /// Digest of the image's manifest.
    #[serde(default)]
    pub image_digest: Option<String>,
    /// Docker's image id.
    #[serde(default)]
    pub image_id: Option<String>,
    /// Exit code, once ended.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Why it ended or could not start.
    #[serde(default)]
    pub reason: Option<String>,
    /// Made.
    #[serde(default)]
    pub created_at: Option<Timestamp>,
    /// Started, the last time.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// Ended, the last time.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// The stop signal was first sent.
    #[serde(default)]
    pub stopping_at: Option<Timestamp>,
    /// Its first process as the host numbers it, while it runs.
    #[serde(default)]
    pub pid: Option<i32>,
    /// Its address, in mode bridge.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// Ports of the host that lead to it, in mode bridge.
    #[serde(default)]
    pub published: Vec<PublishedPorts>,
    /// Its last health verdict that was one, and since when.
    #[serde(default)]
    pub healthy: Option<(bool, Timestamp)>,
    /// Restarts in place.
    #[serde(default)]
    pub restart_count: u32,
    /// It ended and shall be started again.
    #[serde(default)]
    pub restart_due: bool,
    /// Status as last put into a report.
    #[serde(default)]
    pub reported: KnownStatus,
    /// Whether it can be reached in the engine at all: something may be there under `runtime_id`.
    #[serde(default)]
    pub in_engine: bool,
}

/// A change to be reported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Status of the task.
    pub status: TaskStatus,
    /// Why it stops; empty otherwise.
    #[serde(default)]
    pub reason: String,
    /// Containers whose status changed.
    #[serde(default)]
    pub containers: Vec<ContainerReport>,
    /// See [`TaskRecord`].
    #[serde(default)]
    pub pull_started_at: Option<Timestamp>,
    /// See [`TaskRecord`].
    #[serde(default)]
    pub pull_stopped_at: Option<Timestamp>,
    /// See [`TaskRecord`].
    #[serde(default)]
    pub execution_stopped_at: Option<Timestamp>,
}

/// Change of one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerReport {
    /// Name in the task.
    pub name: String,
    /// `RUNNING` or `STOPPED`.
    pub running: bool,
    /// Its id in the engine.
    pub runtime_id: String,
    /// Digest of the image's manifest.
    #[serde(default)]
    pub image_digest: Option<String>,
    /// Ports of the host that lead to it.
    #[serde(default)]
    pub published: Vec<PublishedPorts>,
    /// Exit code.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

impl TaskRecord {
    /// Status of the task as its containers have it: that of the one that is furthest back. STOPPED only once released.
    pub fn status(&self) -> TaskStatus {
        let lowest =
            self.containers.iter().map(|container| container.known).min().unwrap_or(KnownStatus::Stopped);
        match lowest {
            KnownStatus::Stopped if self.released => TaskStatus::Stopped,
            KnownStatus::Stopped => self.reported,
            // What did not come up before it had to fall never ran.
            KnownStatus::Running if self.desired == Desired::Running => TaskStatus::Running,
            KnownStatus::Running => self.reported,
            _ => TaskStatus::Pending,
        }
    }

    /// Turns to stopping, if it does not yet. The first reason counts.
    pub fn stop(&mut self, reason: Option<String>) {
        self.desired = Desired::Stopped;
        if self.stop_reason.is_none() {
            self.stop_reason = reason;
        }
    }

    /// Whether [`TaskRecord::note_changes`] would find something; the status of the task itself counts as urgent.
    pub fn changes(&self) -> Changes {
        if self.status() > self.reported {
            return Changes::Urgent;
        }
        let changed = |container: &ContainerRecord| {
            (container.reported < KnownStatus::Running && container.started_at.is_some())
                || (container.reported < KnownStatus::Stopped && container.known == KnownStatus::Stopped)
        };
        // What a task that falls has to say comes with its end, at once.
        let falling = self.containers.iter().all(|container| container.known == KnownStatus::Stopped);
        if !falling && self.containers.iter().any(changed) { Changes::Some } else { Changes::None }
    }

    /// Puts into `reports` what has changed since the last one. A container that ran and ended in between is told twice, RUNNING then
    /// STOPPED, and so is the task. Returns whether there was anything.
    pub fn note_changes(&mut self) {
        let status = self.status().max(self.reported);
        let mut running = Vec::new();
        let mut stopped = Vec::new();
        for container in &mut self.containers {
            if container.reported < KnownStatus::Running && container.started_at.is_some() {
                running.push(container.report(true));
            }
            if container.known == KnownStatus::Stopped && container.reported < KnownStatus::Stopped {
                stopped.push(container.report(false));
            }
            if container.known >= KnownStatus::Running {
                container.reported = container.known;
            }
        }
        // Every container ran: then the task did, if only for a moment.
        let ran = !self.containers.is_empty()
            && self.containers.iter().all(|container| container.started_at.is_some());
        let mut changes = Vec::new();
        if self.reported == TaskStatus::Pending && status == TaskStatus::Stopped && ran {
            changes.push((TaskStatus::Running, std::mem::take(&mut running)));
        }
        running.append(&mut stopped);
        if !running.is_empty() || status > self.reported {
            changes.push((status, running));
        }
        self.reported = status;
        for (status, containers) in changes {
            let report = Report {
                status,
                reason: if status == TaskStatus::Stopped {
                    self.stop_reason.clone().unwrap_or_default()
                } else {
                    String::new()
                },
                containers,
                pull_started_at: self.pull_started_at,
                pull_stopped_at: self.pull_stopped_at,
                execution_stopped_at: self.execution_stopped_at,
            };
            if self.reports.len() < REPORTS_MAXIMUM {
                self.reports.push_back(report);
            }
        }
    }
}

impl ContainerRecord {
    /// A container of which nothing was done yet.
    pub fn new(name: &str, runtime_id: String, endpoint_id: String, docker_name: String) -> Self {
        Self {
            name: name.to_owned(),
            known: KnownStatus::None,
            runtime_id,
            endpoint_id,
            docker_name,
            image_digest: None,
            image_id: None,
            exit_code: None,
            reason: None,
            created_at: None,
            started_at: None,
            finished_at: None,
            stopping_at: None,
            pid: None,
            address: None,
            published: Vec::new(),
            healthy: None,
            restart_count: 0,
            restart_due: false,
            reported: KnownStatus::None,
            in_engine: false,
        }
    }

    fn report(&self, running: bool) -> ContainerReport {
        ContainerReport {
            name: self.name.clone(),
            running,
            runtime_id: self.runtime_id.clone(),
            image_digest: self.image_digest.clone(),
            published: self.published.clone(),
            exit_code: self.exit_code.filter(|_| !running),
            reason: self.reason.clone().filter(|_| !running),
        }
    }
}
