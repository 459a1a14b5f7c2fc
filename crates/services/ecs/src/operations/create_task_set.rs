//! Makes a task set in a service whose deployments somebody else leads. AWS: CreateTaskSet.
//!
//! Differs from AWS: AWS does not say how many task sets a service may have. Sentences of refusals that AWS does not document are ours.

use api::ecs::operations::CreateTaskSet;
use api::ecs::{CreateTaskSetRequest, CreateTaskSetResponse, faults as modelled};
use base::limits::TASK_SETS_PER_SERVICE;
use domain::{SchedulingStrategy, Service, StabilityStatus, TaskSet, TaskSetStatus};
use store::{Snapshot, Transaction};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{client_token, cluster, service, service_revision, tag, task_definition, task_set};
use crate::service_validation::placement::{self, Placement};
use crate::service_validation::workload::{self, Workload};
use crate::service_validation::{load_balancers, plain, service_registries};
use crate::{Ecs, faults};

impl Operation<CreateTaskSet> for Ecs {
    fn permissions(&self, call: &Call, input: &CreateTaskSetRequest) -> Vec<Permission> {
        let cluster = input.cluster.as_deref();
        let of_service = service::arn_for_permission(call, cluster, input.service.as_deref());
        let definition = task_definition::arn_for_permission(
            &self.store.snapshot(),
            call,
            input.task_definition.as_deref(),
        );
        vec![
            Permission::new("ecs:CreateTaskSet", "*")
                .when("ecs:cluster", cluster::arn_for_permission(call, cluster))
                .when("ecs:service", of_service)
                .when("ecs:task-definition", definition),
        ]
    }

    async fn handle(&self, call: &Call, input: CreateTaskSetRequest) -> Result<CreateTaskSetResponse, Fault> {
        let cluster_name = cluster::name(call, input.cluster.as_deref())?;
        let name = service::name(call, &cluster_name, input.service.as_deref().unwrap_or_default())?;
        let token = client_token::parse(input.client_token.as_deref())?;
        let digest = client_token::digest(&CreateTaskSetRequest { client_token: None, ..input.clone() });

        let _turn = service::turn(&self.store, call, &cluster_name, &name).await;
        let update = self.store.update(|snapshot| {
            let cluster = cluster::get(snapshot, &call.scope, &cluster_name)?;
            let of_service = service::with_task_sets(snapshot, &call.scope, &cluster_name, &name)?;
            if let Some(there) = repeated(snapshot, call, &of_service, token.as_deref(), &digest)? {
                return Ok((Transaction::new(), (Service::clone(&of_service), there)));
            }
            let reference =
                task_definition::parse(call, plain::task_definition(input.task_definition.as_deref())?)?;
            let definition = task_definition::runnable(snapshot, &call.scope, &reference)?;
            let (launch_type, strategy) =
                (input.launch_type.as_deref(), input.capacity_provider_strategy.clone());
            let scheduling = SchedulingStrategy::Replica;
            let compute = workload::compute(snapshot, call, &cluster, launch_type, strategy, scheduling)?;
            let (platform, network) =
                (input.platform_version.as_deref(), input.network_configuration.as_ref());
            let workload = workload::check(snapshot, call, definition, compute, platform, network)?;
            check_placement(&of_service, &workload)?;
            check_load_balancers(snapshot, call, &workload, &input)?;
            let there = task_set::of_service(snapshot, &of_service);
            if there.len() >= TASK_SETS_PER_SERVICE {
                return Err(modelled::limit_exceeded_exception(format!(
                    "The maximum number of task sets in a service is {TASK_SETS_PER_SERVICE}."
                )));
            }
            let id = self.ids.digits(service_revision::ID_DIGITS);
            let new = task_set(call, &of_service, &workload, &input, id)?;
            let mut transaction = Transaction::new();
            // The service's row is written so that two calls at once take turns, and its scheduler looks again.
            let next = Service {
                generation: of_service.generation.saturating_add(1),
                steady: false,
                ..Service::clone(&of_service)
            };
            transaction.replace(&of_service, next.clone()).insert(new.clone());
            if let Some(token) = &token {
                let made = vec![cluster_name.clone(), name.clone(), new.id.clone()];
                client_token::remember(
                    snapshot,
                    &mut transaction,
                    call,
                    "CreateTaskSet",
                    token,
                    &digest,
                    made,
                );
            }
            Ok((transaction, (next, new)))
        });
        let (of_service, made) = update.await.map_err(faults::of_update)?;

        let described = task_set::describe_counted(&self.store.snapshot(), &of_service, &made)?;
        Ok(CreateTaskSetResponse { task_set: Some(described) })
    }
}

