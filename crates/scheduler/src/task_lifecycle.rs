//! The life of a task: which reports and events move it, and what they leave behind in stop code, reason and times.
//!
//! Source: AWS, "Amazon ECS task lifecycle", "Stopped task error codes", and the "Task" data type.
//!
//! Vocabulary: a *report* is what an agent says (SubmitTaskStateChange); a *wish* is a change of the desired status;
//! an *event* is something that the control plane did or found out. Each takes a task and gives the task that it is
//! from then on. All of them are total: what comes late, twice or out of order changes nothing.
//!
//! Statuses, and who moves a task on:
//!
//! | from | to | by |
//! | --- | --- | --- |
//! | PROVISIONING | PENDING | [`network_interface_ready`] |
//! | PROVISIONING | DEPROVISIONING | [`abandon`], when it is to stop before any agent heard of it |
//! | PENDING | RUNNING | [`step`], a report of RUNNING |
//! | PENDING, RUNNING | STOPPING | [`stop_acknowledged`], or [`step`] when an essential container ended |
//! | any of these | DEPROVISIONING or STOPPED | [`step`], a report of STOPPED; [`lost`] |
//! | DEPROVISIONING | STOPPED | [`released`] |
//!
//! A task with a network interface passes DEPROVISIONING, where the interface is given back; the others go to STOPPED
//! at once.

use std::collections::BTreeMap;

use base::Timestamp;
use base::limits::REASON_CHARACTERS;
use domain::{
    Connectivity, DesiredStatus, HealthStatus, NetworkBinding, StopCode, Task, TaskContainer, TaskStatus,
};

/// AWS's sentence for a task that ended with one of its essential containers.
pub const ESSENTIAL_CONTAINER_EXITED: &str = "Essential container in task exited";
/// AWS's sentence for a task that never ran, where nothing better is known.
pub const TASK_FAILED_TO_START: &str = "Task failed to start";

/// What an agent says of one container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerReport {
    /// Its name in the task definition. One that the task does not have is passed over.
    pub name: String,
    /// PENDING, RUNNING or STOPPED.
    pub status: Option<TaskStatus>,
    /// The engine's id.
    pub runtime_id: Option<String>,
    /// How it ended.
    pub exit_code: Option<i32>,
    /// Why it ended or could not start.
    pub reason: Option<String>,
    /// Digest of the image.
    pub image_digest: Option<String>,
    /// Ports on the host.
    pub network_bindings: Vec<NetworkBinding>,
}

/// What an agent says of an agent inside a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ManagedAgentReport {
    /// The container.
    pub container: String,
    /// `ExecuteCommandAgent`.
    pub name: String,
    /// PENDING, RUNNING or STOPPED.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
}

/// What an agent says of one task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskReport {
    /// PENDING, RUNNING or STOPPED; `None` where only parts of the task are reported.
    pub status: Option<TaskStatus>,
    /// Why, or empty.
    pub reason: String,
    /// In the order in which things happened; a container may come more than once.
    pub containers: Vec<ContainerReport>,
    /// Attachment id and status, such as ATTACHED.
    pub attachments: Vec<(String, String)>,
    /// Agents inside containers.
    pub managed_agents: Vec<ManagedAgentReport>,
    /// The first image pull began.
    pub pull_started_at: Option<Timestamp>,
    /// The last image pull ended.
    pub pull_stopped_at: Option<Timestamp>,
    /// The first essential container ended.
    pub execution_stopped_at: Option<Timestamp>,
}

/// A task after a report, wish or event.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutcome {
    /// The task, with a raised version if anything changed.
    pub task: Task,
    /// Whether anything did.
    pub changed: bool,
}

