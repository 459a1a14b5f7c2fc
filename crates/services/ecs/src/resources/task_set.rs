//! Task sets.

use api::ecs as wire_shapes;
use api::ecs::faults as modelled;
use domain::{Cluster, Service, StabilityStatus, TaskSet, TaskSetStatus};
use store::rows_service::{of_service as prefix, task_set_key};
use store::{Snapshot, Versioned};
use wire::{Call, Fault};

use super::service::TaskCounts;
use super::service_revision::platform_family;
use super::{identifier, tag};
use crate::faults::invalid;
use crate::service_validation::workload::{Workload, describe_network, describe_strategy};

/// `scale` in hundredths of a percent when it is the whole desired count.
const FULL_SCALE: i32 = 10_000;
/// What a task set's id begins with on the wire.
const ID_PREFIX: &str = "ecs-svc/";

/// The id of a task set of a service, from an id (`ecs-svc/DIGITS`) or an ARN.
pub fn id(call: &Call, service: &Service, text: &str) -> Result<String, Fault> {
    let id = if text.starts_with("arn:") {
        let rest = identifier::own_arn(call, text, "task-set")?;
        let of_service = format!("{}/{}/", service.cluster, service.name);
        rest.strip_prefix(of_service.as_str())
            .map(str::to_owned)
            .ok_or_else(|| invalid(format!("The task set is not of the service {}.", service.name)))?
    } else {
        text.to_owned()
    };
    let digits = id.strip_prefix(ID_PREFIX).unwrap_or_default();
    if digits.is_empty() || digits.len() > 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(format!("Invalid task set id: {id}")));
    }
    Ok(digits.to_owned())
}

/// The ARN that permissions are asked for.
pub fn arn_for_permission(
    call: &Call,
    cluster: Option<&str>,
    of_service: Option<&str>,
    text: Option<&str>,
) -> String {
    let arn = || {
        let cluster = super::cluster::name(call, cluster).ok()?;
        let name = super::service::name(call, &cluster, of_service?).ok()?;
        let digits = text?.rsplit('/').next()?;
        let resource = format!("task-set/{cluster}/{name}/{ID_PREFIX}{digits}");
        Some(base::Arn::new("ecs", &call.scope, resource).to_string())
    };
    arn().unwrap_or_else(|| "*".to_owned())
}

/// The task set of this id.
pub fn find(snapshot: &Snapshot, service: &Service, id: &str) -> Option<Versioned<TaskSet>> {
    snapshot.get(&task_set_key(&service.scope, &service.cluster, &service.name, id))
}

/// The task set of this id, which must be there and not DRAINING.
pub fn live(snapshot: &Snapshot, service: &Service, id: &str) -> Result<Versioned<TaskSet>, Fault> {
    find(snapshot, service, id)
        .filter(|task_set| task_set.status != TaskSetStatus::Draining)
        .ok_or_else(not_found)
}

/// `TaskSetNotFoundException`.
pub fn not_found() -> Fault {
    modelled::task_set_not_found_exception("The specified task set does not exist.")
}

/// All task sets of a service, the oldest first.
pub fn of_service(snapshot: &Snapshot, service: &Service) -> Vec<Versioned<TaskSet>> {
    let mut rows: Vec<Versioned<TaskSet>> =
        snapshot.scan(prefix(&service.scope, &service.cluster, &service.name), None).collect();
    rows.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    rows
}

/// The PRIMARY task set.
pub fn primary(snapshot: &Snapshot, service: &Service) -> Option<Versioned<TaskSet>> {
    snapshot
        .scan::<TaskSet>(prefix(&service.scope, &service.cluster, &service.name), None)
        .find(|task_set| task_set.status == TaskSetStatus::Primary)
}

/// `scale` of a call, in hundredths of a percent; 0 where none is given, as AWS has it.
pub fn scale(given: Option<&wire_shapes::Scale>) -> Result<i32, Fault> {
    let Some(given) = given else { return Ok(0) };
    let value = given.value.unwrap_or(0.0);
    if !(0.0..=100.0).contains(&value) {
        return Err(invalid("The scale value must be between 0 and 100."));
    }
    #[allow(clippy::cast_possible_truncation)]
    let hundredths = (value * 100.0).round() as i32;
    Ok(hundredths)
}

/// The tasks that a task set is to have: rounded up. Source: "TaskSet" data type, `computedDesiredCount`.
pub fn computed_desired_count(desired_count: i32, scale_hundredths_percent: i32) -> i32 {
    let product = i64::from(desired_count) * i64::from(scale_hundredths_percent);
    let full = i64::from(FULL_SCALE);
    i32::try_from((product + full - 1) / full).unwrap_or(i32::MAX)
}

/// The members of `document`.
pub fn document(task_set: &TaskSet) -> Result<wire_shapes::TaskSet, Fault> {
    if task_set.document.is_empty() {
        return Ok(wire_shapes::TaskSet::default());
    }
    wire::json::from_str(&task_set.document).map_err(Fault::server)
}

