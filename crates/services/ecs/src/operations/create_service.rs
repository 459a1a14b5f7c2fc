//! Makes a service. AWS: CreateService.
//!
//! Differs from AWS: what this release cannot act on is refused, see `service_validation/unsupported`. A service with the
//! CODE_DEPLOY controller begins with a task set that is PRIMARY; its later ones are made by CreateTaskSet, since there is no
//! AWS CodeDeploy. Sentences of refusals that AWS does not document are ours.

use api::ecs::operations::CreateService;
use api::ecs::{CreateServiceRequest, CreateServiceResponse};
use base::limits::SERVICES_PER_CLUSTER;
use domain::{
    Cluster, DeploymentControllerType, SchedulingStrategy, Service, ServiceRevision, ServiceStatus,
    TaskDefinition, TaskSet,
};
use store::{Snapshot, Transaction, Versioned};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{
    client_token, cluster, service, service_deployment, service_revision, tag, task_definition, task_set,
    turn,
};
use crate::service_validation::availability_zone_rebalancing as rebalancing;
use crate::service_validation::placement::{self, Placement};
use crate::service_validation::workload::{self, Workload};
use crate::service_validation::{
    deployment_configuration, load_balancers, plain, service_connect, service_registries, unsupported,
};
use crate::{Ecs, faults};

/// AWS's sentence for a service that is there with other parameters.
const NOT_IDEMPOTENT: &str = "Creation of service was not idempotent.";

impl Operation<CreateService> for Ecs {
    fn permissions(&self, call: &Call, input: &CreateServiceRequest) -> Vec<Permission> {
        let (cluster, name) = (input.cluster.as_deref(), input.service_name.as_deref());
        let definition = task_definition::arn_for_permission(
            &self.store.snapshot(),
            call,
            input.task_definition.as_deref(),
        );
        let resource = service::arn_for_permission(call, cluster, name);
        let permission = Permission::new("ecs:CreateService", resource)
            .when("ecs:cluster", cluster::arn_for_permission(call, cluster))
            .when("ecs:task-definition", definition);
        let roles =
            service::roles_passed(input.deployment_configuration.as_ref(), input.load_balancers.as_deref());
        std::iter::once(permission).chain(roles).collect()
    }

    async fn handle(&self, call: &Call, input: CreateServiceRequest) -> Result<CreateServiceResponse, Fault> {
        let made = self.create_service(call, input, None).await?;
        let described = service::describe(&self.store.snapshot(), &made, true)?;
        Ok(CreateServiceResponse { service: Some(described) })
    }
}

/// What else is made with a service, in the same transaction: gives the request with what depends on it.
pub(super) type With<'a> =
    &'a (dyn Fn(&Snapshot, &mut Transaction, CreateServiceRequest) -> Managed + Send + Sync);

/// A request with load balancers that ECS manages and is yet to make.
pub(super) struct Managed {
    /// The request.
    pub(super) request: CreateServiceRequest,
    /// A security group that tasks get beside the request's, which ECS is yet to make too.
    pub(super) security_group: String,
}

