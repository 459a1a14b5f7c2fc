//! What a service's scheduler says, in AWS's words. Source: AWS, "Amazon ECS service event messages" and "Amazon ECS
//! Availability Zone service rebalancing service event messages"; the exact forms are those that accounts show, with
//! names in parentheses.
//!
//! Differs from AWS: where several container instances were looked at, the reason of each of the first
//! [`REASONS_SHOWN`] stands in the message, the closest first; AWS tells only that one.

use std::collections::BTreeMap;

use api::ecs::Failure;
use base::{Ids, Timestamp};
use domain::{Service, ServiceEvent};
use store::rows_service::service_event_key;
use store::{Snapshot, Transaction};

/// Events kept of a service. Source: AWS, "Service event messages".
pub const EVENTS_KEPT: u64 = 100;
/// The same message is not repeated within this time. Source: as above.
const REPEAT_SECONDS: i64 = 6 * 3600;
/// How far back the same message is looked for.
const LOOKED_BACK: u64 = 20;
/// Container instances whose reason a message tells.
const REASONS_SHOWN: usize = 10;
/// Tasks that one message names; it says how many there are anyhow.
const TASKS_NAMED: usize = 100;
const MORE: &str = "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.";

/// Messages to write, in order.
#[derive(Debug, Default)]
pub struct Messages(Vec<String>);

impl Messages {
    /// `(service NAME) WHAT`.
    pub fn say(&mut self, service: &Service, what: &str) {
        self.0.push(format!("(service {}) {what}", service.name));
    }

    /// As [`Messages::say`]; of a task set, `(service NAME, taskSet ecs-svc/ID) WHAT`.
    pub fn say_of(&mut self, service: &Service, task_set: Option<&str>, what: &str) {
        match task_set {
            Some(id) => self.0.push(format!("(service {}, taskSet ecs-svc/{id}) {what}", service.name)),
            None => self.say(service, what),
        }
    }

    /// As [`Messages::say_of`], unless the same was said of late and nothing has changed for the better since.
    pub fn say_once(
        &mut self,
        snapshot: &Snapshot,
        service: &Service,
        task_set: Option<&str>,
        what: &str,
        now: Timestamp,
    ) {
        if !was_said(snapshot, service, &[what.split(". ").next().unwrap_or(what)], now) {
            self.say_of(service, task_set, what);
        }
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the messages' rows; the oldest beyond those kept go.
    pub fn write(self, service: &mut Service, transaction: &mut Transaction, ids: &dyn Ids, now: Timestamp) {
        for message in self.0 {
            service.last_event += 1;
            let number = service.last_event;
            transaction.put(ServiceEvent {
                scope: service.scope.clone(),
                cluster: service.cluster.clone(),
                service: service.name.clone(),
                number,
                id: ids.uuid(),
                created_at: now,
                message,
            });
            if let Some(old) = number.checked_sub(EVENTS_KEPT).filter(|old| *old > 0) {
                let key = service_event_key(&service.scope, &service.cluster, &service.name, old);
                transaction.delete::<ServiceEvent>(&key);
            }
        }
    }
}

/// The last events, newest first.
fn last_events<'a>(snapshot: &'a Snapshot, service: &'a Service) -> impl Iterator<Item = ServiceEvent> + 'a {
    let numbers = (service.last_event.saturating_sub(LOOKED_BACK) + 1..=service.last_event).rev();
    numbers.filter_map(|number| {
        let key = service_event_key(&service.scope, &service.cluster, &service.name, number);
        snapshot.get::<ServiceEvent>(&key).map(|event| event.value.as_ref().clone())
    })
}

/// Whether one of `parts` was said lately, without a word since that things got better.
fn was_said(snapshot: &Snapshot, service: &Service, parts: &[&str], now: Timestamp) -> bool {
    // A task that was placed is good news of places, and none of what becomes of tasks.
    let of_places =
        parts.iter().any(|part| part.contains("unable to place") || part.contains("failed to launch"));
    last_events(snapshot, service)
        .take_while(|event| {
            now < event.created_at.plus_seconds(REPEAT_SECONDS)
                && !event.message.contains(" has reached a steady state")
                && !(of_places && event.message.contains(" has started "))
        })
        .any(|event| parts.iter().any(|part| event.message.contains(part)))
}

/// Whether the service was last said to be out of balance.
pub fn is_called_unbalanced(snapshot: &Snapshot, service: &Service) -> bool {
    last_events(snapshot, service)
        .find(|event| event.message.contains("AZ balanced with"))
        .is_some_and(|event| event.message.contains("is not AZ balanced with"))
}

/// `(task A) (task B)`.
pub fn named<'a>(tasks: impl IntoIterator<Item = &'a str>) -> String {
    let each: Vec<String> = tasks.into_iter().take(TASKS_NAMED).map(|id| format!("(task {id})")).collect();
    each.join(" ")
}

