//! `serviceRegistries`: which services of AWS Cloud Map a service's tasks are registered in.
//!
//! Source: AWS, "ServiceRegistry" data type, "Amazon ECS service discovery considerations". The sentences on missing and
//! needless ports are AWS's, as users have reported them; the others are ours.

use api::ecs::{PortMapping, ServiceRegistry, TaskDefinition as DefinitionDocument};
use base::Arn;
use base::limits::SERVICE_REGISTRIES_PER_SERVICE;
use domain::{
    DiscoveryRecordType, DiscoveryService, DiscoveryServiceType, LaunchType, NetworkMode, RegistryState,
    TaskRegistry,
};
use store::rows_service_discovery::discovery_service_by_arn;
use store::{Snapshot, Versioned};
use wire::{Call, Fault};

use crate::faults::invalid;

/// What the tasks that are registered are.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// The task definition.
    pub definition: &'a DefinitionDocument,
    /// Its network mode.
    pub network_mode: NetworkMode,
    /// What they run on.
    pub launch_type: LaunchType,
}

/// Checks the registries of a service or task set.
pub fn check(snapshot: &Snapshot, call: &Call, given: &[ServiceRegistry], of: Of<'_>) -> Result<(), Fault> {
    if given.len() > SERVICE_REGISTRIES_PER_SERVICE {
        return Err(invalid(format!(
            "service registries can have at most {SERVICE_REGISTRIES_PER_SERVICE} items."
        )));
    }
    if !given.is_empty() && of.launch_type == LaunchType::External {
        return Err(invalid(
            "Service registries are not supported for services with the EXTERNAL launch type.",
        ));
    }
    for registry in given {
        let service = service(snapshot, call, registry)?;
        check_port(registry, &service, of)?;
        check_container(registry, of)?;
    }
    Ok(())
}

fn service(
    snapshot: &Snapshot,
    call: &Call,
    registry: &ServiceRegistry,
) -> Result<Versioned<DiscoveryService>, Fault> {
    let given = registry.registry_arn.as_deref().unwrap_or_default();
    let arn: Option<Arn> = given.parse().ok();
    arn.and_then(|arn| discovery_service_by_arn(snapshot, &arn))
        .filter(|service| service.scope == call.scope)
        .ok_or_else(|| invalid(format!("The service registry with registryArn {given} does not exist.")))
}

/// Whether the registry names the port that SRV records need, and names none where nothing needs one.
fn check_port(registry: &ServiceRegistry, service: &DiscoveryService, of: Of<'_>) -> Result<(), Fault> {
    let arn = service.arn();
    let has_srv = service.ttl_seconds(DiscoveryRecordType::Srv).is_some();
    let has_port = registry.port.is_some();
    let has_container = registry.container_name.is_some() && registry.container_port.is_some();
    if of.network_mode == NetworkMode::None {
        return Err(invalid(format!(
            "Service registries are not supported for tasks with the network mode none. Registry: {arn}"
        )));
    }
    if of.network_mode != NetworkMode::AwsVpc {
        if !has_container {
            return Err(invalid(format!(
                "When specifying 'host' or 'bridge' for networkMode, values for 'containerName' and 'containerPort' must be \
                 specified from the task definition. Registry: {arn}"
            )));
        }
        if has_port {
            return Err(needless("port", &arn));
        }
        if service.service_type != DiscoveryServiceType::Http && !has_srv {
            return Err(invalid(format!(
                "When specifying 'host' or 'bridge' for networkMode, the service registry must have a DNS record of the \
                 type SRV. Registry: {arn}"
            )));
        }
        return Ok(());
    }
    if has_srv {
        return if has_port == (registry.container_name.is_some() || registry.container_port.is_some())
            || !(has_port || has_container)
        {
            Err(invalid(format!(
                "Specify a value for either 'port' or the 'containerName' and 'containerPort' combination, but not both. \
                 Registry: {arn}"
            )))
        } else {
            Ok(())
        };
    }
    if service.service_type == DiscoveryServiceType::Http {
        return Ok(());
    }
    let needs_none = [
        ("port", has_port),
        ("containerPort", registry.container_port.is_some()),
        ("containerName", registry.container_name.is_some()),
    ];
    match needs_none.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(needless(field, &arn)),
        None => Ok(()),
    }
}

fn needless(field: &str, arn: &Arn) -> Fault {
    invalid(format!(
        "The values specified for serviceRegistries do not require a value for '{field}'. Remove the value and retry. \
         Registry: {arn}"
    ))
}

fn check_container(registry: &ServiceRegistry, of: Of<'_>) -> Result<(), Fault> {
    if registry.port.is_some_and(|port| u16::try_from(port).map_or(true, |port| port == 0)) {
        return Err(invalid("port must be between 1 and 65535."));
    }
    let Some(name) = registry.container_name.as_deref() else { return Ok(()) };
    let mut containers = of.definition.container_definitions.iter().flatten();
    let container = containers
        .find(|container| container.name.as_deref() == Some(name))
        .ok_or_else(|| invalid(format!("The container {name} does not exist in the task definition.")))?;
    let Some(port) = registry.container_port else { return Ok(()) };
    let mapped = |mapping: &PortMapping| mapping.container_port == Some(port);
    if container.port_mappings.iter().flatten().any(mapped) {
        Ok(())
    } else {
        Err(invalid(format!("The container {name} did not have a container port {port} defined.")))
    }
}