impl Ecs {
    /// Makes a service, or gives the one that the same call made before. What `with` names is ECS's own: its load balancers are
    /// not held against what there is.
    pub(super) async fn create_service(
        &self,
        call: &Call,
        input: CreateServiceRequest,
        with: Option<With<'_>>,
    ) -> Result<Service, Fault> {
        let cluster_name = cluster::name(call, input.cluster.as_deref())?;
        let name = plain::name(input.service_name.as_deref())?;
        let token = client_token::parse(input.client_token.as_deref())?;
        let digest = client_token::digest(&CreateServiceRequest { client_token: None, ..input.clone() });

        // All services of a cluster write the cluster's row.
        let _turn =
            turn::of(&self.store, &[call.scope.account.as_str(), call.scope.region.as_str(), &cluster_name])
                .await;
        let update = self.store.update(|snapshot| {
            let cluster = cluster::get(snapshot, &call.scope, &cluster_name)?;
            if let Some(there) = repeated(snapshot, call, token.as_deref(), &digest)? {
                return Ok((Transaction::new(), there));
            }
            let there = service::find(snapshot, &call.scope, &cluster_name, &name);
            if let Some(there) = there.as_ref().filter(|there| there.status != ServiceStatus::Inactive) {
                return same(there, &digest).map(|there| (Transaction::new(), there));
            }
            let mut transaction = Transaction::new();
            let managed = with.map(|with| with(snapshot, &mut transaction, input.clone()));
            let asked = managed.as_ref().map_or(&input, |managed| &managed.request);
            let mut new = checked(snapshot, call, &cluster, asked, managed.is_some())?;
            new.service.request_digest = Some(digest.clone());
            check_quota(snapshot, &cluster)?;
            // The cluster's row is written so that a deletion of the cluster under way starts over and sees the service.
            transaction.replace(&cluster, Cluster::clone(&cluster));
            new.service.id = self.ids.uuid();
            new.service.last_event = there.as_ref().map_or(0, |there| there.last_event);
            let service = match new.first {
                First::Nothing => new.service,
                First::TaskSet(task_set) => {
                    let id = self.ids.digits(service_revision::ID_DIGITS);
                    transaction.insert(TaskSet { id, ..task_set });
                    new.service
                }
                First::Revision(mut revision) => {
                    if let (Some(managed), Some(network)) = (&managed, &mut revision.awsvpc_configuration) {
                        network.security_groups.push(managed.security_group.clone());
                    }
                    revision.connect = new.connect.map(|wish| {
                        wish.make(self.ids.as_ref(), call.now, &new.service.arn(), &mut transaction)
                    });
                    let begun =
                        service_deployment::begin(self.ids.as_ref(), call.now, &new.service, revision)?;
                    transaction.insert(begun.revision).insert(begun.deployment);
                    begun.service
                }
            };
            match &there {
                Some(there) => transaction.replace(there, service.clone()),
                None => transaction.insert(service.clone()),
            };
            if let Some(token) = &token {
                let made = vec![cluster_name.clone(), name.clone(), service.id.clone()];
                client_token::remember(
                    snapshot,
                    &mut transaction,
                    call,
                    "CreateService",
                    token,
                    &digest,
                    made,
                );
            }
            Ok((transaction, service))
        });
        update.await.map_err(faults::of_update)
    }
}

/// The service that an earlier call with the same token made.
fn repeated(
    snapshot: &Snapshot,
    call: &Call,
    token: Option<&str>,
    digest: &str,
) -> Result<Option<Service>, Fault> {
    let used = token.and_then(|token| client_token::used(snapshot, call, "CreateService", token, digest));
    let Some((is_same, made)) = used else { return Ok(None) };
    if !is_same {
        return Err(faults::invalid(NOT_IDEMPOTENT));
    }
    let [cluster, name, id] = made.as_slice() else { return Ok(None) };
    let there = service::find(snapshot, &call.scope, cluster, name);
    Ok(there.filter(|there| there.id == *id).map(|there| Service::clone(&there)))
}

/// The service that is there, if this call would make the same.
fn same(there: &Versioned<Service>, digest: &str) -> Result<Service, Fault> {
    if there.status == ServiceStatus::Draining {
        return Err(faults::invalid("Unable to Start a service that is still Draining."));
    }
    if there.request_digest.as_deref() == Some(digest) && there.generation == FIRST_GENERATION {
        Ok(Service::clone(there))
    } else {
        Err(faults::invalid(NOT_IDEMPOTENT))
    }
}

/// The generation of a service that nobody has updated.
const FIRST_GENERATION: u64 = 1;

fn check_quota(snapshot: &Snapshot, cluster: &Cluster) -> Result<(), Fault> {
    if service::of_cluster(snapshot, &cluster.scope, &cluster.name).count() >= SERVICES_PER_CLUSTER {
        return Err(faults::client(format!(
            "The maximum number of services in a cluster is {SERVICES_PER_CLUSTER}."
        )));
    }
    Ok(())
}

/// A service without identity, and what it runs first.
struct New {
    service: Service,
    first: First,
    connect: Option<service_connect::Wish>,
}

/// What a service runs first, by its deployment controller.
enum First {
    /// ECS: a revision.
    Revision(ServiceRevision),
    /// CODE_DEPLOY: a task set that serves production traffic. It has no id yet.
    TaskSet(TaskSet),
    /// EXTERNAL: what its caller makes.
    Nothing,
}