/// Takes in a report.
pub fn step(task: &Task, report: &TaskReport, now: Timestamp) -> StepOutcome {
    change(task, |next| {
        if next.connectivity.is_none() {
            // A task that is reported has an agent that is connected.
            next.connectivity = Some(Connectivity::Connected);
            next.times.connectivity_at = Some(now);
        }
        if let Some(at) = report.pull_started_at {
            next.times.pull_started_at.get_or_insert(at);
        }
        next.times.pull_stopped_at = report.pull_stopped_at.or(next.times.pull_stopped_at);
        if let Some(at) = report.execution_stopped_at {
            next.times.execution_stopped_at.get_or_insert(at);
        }
        for container in &report.containers {
            if let Some(there) = next.containers.iter_mut().find(|there| there.name == container.name) {
                take_container(there, container);
            }
        }
        for (id, status) in &report.attachments {
            if let Some(there) = next.attachments.iter_mut().find(|there| there.id == *id) {
                take_attachment(&mut there.status, status);
            }
        }
        for agent in &report.managed_agents {
            take_managed_agent(next, agent, now);
        }
        match report.status {
            Some(TaskStatus::Stopped) => ended(next, &report.reason, now),
            Some(TaskStatus::Running) if next.last_status < TaskStatus::Running => {
                next.last_status = TaskStatus::Running;
                // A task that runs has its interface, whether or not its agent said so of the attachment itself.
                for attachment in &mut next.attachments {
                    if attachment.attachment_type == domain::ELASTIC_NETWORK_INTERFACE {
                        take_attachment(&mut attachment.status, "ATTACHED");
                    }
                }
                next.times.started_at.get_or_insert(now);
            }
            Some(TaskStatus::Pending) if next.last_status < TaskStatus::Pending => {
                next.last_status = TaskStatus::Pending;
            }
            _ => {}
        }
        essential_container_ended(next, now);
    })
}

/// The wish that a task stop. The first wish's code and reason stay.
///
/// The generation rises, so that an order to start which is still on its way is void.
pub fn request_stop(task: &Task, stop_code: StopCode, reason: &str, now: Timestamp) -> StepOutcome {
    change(task, |next| {
        if next.desired_status == DesiredStatus::Stopped {
            return;
        }
        next.desired_status = DesiredStatus::Stopped;
        next.times.stopping_at.get_or_insert(now);
        next.stop_code.get_or_insert(stop_code);
        next.stopped_reason.get_or_insert_with(|| bounded(reason));
        next.generation = next.generation.saturating_add(1);
    })
}

/// Whether an agent may have heard of the task, so that an order to stop must reach it.
pub fn was_handed_out(task: &Task) -> bool {
    task.last_status >= TaskStatus::Pending
}

/// Event: the network interface is there. `details` are what its attachment shows from now on, beside what it has.
pub fn network_interface_ready(task: &Task, details: &BTreeMap<String, String>) -> StepOutcome {
    change(task, |next| {
        if next.last_status != TaskStatus::Provisioning || next.desired_status == DesiredStatus::Stopped {
            return;
        }
        let interface = next
            .attachments
            .iter_mut()
            .find(|attachment| attachment.attachment_type == domain::ELASTIC_NETWORK_INTERFACE);
        if let Some(interface) = interface {
            interface.details.extend(details.clone());
            take_attachment(&mut interface.status, "ATTACHING");
        }
        next.last_status = TaskStatus::Pending;
    })
}

/// Event: the network interface cannot be had, so the task never starts.
pub fn provisioning_failed(task: &Task, reason: &str, now: Timestamp) -> StepOutcome {
    change(task, |next| {
        if next.last_status == TaskStatus::Provisioning {
            ended(next, reason, now);
        }
    })
}

/// Event: a task that is to stop was never handed to an agent, so nothing has to be stopped.
pub fn abandon(task: &Task, now: Timestamp) -> StepOutcome {
    change(task, |next| {
        if next.last_status == TaskStatus::Provisioning && next.desired_status == DesiredStatus::Stopped {
            ended(next, "", now);
        }
    })
}

/// Event: the agent took the order to stop.
pub fn stop_acknowledged(task: &Task) -> StepOutcome {
    change(task, |next| {
        if next.desired_status == DesiredStatus::Stopped && next.last_status < TaskStatus::Stopping {
            next.last_status = TaskStatus::Stopping;
        }
    })
}