/// What the tasks of a revision or task set are to be registered as.
pub fn registries(given: Option<&[ServiceRegistry]>) -> Vec<TaskRegistry> {
    let port = |port: Option<i32>| port.and_then(|port| u16::try_from(port).ok());
    let registry = |given: &ServiceRegistry| {
        Some(TaskRegistry {
            service: given.registry_arn.as_deref()?.parse().ok()?,
            port: port(given.port),
            container: given.container_name.clone(),
            container_port: port(given.container_port),
            ingress_port: None,
            state: RegistryState::Unregistered,
            told_healthy: None,
        })
    };
    given.unwrap_or_default().iter().filter_map(registry).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use base::Timestamp;
    use domain::{
        DiscoveryNamespace, DiscoveryNamespaceType, DiscoveryRecordType, DiscoveryRoutingPolicy,
        DiscoveryService, DiscoveryServiceType, Task,
    };
    use serde_json::{Value, json};
    use store::Transaction;

    use crate::testing::{World, scope};

    fn service(id: &str, records: &[DiscoveryRecordType]) -> DiscoveryService {
        let has_records = !records.is_empty();
        DiscoveryService {
            scope: scope(),
            id: id.to_owned(),
            name: id.to_owned(),
            namespace: "ns-1".to_owned(),
            service_type: if has_records {
                DiscoveryServiceType::DnsHttp
            } else {
                DiscoveryServiceType::Http
            },
            description: None,
            routing_policy: has_records.then_some(DiscoveryRoutingPolicy::Multivalue),
            records: records.iter().map(|record_type| (*record_type, 10)).collect(),
            health_check: None,
            custom_health: true,
            attributes: BTreeMap::new(),
            creator_request_id: None,
            instance_count: 0,
            instances_revision: 0,
            managed_by: None,
            connect: None,
            created_at: Timestamp::from_millis(0),
            tags: Vec::new(),
        }
    }

    fn arn(id: &str) -> String {
        DiscoveryService::arn_of(&scope(), id).to_string()
    }

    async fn world() -> World {
        let world = World::with_fargate().await;
        let namespace = DiscoveryNamespace {
            scope: scope(),
            id: "ns-1".to_owned(),
            name: "insurance.local".to_owned(),
            namespace_type: DiscoveryNamespaceType::DnsPrivate,
            description: None,
            vpc: None,
            hosted_zone: None,
            soa_ttl_seconds: Some(15),
            creator_request_id: None,
            made_by: None,
            service_count: 3,
            created_at: Timestamp::from_millis(0),
            tags: Vec::new(),
        };
        let mut transaction = Transaction::new();
        transaction.put(namespace);
        for (id, records) in [
            ("srv-a", vec![DiscoveryRecordType::A]),
            ("srv-srv", vec![DiscoveryRecordType::Srv]),
            ("srv-http", vec![]),
        ] {
            transaction.put(service(id, &records));
        }
        world.store.transact(transaction).await.unwrap();
        let container =
            |ports: Value| json!({"name": "app", "image": "busybox", "memory": 64, "portMappings": ports});
        for (family, mode) in [("vpc", "awsvpc"), ("host", "host")] {
            let definition = json!({"family": family, "networkMode": mode,
                "containerDefinitions": [container(json!([{"containerPort": 80}]))]});
            world.ok("RegisterTaskDefinition", definition).await;
        }
        world
    }

    fn create(world: &World, definition: &str, registries: &Value) -> Value {
        let vpc = store::rows_vpc::find_default_vpc(&world.store.snapshot(), &scope()).unwrap();
        let mut body = json!({"serviceName": "s", "taskDefinition": definition, "desiredCount": 1,
            "launchType": "EC2", "serviceRegistries": registries});
        if definition == "vpc" {
            body["networkConfiguration"] = json!({"awsvpcConfiguration": {"subnets": [vpc.subnets[0].id]}});
        }
        body
    }

    #[tokio::test]
    async fn what_is_refused() {
        let world = world().await;
        let (a, srv, http) = (arn("srv-a"), arn("srv-srv"), arn("srv-http"));
        let needs = "When specifying 'host' or 'bridge' for networkMode, values for 'containerName' and 'containerPort' must be \
                     specified from the task definition.";
        let either = "Specify a value for either 'port' or the 'containerName' and 'containerPort' combination, but not both.";
        for (definition, registry, refusal) in [
            (
                "vpc",
                json!({"registryArn": arn("srv-x")}),
                format!("The service registry with registryArn {} does not exist.", arn("srv-x")),
            ),
            (
                "vpc",
                json!({"registryArn": "srv-a"}),
                "The service registry with registryArn srv-a does not exist.".to_owned(),
            ),
            (
                "vpc",
                json!({"registryArn": a, "port": 80}),
                format!(
                    "The values specified for serviceRegistries do not require a value for 'port'. Remove the value and retry. Registry: {a}"
                ),
            ),
            (
                "vpc",
                json!({"registryArn": a, "containerName": "app", "containerPort": 80}),
                "The values specified for serviceRegistries do not require a value for 'containerPort'."
                    .to_owned(),
            ),
            ("vpc", json!({"registryArn": srv}), format!("{either} Registry: {srv}")),
            (
                "vpc",
                json!({"registryArn": srv, "port": 80, "containerName": "app", "containerPort": 80}),
                either.to_owned(),
            ),
            ("vpc", json!({"registryArn": srv, "containerName": "app"}), either.to_owned()),
            ("vpc", json!({"registryArn": srv, "port": 0}), "port must be between 1 and 65535.".to_owned()),
            (
                "vpc",
                json!({"registryArn": srv, "containerName": "x", "containerPort": 80}),
                "The container x does not exist in the task definition.".to_owned(),
            ),
            (
                "vpc",
                json!({"registryArn": srv, "containerName": "app", "containerPort": 81}),
                "The container app did not have a container port 81 defined.".to_owned(),
            ),
            ("host", json!({"registryArn": srv}), format!("{needs} Registry: {srv}")),
            (
                "host",
                json!({"registryArn": a, "containerName": "app", "containerPort": 80}),
                "When specifying 'host' or 'bridge' for networkMode, the service registry must have"
                    .to_owned(),
            ),
            ("host", json!({"registryArn": http, "containerName": "app"}), needs.to_owned()),
        ] {
            let refused =
                world.refused("CreateService", create(&world, definition, &json!([registry]))).await;
            assert!(
                refused.starts_with(&format!("InvalidParameterException: {refusal}")),
                "{definition} {registry}: {refused}"
            );
        }
        let twice = json!([{"registryArn": a}, {"registryArn": a}]);
        assert!(world.refused("CreateService", create(&world, "vpc", &twice)).await.contains("at most"));
    }

    #[tokio::test]
    async fn they_are_kept_shown_and_changed_by_a_deployment() {
        let world = world().await;
        let srv = json!([{"registryArn": arn("srv-srv"), "containerName": "app", "containerPort": 80}]);
        let made = world.ok("CreateService", create(&world, "vpc", &srv)).await;
        assert_eq!(made["service"]["serviceRegistries"], srv);
        let revision = async || {
            let shown = world.ok("DescribeServices", json!({"services": ["s"]})).await["services"][0].clone();
            let arn = shown["currentServiceRevisions"][0]["arn"].clone();
            world.ok("DescribeServiceRevisions", json!({"serviceRevisionArns": [arn]})).await["serviceRevisions"][0]
                .clone()
        };
        let first = revision().await;
        assert_eq!(first["serviceRegistries"], srv);
        // The same again begins nothing.
        world.ok("UpdateService", json!({"service": "s", "serviceRegistries": srv})).await;
        assert_eq!(revision().await, first);
        let a = json!([{"registryArn": arn("srv-a")}]);
        let changed = world.ok("UpdateService", json!({"service": "s", "serviceRegistries": a})).await;
        assert_eq!(changed["service"]["serviceRegistries"], a);
        assert_ne!(revision().await["serviceRevisionArn"], first["serviceRevisionArn"]);
        let taken = world.ok("UpdateService", json!({"service": "s", "serviceRegistries": []})).await;
        assert_eq!(taken["service"]["serviceRegistries"], json!([]));
        let bad = json!([{"registryArn": arn("srv-a"), "port": 1}]);
        let refused = world.refused("UpdateService", json!({"service": "s", "serviceRegistries": bad})).await;
        assert!(refused.contains("do not require a value for 'port'"), "{refused}");
        assert_eq!(world.store.snapshot().count::<Task>(), 0, "tasks are the scheduler's");
    }

    #[tokio::test]
    async fn task_sets_have_them() {
        let world = world().await;
        let external =
            json!({"serviceName": "s", "desiredCount": 1, "deploymentController": {"type": "EXTERNAL"}});
        let mut with = external.clone();
        with["serviceRegistries"] = json!([{"registryArn": arn("srv-a")}]);
        let refused = world.refused("CreateService", with).await;
        assert!(refused.contains("You can't specify serviceRegistries"), "{refused}");
        world.ok("CreateService", external).await;
        let set = |registry: Value| {
            json!({"cluster": "default", "service": "s", "taskDefinition": "host",
            "serviceRegistries": [registry]})
        };
        let registry = json!({"registryArn": arn("srv-http"), "containerName": "app", "containerPort": 80});
        let made = world.ok("CreateTaskSet", set(registry.clone())).await;
        assert_eq!(made["taskSet"]["serviceRegistries"], json!([registry]));
        let refused = world.refused("CreateTaskSet", set(json!({"registryArn": arn("srv-x")}))).await;
        assert!(refused.contains("does not exist"), "{refused}");
    }
}