/// The task set that an earlier call with the same token made.
fn repeated(
    snapshot: &Snapshot,
    call: &Call,
    of_service: &Service,
    token: Option<&str>,
    digest: &str,
) -> Result<Option<TaskSet>, Fault> {
    let used = token.and_then(|token| client_token::used(snapshot, call, "CreateTaskSet", token, digest));
    let Some((is_same, made)) = used else { return Ok(None) };
    if !is_same {
        return Err(faults::invalid("Creation of task set was not idempotent."));
    }
    let [cluster, name, id] = made.as_slice() else { return Ok(None) };
    let same = (cluster, name) == (&of_service.cluster, &of_service.name);
    let there = task_set::find(snapshot, of_service, id).filter(|_| same);
    Ok(there.map(|there| TaskSet::clone(&there)))
}

/// Whoever leads the deployments of task sets moves the traffic, too.
fn check_load_balancers(
    snapshot: &Snapshot,
    call: &Call,
    workload: &Workload,
    input: &CreateTaskSetRequest,
) -> Result<(), Fault> {
    let given = input.load_balancers.as_deref().unwrap_or_default();
    if given.iter().any(|item| item.advanced_configuration.is_some()) {
        return Err(faults::invalid("advancedConfiguration is not supported for task sets."));
    }
    let document = task_definition::document(&workload.definition)?;
    load_balancers::check(
        snapshot,
        call,
        given,
        load_balancers::Of {
            definition: &document,
            network_mode: workload.definition.projection.network_mode,
            launch_type: workload.compute.launch_type,
            shifts_traffic: false,
        },
    )?;
    service_registries::check(
        snapshot,
        call,
        input.service_registries.as_deref().unwrap_or_default(),
        service_registries::Of {
            definition: &document,
            network_mode: workload.definition.projection.network_mode,
            launch_type: workload.compute.launch_type,
        },
    )
}

/// The service's constraints and strategies hold for its task sets.
fn check_placement(of_service: &Service, workload: &Workload) -> Result<(), Fault> {
    let placement = Placement {
        constraints: of_service.placement_constraints.clone(),
        strategies: of_service.placement_strategy.clone(),
    };
    let definition = Some((&*workload.definition, workload.compute.launch_type));
    placement::check(&placement, definition, of_service.scheduling_strategy)
}

