//! A service between deployments: what its revisions are to have.

use base::Timestamp;
use domain::{DeploymentControllerType, RevisionInUse, RevisionStatus, RolloutState, ServiceStatus};

use super::{Decision, Desired, Limits, Observed, limits};

/// The goals of a service that nothing is rolled out to.
pub(super) fn decide(desired: &Desired<'_>, observed: &Observed<'_>, now: Timestamp) -> Decision {
    let mut revisions = desired.service.revisions.clone();
    let limits = settle(desired, observed, &mut revisions);
    touch(&desired.service.revisions, &mut revisions, now);
    Decision {
        deployment: desired.deployment.cloned(),
        revisions,
        begin_hooks: Vec::new(),
        events: Vec::new(),
        limits,
        wake_at: None,
        report: Vec::new(),
    }
}

/// Sets the goals, and takes out revisions that nothing is left of.
pub(super) fn settle(
    desired: &Desired<'_>,
    observed: &Observed<'_>,
    revisions: &mut Vec<RevisionInUse>,
) -> Limits {
    let count = desired.desired_count.max(0);
    let mut limits = limits(desired.configuration, count);
    if desired.service.deployment_controller != DeploymentControllerType::Ecs {
        return limits;
    }
    if desired.service.status != ServiceStatus::Active {
        want_nothing(revisions);
        return limits;
    }
    let stalled = revisions
        .iter()
        .find(|revision| revision.status == RevisionStatus::Primary)
        .filter(|primary| primary.rollout_state == RolloutState::Failed)
        .map(|primary| primary.id.clone());
    limits.side_by_side = stalled.is_some() && desired.configuration.side_by_side();
    // The rollout failed and nobody goes back: the revision before it holds the service up.
    let survivor = stalled
        .as_ref()
        .and_then(|stalled| survivor(revisions, stalled, observed, limits.floor))
        .map(str::to_owned);
    let taken = stalled.as_ref().and_then(|stalled| seen(observed, stalled)).map_or(0, |seen| seen.healthy);
    for revision in revisions.iter_mut() {
        revision.desired_count = if revision.status == RevisionStatus::Primary {
            count
        } else if survivor.as_ref() == Some(&revision.id) {
            if limits.side_by_side { count } else { (count - taken).max(0) }
        } else {
            0
        };
    }
    if let Some(survivor) = &survivor {
        take_over_traffic(revisions, survivor);
    }
    revisions.retain(|revision| {
        let remaining = seen(observed, &revision.id).map_or(0, |seen| seen.remaining());
        // A COMPLETED revision behind a stalled one stays though it is empty: the next rollback goes to it.
        let goal = stalled.is_some() && revision.rollout_state == RolloutState::Completed;
        let survives = survivor.as_ref() == Some(&revision.id);
        revision.status == RevisionStatus::Primary || remaining > 0 || survives || goal
    });
    limits
}

/// Gives `survivor` the traffic of the older revisions that are to have no tasks.
fn take_over_traffic(revisions: &mut [RevisionInUse], survivor: &str) {
    let (mut production, mut test) = (0, 0);
    for revision in revisions.iter_mut() {
        if revision.status != RevisionStatus::Primary && revision.id != survivor {
            production += std::mem::take(&mut revision.production_weight);
            test += std::mem::take(&mut revision.test_weight);
        }
    }
    for revision in revisions.iter_mut().filter(|revision| revision.id == survivor) {
        revision.production_weight += production;
        revision.test_weight += test;
    }
}

/// No revision is to have a task.
pub(super) fn want_nothing(revisions: &mut [RevisionInUse]) {
    for revision in revisions {
        revision.desired_count = 0;
    }
}

/// Which of the revisions but `target` holds the service up: one that is well before one that is not, then one that was
/// COMPLETED, then one that can start tasks, then by traffic. Of equals the oldest, which proved itself the longest.
pub(super) fn survivor<'a>(
    revisions: &'a [RevisionInUse],
    target: &str,
    observed: &Observed<'_>,
    floor: i32,
) -> Option<&'a str> {
    let sources = revisions.iter().filter(|revision| revision.id != target);
    let best = sources.max_by_key(|revision| {
        let healthy = seen(observed, &revision.id).map_or(0, |seen| seen.healthy);
        (
            healthy >= floor.max(1),
            revision.rollout_state == RolloutState::Completed,
            revision.rollout_state != RolloutState::Failed,
            revision.production_weight,
            healthy,
        )
    });
    best.map(|revision| revision.id.as_str())
}

/// What was seen of a revision's tasks.
pub(super) fn seen<'a>(observed: &Observed<'a>, id: &str) -> Option<&'a super::RevisionObserved> {
    observed.revisions.iter().find(|seen| seen.id == id)
}

/// Notes when what changed.
pub(super) fn touch(before: &[RevisionInUse], after: &mut [RevisionInUse], now: Timestamp) {
    for revision in after {
        if !before.iter().any(|old| old == revision) {
            revision.updated_at = now;
        }
    }
}
