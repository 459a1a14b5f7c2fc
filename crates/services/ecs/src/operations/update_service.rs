//! Changes a service. AWS: UpdateService.
//!
//! What a member's absence and its emptiness mean follows the API reference: absent leaves what is there; an empty list
//! takes all away. A new deployment begins when the task definition, network configuration or platform version becomes
//! another one, or is forced.
//!
//! Differs from AWS: what this release cannot act on is refused, see `service_validation/unsupported`. A deployment
//! controller can be changed to ECS only; AWS does not document which ways there are. The service's task sets become
//! revisions then, and the deployment replaces them as it would any older revision.

use api::ecs::operations::UpdateService;
use api::ecs::{UpdateServiceRequest, UpdateServiceResponse};
use domain::{
    Cluster, DeploymentControllerType, LaunchType, RevisionInUse, RevisionStatus, RolloutState, Service,
    ServiceRevision, TaskDefinition, TaskSet,
};
use store::{Snapshot, Transaction, Versioned};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{
    cluster, express_ingress, express_service, service, service_deployment, service_history,
    service_revision, task_definition, task_set,
};
use crate::service_validation::availability_zone_rebalancing as rebalancing;
use crate::service_validation::placement::{self, Placement};
use crate::service_validation::workload::{self, Compute, Workload};
use crate::service_validation::{
    deployment_configuration, load_balancers, plain, service_connect, service_registries, unsupported,
};
use crate::{Ecs, faults};

impl Operation<UpdateService> for Ecs {
    fn permissions(&self, call: &Call, input: &UpdateServiceRequest) -> Vec<Permission> {
        let cluster = input.cluster.as_deref();
        let resource = service::arn_for_permission(call, cluster, input.service.as_deref());
        let permission = Permission::new("ecs:UpdateService", resource)
            .when("ecs:cluster", cluster::arn_for_permission(call, cluster));
        let definition = input
            .task_definition
            .as_deref()
            .map(|text| task_definition::arn_for_permission(&self.store.snapshot(), call, Some(text)));
        let permission = match definition {
            Some(definition) => permission.when("ecs:task-definition", definition),
            None => permission,
        };
        let roles =
            service::roles_passed(input.deployment_configuration.as_ref(), input.load_balancers.as_deref());
        std::iter::once(permission).chain(roles).collect()
    }

    async fn handle(&self, call: &Call, input: UpdateServiceRequest) -> Result<UpdateServiceResponse, Fault> {
        let cluster_name = cluster::name(call, input.cluster.as_deref())?;
        let name = service::name(call, &cluster_name, input.service.as_deref().unwrap_or_default())?;

        let _turn = service::turn(&self.store, call, &cluster_name, &name).await;
        let update = self.store.update(|snapshot| {
            let cluster = cluster::get(snapshot, &call.scope, &cluster_name)?;
            let there = service::active(snapshot, &call.scope, &cluster_name, &name)?;
            let change = Change { snapshot, call, cluster: &cluster, there: &there, input: &input };
            let mut transaction = Transaction::new();
            let mut next = change.plain()?;
            let workload = change.workload(&mut next, &mut transaction)?;
            change.rest(&mut next, workload.as_ref())?;
            next.generation = there.generation.saturating_add(1);
            let deploys = match &workload {
                Some(workload) => change.deploys(&next, workload)?,
                None => false,
            };
            if let Some(workload) = workload.filter(|_| deploys) {
                let document = change.document(&next)?;
                let mut revision = service_revision::new(&next, &workload, document)?;
                let connect =
                    change.connect(&next, &workload, &task_definition::document(&workload.definition)?)?;
                revision.connect =
                    connect.map(|wish| wish.make(self.ids.as_ref(), call.now, &next.arn(), &mut transaction));
                let begun = service_deployment::begin(self.ids.as_ref(), call.now, &next, revision)?;
                service_deployment::supersede_current(snapshot, &mut transaction, &there, call.now);
                service_history::forget_old(snapshot, &mut transaction, &begun.service);
                transaction.insert(begun.revision).insert(begun.deployment);
                next = begun.service;
            }
            for row in task_set::of_service(snapshot, &next) {
                change.rescale(&next, &row, &mut transaction);
            }
            transaction.replace(&there, next.clone());
            Ok((transaction, next))
        });
        let updated = update.await.map_err(faults::of_update)?;

        let described = service::describe(&self.store.snapshot(), &updated, true)?;
        Ok(UpdateServiceResponse { service: Some(described) })
    }
}