/// `3 tasks in a, 1 tasks in b`.
pub fn by_zone(counts: &BTreeMap<String, u32>) -> String {
    let mut zones: Vec<(&String, &u32)> = counts.iter().collect();
    zones.sort_by_key(|(zone, count)| (std::cmp::Reverse(**count), (*zone).clone()));
    let each: Vec<String> = zones.iter().map(|(zone, count)| format!("{count} tasks in {zone}")).collect();
    each.join(", ")
}

/// Why a task could not be placed.
pub fn unplaced(failures: &[Failure], zone: Option<&str>) -> String {
    let place = zone.map(|zone| format!(" in {zone}")).unwrap_or_default();
    if let Some(reason) = failures.iter().find(|failure| failure.arn.is_none()) {
        let reason = reason.reason.clone().unwrap_or_default();
        return format!(
            "was unable to place a task{place}. Reason: {}. {MORE}",
            reason.trim_end_matches('.')
        );
    }
    let mut refused: Vec<(usize, String)> = failures
        .iter()
        .map(|failure| {
            let arn = failure.arn.as_deref().unwrap_or_default();
            let id = arn.rsplit('/').next().unwrap_or_default();
            let (rank, reason) = reason(failure.reason.as_deref().unwrap_or_default());
            (rank, format!("(container-instance {id}) {reason}."))
        })
        .collect();
    refused.sort();
    let mut text = format!(
        "was unable to place a task{place} because no container instance met all of its requirements."
    );
    if refused.is_empty() {
        text.push_str(" Reason: No Container Instances were found in your cluster.");
    } else {
        let each: Vec<String> = refused.into_iter().take(REASONS_SHOWN).map(|(_, text)| text).collect();
        text.push_str(" The closest matching ");
        text.push_str(&each.join(" "));
    }
    format!("{text} {MORE}")
}

/// What a refusal's word means, and how close the instance was: the least is the closest.
fn reason(word: &str) -> (usize, String) {
    let (rank, text) = match word {
        "RESOURCE:CPU" => (0, "has insufficient CPU units available"),
        "RESOURCE:MEMORY" => (0, "has insufficient memory available"),
        "RESOURCE:PORTS" => (0, "is already using a port required by your task"),
        "RESOURCE:GPU" => (0, "has insufficient GPU resource available"),
        "ATTRIBUTE" => (2, "is missing an attribute required by your task"),
        "AGENT" => (3, "doesn't have the agent connected"),
        other => return (1, format!("encountered error \"{other}\"")),
    };
    (rank, text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(arn: Option<&str>, reason: &str) -> Failure {
        Failure { arn: arn.map(str::to_owned), reason: Some(reason.to_owned()), detail: None }
    }

    #[test]
    fn the_closest_comes_first() {
        let failures = [
            failure(Some("arn:aws:ecs:r:1:container-instance/c/a"), "AGENT"),
            failure(Some("arn:aws:ecs:r:1:container-instance/c/b"), "RESOURCE:CPU"),
            failure(
                Some("arn:aws:ecs:r:1:container-instance/c/d"),
                "MemberOf placement constraint unsatisfied.",
            ),
        ];
        assert_eq!(
            unplaced(&failures, None),
            "was unable to place a task because no container instance met all of its requirements. The closest \
             matching (container-instance b) has insufficient CPU units available. (container-instance d) encountered \
             error \"MemberOf placement constraint unsatisfied.\". (container-instance a) doesn't have the agent \
             connected. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
        );
    }

    #[test]
    fn without_instances_or_with_fargate() {
        assert_eq!(
            unplaced(&[], None),
            "was unable to place a task because no container instance met all of its requirements. Reason: No \
             Container Instances were found in your cluster. For more information, see the Troubleshooting section of \
             the Amazon ECS Developer Guide."
        );
        let fargate = failure(None, "Capacity is unavailable at this time. Please try again later");
        assert_eq!(
            unplaced(&[fargate], Some("us-east-1a")),
            "was unable to place a task in us-east-1a. Reason: Capacity is unavailable at this time. Please try \
             again later. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
        );
    }
}
