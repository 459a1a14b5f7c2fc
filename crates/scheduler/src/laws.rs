//! The invariants, said once: property tests and simulations ask them of every decision and every state.

use std::collections::BTreeSet;

use domain::{ContainerInstance, Resources, Task};

use crate::placement::{Action, Decision, Desired, Observed, refusal};
use crate::service_scheduler;

/// No machine promises more than it has: CPU, memory, and no port and no GPU twice.
///
/// `tasks` are those on `machine` that are not STOPPED.
pub fn nothing_is_promised_twice<'a>(
    machine: &ContainerInstance,
    tasks: impl IntoIterator<Item = &'a Task>,
) -> Result<(), String> {
    let mut held = Resources::default();
    let mut ports = machine.registered.ports.clone();
    for task in tasks {
        if !task.last_status.holds_resources() {
            continue;
        }
        if !task.resources.ports.is_disjoint(&ports) {
            return Err(format!("task {} takes a port of {} that is taken", task.id, machine.id));
        }
        if !task.resources.gpu_ids.is_disjoint(&held.gpu_ids) {
            return Err(format!("task {} takes a GPU of {} that is taken", task.id, machine.id));
        }
        ports.tcp.extend(&task.resources.ports.tcp);
        ports.udp.extend(&task.resources.ports.udp);
        held.add(&task.resources);
    }
    let capacity = machine.capacity();
    if held.cpu_units > capacity.cpu_units || held.memory_mib > capacity.memory_mib {
        return Err(format!("{} promises {held:?} of {capacity:?}", machine.id));
    }
    Ok(())
}

/// A placement takes only what is free, and gives up only where nothing fits.
pub fn placement(desired: &Desired<'_>, observed: &Observed<'_>, decision: &Decision) -> Result<(), String> {
    if decision.actions.len() > desired.count {
        return Err("more tasks than asked for".into());
    }
    if decision.actions.len() == desired.count && !decision.report.refusals.is_empty() {
        return Err("refusals though every task has a place".into());
    }
    let mut room = observed.candidates.clone();
    for Action::Place { candidate: index, gpu_ids } in &decision.actions {
        let Some(candidate) = room.get_mut(*index) else { return Err("a place that is none".into()) };
        if let Some(reason) = refusal(desired, candidate) {
            return Err(format!("candidate {index} has a task that it refuses: {reason:?}"));
        }
        let free: BTreeSet<String> = candidate.container_instance.remaining(&candidate.held).gpu_ids;
        if gpu_ids.len() != desired.gpus || !gpu_ids.is_subset(&free) {
            return Err(format!("candidate {index} gives GPUs {gpu_ids:?} of {free:?}"));
        }
        candidate.held.add(desired.resources);
        candidate.held.gpu_ids.extend(gpu_ids.iter().cloned());
        let task = crate::placement::PlacedTask { group: desired.group.to_owned(), running: false };
        candidate.tasks.push(task);
    }
    if decision.actions.len() < desired.count {
        let fits = room.iter().position(|candidate| refusal(desired, candidate).is_none());
        if let Some(index) = fits {
            return Err(format!("gave up though candidate {index} has room"));
        }
    }
    Ok(())
}

/// A report moves a task forward or not at all, and a stopped task holds nothing and stays as it is.
pub fn forward(before: &Task, after: &Task) -> Result<(), String> {
    if after.last_status < before.last_status {
        return Err(format!("status went from {} back to {}", before.last_status, after.last_status));
    }
    if after.desired_status < before.desired_status {
        return Err("desired status went back to RUNNING".into());
    }
    // That its service took note of its end, and where it stands with load balancers, is no change of the task.
    let noted = Task {
        accounted: after.accounted,
        targets: after.targets.clone(),
        registries: after.registries.clone(),
        ..before.clone()
    };
    if !before.last_status.holds_resources() && noted != *after {
        return Err("a stopped task changed".into());
    }
    if noted != *after && after.version <= before.version {
        return Err("a change without a new version".into());
    }
    if after.last_status.holds_resources() == after.times.stopped_at.is_some() {
        return Err("stoppedAt is there if and only if the task is STOPPED".into());
    }
    if after.last_status >= domain::TaskStatus::Stopping && after.stop_code.is_none() {
        return Err("a task that ends has a stop code".into());
    }
    for (old, new) in before.targets.iter().zip(&after.targets) {
        let verdicts = old.state.is_registered() && new.state.is_registered();
        if new.state < old.state && !verdicts {
            return Err(format!("a target went from {} back to {}", old.state, new.state));
        }
    }
    for (old, new) in before.containers.iter().zip(&after.containers) {
        if new.last_status < old.last_status {
            return Err(format!("container {} went back to {}", old.name, new.last_status));
        }
    }
    Ok(())
}

/// What a service's scheduler decides keeps the bounds: what occupies room stays under the ceiling when tasks are
/// started, and the healthy stay over the floor when tasks are stopped, unless a machine or the task itself took them.
pub fn service(
    desired: &service_scheduler::Desired<'_>,
    observed: &service_scheduler::Observed<'_>,
    decision: &service_scheduler::Decision,
    now: base::Timestamp,
) -> Result<(), String> {
    use service_scheduler::{Action, TaskSeen, Verdict, Why};
    let of = |seen: &TaskSeen<'_>, goal: Option<usize>| match goal {
        None => true,
        Some(goal) => seen.revision == Some(desired.goals[goal].id.as_str()),
    };
    let groups: Vec<Option<usize>> =
        if desired.side_by_side { (0..desired.goals.len()).map(Some).collect() } else { vec![None] };
    for group in groups {
        let mut occupying = 0_u32;
        let mut healthy = 0_u32;
        for seen in observed.tasks.iter().filter(|seen| of(seen, group)) {
            occupying += u32::from(seen.facts.occupies());
            let verdict = seen.facts.verdict(desired.grace, now);
            healthy += u32::from(seen.facts.live && verdict == Verdict::Healthy);
        }
        let floor = group.map_or(desired.floor, |goal| service_scheduler::own_floor(desired, goal));
        let (before, mut stopped, mut started) = (healthy, 0_u32, 0_u32);
        for action in &decision.actions {
            match action {
                Action::Start { goal, count, .. } if group.is_none_or(|group| group == *goal) => {
                    started += count;
                }
                Action::Start { .. } => {}
                Action::Stop { task, why } => {
                    let seen = observed.tasks.get(*task).ok_or("a stop of a task that is none")?;
                    if !seen.facts.live {
                        return Err(format!("task {task} is stopped again"));
                    }
                    if *why != Why::Unhealthy
                        && !desired.ignores_protection
                        && seen.facts.protected_until.is_some_and(|until| now < until)
                    {
                        return Err(format!("task {task} is protected"));
                    }
                    let verdict = seen.facts.verdict(desired.grace, now);
                    let is_daemon_leaving = desired.daemon_on.is_some() && *why == Why::Leaves;
                    if of(seen, group) && verdict == Verdict::Healthy && !is_daemon_leaving {
                        stopped += 1;
                    }
                }
            }
        }
        if started > 0 && occupying + started > desired.ceiling {
            return Err(format!("{occupying} and {started} more, though {} is the ceiling", desired.ceiling));
        }
        if stopped > 0 && before - stopped < floor {
            return Err(format!("{stopped} of {before} stop, though {floor} is the floor"));
        }
    }
    Ok(())
}