struct Change<'a> {
    snapshot: &'a Snapshot,
    call: &'a Call,
    cluster: &'a Cluster,
    there: &'a Versioned<Service>,
    input: &'a UpdateServiceRequest,
}

impl Change<'_> {
    /// The service with what stands for itself.
    fn plain(&self) -> Result<Service, Fault> {
        let (there, input) = (self.there, self.input);
        let scheduling = there.scheduling_strategy;
        self.check_unsupported()?;
        express_service::check_strategy(self.snapshot, self.there, input.deployment_configuration.as_ref())?;
        let mut next = Service::clone(there);
        next.deployment_controller = self.controller()?;
        self.check_controller(next.deployment_controller)?;
        if let Some(count) = plain::desired_count(input.desired_count, scheduling)? {
            next.desired_count = count;
        }
        if let Some(seconds) = plain::health_check_grace_period(input.health_check_grace_period_seconds)? {
            next.health_check_grace_period_seconds = Some(seconds);
        }
        if let Some(on) = input.enable_ecs_managed_tags {
            next.enable_ecs_managed_tags = on;
        }
        if let Some(word) = &input.propagate_tags {
            next.propagate_tags = Some(word.clone());
        }
        if let Some(given) = &input.placement_constraints {
            next.placement_constraints = placement::constraints(given);
        }
        if let Some(given) = &input.placement_strategy {
            next.placement_strategy = placement::strategies(given);
        }
        let configuration = service_deployment::configuration(&there.deployment_configuration_document)?;
        // What was set for another controller has no meaning for this one.
        let same = next.deployment_controller == there.deployment_controller;
        let configuration = deployment_configuration::check(
            input.deployment_configuration.as_ref(),
            Some(&configuration).filter(|_| same),
            next.deployment_controller,
            scheduling,
        )?;
        next.deployment_configuration_document = wire::json::to_string(&configuration);
        Ok(next)
    }

    fn check_unsupported(&self) -> Result<(), Fault> {
        let (input, scheduling) = (self.input, self.there.scheduling_strategy);
        unsupported::volumes::check(input.volume_configurations.as_deref(), scheduling)?;
        unsupported::vpc_lattice::check(input.vpc_lattice_configurations.as_deref())?;
        unsupported::gateway_connectors::check(input.gateway_connectors.as_deref())?;
        unsupported::monitoring::check(input.monitoring.as_ref())
    }

    fn controller(&self) -> Result<DeploymentControllerType, Fault> {
        let there = self.there.deployment_controller;
        let Some(given) = &self.input.deployment_controller else { return Ok(there) };
        let next = plain::deployment_controller(Some(given), self.there.scheduling_strategy)?;
        if next == there || next == DeploymentControllerType::Ecs {
            return Ok(next);
        }
        Err(faults::invalid(format!("Unable to update the deployment controller from {there} to {next}.")))
    }

    /// With another controller only what is not its own can be changed. Source: UpdateService.
    fn check_controller(&self, controller: DeploymentControllerType) -> Result<(), Fault> {
        let input = self.input;
        let trigger = match controller {
            DeploymentControllerType::Ecs => return Ok(()),
            DeploymentControllerType::CodeDeploy => "Use AWS CodeDeploy to trigger a new deployment.",
            DeploymentControllerType::External => "Use CreateTaskSet to trigger a new deployment.",
        };
        if input.force_new_deployment == Some(true) {
            return Err(faults::invalid(format!(
                "Cannot force a new deployment on services with a {controller} deployment controller. {trigger}"
            )));
        }
        let given = [
            ("task definition", input.task_definition.is_some()),
            ("network parameters", input.network_configuration.is_some()),
            ("platform version", input.platform_version.is_some()),
            ("capacity provider strategy", input.capacity_provider_strategy.is_some()),
            ("service registries", input.service_registries.as_ref().is_some_and(|items| !items.is_empty())),
            ("load balancers", input.load_balancers.as_ref().is_some_and(|items| !items.is_empty())),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((what, _)) => Err(faults::invalid(format!(
                "Unable to update {what} on services with a {controller} deployment controller. {trigger}"
            ))),
            None => Ok(()),
        }
    }

    /// What the service would run; `None` with controllers whose task sets say so. Task sets of a service that comes to
    /// the ECS controller become its revisions.
    fn workload(&self, next: &mut Service, transaction: &mut Transaction) -> Result<Option<Workload>, Fault> {
        if next.deployment_controller != DeploymentControllerType::Ecs {
            return Ok(None);
        }
        let mut base =
            service::primary_revision(self.snapshot, self.there).map(|row| ServiceRevision::clone(&row));
        if self.there.deployment_controller != DeploymentControllerType::Ecs {
            base = self.adopt(next, transaction)?;
        }
        let definition = self.definition(base.as_ref())?;
        let compute = self.compute(base.as_ref())?;
        let asked = self.input.platform_version.as_deref().or(self.there.platform_version.as_deref());
        let asked = asked
            .filter(|_| compute.launch_type == LaunchType::Fargate || self.input.platform_version.is_some());
        let own =
            base.as_ref().and_then(|base| base.awsvpc_configuration.as_ref()).map(workload::describe_network);
        let network = self.input.network_configuration.as_ref().or(own.as_ref());
        let managed = express_ingress::of_service(self.snapshot, self.there);
        let managed = managed.map(|ingress| ingress.security_group.clone());
        let network = network.map(|network| express_ingress::without_group(network, managed.as_deref()));
        let mut checked =
            workload::check(self.snapshot, self.call, definition, compute, asked, network.as_ref())?;
        if let (Some(managed), Some(network)) = (managed, &mut checked.awsvpc_configuration) {
            network.security_groups.push(managed);
        }
        next.platform_version = workload::asked_platform_version(asked, checked.compute.launch_type);
        Ok(Some(checked))
    }

    fn definition(&self, base: Option<&ServiceRevision>) -> Result<Versioned<TaskDefinition>, Fault> {
        let there = base.and_then(|base| base.task_definition.as_ref()).map(ToString::to_string);
        let text = self.input.task_definition.as_deref().or(there.as_deref());
        let reference = task_definition::parse(self.call, plain::task_definition(text)?)?;
        let (snapshot, scope) = (self.snapshot, &self.call.scope);
        if self.input.task_definition.is_none() && self.input.force_new_deployment != Some(true) {
            // A service goes on with a definition that was deregistered since.
            return task_definition::find(snapshot, scope, &reference)
                .ok_or_else(|| faults::client("TaskDefinition not found."));
        }
        task_definition::runnable(snapshot, scope, &reference)
    }

    fn compute(&self, base: Option<&ServiceRevision>) -> Result<Compute, Fault> {
        let there = base.map(|base| Compute {
            launch_type: base.launch_type,
            strategy: base.capacity_provider_strategy.clone(),
        });
        let (Some(given), Some(there)) = (&self.input.capacity_provider_strategy, &there) else {
            return match there {
                Some(there) => Ok(there),
                None => {
                    let given = self.input.capacity_provider_strategy.clone();
                    let scheduling = self.there.scheduling_strategy;
                    workload::compute(self.snapshot, self.call, self.cluster, None, given, scheduling)
                }
            };
        };
        let next = if given.is_empty() {
            Compute { launch_type: there.launch_type, strategy: Vec::new() }
        } else {
            let next = workload::of_strategy(self.snapshot, self.call, self.cluster, given.clone())?;
            workload::check_scheduling(&next, self.there.scheduling_strategy)?;
            next
        };
        if next != *there && self.input.force_new_deployment != Some(true) {
            return Err(faults::invalid(
                "When switching from launch type to capacity provider strategy on an existing service, or making a change \
                 to a capacity provider strategy on a service that is already using one, you must force a new deployment.",
            ));
        }
        Ok(next)
    }

    /// What depends on several things.
    fn rest(&self, next: &mut Service, workload: Option<&Workload>) -> Result<(), Fault> {
        let (there, input) = (self.there, self.input);
        let definition = workload.map(|workload| (&*workload.definition, workload.compute.launch_type));
        let document = definition.map(|(definition, _)| task_definition::document(definition)).transpose()?;
        unsupported::execute_command::check(input.enable_execute_command, document.as_ref())?;
        if let (Some(workload), Some(document)) = (workload, &document) {
            self.check_load_balancers(next, workload, document)?;
            self.check_registries(next, workload, document)?;
            if self.input.service_connect_configuration.is_some() {
                self.connect(next, workload, document)?;
            }
        }
        let placement = Placement {
            constraints: next.placement_constraints.clone(),
            strategies: next.placement_strategy.clone(),
        };
        placement::check(&placement, definition, there.scheduling_strategy)?;
        let configuration = service_deployment::configuration(&next.deployment_configuration_document)?;
        next.availability_zone_rebalancing = rebalancing::check(
            input.availability_zone_rebalancing.as_deref(),
            Some(there.availability_zone_rebalancing),
            rebalancing::Of {
                scheduling: there.scheduling_strategy,
                controller: next.deployment_controller,
                launch_type: definition.map(|(_, launch_type)| launch_type),
                maximum_percent: configuration.maximum_percent.unwrap_or(200),
                placement: &placement,
            },
        )?;
        Ok(())
    }

    /// Load balancers are held against what the new revision runs, given anew or not. Those that ECS manages may be yet to be
    /// made.
    fn check_load_balancers(
        &self,
        next: &Service,
        workload: &Workload,
        document: &api::ecs::TaskDefinition,
    ) -> Result<(), Fault> {
        let is_to_be_made = express_ingress::of_service(self.snapshot, self.there)
            .is_some_and(|ingress| ingress.status != domain::ManagedResourceStatus::Active);
        if is_to_be_made || self.input.load_balancers.is_none() && !self.deploys(next, workload)? {
            return Ok(());
        }
        let given = self.members(next)?.load_balancers.unwrap_or_default();
        load_balancers::check(
            self.snapshot,
            self.call,
            &given,
            load_balancers::Of {
                definition: document,
                network_mode: workload.definition.projection.network_mode,
                launch_type: workload.compute.launch_type,
                shifts_traffic: shifts_traffic(next)?,
            },
        )
    }

    /// As are service registries.
    fn check_registries(
        &self,
        next: &Service,
        workload: &Workload,
        document: &api::ecs::TaskDefinition,
    ) -> Result<(), Fault> {
        if self.input.service_registries.is_none() && !self.deploys(next, workload)? {
            return Ok(());
        }
        let given = self.members(next)?.service_registries.unwrap_or_default();
        service_registries::check(
            self.snapshot,
            self.call,
            &given,
            service_registries::Of {
                definition: document,
                network_mode: workload.definition.projection.network_mode,
                launch_type: workload.compute.launch_type,
            },
        )
    }

    /// What Service Connect is to the new revision.
    fn connect(
        &self,
        next: &Service,
        workload: &Workload,
        document: &api::ecs::TaskDefinition,
    ) -> Result<Option<service_connect::Wish>, Fault> {
        let given = self.members(next)?.service_connect_configuration;
        let of = service_connect::Of {
            cluster: self.cluster,
            service: &next.arn(),
            controller: next.deployment_controller,
            workload: Some(workload),
            definition: Some(document),
        };
        service_connect::check(self.snapshot, self.call, given.as_ref(), of)
    }

    /// Whether the workload takes a new revision.
    fn deploys(&self, next: &Service, workload: &Workload) -> Result<bool, Fault> {
        let changes = next.deployment_controller != self.there.deployment_controller;
        if changes || self.input.force_new_deployment == Some(true) {
            return Ok(true);
        }
        let Some(base) = service::primary_revision(self.snapshot, self.there) else { return Ok(true) };
        let there = without_resolved(service_revision::document(&base)?);
        Ok(base.task_definition.as_ref() != Some(&workload.definition.arn())
            || base.awsvpc_configuration != workload.awsvpc_configuration
            || base.platform_version != workload.platform_version
            || there != self.members(next)?)
    }

    /// What the revision would keep of parameters without a member of their own.
    fn members(&self, next: &Service) -> Result<api::ecs::ServiceRevision, Fault> {
        let mut members = match service::primary_revision(self.snapshot, self.there) {
            Some(base) => without_resolved(service_revision::document(&base)?),
            // Task sets that became revisions: load balancers and registries are those of the PRIMARY one.
            None => match task_set::primary(self.snapshot, self.there) {
                Some(row) if next.deployment_controller == DeploymentControllerType::Ecs => {
                    let document = task_set::document(&row)?;
                    api::ecs::ServiceRevision {
                        load_balancers: document.load_balancers,
                        service_registries: document.service_registries,
                        ..api::ecs::ServiceRevision::default()
                    }
                }
                _ => api::ecs::ServiceRevision::default(),
            },
        };
        if let Some(given) = &self.input.load_balancers {
            members.load_balancers = Some(given.clone()).filter(|given| !given.is_empty());
        }
        if let Some(given) = &self.input.service_registries {
            members.service_registries = Some(given.clone()).filter(|given| !given.is_empty());
        }
        if let Some(given) = &self.input.service_connect_configuration {
            members.service_connect_configuration = Some(given.clone());
        }
        Ok(members)
    }

    /// The same with the target groups that its tasks go to, as a row keeps it.
    fn document(&self, next: &Service) -> Result<String, Fault> {
        let mut members = self.members(next)?;
        let serving = service_revision::serving(self.snapshot, self.there)?;
        let given = members.load_balancers.as_deref().unwrap_or_default();
        members.resolved_configuration =
            load_balancers::resolve(given, shifts_traffic(next)?, serving.as_ref());
        Ok(service_revision::to_document(&members))
    }

    /// Makes a revision of each task set, under the task set's id, which its tasks go by. Gives the PRIMARY one's.
    fn adopt(
        &self,
        next: &mut Service,
        transaction: &mut Transaction,
    ) -> Result<Option<ServiceRevision>, Fault> {
        let mut base = None;
        for row in task_set::of_service(self.snapshot, self.there) {
            let revision = revision_of(&row)?;
            next.revisions.push(in_use(&row));
            if row.status == domain::TaskSetStatus::Primary {
                base = Some(revision.clone());
            }
            transaction.insert(revision);
            transaction.remove(&row);
        }
        if base.is_none() && self.input.task_definition.is_none() {
            return Err(faults::invalid(
                "taskDefinition must be specified to update the deployment controller of a service without a primary task \
                 set.",
            ));
        }
        Ok(base)
    }

    /// A task set's share of a desired count that changed.
    fn rescale(&self, next: &Service, row: &Versioned<TaskSet>, transaction: &mut Transaction) {
        let stays = next.deployment_controller == self.there.deployment_controller;
        let draining = row.status == domain::TaskSetStatus::Draining;
        let computed = task_set::computed_desired_count(next.desired_count, row.scale_hundredths_percent);
        if stays && !draining && computed != row.computed_desired_count {
            let next = TaskSet {
                computed_desired_count: computed,
                updated_at: self.call.now,
                stability_status: domain::StabilityStatus::Stabilizing,
                stability_status_at: self.call.now,
                ..TaskSet::clone(row)
            };
            transaction.replace(row, next);
        }
    }
}

