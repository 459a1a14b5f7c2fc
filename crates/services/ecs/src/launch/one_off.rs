//! A task that runs once for a deployment: what a lifecycle hook starts whose target is a task definition.
//!
//! It has the launch type or strategy, the network and the cluster of the revision that is being deployed, and waits in
//! PROVISIONING where there is no room, as long as the hook may take.

use api::ecs::{CapacityProviderStrategyItem, RunTaskRequest};
use base::Ids;
use domain::{LaunchType, NetworkMode, Service};
use store::Snapshot;
use wire::{Call, Fault};

use super::place::Placed;
use super::service::{Workload, network_of};
use super::{check, queue};
use crate::resources::task_definition;

/// What `startedBy` of such a task begins with; the hook's id follows, so that one hook starts one task.
pub const STARTED_BY_HOOK: &str = "ecs-hook/";

/// Starts one task of `definition` (an ARN, with or without a revision) in the name of the hook `id`.
pub fn start(
    snapshot: &Snapshot,
    call: &Call,
    ids: &dyn Ids,
    service: &Service,
    workload: &Workload,
    definition: &str,
    id: &str,
) -> Result<Placed, Fault> {
    let reference = task_definition::parse(call, definition)?;
    let row = task_definition::runnable(snapshot, &call.scope, &reference)?;
    let strategy = workload.strategy.iter().map(|item| CapacityProviderStrategyItem {
        capacity_provider: Some(item.capacity_provider.clone()),
        base: Some(item.base),
        weight: Some(item.weight),
    });
    let strategy: Vec<_> = strategy.collect();
    let launch_type = Some(workload.launch_type).filter(|_| strategy.is_empty());
    let request = RunTaskRequest {
        cluster: Some(service.cluster.clone()),
        task_definition: Some(definition.to_owned()),
        count: Some(1),
        launch_type: launch_type.as_ref().map(LaunchType::to_string),
        capacity_provider_strategy: Some(strategy),
        network_configuration: network_of(workload)
            .filter(|_| row.projection.network_mode == NetworkMode::AwsVpc),
        started_by: Some(format!("{STARTED_BY_HOOK}{id}")),
        ..RunTaskRequest::default()
    };
    let mut launch = check(snapshot, call, &request)?;
    launch.queue_when_full = true;
    queue::start(snapshot, call, ids, &launch, 1)
}