fn task_set(
    call: &Call,
    of_service: &Service,
    workload: &Workload,
    input: &CreateTaskSetRequest,
    id: String,
) -> Result<TaskSet, Fault> {
    let scale = task_set::scale(input.scale.as_ref())?;
    Ok(TaskSet {
        scope: of_service.scope.clone(),
        cluster: of_service.cluster.clone(),
        service: of_service.name.clone(),
        id,
        status: TaskSetStatus::Active,
        external_id: input.external_id.clone(),
        started_by: None,
        task_definition: workload.definition.arn(),
        launch_type: workload.compute.launch_type,
        capacity_provider_strategy: workload.compute.strategy.clone(),
        platform_version: workload.platform_version.clone(),
        awsvpc_configuration: workload.awsvpc_configuration.clone(),
        document: task_set::to_document(input.load_balancers.clone(), input.service_registries.clone()),
        scale_hundredths_percent: scale,
        computed_desired_count: task_set::computed_desired_count(of_service.desired_count, scale),
        stability_status: StabilityStatus::Stabilizing,
        stability_status_at: call.now,
        created_at: call.now,
        updated_at: call.now,
        tags: tag::parse(input.tags.clone())?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    async fn external() -> World {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        let body =
            json!({"serviceName": "s", "desiredCount": 10, "deploymentController": {"type": "EXTERNAL"}});
        let made = world.ok("CreateService", body).await;
        assert_eq!(made["service"]["deployments"], json!([]));
        assert_eq!(made["service"]["taskSets"], json!([]));
        world
    }

    #[tokio::test]
    async fn the_life_of_a_task_set() {
        let world = external().await;
        let body = json!({"cluster": "default", "service": "s", "taskDefinition": "web", "externalId": "x",
            "tags": [{"key": "a", "value": "b"}]});
        let made = world.ok("CreateTaskSet", body).await;
        let id = text(&made, "/taskSet/id");
        assert!(id.starts_with("ecs-svc/") && id.len() == 27, "{id}");
        assert_eq!(
            text(&made, "/taskSet/taskSetArn"),
            format!("arn:aws:ecs:us-east-1:000000000000:task-set/default/s/{id}")
        );
        assert_eq!(made["taskSet"]["scale"], json!({"value": 0.0, "unit": "PERCENT"}));
        assert_eq!(made["taskSet"]["computedDesiredCount"], json!(0));
        assert_eq!(text(&made, "/taskSet/status"), "ACTIVE");
        assert_eq!(text(&made, "/taskSet/stabilityStatus"), "STABILIZING");
        assert_eq!(made["taskSet"]["tags"], json!([{"key": "a", "value": "b"}]));

        let of = |more: serde_json::Value| {
            let mut body = json!({"cluster": "default", "service": "s", "taskSet": id});
            for (key, value) in more.as_object().unwrap() {
                body[key] = value.clone();
            }
            body
        };
        let scaled =
            world.ok("UpdateTaskSet", of(json!({"scale": {"value": 12.5, "unit": "PERCENT"}}))).await;
        assert_eq!(scaled["taskSet"]["computedDesiredCount"], json!(2));
        let body = json!({"cluster": "default", "service": "s", "primaryTaskSet": id});
        let primary = world.ok("UpdateServicePrimaryTaskSet", body).await;
        assert_eq!(text(&primary, "/taskSet/status"), "PRIMARY");
        let described = world.ok("DescribeServices", json!({"services": ["s"]})).await;
        assert_eq!(text(&described, "/services/0/taskSets/0/id"), id);
        assert!(text(&described, "/services/0/taskDefinition").ends_with("task-definition/web:1"));
        // The service's desired count moves the share.
        world.ok("UpdateService", json!({"service": "s", "desiredCount": 20})).await;
        let body = json!({"cluster": "default", "service": "s", "taskSets": [id, "ecs-svc/1"]});
        let described = world.ok("DescribeTaskSets", body).await;
        assert_eq!(described["taskSets"][0]["computedDesiredCount"], json!(3));
        assert!(described["taskSets"][0].get("tags").is_none());
        assert_eq!(text(&described, "/failures/0/reason"), "MISSING");

        assert_eq!(
            world.refused("DeleteTaskSet", of(json!({}))).await,
            "InvalidParameterException: The task set cannot be deleted while it is the primary task set."
        );
        let gone = world.ok("DeleteTaskSet", of(json!({"force": true}))).await;
        assert_eq!(text(&gone, "/taskSet/status"), "DRAINING");
        assert_eq!(gone["taskSet"]["computedDesiredCount"], json!(0));
        let refused =
            world.refused("UpdateTaskSet", of(json!({"scale": {"value": 1.0, "unit": "PERCENT"}}))).await;
        assert!(refused.starts_with("TaskSetNotFoundException"), "{refused}");
    }

    #[tokio::test]
    async fn a_service_comes_to_the_ecs_controller_with_its_task_sets() {
        let world = external().await;
        let body = json!({"cluster": "default", "service": "s", "taskDefinition": "web",
            "scale": {"value": 100.0, "unit": "PERCENT"}});
        let id = text(&world.ok("CreateTaskSet", body).await, "/taskSet/id");
        let to_ecs = json!({"service": "s", "deploymentController": {"type": "ECS"}});
        let refused = world.refused("UpdateService", to_ecs.clone()).await;
        assert!(refused.contains("taskDefinition must be specified"), "{refused}");
        let body = json!({"cluster": "default", "service": "s", "primaryTaskSet": id});
        world.ok("UpdateServicePrimaryTaskSet", body).await;
        let updated = world.ok("UpdateService", to_ecs).await["service"].clone();
        assert_eq!(updated["deploymentController"], json!({"type": "ECS"}));
        assert!(updated.get("taskSets").is_none());
        assert_eq!(updated["deployments"][0]["status"], json!("PRIMARY"));
        assert_eq!(updated["deployments"][0]["desiredCount"], json!(10));
        assert_eq!(updated["deployments"][1]["id"], json!(id));
        assert_eq!(updated["deployments"][1]["status"], json!("ACTIVE"));
        let back = json!({"service": "s", "deploymentController": {"type": "EXTERNAL"}});
        assert!(world.refused("UpdateService", back).await.starts_with("InvalidParameterException"));
    }

    #[tokio::test]
    async fn refusals_and_tokens() {
        let world = external().await;
        let body = |more: serde_json::Value| {
            let mut body = json!({"cluster": "default", "service": "s", "taskDefinition": "web"});
            for (key, value) in more.as_object().unwrap() {
                body[key] = value.clone();
            }
            body
        };
        let one = world.ok("CreateTaskSet", body(json!({"clientToken": "t"}))).await;
        let two = world.ok("CreateTaskSet", body(json!({"clientToken": "t"}))).await;
        assert_eq!(one["taskSet"]["id"], two["taskSet"]["id"]);
        assert_eq!(
            world.refused("CreateTaskSet", body(json!({"clientToken": "t", "externalId": "other"}))).await,
            "InvalidParameterException: Creation of task set was not idempotent."
        );
        for (more, code) in [
            (json!({"cluster": "ghost"}), "ClusterNotFoundException"),
            (json!({"service": "ghost"}), "ServiceNotFoundException"),
            (json!({"taskDefinition": "ghost"}), "ClientException"),
            (json!({"scale": {"value": 101.0, "unit": "PERCENT"}}), "InvalidParameterException"),
            (json!({"clientToken": "x".repeat(37)}), "InvalidParameterException"),
            (json!({"platformVersion": "1.4.0"}), "InvalidParameterException"),
            (json!({"loadBalancers": [{"targetGroupArn": "arn"}]}), "InvalidParameterException"),
            (json!({"serviceRegistries": [{"registryArn": "arn"}]}), "InvalidParameterException"),
        ] {
            let refused = world.refused("CreateTaskSet", body(more.clone())).await;
            assert!(refused.starts_with(code), "{more}: {refused}");
        }
        for _ in 1..20 {
            world.ok("CreateTaskSet", body(json!({}))).await;
        }
        let refused = world.refused("CreateTaskSet", body(json!({}))).await;
        assert!(refused.starts_with("LimitExceededException"), "{refused}");
        let rolling = json!({"serviceName": "r", "taskDefinition": "web", "desiredCount": 1});
        world.ok("CreateService", rolling).await;
        let refused = world.refused("CreateTaskSet", body(json!({"service": "r"}))).await;
        assert!(refused.starts_with("InvalidParameterException: Task sets are only supported"), "{refused}");
        world.ok("DeleteService", json!({"service": "s", "force": true})).await;
        let refused = world.refused("CreateTaskSet", body(json!({}))).await;
        assert_eq!(refused, "ServiceNotActiveException: Service was not ACTIVE.");
    }
}