fn checked(
    snapshot: &Snapshot,
    call: &Call,
    cluster: &Cluster,
    input: &CreateServiceRequest,
    is_managed: bool,
) -> Result<New, Fault> {
    let scheduling = plain::scheduling_strategy(input.scheduling_strategy.as_deref())?;
    let controller = plain::deployment_controller(input.deployment_controller.as_ref(), scheduling)?;
    let desired_count = match plain::desired_count(input.desired_count, scheduling)? {
        Some(count) => count,
        None if scheduling == SchedulingStrategy::Daemon => 0,
        None if controller == DeploymentControllerType::External => 0,
        None => {
            return Err(faults::invalid(
                "desiredCount must be specified for the REPLICA scheduling strategy.",
            ));
        }
    };
    plain::role(input.role.as_deref())?;
    check_unsupported(input, controller, scheduling)?;
    let workload = match controller {
        DeploymentControllerType::External => {
            check_external(input)?;
            None
        }
        _ => Some(check_workload(snapshot, call, cluster, input, scheduling)?),
    };
    let definition = workload.as_ref().map(|workload| (&*workload.definition, workload.compute.launch_type));
    let document = definition.map(|(definition, _)| task_definition::document(definition)).transpose()?;
    unsupported::execute_command::check(input.enable_execute_command, document.as_ref())?;
    let configuration = deployment_configuration::check(
        input.deployment_configuration.as_ref(),
        None,
        controller,
        scheduling,
    )?;
    let given = input.load_balancers.clone().unwrap_or_default();
    let shifts_traffic = load_balancers::shifts_traffic(configuration.strategy.as_deref());
    if let (Some(workload), Some(document)) = (&workload, &document) {
        // Those that ECS manages are made after the service, whose tasks wait for them.
        let to_check = if is_managed { &[] } else { given.as_slice() };
        load_balancers::check(
            snapshot,
            call,
            to_check,
            load_balancers::Of {
                definition: document,
                network_mode: workload.definition.projection.network_mode,
                launch_type: workload.compute.launch_type,
                shifts_traffic,
            },
        )?;
        service_registries::check(
            snapshot,
            call,
            input.service_registries.as_deref().unwrap_or_default(),
            service_registries::Of {
                definition: document,
                network_mode: workload.definition.projection.network_mode,
                launch_type: workload.compute.launch_type,
            },
        )?;
    }
    let connect = service_connect::check(
        snapshot,
        call,
        input.service_connect_configuration.as_ref(),
        service_connect::Of {
            cluster,
            service: &Service::arn_of(
                &call.scope,
                &cluster.name,
                input.service_name.as_deref().unwrap_or_default(),
            ),
            controller,
            workload: workload.as_ref(),
            definition: document.as_ref(),
        },
    )?;
    let placement = Placement {
        constraints: placement::constraints(input.placement_constraints.as_deref().unwrap_or_default()),
        strategies: placement::strategies(input.placement_strategy.as_deref().unwrap_or_default()),
    };
    placement::check(&placement, definition, scheduling)?;
    let rebalancing = rebalancing::check(
        input.availability_zone_rebalancing.as_deref(),
        None,
        rebalancing::Of {
            scheduling,
            controller,
            launch_type: definition.map(|(_, launch_type)| launch_type),
            maximum_percent: configuration.maximum_percent.unwrap_or(200),
            placement: &placement,
        },
    )?;
    let service = Service {
        scope: call.scope.clone(),
        cluster: cluster.name.clone(),
        name: plain::name(input.service_name.as_deref())?,
        id: String::new(),
        status: ServiceStatus::Active,
        scheduling_strategy: scheduling,
        deployment_controller: controller,
        desired_count,
        created_at: call.now,
        created_by: Some(call.principal.arn.to_string()),
        role: None,
        deployment_configuration_document: wire::json::to_string(&configuration),
        placement_constraints: placement.constraints,
        placement_strategy: placement.strategies,
        platform_version: definition.and_then(|(_, launch_type)| {
            workload::asked_platform_version(input.platform_version.as_deref(), launch_type)
        }),
        request_digest: None,
        health_check_grace_period_seconds: plain::health_check_grace_period(
            input.health_check_grace_period_seconds,
        )?,
        availability_zone_rebalancing: rebalancing,
        enable_ecs_managed_tags: input.enable_ecs_managed_tags.unwrap_or(false),
        enable_execute_command: false,
        propagate_tags: input.propagate_tags.clone(),
        tags: tag::parse_with_wishes(input.tags.clone(), crate::launch::On::Service)?,
        revisions: Vec::new(),
        current_deployment: None,
        generation: FIRST_GENERATION,
        last_event: 0,
        steady: false,
        steady_at: None,
        failed_starts: 0,
        start_not_before: None,
    };
    let members = api::ecs::ServiceRevision {
        resolved_configuration: load_balancers::resolve(&given, shifts_traffic, None),
        load_balancers: Some(given).filter(|given| !given.is_empty()),
        service_registries: input.service_registries.clone().filter(|given| !given.is_empty()),
        service_connect_configuration: input.service_connect_configuration.clone(),
        ..api::ecs::ServiceRevision::default()
    };
    let document = service_revision::to_document(&members);
    let first = match (workload, controller) {
        (None, _) => First::Nothing,
        (Some(workload), DeploymentControllerType::Ecs) => {
            First::Revision(service_revision::new(&service, &workload, document)?)
        }
        (Some(workload), _) => {
            let (load_balancers, registries) =
                (input.load_balancers.clone(), input.service_registries.clone());
            First::TaskSet(task_set::first(&service, &workload, load_balancers, registries))
        }
    };
    Ok(New { service, first, connect })
}

