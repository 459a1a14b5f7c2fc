//! Service deployments: how they begin, and how they are shown.

use api::ecs as wire_shapes;
use api::ecs::DeploymentConfiguration;
use base::{Ids, Timestamp};
use domain::{
    Cluster, HookRun, LifecycleStage, MonitorStatus, RevisionInUse, RevisionStatus, RolloutState, Service,
    ServiceDeployment, ServiceDeploymentStatus, ServiceRevision, SourceRevision,
};
use store::rows_service::service_deployment_key;
use store::{Snapshot, Transaction, Versioned};
use wire::Fault;

use super::service::TaskCounts;
use super::service_revision::ID_DIGITS as REVISION_ID_DIGITS;

/// Characters of an id.
const ID_CHARACTERS: usize = 21;
/// What is written when a deployment begins.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The service with its new revisions.
    pub service: Service,
    /// The new revision.
    pub revision: ServiceRevision,
    /// The new deployment.
    pub deployment: ServiceDeployment,
}

/// `DeploymentConfiguration` as stored.
pub fn configuration(document: &str) -> Result<DeploymentConfiguration, Fault> {
    wire::json::from_str(document).map_err(Fault::server)
}

/// Begins the deployment of `revision` (whose id and moment are still to be given) on `service`, whose other changes are
/// made already.
///
/// With the rolling strategy the new revision's goal is all of the service's tasks and that of the others none; the
/// service scheduler keeps to the bounds on the way. With the other strategies both sides run in full, and the
/// deployment's decider raises the new one.
pub fn begin(
    ids: &dyn Ids,
    now: Timestamp,
    service: &Service,
    revision: ServiceRevision,
) -> Result<Begun, Fault> {
    let configuration = configuration(&service.deployment_configuration_document)?;
    let revision = ServiceRevision { id: ids.digits(REVISION_ID_DIGITS), created_at: now, ..revision };
    let rolling = matches!(configuration.strategy.as_deref(), None | Some("ROLLING"));
    let source =
        |there: &RevisionInUse| SourceRevision { id: there.id.clone(), requested_count: there.desired_count };
    let deployment = ServiceDeployment {
        scope: service.scope.clone(),
        cluster: service.cluster.clone(),
        service: service.name.clone(),
        id: ids.word(ID_CHARACTERS),
        target_revision: revision.id.clone(),
        source_revisions: service.revisions.iter().map(source).collect(),
        status: ServiceDeploymentStatus::Pending,
        status_reason: None,
        stage: None,
        stage_at: None,
        step: 0,
        step_at: None,
        deployment_configuration_document: service.deployment_configuration_document.clone(),
        created_at: now,
        started_at: None,
        finished_at: None,
        stopped_at: None,
        updated_at: now,
        failure_count: 0,
        // The decider sets what watches, and the threshold, as soon as it begins.
        failure_threshold: 0,
        circuit_breaker_status: MonitorStatus::Disabled,
        alarm_status: MonitorStatus::Disabled,
        settled_tasks: 0,
        triggered_alarms: Vec::new(),
        rollback: None,
        hooks: Vec::new(),
    };
    let mut service = service.clone();
    for there in &mut service.revisions {
        if there.status == RevisionStatus::Primary {
            there.status = RevisionStatus::Active;
            there.updated_at = now;
        }
        if rolling {
            there.desired_count = 0;
        }
    }
    let in_use = RevisionInUse {
        id: revision.id.clone(),
        status: RevisionStatus::Primary,
        desired_count: if rolling { service.desired_count } else { 0 },
        created_at: now,
        updated_at: now,
        rollout_state: RolloutState::InProgress,
        rollout_state_reason: scheduler::deployment::in_progress(&revision.id),
        failed_tasks: 0,
        production_weight: 0,
        test_weight: 0,
    };
    service.revisions.insert(0, in_use);
    service.current_deployment = Some(deployment.id.clone());
    // A new revision is a new chance: the throttle forgets what the old one did.
    service.steady = false;
    service.failed_starts = 0;
    service.start_not_before = None;
    Ok(Begun { service, revision, deployment })
}

/// Closes the service's deployment under way, if there is one, because another takes its place.
pub fn supersede_current(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    service: &Service,
    now: Timestamp,
) {
    let Some(id) = &service.current_deployment else { return };
    let Some(there) = get(snapshot, service, id).filter(|there| !there.status.is_final()) else { return };
    transaction.replace(&there, scheduler::deployment::supersede(&there, now));
}

/// The deployment of this id.
pub fn get(snapshot: &Snapshot, service: &Service, id: &str) -> Option<Versioned<ServiceDeployment>> {
    snapshot.get(&service_deployment_key(&service.scope, &service.cluster, &service.name, id))
}

/// The deployment as ListServiceDeployments shows it.
pub fn describe_brief(deployment: &ServiceDeployment) -> wire_shapes::ServiceDeploymentBrief {
    let service = Service::arn_of(&deployment.scope, &deployment.cluster, &deployment.service);
    wire_shapes::ServiceDeploymentBrief {
        cluster_arn: Some(Cluster::arn_of(&deployment.scope, &deployment.cluster).to_string()),
        created_at: Some(deployment.created_at),
        finished_at: deployment.finished_at,
        service_arn: Some(service.to_string()),
        service_deployment_arn: Some(deployment.arn().to_string()),
        started_at: deployment.started_at,
        status: Some(deployment.status.to_string()),
        status_reason: deployment.status_reason.clone(),
        target_service_revision_arn: Some(revision_arn(deployment, &deployment.target_revision)),
    }
}