/// Event: the machine is gone, and the task with it.
pub fn lost(task: &Task, stop_code: StopCode, reason: &str, now: Timestamp) -> StepOutcome {
    change(task, |next| {
        if next.last_status < TaskStatus::Deprovisioning {
            next.stop_code.get_or_insert(stop_code);
            next.stopped_reason.get_or_insert_with(|| bounded(reason));
            ended(next, reason, now);
        }
    })
}

/// Event: the network interface was given back.
pub fn released(task: &Task, now: Timestamp) -> StepOutcome {
    change(task, |next| {
        if next.last_status == TaskStatus::Deprovisioning {
            for attachment in &mut next.attachments {
                "DELETED".clone_into(&mut attachment.status);
            }
            stopped(next, now);
        }
    })
}

/// Event: containers' health checks came to a verdict. The task is as healthy as the worst of its essential
/// containers that have a check; without any it is UNKNOWN. Source: "Determine Amazon ECS task health".
pub fn health(task: &Task, verdicts: &[(String, HealthStatus)]) -> StepOutcome {
    change(task, |next| {
        if next.last_status == TaskStatus::Stopped {
            return;
        }
        for (name, verdict) in verdicts {
            let there = next.containers.iter_mut().find(|container| container.name == *name);
            if let Some(container) = there.filter(|container| container.has_health_check) {
                container.health_status = *verdict;
            }
        }
        next.health_status = task_health(&next.containers);
    })
}

/// Event: the agent's session came or went.
pub fn connectivity(task: &Task, connectivity: Connectivity, now: Timestamp) -> StepOutcome {
    change(task, |next| {
        if next.last_status != TaskStatus::Stopped && next.connectivity != Some(connectivity) {
            next.connectivity = Some(connectivity);
            next.times.connectivity_at = Some(now);
        }
    })
}

/// When a stopped task is to be forgotten; `None` for one that is not stopped.
pub fn forget_at(task: &Task, history_milliseconds: i64) -> Option<Timestamp> {
    if task.last_status != TaskStatus::Stopped {
        return None;
    }
    task.times.stopped_at.map(|at| at.plus_millis(history_milliseconds))
}

fn change(task: &Task, edit: impl FnOnce(&mut Task)) -> StepOutcome {
    let mut next = task.clone();
    if task.last_status != TaskStatus::Stopped {
        edit(&mut next);
    }
    let changed = next != *task;
    if changed {
        next.version = task.version.saturating_add(1);
    }
    StepOutcome { task: next, changed }
}

fn take_container(there: &mut TaskContainer, report: &ContainerReport) {
    if there.last_status == TaskStatus::Stopped {
        return;
    }
    let status = match report.status {
        Some(status @ (TaskStatus::Pending | TaskStatus::Running | TaskStatus::Stopped)) => status,
        _ => there.last_status,
    };
    there.last_status = there.last_status.max(status);
    if let Some(runtime_id) = &report.runtime_id {
        there.runtime_id = Some(runtime_id.clone());
    }
    if let Some(image_digest) = &report.image_digest {
        there.image_digest = Some(image_digest.clone());
    }
    if !report.network_bindings.is_empty() {
        there.network_bindings.clone_from(&report.network_bindings);
    }
    // A RUNNING entry may carry the exit code of a process that a restart policy has replaced.
    if status == TaskStatus::Stopped {
        there.exit_code = report.exit_code.or(there.exit_code);
    }
    if let Some(reason) = report.reason.as_deref().filter(|reason| !reason.is_empty()) {
        there.reason = Some(bounded(reason));
    }
}

/// The order in which an attachment passes its statuses; others are taken as they come.
const ATTACHMENT_STATUSES: &[&str] =
    &["PRECREATED", "CREATED", "ATTACHING", "ATTACHED", "DETACHING", "DETACHED", "DELETED"];

fn take_attachment(there: &mut String, status: &str) {
    let rank = |status: &str| ATTACHMENT_STATUSES.iter().position(|known| *known == status);
    if let (Some(old), Some(new)) = (rank(there), rank(status))
        && new > old
    {
        status.clone_into(there);
    }
}