fn check_unsupported(
    input: &CreateServiceRequest,
    controller: DeploymentControllerType,
    scheduling: SchedulingStrategy,
) -> Result<(), Fault> {
    load_balancers::check_controller(controller, input.load_balancers.as_deref().unwrap_or_default())?;
    unsupported::volumes::check(input.volume_configurations.as_deref(), scheduling)?;
    unsupported::vpc_lattice::check(input.vpc_lattice_configurations.as_deref())?;
    unsupported::gateway_connectors::check(input.gateway_connectors.as_deref())?;
    unsupported::monitoring::check(input.monitoring.as_ref())
}

/// With the EXTERNAL controller a call has only what is not the task sets' own. Source: CreateService.
fn check_external(input: &CreateServiceRequest) -> Result<(), Fault> {
    let given = [
        ("taskDefinition", input.task_definition.is_some()),
        ("launchType", input.launch_type.is_some()),
        (
            "capacityProviderStrategy",
            input.capacity_provider_strategy.as_ref().is_some_and(|items| !items.is_empty()),
        ),
        ("platformVersion", input.platform_version.is_some()),
        ("networkConfiguration", input.network_configuration.is_some()),
        ("serviceRegistries", input.service_registries.as_ref().is_some_and(|items| !items.is_empty())),
        ("loadBalancers", input.load_balancers.as_ref().is_some_and(|items| !items.is_empty())),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(faults::invalid(format!(
            "You can't specify {field} on services with an EXTERNAL deployment controller. Specify it when you create a \
             task set."
        ))),
        None => Ok(()),
    }
}

