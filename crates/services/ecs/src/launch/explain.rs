//! A launch that starts nothing: every container instance with why it would not take the tasks, or what speaks for it.

use api::ecs::Failure;
use base::Ids;
use domain::{ContainerInstance, LaunchType};
use scheduler::placement::explain::{Explanation, explain};
use scheduler::placement::{Candidate, Desired, Reason, Strategy};
use store::Snapshot;
use wire::Call;

use super::place::{failure, pool, required_attributes, seed, zones};
use super::{Launch, PoolRoom, Rooms};

/// The reason of an instance that would take a task.
pub const FIT: &str = "FIT";

/// The places of `count` tasks, explained instance by instance: best first, then those that would take none. Nothing is
/// started. Of Fargate's machines those of the caller's account are named.
pub fn explanation(
    snapshot: &Snapshot,
    call: &Call,
    ids: &dyn Ids,
    launch: &Launch,
    count: usize,
) -> Vec<Failure> {
    let required = required_attributes(launch);
    let zones = zones(launch);
    let desired = Desired {
        count,
        group: &launch.group,
        resources: &launch.resources,
        gpus: launch.gpus,
        required_attributes: &required,
        constraints: &launch.constraints,
        strategies: &launch.strategies,
        availability_zones: zones.as_ref(),
        seed: seed(ids),
    };
    let own = |instance: &ContainerInstance| {
        launch.launch_type != LaunchType::Fargate || instance.scope.account == call.scope.account
    };
    let mut all = Vec::new();
    for launch in shares(launch) {
        snapshot.view(|rooms: &mut Rooms| {
            let Some(PoolRoom { room, .. }) = rooms.room(&pool(call, &launch)) else { return };
            let observed = room.observed();
            for one in explain(&desired, &observed) {
                let candidate = &observed.candidates[one.candidate];
                if own(candidate.container_instance) {
                    all.push(describe(&desired, &one, candidate));
                }
            }
        });
    }
    all
}

/// The launch for each of the Auto Scaling group providers that it may go to; without such, the launch itself.
fn shares(launch: &Launch) -> Vec<Launch> {
    if launch.launch_type != LaunchType::Ec2 || launch.strategy.is_empty() {
        return vec![launch.clone()];
    }
    let of = |name: &String| Launch { capacity_provider: Some(name.clone()), ..launch.clone() };
    launch.strategy.iter().map(|item| of(&item.capacity_provider)).collect()
}

fn describe(desired: &Desired<'_>, one: &Explanation, candidate: &Candidate<'_>) -> Failure {
    let instance = candidate.container_instance;
    let scores: Vec<String> = one.scores.iter().map(|(strategy, score)| words(strategy, *score)).collect();
    let detail = match &one.refusal {
        Some(reason) => refusal(desired, reason, candidate),
        None if scores.is_empty() => {
            format!("{} of {} tasks would go here; any will do", one.tasks, desired.count)
        }
        None => format!("{} of {} tasks would go here; {}", one.tasks, desired.count, scores.join(", ")),
    };
    let reason = one.refusal.as_ref().map_or(FIT, Reason::as_str);
    Failure { detail: Some(detail), ..failure(Some(instance.arn().to_string()), reason) }
}

fn words(strategy: &Strategy, score: i64) -> String {
    match strategy {
        Strategy::Random => "any".to_owned(),
        Strategy::Spread(None) => format!("spread(instanceId): {score} tasks of the group here"),
        Strategy::Spread(Some(attribute)) => {
            format!("spread(attribute:{attribute}): {score} tasks of the group where it has this value")
        }
        Strategy::BinpackCpu => format!("binpack(cpu): {score} CPU units left"),
        Strategy::BinpackMemory => format!("binpack(memory): {score} MiB left"),
    }
}

fn refusal(desired: &Desired<'_>, reason: &Reason, candidate: &Candidate<'_>) -> String {
    let instance = candidate.container_instance;
    let remaining = instance.remaining(&candidate.held);
    match reason {
        Reason::Inactive => format!("its status is {}", instance.status),
        Reason::Agent => "its agent is not connected".to_owned(),
        Reason::Attribute => {
            let lacks = |(name, value): &&(String, Option<String>)| match instance.attribute(name) {
                None => true,
                Some(there) => value.is_some() && there != value.as_deref(),
            };
            let lacking: Vec<&str> =
                desired.required_attributes.iter().filter(lacks).map(|(name, _)| name.as_str()).collect();
            format!("it lacks {}", lacking.join(", "))
        }
        Reason::Location => {
            let zone = instance.attribute("ecs.availability-zone").flatten().unwrap_or("no zone");
            format!("it is in {zone}, where none of the subnets is")
        }
        Reason::MemberOf => "a memberOf expression does not select it".to_owned(),
        Reason::DistinctInstance => format!("a task of {} is there", desired.group),
        Reason::ResourceCpu => {
            format!("{} CPU units are wanted, {} are left", desired.resources.cpu_units, remaining.cpu_units)
        }
        Reason::ResourceMemory => {
            format!("{} MiB are wanted, {} are left", desired.resources.memory_mib, remaining.memory_mib)
        }
        Reason::ResourcePorts => {
            let wanted = &desired.resources.ports;
            let tcp = wanted.tcp.intersection(&remaining.ports.tcp).map(|port| format!("{port}/tcp"));
            let udp = wanted.udp.intersection(&remaining.ports.udp).map(|port| format!("{port}/udp"));
            format!("taken there: {}", tcp.chain(udp).collect::<Vec<_>>().join(", "))
        }
        Reason::ResourceGpu => {
            format!("{} GPUs are wanted, {} are left", desired.gpus, remaining.gpu_ids.len())
        }
    }
}