fn shifts_traffic(service: &Service) -> Result<bool, Fault> {
    let configuration = service_deployment::configuration(&service.deployment_configuration_document)?;
    Ok(load_balancers::shifts_traffic(configuration.strategy.as_deref()))
}

fn without_resolved(members: api::ecs::ServiceRevision) -> api::ecs::ServiceRevision {
    api::ecs::ServiceRevision { resolved_configuration: None, ..members }
}

fn revision_of(row: &TaskSet) -> Result<ServiceRevision, Fault> {
    let document = task_set::document(row)?;
    let given = document.load_balancers;
    let members = api::ecs::ServiceRevision {
        resolved_configuration: load_balancers::resolve(given.as_deref().unwrap_or_default(), false, None),
        load_balancers: given,
        service_registries: document.service_registries,
        ..api::ecs::ServiceRevision::default()
    };
    Ok(ServiceRevision {
        scope: row.scope.clone(),
        cluster: row.cluster.clone(),
        service: row.service.clone(),
        id: row.id.clone(),
        created_at: row.created_at,
        task_definition: Some(row.task_definition.clone()),
        launch_type: row.launch_type,
        capacity_provider_strategy: row.capacity_provider_strategy.clone(),
        platform_version: row.platform_version.clone(),
        awsvpc_configuration: row.awsvpc_configuration.clone(),
        document: service_revision::to_document(&members),
        connect: None,
        container_images: Vec::new(),
    })
}

