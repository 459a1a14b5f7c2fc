//! The DAEMON strategy: one task on each container instance that may have one. A task is stopped before its successor
//! starts on the same instance; the floor bounds how many instances are without one at once.

use std::collections::{BTreeMap, BTreeSet};

use base::Timestamp;

use super::{Action, Decision, Desired, Known, Verdict, Where, Why, count};

/// Adds what is to be started and stopped.
pub(super) fn decide(
    desired: &Desired<'_>,
    instances: &BTreeSet<String>,
    tasks: &[Known<'_>],
    now: Timestamp,
    decision: &mut Decision,
) {
    let mut on: BTreeMap<String, Vec<&Known<'_>>> = BTreeMap::new();
    for task in tasks {
        let instance = task.seen.machine.map(ToString::to_string);
        on.entry(instance.unwrap_or_default()).or_default().push(task);
    }
    let healthy = count(tasks.iter().filter(|task| task.healthy()).count());
    let mut budget = healthy.saturating_sub(desired.floor);
    for (instance, there) in &on {
        let mut kept = 0_u32;
        for task in there.iter().filter(|task| task.live) {
            let why = if task.seen.leaves || !instances.contains(instance) {
                Why::Leaves
            } else if task.verdict == Verdict::Unhealthy {
                Why::Unhealthy
            } else if task.goal != Some(0) || kept > 0 {
                Why::Scaling
            } else {
                kept += 1;
                continue;
            };
            if why == Why::Scaling {
                if task.protected {
                    let revision = task.seen.revision.unwrap_or_default().to_owned();
                    *decision.report.protected.entry(revision).or_default() += 1;
                    if let Some(until) = task.seen.facts.protected_until {
                        decision.wake(until);
                    }
                    continue;
                }
                if task.healthy() {
                    if budget == 0 {
                        continue;
                    }
                    budget -= 1;
                }
            }
            decision.actions.push(Action::Stop { task: task.index, why });
        }
    }
    if !desired.goals.first().is_some_and(|goal| goal.may_start) {
        return;
    }
    let occupying = count(tasks.iter().filter(|task| task.seen.facts.occupies()).count());
    let mut room = desired.ceiling.saturating_sub(occupying);
    for instance in instances.iter().filter(|instance| !on.contains_key(*instance)) {
        if let Some(at) = desired.start_not_before.filter(|at| now < *at) {
            decision.wake(at);
            return;
        }
        if room == 0 {
            return;
        }
        room -= 1;
        decision.actions.push(Action::Start { goal: 0, count: 1, place: Where::Instance(instance.clone()) });
    }
}
