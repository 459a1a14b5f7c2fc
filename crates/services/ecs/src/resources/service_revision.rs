//! Service revisions.

use api::ecs as wire_shapes;
use base::Arn;
use domain::{Cluster, ContainerImage, LaunchType, Service, ServiceRevision};
use store::rows_service::service_revision_key;
use store::{Snapshot, Versioned};
use wire::{Call, Fault};

use super::{identifier, task_definition};
use crate::faults::invalid;
use crate::service_validation::workload::{Workload, describe_network, describe_strategy};

/// Digits of an id.
pub const ID_DIGITS: usize = 19;

/// The revision of this id.
pub fn get(snapshot: &Snapshot, service: &Service, id: &str) -> Option<Versioned<ServiceRevision>> {
    snapshot.get(&service_revision_key(&service.scope, &service.cluster, &service.name, id))
}

/// Cluster, service and id of the ARN of a revision (`service-revision`) or deployment (`service-deployment`).
pub fn parse_arn(call: &Call, text: &str, kind: &str) -> Result<(String, String, String), Fault> {
    let rest = identifier::own_arn(call, text, kind)?;
    let parts: Vec<&str> = rest.split('/').collect();
    match parts.as_slice() {
        [cluster, service, id] if [cluster, service, id].iter().all(|part| identifier::is_name(part)) => {
            Ok(((*cluster).to_owned(), (*service).to_owned(), (*id).to_owned()))
        }
        _ => Err(invalid("Invalid arn syntax.")),
    }
}

/// A revision of the service that runs the workload, without id. `document` as the row has it.
pub fn new(service: &Service, workload: &Workload, document: String) -> Result<ServiceRevision, Fault> {
    Ok(ServiceRevision {
        scope: service.scope.clone(),
        cluster: service.cluster.clone(),
        service: service.name.clone(),
        id: String::new(),
        created_at: service.created_at,
        task_definition: Some(workload.definition.arn()),
        launch_type: workload.compute.launch_type,
        capacity_provider_strategy: workload.compute.strategy.clone(),
        platform_version: workload.platform_version.clone(),
        awsvpc_configuration: workload.awsvpc_configuration.clone(),
        document,
        connect: None,
        container_images: container_images(workload)?,
    })
}

/// The images that tasks of the workload run. What they are is learned from the first task of the revision.
pub fn container_images(workload: &Workload) -> Result<Vec<ContainerImage>, Fault> {
    let document = task_definition::document(&workload.definition)?;
    let image = |container: wire_shapes::ContainerDefinition| ContainerImage {
        container: container.name.unwrap_or_default(),
        image: container.image.unwrap_or_default(),
        digest: None,
        consistent: container.version_consistency.as_deref() != Some("disabled"),
    };
    Ok(document.container_definitions.unwrap_or_default().into_iter().map(image).collect())
}

/// What a revision keeps of the parameters that have no member of their own, given in `members`.
pub fn to_document(members: &wire_shapes::ServiceRevision) -> String {
    if *members == wire_shapes::ServiceRevision::default() {
        return String::new();
    }
    wire::json::to_string(members)
}

/// The members of the revision that serves most of the service's production traffic, the newest of several.
pub fn serving(
    snapshot: &Snapshot,
    service: &Service,
) -> Result<Option<wire_shapes::ServiceRevision>, Fault> {
    let newest_first = service.revisions.iter().rev();
    let Some(serving) = newest_first.max_by_key(|there| there.production_weight) else { return Ok(None) };
    get(snapshot, service, &serving.id).map(|row| document(&row)).transpose()
}

/// The members of `document`.
pub fn document(revision: &ServiceRevision) -> Result<wire_shapes::ServiceRevision, Fault> {
    if revision.document.is_empty() {
        return Ok(wire_shapes::ServiceRevision::default());
    }
    wire::json::from_str(&revision.document).map_err(Fault::server)
}

/// The platform's family, which only Fargate shows.
pub fn platform_family(launch_type: LaunchType) -> Option<String> {
    (launch_type == LaunchType::Fargate).then(|| "Linux".to_owned())
}

/// The revision as the API shows it.
pub fn describe(revision: &ServiceRevision) -> Result<wire_shapes::ServiceRevision, Fault> {
    let document = document(revision)?;
    let strategy = describe_strategy(&revision.capacity_provider_strategy);
    let images = revision.container_images.iter().map(|image| wire_shapes::ContainerImage {
        container_name: Some(image.container.clone()),
        image: Some(image.image.clone()),
        image_digest: image.digest.clone(),
    });
    let service =
        Arn::new("ecs", &revision.scope, format!("service/{}/{}", revision.cluster, revision.service));
    Ok(wire_shapes::ServiceRevision {
        service_revision_arn: Some(revision.arn().to_string()),
        service_arn: Some(service.to_string()),
        cluster_arn: Some(Cluster::arn_of(&revision.scope, &revision.cluster).to_string()),
        created_at: Some(revision.created_at),
        task_definition: revision.task_definition.as_ref().map(ToString::to_string),
        launch_type: strategy.is_none().then(|| revision.launch_type.to_string()),
        capacity_provider_strategy: strategy,
        platform_version: revision.platform_version.clone(),
        platform_family: platform_family(revision.launch_type),
        network_configuration: revision.awsvpc_configuration.as_ref().map(describe_network),
        container_images: Some(images.collect()),
        guard_duty_enabled: Some(false),
        load_balancers: Some(document.load_balancers.clone().unwrap_or_default()),
        service_registries: Some(document.service_registries.clone().unwrap_or_default()),
        ..document
    })
}