fn revision_arn(deployment: &ServiceDeployment, id: &str) -> String {
    let ServiceDeployment { scope, cluster, service, .. } = deployment;
    ServiceRevision::arn_of(scope, cluster, service, id).to_string()
}

/// The deployment as DescribeServiceDeployments shows it.
pub fn describe(
    snapshot: &Snapshot,
    deployment: &ServiceDeployment,
) -> Result<wire_shapes::ServiceDeployment, Fault> {
    let configuration = configuration(&deployment.deployment_configuration_document)?;
    let key = store::rows_service::service_key(&deployment.scope, &deployment.cluster, &deployment.service);
    let service = snapshot.get::<Service>(&key);
    let counts = TaskCounts::of_group(
        snapshot,
        &deployment.scope,
        &deployment.cluster,
        &format!("service:{}", deployment.service),
    );
    let target = service.as_ref().and_then(|service| {
        service.revisions.iter().find(|revision| revision.id == deployment.target_revision).cloned()
    });
    let summary = |id: &str, requested: i32, in_use: Option<&RevisionInUse>| {
        let (running, pending) = counts.of(id);
        wire_shapes::ServiceRevisionSummary {
            arn: Some(revision_arn(deployment, id)),
            requested_task_count: Some(requested),
            running_task_count: Some(running),
            pending_task_count: Some(pending),
            requested_production_traffic_weight: Some(
                in_use.map_or(0.0, |revision| f64::from(revision.production_weight) / 10.0),
            ),
            requested_test_traffic_weight: Some(
                in_use.map_or(0.0, |revision| f64::from(revision.test_weight) / 10.0),
            ),
        }
    };
    let sources = deployment.source_revisions.iter().map(|source| {
        let in_use = service
            .as_ref()
            .and_then(|service| service.revisions.iter().find(|revision| revision.id == source.id).cloned());
        let requested = in_use.as_ref().map_or(source.requested_count, |revision| revision.desired_count);
        summary(&source.id, requested, in_use.as_ref())
    });
    let requested = target.as_ref().map_or(0, |revision| revision.desired_count);
    // The model has no such stage: AWS shows the one before.
    let stage = deployment.stage.map(|stage| match stage {
        LifecycleStage::PreProductionTrafficShift => LifecycleStage::PostTestTrafficShift.to_string(),
        stage => stage.to_string(),
    });
    let alarms = configuration.alarms.as_ref();
    let hooks: Vec<_> = deployment.hooks.iter().map(describe_hook).collect();
    Ok(wire_shapes::ServiceDeployment {
        alarms: Some(wire_shapes::ServiceDeploymentAlarms {
            alarm_names: alarms.and_then(|alarms| alarms.alarm_names.clone()),
            status: Some(deployment.alarm_status.to_string()),
            triggered_alarm_names: (!deployment.triggered_alarms.is_empty())
                .then(|| deployment.triggered_alarms.clone()),
        }),
        cluster_arn: Some(Cluster::arn_of(&deployment.scope, &deployment.cluster).to_string()),
        created_at: Some(deployment.created_at),
        deployment_circuit_breaker: Some(wire_shapes::ServiceDeploymentCircuitBreaker {
            failure_count: Some(i32::try_from(deployment.failure_count).unwrap_or(i32::MAX)),
            status: Some(deployment.circuit_breaker_status.to_string()),
            threshold: Some(i32::try_from(deployment.failure_threshold).unwrap_or(i32::MAX)),
        }),
        deployment_configuration: Some(configuration),
        finished_at: deployment.finished_at,
        lifecycle_hook_details: (!hooks.is_empty()).then_some(hooks),
        lifecycle_stage: stage,
        rollback: deployment.rollback.as_ref().map(|rollback| wire_shapes::Rollback {
            reason: Some(rollback.reason.clone()),
            service_revision_arn: Some(revision_arn(deployment, &rollback.revision)),
            started_at: Some(rollback.started_at),
        }),
        service_arn: Some(
            Service::arn_of(&deployment.scope, &deployment.cluster, &deployment.service).to_string(),
        ),
        service_deployment_arn: Some(deployment.arn().to_string()),
        source_service_revisions: Some(sources.collect()),
        started_at: deployment.started_at,
        status: Some(deployment.status.to_string()),
        status_reason: deployment.status_reason.clone(),
        stopped_at: deployment.stopped_at,
        target_service_revision: Some(summary(&deployment.target_revision, requested, target.as_ref())),
        updated_at: Some(deployment.updated_at),
    })
}

fn describe_hook(hook: &HookRun) -> wire_shapes::DeploymentLifecycleHookDetail {
    wire_shapes::DeploymentLifecycleHookDetail {
        expires_at: hook.expires_at,
        hook_id: Some(hook.id.clone()),
        status: Some(hook.status.to_string()),
        target_arn: hook.target.clone(),
        target_type: Some(hook.target_type.clone()),
        timeout_action: hook.timeout_action.clone(),
    }
}