fn take_managed_agent(task: &mut Task, report: &ManagedAgentReport, now: Timestamp) {
    let Some(container) = task.containers.iter_mut().find(|there| there.name == report.container) else {
        return;
    };
    let Some(agent) = container.managed_agents.iter_mut().find(|there| there.name == report.name) else {
        return;
    };
    if report.status == "RUNNING" && agent.last_status != "RUNNING" {
        agent.last_started_at = Some(now);
    }
    agent.last_status.clone_from(&report.status);
    agent.reason = report.reason.as_deref().map(bounded);
}

/// An essential container ended while others go on: the agent stops those, and AWS shows the task as stopping.
fn essential_container_ended(task: &mut Task, now: Timestamp) {
    let ended = task
        .containers
        .iter()
        .any(|container| container.essential && container.last_status == TaskStatus::Stopped);
    if !ended || !(TaskStatus::Pending..TaskStatus::Deprovisioning).contains(&task.last_status) {
        return;
    }
    if task.desired_status == DesiredStatus::Running {
        task.desired_status = DesiredStatus::Stopped;
        task.times.stopping_at.get_or_insert(now);
        task.times.execution_stopped_at.get_or_insert(now);
        let (code, reason) = why_it_ended(task, "");
        task.stop_code.get_or_insert(code);
        task.stopped_reason.get_or_insert(reason);
    }
    task.last_status = task.last_status.max(TaskStatus::Stopping);
}

/// Nothing of the task runs any more.
fn ended(task: &mut Task, reason: &str, now: Timestamp) {
    if task.last_status >= TaskStatus::Deprovisioning {
        return;
    }
    let (code, sentence) = why_it_ended(task, reason);
    task.stop_code.get_or_insert(code);
    task.stopped_reason.get_or_insert(sentence);
    task.desired_status = DesiredStatus::Stopped;
    task.times.stopping_at.get_or_insert(now);
    if task.times.started_at.is_some() || task.containers.iter().any(ran) {
        task.times.execution_stopped_at.get_or_insert(now);
    }
    for container in &mut task.containers {
        container.last_status = TaskStatus::Stopped;
    }
    if task.network_interface().is_some() {
        task.last_status = TaskStatus::Deprovisioning;
    } else {
        stopped(task, now);
    }
}

fn stopped(task: &mut Task, now: Timestamp) {
    task.last_status = TaskStatus::Stopped;
    task.times.stopped_at.get_or_insert(now);
}

/// A task that never was RUNNING failed to start if an essential container could not, or if none of them came so far as to
/// end: what ran beside it does not count.
fn why_it_ended(task: &Task, reason: &str) -> (StopCode, String) {
    let down =
        |container: &&TaskContainer| container.essential && container.last_status == TaskStatus::Stopped;
    let essential_ended = task.containers.iter().filter(down).any(ran);
    let said = Some(reason).filter(|reason| !reason.is_empty());
    if task.times.started_at.is_some() || (essential_ended && said == Some(ESSENTIAL_CONTAINER_EXITED)) {
        let essential_down = task.containers.iter().any(|container| down(&container));
        let sentence = if essential_down { None } else { said };
        let sentence = sentence.unwrap_or(ESSENTIAL_CONTAINER_EXITED);
        return (StopCode::EssentialContainerExited, bounded(sentence));
    }
    let reason_of = |container: &TaskContainer| container.reason.clone();
    let could_not =
        task.containers.iter().filter(down).filter(|container| !ran(container)).find_map(reason_of);
    if essential_ended && could_not.is_none() {
        return (StopCode::EssentialContainerExited, ESSENTIAL_CONTAINER_EXITED.to_owned());
    }
    let of_container = could_not.or_else(|| task.containers.iter().find_map(reason_of));
    let sentence =
        said.filter(|said| *said != ESSENTIAL_CONTAINER_EXITED).map(str::to_owned).or(of_container);
    (StopCode::TaskFailedToStart, bounded(&sentence.unwrap_or_else(|| TASK_FAILED_TO_START.to_owned())))
}