fn in_use(row: &TaskSet) -> RevisionInUse {
    RevisionInUse {
        id: row.id.clone(),
        status: RevisionStatus::Active,
        desired_count: row.computed_desired_count,
        created_at: row.created_at,
        updated_at: row.updated_at,
        rollout_state: RolloutState::Completed,
        rollout_state_reason: scheduler::deployment::completed(&row.id),
        failed_tasks: 0,
        production_weight: 0,
        test_weight: 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{World, text};

    async fn world() -> World {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        let body = json!({"serviceName": "s", "taskDefinition": "web", "desiredCount": 2});
        world.ok("CreateService", body).await;
        world
    }

    fn with(more: &Value) -> Value {
        let mut body = json!({"service": "s"});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    }

    #[tokio::test]
    async fn what_begins_a_deployment_and_what_does_not() {
        let world = world().await;
        let before = world.ok("DescribeServices", json!({"services": ["s"]})).await["services"][0].clone();
        for plain in [
            json!({"desiredCount": 4}),
            json!({"deploymentConfiguration": {"maximumPercent": 150}}),
            json!({"healthCheckGracePeriodSeconds": 30}),
            json!({"enableECSManagedTags": true, "propagateTags": "SERVICE"}),
            json!({"placementConstraints": [{"type": "distinctInstance"}]}),
            json!({"placementStrategy": [{"type": "spread", "field": "attribute:ecs.availability-zone"}]}),
            json!({"availabilityZoneRebalancing": "DISABLED"}),
            json!({"taskDefinition": "web"}),
            json!({"taskDefinition": "web:1", "loadBalancers": [], "serviceRegistries": []}),
        ] {
            let updated = world.ok("UpdateService", with(&plain)).await["service"].clone();
            assert_eq!(updated["currentServiceDeployment"], before["currentServiceDeployment"], "{plain}");
        }
        let updated = world.ok("UpdateService", with(&json!({"healthCheckGracePeriodSeconds": 60}))).await;
        let updated = &updated["service"];
        assert_eq!(updated["desiredCount"], json!(4));
        assert_eq!(updated["deploymentConfiguration"]["maximumPercent"], json!(150));
        assert_eq!(updated["healthCheckGracePeriodSeconds"], json!(60));
        assert_eq!(updated["enableECSManagedTags"], json!(true));
        assert_eq!(updated["propagateTags"], json!("SERVICE"));
        assert_eq!(updated["placementConstraints"], json!([{"type": "distinctInstance"}]));
        assert_eq!(updated["availabilityZoneRebalancing"], json!("DISABLED"));

        world.register("web").await;
        for begins in [json!({"taskDefinition": "web"}), json!({"forceNewDeployment": true})] {
            let before =
                world.ok("DescribeServices", json!({"services": ["s"]})).await["services"][0].clone();
            let updated = world.ok("UpdateService", with(&begins)).await["service"].clone();
            assert_ne!(updated["currentServiceDeployment"], before["currentServiceDeployment"], "{begins}");
            assert_eq!(text(&updated, "/deployments/0/status"), "PRIMARY");
            assert_eq!(text(&updated, "/deployments/1/status"), "ACTIVE");
            assert_eq!(updated["deployments"][1]["id"], before["deployments"][0]["id"]);
            assert_eq!(updated["deployments"][0]["desiredCount"], json!(4));
            assert!(text(&updated, "/deployments/0/taskDefinition").ends_with("/web:2"));
            let old = before["currentServiceDeployment"].clone();
            let old = world.ok("DescribeServiceDeployments", json!({"serviceDeploymentArns": [old]})).await;
            assert_eq!(text(&old, "/serviceDeployments/0/status"), "STOPPED");
        }
    }

    #[tokio::test]
    async fn empty_takes_away_and_absent_leaves() {
        let world = world().await;
        let set = json!({"placementConstraints": [{"type": "distinctInstance"}],
            "placementStrategy": [{"type": "binpack", "field": "memory"}],
            "availabilityZoneRebalancing": "DISABLED",
            "deploymentConfiguration": {"lifecycleHooks": [{"targetType": "PAUSE", "lifecycleStages": ["PRE_SCALE_UP"]}]}});
        world.ok("UpdateService", with(&set)).await;
        let kept = world.ok("UpdateService", with(&json!({}))).await["service"].clone();
        assert_eq!(kept["placementConstraints"].as_array().unwrap().len(), 1);
        assert_eq!(kept["placementStrategy"], json!([{"type": "binpack", "field": "memory"}]));
        assert_eq!(kept["deploymentConfiguration"]["lifecycleHooks"].as_array().unwrap().len(), 1);
        let empty = json!({"placementConstraints": [], "placementStrategy": [{}],
            "deploymentConfiguration": {"lifecycleHooks": []}});
        let emptied = world.ok("UpdateService", with(&empty)).await["service"].clone();
        assert_eq!(emptied["placementConstraints"], json!([]));
        assert_eq!(emptied["placementStrategy"], json!([]));
        assert_eq!(emptied["deploymentConfiguration"]["lifecycleHooks"], json!([]));
    }

    #[tokio::test]
    async fn another_strategy_runs_both_sides() {
        let world = world().await;
        let body = json!({"deploymentConfiguration": {"strategy": "CANARY"}, "forceNewDeployment": true});
        let updated = world.ok("UpdateService", with(&body)).await["service"].clone();
        assert_eq!(updated["deploymentConfiguration"]["canaryConfiguration"]["canaryPercent"], json!(5.0));
        assert_eq!(updated["deployments"][0]["desiredCount"], json!(0));
        assert_eq!(updated["deployments"][1]["desiredCount"], json!(2));
        let arn = updated["currentServiceDeployment"].clone();
        let described = world.ok("DescribeServiceDeployments", json!({"serviceDeploymentArns": [arn]})).await;
        let sources =
            described["serviceDeployments"][0]["sourceServiceRevisions"].as_array().unwrap().clone();
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0]["requestedTaskCount"], json!(2));
    }

    #[tokio::test]
    async fn the_past_has_a_bound() {
        use crate::resources::service_history::DEPLOYMENTS_KEPT;
        let world = world().await;
        for _ in 0..DEPLOYMENTS_KEPT + 5 {
            world.ok("UpdateService", with(&json!({"forceNewDeployment": true}))).await;
        }
        let scope = crate::testing::scope();
        let snapshot = world.store.snapshot();
        let of_service = || store::rows_service::of_service(&scope, "default", "s");
        let deployments: Vec<_> = snapshot.scan::<domain::ServiceDeployment>(of_service(), None).collect();
        assert_eq!(deployments.len(), DEPLOYMENTS_KEPT + 1, "the newest, and the one that was just begun");
        for deployment in deployments {
            let key = store::rows_service::service_revision_key(
                &scope,
                "default",
                "s",
                &deployment.target_revision,
            );
            assert!(snapshot.get::<domain::ServiceRevision>(&key).is_some(), "its revision is there");
        }
    }

    #[tokio::test]
    async fn a_network_can_change_with_its_definition() {
        let world = World::with_fargate().await;
        let vpc =
            store::rows_vpc::find_default_vpc(&world.store.snapshot(), &crate::testing::scope()).unwrap();
        let on = |index: usize| json!({"awsvpcConfiguration": {"subnets": [vpc.subnets[index].id]}});
        let body = json!({"serviceName": "s", "taskDefinition": "fargate", "desiredCount": 1,
            "launchType": "FARGATE", "networkConfiguration": on(0)});
        let made = world.ok("CreateService", body).await["service"].clone();
        let same = world.ok("UpdateService", with(&json!({"networkConfiguration": on(0)}))).await;
        assert_eq!(same["service"]["currentServiceDeployment"], made["currentServiceDeployment"]);
        let same = world.ok("UpdateService", with(&json!({"platformVersion": "1.4.0"}))).await;
        assert_eq!(same["service"]["platformVersion"], json!("1.4.0"));
        let public =
            json!({"awsvpcConfiguration": {"subnets": [vpc.subnets[0].id], "assignPublicIp": "ENABLED"}});
        let other = world.ok("UpdateService", with(&json!({"networkConfiguration": public}))).await;
        assert_ne!(other["service"]["currentServiceDeployment"], made["currentServiceDeployment"]);
        let bad = json!({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0"]}}});
        assert!(world.refused("UpdateService", with(&bad)).await.starts_with("InvalidParameterException"));
        let none = json!({"networkConfiguration": {}});
        assert!(world.refused("UpdateService", with(&none)).await.starts_with("InvalidParameterException"));

        let providers = json!({"cluster": "default", "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
            "defaultCapacityProviderStrategy": []});
        world.ok("PutClusterCapacityProviders", providers).await;
        let spot = json!({"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]});
        let refused = world.refused("UpdateService", with(&spot)).await;
        assert!(refused.ends_with("you must force a new deployment."), "{refused}");
        let mut forced = with(&spot);
        forced["forceNewDeployment"] = json!(true);
        let updated = world.ok("UpdateService", forced).await["service"].clone();
        assert!(updated.get("launchType").is_none());
        assert_eq!(updated["capacityProviderStrategy"][0]["capacityProvider"], json!("FARGATE_SPOT"));
        let back = with(&json!({"capacityProviderStrategy": [], "forceNewDeployment": true}));
        let updated = world.ok("UpdateService", back).await["service"].clone();
        assert_eq!(updated["launchType"], json!("FARGATE"));
    }

    #[tokio::test]
    async fn what_is_refused() {
        let world = world().await;
        for (more, refusal) in [
            (json!({"cluster": "ghost"}), "ClusterNotFoundException: Cluster not found."),
            (json!({"service": "ghost"}), "ServiceNotFoundException: Service not found."),
            (json!({"service": ""}), "InvalidParameterException: Service can not be blank."),
            (
                json!({"service": "arn:aws:ecs:us-east-1:000000000000:service/other/s"}),
                "InvalidParameterException: Invalid identifier: Identifier is for cluster other. Your cluster is default",
            ),
            (json!({"taskDefinition": "ghost"}), "ClientException: TaskDefinition not found."),
            (json!({"desiredCount": -1}), "InvalidParameterException: Task count can not be lesser than 0"),
            (
                json!({"platformVersion": "LATEST"}),
                "InvalidParameterException: The platform version must be null",
            ),
            (
                json!({"loadBalancers": [{"targetGroupArn": "arn"}]}),
                "InvalidParameterException: The target group with targetGroupArn arn does not exist.",
            ),
            (json!({"enableExecuteCommand": true}), "InvalidParameterException: The service couldn't"),
            (
                json!({"serviceConnectConfiguration": {"enabled": true, "namespace": "n"}}),
                "NamespaceNotFoundException",
            ),
            (
                json!({"deploymentController": {"type": "EXTERNAL"}}),
                "InvalidParameterException: Unable to update the deployment controller from ECS to EXTERNAL.",
            ),
            (
                json!({"placementStrategy": [{"type": "random"}]}),
                "InvalidParameterException: Availability Zone rebalancing is not supported",
            ),
            (
                json!({"deploymentConfiguration": {"maximumPercent": 100}}),
                "InvalidParameterException: Both maximumPercent",
            ),
        ] {
            let refused = world.refused("UpdateService", with(&more)).await;
            assert!(refused.starts_with(refusal), "{more}: {refused}");
        }
        world.ok("DeregisterTaskDefinition", json!({"taskDefinition": "web:1"})).await;
        world.ok("UpdateService", with(&json!({"desiredCount": 3}))).await;
        let forced = world.refused("UpdateService", with(&json!({"forceNewDeployment": true}))).await;
        assert_eq!(forced, "ClientException: TaskDefinition is inactive");
        world.ok("DeleteService", json!({"service": "s", "force": true})).await;
        assert_eq!(
            world.refused("UpdateService", with(&json!({"desiredCount": 1}))).await,
            "ServiceNotActiveException: Service was not ACTIVE."
        );
    }

    #[tokio::test]
    async fn another_controller_has_its_own_words() {
        let world = world().await;
        let body = json!({"serviceName": "e", "deploymentController": {"type": "EXTERNAL"}});
        world.ok("CreateService", body).await;
        for (more, refusal) in [
            (
                json!({"forceNewDeployment": true}),
                "Cannot force a new deployment on services with a EXTERNAL",
            ),
            (
                json!({"taskDefinition": "web"}),
                "Unable to update task definition on services with a EXTERNAL",
            ),
            (
                json!({"networkConfiguration": {}}),
                "Unable to update network parameters on services with a EXTERNAL",
            ),
            (
                json!({"platformVersion": "LATEST"}),
                "Unable to update platform version on services with a EXTERNAL",
            ),
        ] {
            let mut body = more.clone();
            body["service"] = json!("e");
            let refused = world.refused("UpdateService", body).await;
            assert!(
                refused.starts_with(&format!("InvalidParameterException: {refusal}")),
                "{more}: {refused}"
            );
        }
        world.ok("UpdateService", json!({"service": "e", "desiredCount": 7})).await;
    }

    #[tokio::test]
    async fn many_at_once_all_count() {
        let world = std::sync::Arc::new(world().await);
        let one = |number: usize| {
            let world = world.clone();
            async move {
                let more = match number % 4 {
                    0 => json!({"forceNewDeployment": true}),
                    1 => json!({"desiredCount": number}),
                    2 => json!({"healthCheckGracePeriodSeconds": number}),
                    _ => json!({"deploymentConfiguration": {"maximumPercent": 200 + number}}),
                };
                world.ok("UpdateService", with(&more)).await
            }
        };
        let calls: Vec<_> = (0..96).map(|number| tokio::spawn(one(number))).collect();
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.unwrap());
        }
        let scope = crate::testing::scope();
        let there = crate::resources::service::find(&world.store.snapshot(), &scope, "default", "s").unwrap();
        assert_eq!(there.generation, 97, "each call was one change");
        assert_eq!(there.revisions.len(), 25, "each forced deployment has its revision");
        let primaries = there.revisions.iter().filter(|row| row.status == domain::RevisionStatus::Primary);
        assert_eq!(primaries.count(), 1);
        let open = world.ok("ListServiceDeployments", json!({"service": "s", "status": ["PENDING"]})).await;
        assert_eq!(open["serviceDeployments"].as_array().unwrap().len(), 1);
        // No call's answer was undone by another: the last value of each field is one that was asked for.
        assert_eq!(there.desired_count % 4, 1);
        assert_eq!(there.health_check_grace_period_seconds.unwrap() % 4, 2);
    }
}