/// What a task set keeps of the parameters that have no member of their own.
pub fn to_document(
    load_balancers: Option<Vec<wire_shapes::LoadBalancer>>,
    service_registries: Option<Vec<wire_shapes::ServiceRegistry>>,
) -> String {
    let members = wire_shapes::TaskSet {
        load_balancers: load_balancers.filter(|given| !given.is_empty()),
        service_registries: service_registries.filter(|given| !given.is_empty()),
        ..wire_shapes::TaskSet::default()
    };
    if members == wire_shapes::TaskSet::default() {
        return String::new();
    }
    wire::json::to_string(&members)
}

/// The first task set of a service with the CODE_DEPLOY controller, without id: all of its tasks, and all of its traffic.
pub fn first(
    service: &Service,
    workload: &Workload,
    load_balancers: Option<Vec<wire_shapes::LoadBalancer>>,
    service_registries: Option<Vec<wire_shapes::ServiceRegistry>>,
) -> TaskSet {
    TaskSet {
        scope: service.scope.clone(),
        cluster: service.cluster.clone(),
        service: service.name.clone(),
        id: String::new(),
        status: TaskSetStatus::Primary,
        external_id: None,
        started_by: Some(service.deployment_controller.to_string()),
        task_definition: workload.definition.arn(),
        launch_type: workload.compute.launch_type,
        capacity_provider_strategy: workload.compute.strategy.clone(),
        platform_version: workload.platform_version.clone(),
        awsvpc_configuration: workload.awsvpc_configuration.clone(),
        document: to_document(load_balancers, service_registries),
        scale_hundredths_percent: FULL_SCALE,
        computed_desired_count: computed_desired_count(service.desired_count, FULL_SCALE),
        stability_status: StabilityStatus::Stabilizing,
        stability_status_at: service.created_at,
        created_at: service.created_at,
        updated_at: service.created_at,
        tags: Vec::new(),
    }
}

/// The task set as the API shows it.
pub fn describe(
    task_set: &TaskSet,
    counts: &TaskCounts,
    with_tags: bool,
) -> Result<wire_shapes::TaskSet, Fault> {
    let document = document(task_set)?;
    let (running, pending) = counts.of(&task_set.id);
    let strategy = describe_strategy(&task_set.capacity_provider_strategy);
    Ok(wire_shapes::TaskSet {
        capacity_provider_strategy: strategy.clone(),
        cluster_arn: Some(Cluster::arn_of(&task_set.scope, &task_set.cluster).to_string()),
        computed_desired_count: Some(task_set.computed_desired_count),
        created_at: Some(task_set.created_at),
        external_id: task_set.external_id.clone(),
        fargate_ephemeral_storage: None,
        id: Some(format!("{ID_PREFIX}{}", task_set.id)),
        launch_type: strategy.is_none().then(|| task_set.launch_type.to_string()),
        load_balancers: Some(document.load_balancers.unwrap_or_default()),
        network_configuration: task_set.awsvpc_configuration.as_ref().map(describe_network),
        pending_count: Some(pending),
        platform_family: platform_family(task_set.launch_type),
        platform_version: task_set.platform_version.clone(),
        running_count: Some(running),
        scale: Some(wire_shapes::Scale {
            unit: Some("PERCENT".to_owned()),
            value: Some(f64::from(task_set.scale_hundredths_percent) / 100.0),
        }),
        service_arn: Some(Service::arn_of(&task_set.scope, &task_set.cluster, &task_set.service).to_string()),
        service_registries: Some(document.service_registries.unwrap_or_default()),
        stability_status: Some(task_set.stability_status.to_string()),
        stability_status_at: Some(task_set.stability_status_at),
        started_by: task_set.started_by.clone(),
        status: Some(task_set.status.to_string()),
        tags: with_tags.then(|| tag::describe(&task_set.tags)),
        task_definition: Some(task_set.task_definition.to_string()),
        task_set_arn: Some(task_set.arn().to_string()),
        updated_at: Some(task_set.updated_at),
    })
}

/// The task set as the API shows it, with its tasks counted.
pub fn describe_counted(
    snapshot: &Snapshot,
    service: &Service,
    task_set: &TaskSet,
) -> Result<wire_shapes::TaskSet, Fault> {
    let counts = TaskCounts::of_group(snapshot, &service.scope, &service.cluster, &service.group());
    describe(task_set, &counts, true)
}

#[cfg(test)]
mod tests {
    use super::computed_desired_count;

    #[test]
    fn rounded_up() {
        for (desired, scale, computed) in
            [(10, 10_000, 10), (10, 1_200, 2), (1, 1, 1), (0, 10_000, 0), (3, 0, 0), (3, 3_334, 2)]
        {
            assert_eq!(computed_desired_count(desired, scale), computed, "{desired} {scale}");
        }
    }
}