fn check_workload(
    snapshot: &Snapshot,
    call: &Call,
    cluster: &Cluster,
    input: &CreateServiceRequest,
    scheduling: SchedulingStrategy,
) -> Result<Workload, Fault> {
    let reference = task_definition::parse(call, plain::task_definition(input.task_definition.as_deref())?)?;
    let definition: Versioned<TaskDefinition> = task_definition::runnable(snapshot, &call.scope, &reference)?;
    let (launch_type, strategy) = (input.launch_type.as_deref(), input.capacity_provider_strategy.clone());
    let compute = workload::compute(snapshot, call, cluster, launch_type, strategy, scheduling)?;
    let (platform, network) = (input.platform_version.as_deref(), input.network_configuration.as_ref());
    workload::check(snapshot, call, definition, compute, platform, network)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{World, text};

    async fn world() -> World {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        world
    }

    fn with(more: &Value) -> Value {
        let mut body = json!({"serviceName": "s", "taskDefinition": "web", "desiredCount": 2});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
            if value.is_null() {
                body.as_object_mut().unwrap().remove(key);
            }
        }
        body
    }

    #[tokio::test]
    async fn a_service_begins_its_first_deployment() {
        let world = world().await;
        let made = world.ok("CreateService", with(&json!({"tags": [{"key": "a", "value": "b"}]}))).await;
        let mut service = made["service"].clone();
        let id = text(&service, "/deployments/0/id");
        let number = id.strip_prefix("ecs-svc/").unwrap().to_owned();
        assert!(number.len() == 19 && number.bytes().all(|byte| byte.is_ascii_digit()), "{number}");
        let deployment = text(&service, "/currentServiceDeployment");
        assert!(deployment.starts_with("arn:aws:ecs:us-east-1:000000000000:service-deployment/default/s/"));
        service.as_object_mut().unwrap().remove("currentServiceDeployment");
        let (now, prefix) = (json!(1_795_348_800), "arn:aws:ecs:us-east-1:000000000000");
        assert_eq!(
            service,
            json!({
                "serviceArn": format!("{prefix}:service/default/s"),
                "serviceName": "s",
                "clusterArn": format!("{prefix}:cluster/default"),
                "createdBy": "arn:aws:iam::000000000000:root",
                "status": "ACTIVE",
                "desiredCount": 2, "runningCount": 0, "pendingCount": 0,
                "launchType": "EC2",
                "taskDefinition": format!("{prefix}:task-definition/web:1"),
                "deploymentConfiguration": {"strategy": "ROLLING", "maximumPercent": 200,
                    "minimumHealthyPercent": 100, "bakeTimeInMinutes": 0,
                    "deploymentCircuitBreaker": {"enable": false, "rollback": false}},
                "deploymentController": {"type": "ECS"},
                "deployments": [{
                    "id": id, "status": "PRIMARY", "taskDefinition": format!("{prefix}:task-definition/web:1"),
                    "desiredCount": 2, "runningCount": 0, "pendingCount": 0, "failedTasks": 0,
                    "createdAt": now, "updatedAt": now, "launchType": "EC2", "rolloutState": "IN_PROGRESS",
                    "rolloutStateReason": format!("ECS deployment {id} in progress."),
                }],
                "currentServiceRevisions": [{
                    "arn": format!("{prefix}:service-revision/default/s/{number}"),
                    "requestedTaskCount": 2, "runningTaskCount": 0, "pendingTaskCount": 0,
                }],
                "events": [], "loadBalancers": [], "serviceRegistries": [],
                "placementConstraints": [], "placementStrategy": [],
                "createdAt": now,
                "schedulingStrategy": "REPLICA",
                "availabilityZoneRebalancing": "ENABLED",
                "enableECSManagedTags": false, "enableExecuteCommand": false, "propagateTags": "NONE",
                "resourceManagementType": "CUSTOMER",
                "tags": [{"key": "a", "value": "b"}],
            })
        );
    }

    #[tokio::test]
    async fn service_connect_that_is_off_is_shown() {
        let world = world().await;
        let off = json!({"enabled": false});
        let made = world.ok("CreateService", with(&json!({"serviceConnectConfiguration": off}))).await;
        assert_eq!(made["service"]["deployments"][0]["serviceConnectConfiguration"], off);
        let same = json!({"service": "s", "serviceConnectConfiguration": off, "desiredCount": 1});
        let same = world.ok("UpdateService", same).await;
        assert_eq!(same["service"]["currentServiceDeployment"], made["service"]["currentServiceDeployment"]);
        let next = world.ok("UpdateService", json!({"service": "s", "forceNewDeployment": true})).await;
        assert_eq!(next["service"]["deployments"][0]["serviceConnectConfiguration"], off);
        let revision = json!([next["service"]["currentServiceRevisions"][0]["arn"]]);
        let told = world.ok("DescribeServiceRevisions", json!({"serviceRevisionArns": revision})).await;
        assert_eq!(told["serviceRevisions"][0]["serviceConnectConfiguration"], off);
    }

    #[tokio::test]
    async fn the_same_again() {
        let world = world().await;
        let one = world.ok("CreateService", with(&json!({"clientToken": "t"}))).await;
        assert_eq!(world.ok("CreateService", with(&json!({"clientToken": "t"}))).await, one);
        // Without a token, too, as long as it would be the same service.
        assert_eq!(world.ok("CreateService", with(&json!({}))).await, one);
        let not_idempotent = "InvalidParameterException: Creation of service was not idempotent.";
        for other in [
            json!({"clientToken": "t", "desiredCount": 3}),
            json!({"clientToken": "t", "serviceName": "other"}),
            json!({"desiredCount": 3}),
        ] {
            assert_eq!(world.refused("CreateService", with(&other)).await, not_idempotent, "{other}");
        }
        world.ok("UpdateService", json!({"service": "s", "desiredCount": 5})).await;
        assert_eq!(world.refused("CreateService", with(&json!({}))).await, not_idempotent);
        world.ok("DeleteService", json!({"service": "s", "force": true})).await;
        assert_eq!(
            world.refused("CreateService", with(&json!({}))).await,
            "InvalidParameterException: Unable to Start a service that is still Draining."
        );
    }

    #[tokio::test]
    async fn a_name_is_used_again() {
        let world = world().await;
        let one = world.ok("CreateService", with(&json!({}))).await;
        world.ok("DeleteService", json!({"service": "s", "force": true})).await;
        world.finish_services().await;
        world.clock.advance_millis(1000);
        let two = world.ok("CreateService", with(&json!({}))).await;
        assert_ne!(two["service"]["deployments"][0]["id"], one["service"]["deployments"][0]["id"]);
        assert_eq!(two["service"]["deployments"].as_array().unwrap().len(), 1);
        let listed = world.ok("ListServiceDeployments", json!({"service": "s"})).await;
        assert_eq!(listed["serviceDeployments"].as_array().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_is_refused() {
        let world = world().await;
        let target = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/t/0";
        let strategy = json!([{"capacityProvider": "FARGATE", "weight": 1}]);
        for (more, refusal) in [
            (json!({"cluster": "ghost"}), "ClusterNotFoundException: Cluster not found."),
            (json!({"serviceName": "a b"}), "InvalidParameterException: Invalid service name."),
            (json!({"serviceName": "x".repeat(256)}), "InvalidParameterException: Invalid service name."),
            (json!({"serviceName": ""}), "InvalidParameterException: Service name can not be blank."),
            (json!({"taskDefinition": "ghost"}), "ClientException: TaskDefinition not found."),
            (json!({"taskDefinition": null}), "ClientException: TaskDefinition can not be blank."),
            (json!({"desiredCount": null}), "InvalidParameterException: desiredCount"),
            (json!({"desiredCount": -1}), "InvalidParameterException: Task count can not be lesser than 0"),
            (json!({"desiredCount": 5001}), "InvalidParameterException: Task count can not be greater"),
            (
                json!({"schedulingStrategy": "DAEMON"}),
                "InvalidParameterException: The daemon scheduling strategy does not support a desired count for services. \
                 Remove the desired count value and try again",
            ),
            (
                json!({"schedulingStrategy": "DAEMON", "desiredCount": null,
                    "deploymentController": {"type": "EXTERNAL"}}),
                "InvalidParameterException: The daemon scheduling strategy",
            ),
            (
                json!({"schedulingStrategy": "DAEMON", "desiredCount": null,
                    "placementStrategy": [{"type": "random"}]}),
                "InvalidParameterException: The daemon scheduling strategy",
            ),
            (
                json!({"schedulingStrategy": "DAEMON", "desiredCount": null, "launchType": "FARGATE"}),
                "InvalidParameterException: Fargate tasks do not support the DAEMON scheduling strategy.",
            ),
            (
                json!({"launchType": "EC2", "capacityProviderStrategy": strategy}),
                "InvalidParameterException: Specifying both a launch type and capacity provider strategy",
            ),
            (json!({"launchType": "FARGATE"}), "InvalidParameterException: Task definition does not support"),
            (
                json!({"platformVersion": "1.4.0"}),
                "InvalidParameterException: The platform version must be null",
            ),
            (
                json!({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}}),
                "InvalidParameterException: Network Configuration is not valid",
            ),
            (json!({"role": "r"}), "InvalidParameterException: You cannot specify an IAM role"),
            (json!({"clientToken": "x".repeat(37)}), "InvalidParameterException: clientToken"),
            (
                json!({"healthCheckGracePeriodSeconds": -1}),
                "InvalidParameterException: healthCheckGracePeriod",
            ),
            (
                json!({"loadBalancers": [{"targetGroupArn": target}]}),
                "InvalidParameterException: The target group with targetGroupArn arn:aws:elasticloadbalancing:us-east-1:\
                 000000000000:targetgroup/t/0 does not exist.",
            ),
            (
                json!({"loadBalancers": vec![json!({"targetGroupArn": target}); 6]}),
                "InvalidParameterException: load balancers can have at most 5 items.",
            ),
            (
                json!({"loadBalancers": [{"loadBalancerName": "classic"}]}),
                "InvalidParameterException: The load balancer classic does not exist.",
            ),
            (
                json!({"deploymentController": {"type": "CODE_DEPLOY"}}),
                "InvalidParameterException: loadBalancers",
            ),
            (
                json!({"serviceRegistries": [{"registryArn": "arn:aws:servicediscovery:us-east-1:0:service/s"}]}),
                "InvalidParameterException: The service registry",
            ),
            (
                json!({"serviceConnectConfiguration": {"enabled": true, "namespace": "n"}}),
                "NamespaceNotFoundException",
            ),
            (
                json!({"serviceConnectConfiguration": {"enabled": true}}),
                "InvalidParameterException: serviceConnect",
            ),
            (
                json!({"volumeConfigurations": [{"name": "v", "managedEBSVolume": {"roleArn": "r"}}]}),
                "ClientException: volumeConfigurations is not supported",
            ),
            (
                json!({"vpcLatticeConfigurations": [{"roleArn": "r", "targetGroupArn": "t", "portName": "p"}]}),
                "ClientException: vpcLatticeConfigurations is not supported",
            ),
            (
                json!({"gatewayConnectors": [{"portName": "p"}]}),
                "ClientException: gatewayConnectors is not supported",
            ),
            (
                json!({"monitoring": {"metricConfigurations": [{"metricNames": ["CPUUtilization"],
                    "resolutionSeconds": 20}]}}),
                "ClientException: monitoring.metricConfigurations is not supported",
            ),
            (
                json!({"enableExecuteCommand": true}),
                "InvalidParameterException: The service couldn't be created",
            ),
            (
                json!({"deploymentConfiguration": {"maximumPercent": 100}}),
                "InvalidParameterException: Both maximumPercent and minimumHealthyPercent cannot be 100",
            ),
            (
                json!({"placementConstraints": [{"type": "memberOf", "expression": "(("}]}),
                "InvalidParameterException: Invalid expression",
            ),
            (
                json!({"placementConstraints": vec![json!({"type": "distinctInstance"}); 11]}),
                "InvalidParameterException: A maximum of 10 placement constraints",
            ),
            (
                json!({"placementStrategy": vec![json!({"type": "random"}); 6]}),
                "InvalidParameterException: A maximum of 5 placement strategies",
            ),
            (
                json!({"placementStrategy": [{"type": "random"}], "availabilityZoneRebalancing": "ENABLED"}),
                "InvalidParameterException: Availability Zone rebalancing",
            ),
            (json!({"tags": [{"key": "aws:x", "value": "y"}]}), "InvalidParameterException"),
        ] {
            let refused = world.refused("CreateService", with(&more)).await;
            assert!(refused.starts_with(refusal), "{more}: {refused}");
        }
        let listed = world.ok("ListServices", json!({})).await;
        assert_eq!(listed["serviceArns"], json!([]), "nothing that was refused is there");
    }

    #[tokio::test]
    async fn a_cluster_has_room_for_so_many() {
        let world = world().await;
        world.ok("CreateService", with(&json!({"serviceName": "s0"}))).await;
        let scope = crate::testing::scope();
        let one = crate::resources::service::find(&world.store.snapshot(), &scope, "default", "s0").unwrap();
        let mut transaction = store::Transaction::new();
        for number in 1..5_000 {
            let name = format!("s{number}");
            transaction.put(domain::Service { name, ..domain::Service::clone(&one) });
        }
        world.store.transact(transaction).await.unwrap();
        assert_eq!(
            world.refused("CreateService", with(&json!({"serviceName": "more"}))).await,
            "ClientException: The maximum number of services in a cluster is 5000."
        );
        let body = json!({"service": "s0", "force": true});
        world.ok("DeleteService", body).await;
        world.finish_services().await;
        world.ok("CreateService", with(&json!({"serviceName": "more"}))).await;
    }

    #[tokio::test]
    async fn many_at_once() {
        let world = std::sync::Arc::new(world().await);
        let calls = (0..96).map(|number| {
            let world = world.clone();
            // Half of them ask for the same service under one token.
            let body = if number % 2 == 0 {
                with(&json!({"clientToken": "once"}))
            } else {
                with(&json!({"serviceName": format!("s{number}")}))
            };
            tokio::spawn(async move { world.ok("CreateService", body).await })
        });
        let calls: Vec<_> = calls.collect();
        let mut ids = std::collections::BTreeSet::new();
        for call in calls {
            ids.insert(text(&call.await.unwrap(), "/service/deployments/0/id"));
        }
        assert_eq!(ids.len(), 49, "48 of their own and one of all the others");
    }

    #[tokio::test]
    async fn a_daemon_has_its_own_defaults() {
        let world = world().await;
        let daemon = with(&json!({"schedulingStrategy": "DAEMON", "desiredCount": null}));
        let made = world.ok("CreateService", daemon).await;
        let configuration = &made["service"]["deploymentConfiguration"];
        assert_eq!(configuration["maximumPercent"], json!(100));
        assert_eq!(configuration["minimumHealthyPercent"], json!(0));
        assert_eq!(made["service"]["availabilityZoneRebalancing"], json!("DISABLED"));
        assert_eq!(made["service"]["desiredCount"], json!(0));
    }

    #[tokio::test]
    async fn an_external_controller_leaves_the_rest_to_task_sets() {
        let world = world().await;
        let external = json!({"desiredCount": null, "taskDefinition": null,
            "deploymentController": {"type": "EXTERNAL"}});
        for field in [
            json!({"taskDefinition": "web"}),
            json!({"launchType": "EC2"}),
            json!({"networkConfiguration": {}}),
            json!({"platformVersion": "LATEST"}),
            json!({"deploymentConfiguration": {"maximumPercent": 150}}),
            json!({"deploymentConfiguration": {"strategy": "ROLLING"}}),
        ] {
            let mut body = with(&external);
            for (key, value) in field.as_object().unwrap() {
                body[key] = value.clone();
            }
            let refused = world.refused("CreateService", body).await;
            assert!(
                refused.starts_with("InvalidParameterException: You can't specify"),
                "{field}: {refused}"
            );
        }
        let made = world.ok("CreateService", with(&external)).await;
        assert_eq!(made["service"]["deployments"], json!([]));
        assert!(made["service"].get("currentServiceDeployment").is_none());
        assert!(made["service"].get("taskDefinition").is_none());
    }

    #[tokio::test]
    async fn fargate_by_launch_type_and_by_strategy() {
        let world = World::with_fargate().await;
        let vpc =
            store::rows_vpc::find_default_vpc(&world.store.snapshot(), &crate::testing::scope()).unwrap();
        let network = json!({"awsvpcConfiguration": {"subnets": [vpc.subnets[0].id]}});
        let fargate = |more: Value| {
            let mut body = with(&json!({"taskDefinition": "fargate", "networkConfiguration": network}));
            for (key, value) in more.as_object().unwrap() {
                body[key] = value.clone();
            }
            body
        };
        let made = world.ok("CreateService", fargate(json!({"launchType": "FARGATE"}))).await;
        assert_eq!(text(&made, "/service/launchType"), "FARGATE");
        assert_eq!(text(&made, "/service/platformFamily"), "Linux");
        let shown = &made["service"]["deployments"][0]["networkConfiguration"]["awsvpcConfiguration"];
        assert_eq!(shown["assignPublicIp"], json!("DISABLED"));
        let unknown =
            fargate(json!({"serviceName": "t", "launchType": "FARGATE", "platformVersion": "9.9.9"}));
        assert!(world.refused("CreateService", unknown).await.starts_with("PlatformUnknownException"));

        let providers = json!({"cluster": "default", "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
            "defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]});
        world.ok("PutClusterCapacityProviders", providers).await;
        let made = world.ok("CreateService", fargate(json!({"serviceName": "t"}))).await;
        assert!(made["service"].get("launchType").is_none());
        let strategy = json!([{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}]);
        assert_eq!(made["service"]["capacityProviderStrategy"], strategy);
        let daemon = json!({"serviceName": "d", "schedulingStrategy": "DAEMON", "taskDefinition": "fargate"});
        assert_eq!(
            world.refused("CreateService", daemon).await,
            "InvalidParameterException: Specifying a capacity provider strategy is not supported when you create a service \
             using the DAEMON scheduling strategy."
        );
    }
}
