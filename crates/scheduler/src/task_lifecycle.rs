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
//! | PENDING | ACTIVATING | the same, of a task that is first to be registered with load balancers or AWS Cloud Map |
//! | ACTIVATING | RUNNING | [`targets_registered`], [`registered_in_registries`], whichever comes last |
//! | ACTIVATING, RUNNING | DEACTIVATING | [`request_stop`], of a task that load balancers send requests to, or AWS Cloud Map tells of |
//! | PENDING to DEACTIVATING | STOPPING | [`stop_acknowledged`], or [`step`] when an essential container ended |
//! | any of these | DEPROVISIONING or STOPPED | [`step`], a report of STOPPED; [`lost`] |
//! | DEPROVISIONING | STOPPED | [`released`] |
//!
//! A task with a network interface passes DEPROVISIONING, where the interface is given back; the others go to STOPPED
//! at once. A task is DEACTIVATING for as long as requests under way to it are let finish: the order to stop its containers
//! goes out after that ([`may_be_told_to_stop`]). One whose essential container ended has nothing that could finish them.

use std::collections::BTreeMap;

use base::Timestamp;
use base::limits::REASON_CHARACTERS;
use domain::{
    Connectivity, DesiredStatus, HealthStatus, NetworkBinding, RegistryState, StopCode, TargetState, Task,
    TaskContainer, TaskStatus,
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
                let waits = next.waits_for_registration();
                next.last_status = if waits { TaskStatus::Activating } else { TaskStatus::Running };
                // A task that runs has its interface, whether or not its agent said so of the attachment itself.
                for attachment in &mut next.attachments {
                    if attachment.attachment_type == domain::ELASTIC_NETWORK_INTERFACE {
                        take_attachment(&mut attachment.status, "ATTACHED");
                    }
                }
                if !waits {
                    next.times.started_at.get_or_insert(now);
                }
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
        if matches!(next.last_status, TaskStatus::Activating | TaskStatus::Running) && next.is_served() {
            next.last_status = TaskStatus::Deactivating;
        }
    })
}

/// Whether the order to stop a task that is to stop may go out: an agent may have heard of it, no load balancer sends it
/// requests any more, and AWS Cloud Map does not tell of it.
pub fn may_be_told_to_stop(task: &Task) -> bool {
    was_handed_out(task) && !(task.last_status == TaskStatus::Deactivating && task.is_served())
}

/// Whether the order waited for the task to be taken out of where it was registered, and that is done.
pub fn waits_for_its_order(task: &Task) -> bool {
    task.last_status == TaskStatus::Deactivating && may_be_told_to_stop(task)
}

/// Whether its agent is to keep it running: it is meant to run, or requests under way to it are let finish.
pub fn is_kept_running(task: &Task) -> bool {
    let is_let_finish = task.last_status == TaskStatus::Deactivating && task.is_served();
    task.last_status.holds_resources() && (task.desired_status == DesiredStatus::Running || is_let_finish)
}

/// Event: the task was registered in its target groups, as these targets: by place in its list.
pub fn targets_registered(task: &Task, registered: &[(usize, (String, u16))], now: Timestamp) -> StepOutcome {
    change(task, |next| {
        for (place, target) in registered {
            if let Some(there) = next.targets.get_mut(*place)
                && there.state == TargetState::Unregistered
            {
                there.target = Some(target.clone());
                there.state = TargetState::Initial;
            }
        }
        activated(next, now);
    })
}

/// A task that is registered wherever it must be runs.
fn activated(task: &mut Task, now: Timestamp) {
    if task.last_status == TaskStatus::Activating && !task.waits_for_registration() {
        task.last_status = TaskStatus::Running;
        task.times.started_at.get_or_insert(now);
    }
}

/// Event: the task was registered in these of its service registries, by place in its list, and AWS Cloud Map was told that it
/// is healthy or not, where it asks.
pub fn registered_in_registries(
    task: &Task,
    registered: &[(usize, Option<bool>)],
    now: Timestamp,
) -> StepOutcome {
    change(task, |next| {
        for (place, healthy) in registered {
            if let Some(there) = next.registries.get_mut(*place)
                && there.state == RegistryState::Unregistered
            {
                there.state = RegistryState::Registered;
                there.told_healthy = *healthy;
            }
        }
        activated(next, now);
    })
}

/// Event: these of its service registries were told of its health. The task itself is as it was, so that its version stays.
pub fn told_health(task: &Task, places: &[usize], healthy: bool) -> Task {
    let mut next = task.clone();
    for place in places {
        if let Some(there) = next.registries.get_mut(*place) {
            there.told_healthy = Some(healthy);
        }
    }
    next
}

/// Event: the task was taken out of these of its service registries. Of a STOPPED task this is taken down too: it says nothing of
/// the task itself, so that its version stays.
pub fn deregistered_from_registries(task: &Task, places: &[usize]) -> Task {
    let mut next = task.clone();
    for place in places {
        if let Some(there) = next.registries.get_mut(*place) {
            there.state = there.state.max(RegistryState::Deregistered);
        }
    }
    next
}

/// Event: the task was taken out of these of its target groups, or the drain of these is over. Of a STOPPED task this is
/// taken down too: it says nothing of the task itself, so that its version stays.
pub fn targets_moved(task: &Task, places: &[usize], to: TargetState, now: Timestamp) -> Task {
    let mut next = task.clone();
    for place in places {
        if let Some(there) = next.targets.get_mut(*place)
            && there.state < to
        {
            there.state = to;
            there.reason = None;
            there.deregistered_at.get_or_insert(now);
        }
    }
    next
}

/// Event: a load balancer's health checks came to a verdict.
pub fn target_health(task: &Task, place: usize, state: TargetState, reason: Option<&str>) -> StepOutcome {
    change(task, |next| {
        if let Some(there) = next.targets.get_mut(place)
            && there.state.is_registered()
            && state.is_registered()
        {
            there.state = state;
            there.reason = reason.map(bounded);
        }
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
pub(crate) mod tests;