/// Whether the container's process ever started. Docker gives an exit code to one that could not, too.
fn ran(container: &TaskContainer) -> bool {
    let could_not_start = container.reason.as_deref().is_some_and(|reason| {
        ["Cannot", "ResourceInitializationError", "ContainerRuntimeError", "DockerTimeoutError"]
            .iter()
            .any(|prefix| reason.starts_with(prefix))
    });
    match container.last_status {
        TaskStatus::Running => true,
        TaskStatus::Stopped => container.exit_code.is_some() && !could_not_start,
        _ => false,
    }
}

fn task_health(containers: &[TaskContainer]) -> HealthStatus {
    let checked: Vec<HealthStatus> = containers
        .iter()
        .filter(|container| container.essential && container.has_health_check)
        .map(|container| container.health_status)
        .collect();
    if checked.contains(&HealthStatus::Unhealthy) {
        HealthStatus::Unhealthy
    } else if checked.is_empty() || checked.contains(&HealthStatus::Unknown) {
        HealthStatus::Unknown
    } else {
        HealthStatus::Healthy
    }
}

fn bounded(reason: &str) -> String {
    reason.chars().take(REASON_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws;
    use base::{Arn, Scope};
    use domain::{Attachment, LaunchType, NetworkMode, Resources, TaskTimes};
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn container(name: &str, essential: bool) -> TaskContainer {
        TaskContainer {
            id: format!("id-{name}"),
            name: name.into(),
            image: "busybox".into(),
            essential,
            has_health_check: false,
            image_digest: None,
            runtime_id: None,
            last_status: TaskStatus::Pending,
            exit_code: None,
            reason: None,
            network_bindings: Vec::new(),
            health_status: HealthStatus::Unknown,
            managed_agents: Vec::new(),
            cpu: None,
            memory: None,
            memory_reservation: None,
            gpu_ids: Vec::new(),
        }
    }

    pub(crate) fn task(awsvpc: bool) -> Task {
        let scope = Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap());
        Task {
            id: "1".repeat(32),
            cluster: "default".into(),
            task_definition: Arn::new("ecs", &scope, "task-definition/web:1"),
            family: "web".into(),
            revision: 1,
            launch_type: LaunchType::Ec2,
            capacity_provider: None,
            container_instance: None,
            last_status: if awsvpc { TaskStatus::Provisioning } else { TaskStatus::Pending },
            desired_status: DesiredStatus::Running,
            version: 1,
            generation: 1,
            group: "family:web".into(),
            started_by: None,
            cpu_units: None,
            memory_mib: None,
            overrides_document: String::new(),
            network_mode: if awsvpc { NetworkMode::AwsVpc } else { NetworkMode::Host },
            awsvpc_configuration: None,
            resources: Resources::default(),
            containers: vec![container("app", true), container("side", false)],
            attachments: if awsvpc {
                vec![Attachment {
                    id: "eni".into(),
                    attachment_type: domain::ELASTIC_NETWORK_INTERFACE.into(),
                    status: "PRECREATED".into(),
                    details: BTreeMap::new(),
                }]
            } else {
                Vec::new()
            },
            attributes: Vec::new(),
            availability_zone: None,
            platform_version: None,
            platform_family: None,
            ephemeral_storage_gib: None,
            enable_execute_command: false,
            connectivity: None,
            health_status: HealthStatus::Unknown,
            times: TaskTimes { created_at: at(0), ..TaskTimes::default() },
            stop_code: None,
            stopped_reason: None,
            reference_id: None,
            tags: Vec::new(),
            scope,
        }
    }

    fn report(status: TaskStatus) -> TaskReport {
        TaskReport { status: Some(status), ..TaskReport::default() }
    }

    fn of(name: &str, status: TaskStatus, exit_code: Option<i32>, reason: &str) -> ContainerReport {
        ContainerReport {
            name: name.into(),
            status: Some(status),
            exit_code,
            reason: Some(reason.into()),
            ..ContainerReport::default()
        }
    }

    #[test]
    fn a_task_runs_and_ends() {
        let digest = ContainerReport {
            image_digest: Some("sha256:abc".into()),
            ..of("app", TaskStatus::Pending, None, "")
        };
        let pulled = TaskReport {
            containers: vec![digest],
            pull_started_at: Some(at(1)),
            pull_stopped_at: Some(at(2)),
            ..report(TaskStatus::Pending)
        };
        let pulled = step(&task(false), &pulled, at(2)).task;
        assert_eq!(pulled.containers[0].image_digest.as_deref(), Some("sha256:abc"));
        assert_eq!((pulled.last_status, pulled.version), (TaskStatus::Pending, 2));

        let running = TaskReport {
            containers: vec![
                of("app", TaskStatus::Running, None, ""),
                of("side", TaskStatus::Running, Some(3), ""),
            ],
            ..report(TaskStatus::Running)
        };
        let running = step(&pulled, &running, at(3)).task;
        assert_eq!(running.last_status, TaskStatus::Running);
        assert_eq!(running.times.started_at, Some(at(3)));
        assert_eq!(running.containers[1].exit_code, None);

        let ending = TaskReport {
            containers: vec![of("app", TaskStatus::Stopped, Some(0), "")],
            ..report(TaskStatus::Running)
        };
        let ending = step(&running, &ending, at(4)).task;
        assert_eq!(ending.last_status, TaskStatus::Stopping);
        assert_eq!(ending.desired_status, DesiredStatus::Stopped);
        assert_eq!(ending.times.execution_stopped_at, Some(at(4)));

        let ended = TaskReport {
            containers: vec![of("side", TaskStatus::Stopped, Some(143), "")],
            ..report(TaskStatus::Stopped)
        };
        let ended = step(&ending, &ended, at(5)).task;
        assert_eq!(ended.last_status, TaskStatus::Stopped);
        assert_eq!(ended.stop_code, Some(StopCode::EssentialContainerExited));
        assert_eq!(ended.stopped_reason.as_deref(), Some(ESSENTIAL_CONTAINER_EXITED));
        assert_eq!(ended.containers[0].exit_code, Some(0));
        assert_eq!(ended.containers[1].exit_code, Some(143));
        assert_eq!(ended.times.stopped_at, Some(at(5)));
        assert!(!step(&ended, &report(TaskStatus::Running), at(6)).changed);
    }

    #[test]
    fn a_short_task_may_never_be_seen_running() {
        let report = TaskReport {
            containers: vec![of("app", TaskStatus::Stopped, Some(1), "")],
            ..report(TaskStatus::Stopped)
        };
        let ended = step(&task(false), &report, at(1)).task;
        assert_eq!(ended.stop_code, Some(StopCode::EssentialContainerExited));
        assert_eq!(ended.times.started_at, None);
    }

    #[test]
    fn a_task_that_cannot_start_says_why() {
        let why = "CannotPullContainerError: pull image manifest: not found";
        for (report_reason, container_reason) in [(why, ""), ("", why)] {
            let report = TaskReport {
                reason: report_reason.into(),
                containers: vec![of("app", TaskStatus::Stopped, None, container_reason)],
                ..report(TaskStatus::Stopped)
            };
            let ended = step(&task(true), &report, at(1)).task;
            assert_eq!(ended.stop_code, Some(StopCode::TaskFailedToStart));
            assert_eq!(ended.stopped_reason.as_deref(), Some(why));
            assert_eq!(ended.last_status, TaskStatus::Deprovisioning);
            let ended = released(&ended, at(2)).task;
            assert_eq!((ended.last_status, ended.times.stopped_at), (TaskStatus::Stopped, Some(at(2))));
            assert_eq!(ended.attachments[0].status, "DELETED");
            assert_eq!(ended.times.execution_stopped_at, None);
        }
        let not_executable = TaskReport {
            containers: vec![of(
                "app",
                TaskStatus::Stopped,
                Some(127),
                "CannotStartContainerError: no such file",
            )],
            ..report(TaskStatus::Stopped)
        };
        assert_eq!(
            step(&task(false), &not_executable, at(1)).task.stop_code,
            Some(StopCode::TaskFailedToStart)
        );
        // Something beside it ran, and ended.
        for (reason, essential) in [(why, None), ("", None), ("", Some(0))] {
            let report = TaskReport {
                reason: reason.into(),
                containers: vec![
                    of("app", TaskStatus::Stopped, essential, if essential.is_none() { why } else { "" }),
                    of("side", TaskStatus::Stopped, Some(5), ""),
                ],
                ..report(TaskStatus::Stopped)
            };
            let ended = step(&task(false), &report, at(1)).task;
            let (code, sentence) = match essential {
                None => (StopCode::TaskFailedToStart, why),
                Some(_) => (StopCode::EssentialContainerExited, ESSENTIAL_CONTAINER_EXITED),
            };
            assert_eq!((ended.stop_code, ended.stopped_reason.as_deref()), (Some(code), Some(sentence)));
        }
        let nothing = step(&task(false), &report(TaskStatus::Stopped), at(1)).task;
        assert_eq!(nothing.stopped_reason.as_deref(), Some(TASK_FAILED_TO_START));
    }

    #[test]
    fn the_user_who_stopped_it_stays_the_reason() {
        let wished = request_stop(&task(false), StopCode::UserInitiated, "enough", at(1)).task;
        assert_eq!((wished.generation, wished.desired_status), (2, DesiredStatus::Stopped));
        assert_eq!(wished.times.stopping_at, Some(at(1)));
        assert!(!request_stop(&wished, StopCode::UserInitiated, "again", at(2)).changed);
        let stopping = stop_acknowledged(&wished).task;
        assert_eq!(stopping.last_status, TaskStatus::Stopping);
        let ended = TaskReport {
            containers: vec![of("app", TaskStatus::Stopped, Some(137), "")],
            ..report(TaskStatus::Stopped)
        };
        let ended = step(&stopping, &ended, at(3)).task;
        assert_eq!(ended.stop_code, Some(StopCode::UserInitiated));
        assert_eq!(ended.stopped_reason.as_deref(), Some("enough"));
    }

    #[test]
    fn a_network_interface_comes_first_and_goes_last() {
        let new = task(true);
        let details = [("privateIPv4Address".to_owned(), "172.31.0.5".to_owned())].into();
        let ready = network_interface_ready(&new, &details).task;
        assert_eq!(ready.last_status, TaskStatus::Pending);
        assert_eq!(ready.attachments[0].status, "ATTACHING");
        let attached = TaskReport {
            attachments: vec![("eni".into(), "ATTACHED".into()), ("other".into(), "ATTACHED".into())],
            ..TaskReport::default()
        };
        let attached = step(&ready, &attached, at(2)).task;
        assert_eq!(
            (attached.attachments[0].status.as_str(), attached.last_status),
            ("ATTACHED", TaskStatus::Pending)
        );

        let wished = request_stop(&new, StopCode::UserInitiated, "enough", at(1)).task;
        assert!(!network_interface_ready(&wished, &details).changed);
        assert!(!was_handed_out(&wished));
        assert_eq!(abandon(&wished, at(2)).task.last_status, TaskStatus::Deprovisioning);
        assert!(!abandon(&new, at(2)).changed);
        let failed = provisioning_failed(&new, "no address left", at(2)).task;
        assert_eq!(failed.stop_code, Some(StopCode::TaskFailedToStart));
        assert_eq!(failed.stopped_reason.as_deref(), Some("no address left"));
    }

    #[test]
    fn health_is_that_of_the_essential_containers() {
        let mut task = task(false);
        task.containers[0].has_health_check = true;
        let verdict = |status| vec![("app".to_owned(), status), ("side".to_owned(), HealthStatus::Unhealthy)];
        assert_eq!(health(&task, &verdict(HealthStatus::Healthy)).task.health_status, HealthStatus::Healthy);
        assert_eq!(
            health(&task, &verdict(HealthStatus::Unhealthy)).task.health_status,
            HealthStatus::Unhealthy
        );
        assert!(!health(&task, &verdict(HealthStatus::Unknown)).changed);
    }

    #[test]
    fn a_lost_machine_takes_its_tasks_along() {
        let gone =
            lost(&task(false), StopCode::InfrastructureHealth, "Host EC2 (instance i-1) terminated.", at(9))
                .task;
        assert_eq!(
            (gone.last_status, gone.stop_code),
            (TaskStatus::Stopped, Some(StopCode::InfrastructureHealth))
        );
        assert_eq!(forget_at(&gone, 60_000), Some(at(69)));
        assert_eq!(forget_at(&task(false), 60_000), None);
    }

    #[derive(Clone, Debug)]
    enum Event {
        Report(TaskReport),
        Stop,
        Ready,
        Failed,
        Abandon,
        Acknowledged,
        Lost,
        Released,
        Health(HealthStatus),
        Connectivity(bool),
    }

    fn status() -> impl Strategy<Value = TaskStatus> {
        prop::sample::select(TaskStatus::ALL)
    }

    fn event() -> impl Strategy<Value = Event> {
        let container = (
            prop::sample::select(vec!["app", "side", "ghost"]),
            status(),
            prop::option::of(0..256_i32),
            prop::sample::select(vec!["", "CannotPullContainerError: x", "OutOfMemoryError: y"]),
        )
            .prop_map(|(name, status, exit_code, reason)| of(name, status, exit_code, reason));
        let report = (
            prop::option::of(status()),
            prop::collection::vec(container, 0..3),
            prop::sample::select(vec!["", "why"]),
        )
            .prop_map(|(status, containers, reason)| {
                Event::Report(TaskReport {
                    status,
                    containers,
                    reason: reason.into(),
                    attachments: vec![("eni".into(), "ATTACHED".into())],
                    ..TaskReport::default()
                })
            });
        prop_oneof![
            6 => report,
            1 => Just(Event::Stop),
            2 => Just(Event::Ready),
            1 => Just(Event::Failed),
            1 => Just(Event::Abandon),
            1 => Just(Event::Acknowledged),
            1 => Just(Event::Lost),
            1 => Just(Event::Released),
            1 => prop::sample::select(HealthStatus::ALL).prop_map(Event::Health),
            1 => any::<bool>().prop_map(Event::Connectivity),
        ]
    }

    fn apply(task: &Task, event: &Event, now: Timestamp) -> StepOutcome {
        match event {
            Event::Report(report) => step(task, report, now),
            Event::Stop => request_stop(task, StopCode::UserInitiated, "stop", now),
            Event::Ready => network_interface_ready(task, &BTreeMap::new()),
            Event::Failed => provisioning_failed(task, "no", now),
            Event::Abandon => abandon(task, now),
            Event::Acknowledged => stop_acknowledged(task),
            Event::Lost => lost(task, StopCode::InfrastructureHealth, "lost", now),
            Event::Released => released(task, now),
            Event::Health(status) => health(task, &[("app".into(), *status)]),
            Event::Connectivity(on) => {
                let connectivity_now = if *on { Connectivity::Connected } else { Connectivity::Disconnected };
                connectivity(task, connectivity_now, now)
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_a_task_goes_forward(awsvpc: bool, events in prop::collection::vec(event(), 0..20)) {
            let mut there = task(awsvpc);
            there.containers[0].has_health_check = true;
            for (second, event) in events.iter().enumerate() {
                let now = at(second as i64);
                let outcome = apply(&there, event, now);
                prop_assert_eq!(laws::forward(&there, &outcome.task), Ok(()), "{:?}", event);
                prop_assert_eq!(outcome.changed, outcome.task != there);
                // The same again changes nothing, with one exception: a container that was reported twice in one
                // call may show what the second entry said only once the first was passed over.
                let again = apply(&outcome.task, event, now);
                prop_assert!(!again.changed, "{:?} twice: {:?} {:?}", event, outcome.task, again.task);
                there = outcome.task;
            }
            // Whatever happened, the end can be reached.
            let ended = lost(&there, StopCode::InfrastructureHealth, "over", at(100)).task;
            let ended = released(&ended, at(101)).task;
            prop_assert_eq!(ended.last_status, TaskStatus::Stopped);
        }
    }
}
