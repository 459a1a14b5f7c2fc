//! Makes an Express service: a task definition, a service on Fargate, and the wish for an endpoint, which `control` makes before
//! the service's tasks start. AWS: CreateExpressGatewayService.
//!
//! Differs from AWS: see [`crate::resources::express_service`]. The task definition is written first: a crash then leaves one
//! that nobody uses.

use api::ecs::operations::{CreateExpressGatewayService, RegisterTaskDefinition};
use api::ecs::{
    CreateExpressGatewayServiceRequest, CreateExpressGatewayServiceResponse, CreateServiceRequest,
    ExpressGatewayServiceConfiguration, Tag,
};
use domain::{ExpressService, ServiceStatus};
use store::rows_vpc::{ensure_default_vpc, find_default_vpc};
use store::{Snapshot, Transaction};
use wire::{Call, Fault, Operation, Permission};

use super::create_service::Managed;
use crate::resources::express_ingress::Network;
use crate::resources::express_service::{self, Asked, Reference};
use crate::resources::{cluster, express_ingress, service, tag};
use crate::service_validation::plain;
use crate::{Ecs, faults, launch};

/// Security groups that a caller may give: a task has five, and one of them lets the load balancer in. Source:
/// AwsVpcConfiguration.
const SECURITY_GROUPS: usize = 4;

impl Operation<CreateExpressGatewayService> for Ecs {
    fn permissions(&self, call: &Call, input: &CreateExpressGatewayServiceRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        let (of_cluster, name) = (input.cluster.as_deref(), input.service_name.as_deref());
        let resource = service::arn_for_permission(call, of_cluster, name);
        let mut permissions =
            vec![Permission::new("ecs:CreateExpressGatewayService", resource).when("ecs:cluster", cluster)];
        let roles = [&input.execution_role_arn, &input.infrastructure_role_arn, &input.task_role_arn];
        permissions.extend(roles.into_iter().flatten().map(|role| Permission::new("iam:PassRole", role)));
        permissions
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateExpressGatewayServiceRequest,
    ) -> Result<CreateExpressGatewayServiceResponse, Fault> {
        let cluster = cluster::name(call, input.cluster.as_deref())?;
        let role = input.infrastructure_role_arn.clone().unwrap_or_default();
        launch::check_role("infrastructureRoleArn", &role)
            .map_err(|fault| faults::invalid(fault.message()))?;
        tag::parse(input.tags.clone())?;
        cluster::get(&self.store.snapshot(), &call.scope, &cluster)?;
        let given = input.network_configuration.as_ref().and_then(|network| network.subnets.as_ref());
        if given.is_none_or(Vec::is_empty) {
            // As at its first use by EC2: the account's default VPC is made in this region.
            ensure_default_vpc(&self.store, &call.scope, &self.config.vpc_networks, &*self.ids)
                .await
                .map_err(|error| faults::client(format!("There is no default VPC: {error}")))?;
        }
        let snapshot = self.store.snapshot();
        let configuration =
            express_service::configure(ExpressGatewayServiceConfiguration::default(), asked(&input), || {
                default_subnets(&snapshot, call)
            })?;
        let network = network_of(&snapshot, call, &configuration)?;
        let name = match input.service_name.as_deref() {
            Some(name) => plain::name(Some(name))?,
            None => made_up_name(&configuration, &self.ids.hex(8)),
        };
        let reference = Reference { cluster, name };
        let there = service::find(&snapshot, &call.scope, &reference.cluster, &reference.name);
        if there.is_some_and(|there| there.status != ServiceStatus::Inactive) {
            return Err(faults::invalid("Creation of service was not idempotent."));
        }

        let configuration = self.with_task_definition(call, &reference, configuration).await?;
        let target = express_service::target(&self.store.snapshot(), call, &configuration)?;
        let made = service_request(&reference, &configuration, &network, input.tags);
        let document = wire::json::to_string(&configuration);
        let with = |snapshot: &Snapshot, transaction: &mut Transaction, request: CreateServiceRequest| {
            let (ingress, load_balancer) =
                express_ingress::place(snapshot, transaction, call, &*self.ids, &reference, &network);
            transaction.put(ExpressService {
                scope: call.scope.clone(),
                cluster: reference.cluster.clone(),
                service: reference.name.clone(),
                infrastructure_role_arn: role.clone(),
                configuration_document: document.clone(),
                created_at: call.now,
                updated_at: call.now,
                older: Vec::new(),
                ingress: Some(express_ingress::reference(&ingress)),
            });
            let target = (target.0.as_str(), target.1);
            let load_balancers = express_ingress::load_balancers(&ingress, &load_balancer, target, &role);
            let request = CreateServiceRequest { load_balancers: Some(load_balancers), ..request };
            Managed { request, security_group: ingress.security_group }
        };
        self.create_service(call, made, Some(&with)).await?;

        let snapshot = self.store.snapshot();
        let (row, service) = express_service::find(&snapshot, call, &reference)
            .ok_or_else(|| Fault::server("an Express service that is gone at once"))?;
        Ok(CreateExpressGatewayServiceResponse {
            service: Some(express_service::describe(&snapshot, &row, &service, true)?),
        })
    }
}

impl Ecs {
    /// The configuration with the task definition that runs it: the caller's, or one that is registered for it.
    pub(super) async fn with_task_definition(
        &self,
        call: &Call,
        reference: &Reference,
        mut configuration: ExpressGatewayServiceConfiguration,
    ) -> Result<ExpressGatewayServiceConfiguration, Fault> {
        if configuration.primary_container.is_some() {
            let request = express_service::task_definition(call, reference, &configuration);
            let registered = Operation::<RegisterTaskDefinition>::handle(self, call, request).await?;
            let definition = registered.task_definition.unwrap_or_default();
            configuration.task_definition_arn = definition.task_definition_arn;
        }
        Ok(configuration)
    }
}

fn asked(input: &CreateExpressGatewayServiceRequest) -> Asked {
    let input = input.clone();
    Asked {
        cpu: input.cpu,
        cpu_architecture: input.cpu_architecture,
        execution_role_arn: input.execution_role_arn,
        health_check_path: input.health_check_path,
        memory: input.memory,
        network_configuration: input.network_configuration,
        primary_container: input.primary_container,
        scaling_target: input.scaling_target,
        task_definition_arn: input.task_definition_arn,
        task_role_arn: input.task_role_arn,
    }
}

/// Where the service's tasks and its load balancer are.
pub(super) fn network_of(
    snapshot: &Snapshot,
    call: &Call,
    configuration: &ExpressGatewayServiceConfiguration,
) -> Result<Network, Fault> {
    let network = configuration.network_configuration.clone().unwrap_or_default();
    if network.security_groups.as_ref().is_some_and(|groups| groups.len() > SECURITY_GROUPS) {
        return Err(faults::invalid(format!("securityGroups can have at most {SECURITY_GROUPS} items.")));
    }
    Network::of(snapshot, &call.scope, &network.subnets.unwrap_or_default())
}

/// The subnets of the default VPC.
pub fn default_subnets(snapshot: &Snapshot, call: &Call) -> Vec<String> {
    let vpc = find_default_vpc(snapshot, &call.scope);
    vpc.iter().flat_map(|vpc| &vpc.subnets).map(|subnet| subnet.id.clone()).collect()
}

/// The image's last name, and something that tells it from others.
fn made_up_name(configuration: &ExpressGatewayServiceConfiguration, suffix: &str) -> String {
    let image = configuration.primary_container.as_ref().and_then(|container| container.image.as_deref());
    let last = image.unwrap_or("express").rsplit('/').next().unwrap_or_default();
    let name = last.split([':', '@']).next().unwrap_or_default();
    let kept: String =
        name.chars().filter(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_')).take(200).collect();
    format!("{}-{suffix}", if kept.is_empty() { "express" } else { &kept })
}

fn service_request(
    reference: &Reference,
    configuration: &ExpressGatewayServiceConfiguration,
    network: &Network,
    tags: Option<Vec<Tag>>,
) -> CreateServiceRequest {
    CreateServiceRequest {
        cluster: Some(reference.cluster.clone()),
        service_name: Some(reference.name.clone()),
        task_definition: configuration.task_definition_arn.clone(),
        desired_count: Some(express_service::desired_count(configuration)),
        launch_type: Some("FARGATE".to_owned()),
        network_configuration: Some(express_service::network(configuration, network.is_public)),
        deployment_configuration: Some(express_service::deployment_configuration()),
        enable_ecs_managed_tags: Some(true),
        propagate_tags: Some("SERVICE".to_owned()),
        tags,
        ..CreateServiceRequest::default()
    }
}

#[cfg(test)]
pub mod tests {
    use serde_json::{Value, json};

    use crate::testing::{World, text};

    /// The plain request, with `change` merged into it.
    pub fn request(change: Value) -> Value {
        let mut body = json!({
            "serviceName": "shop",
            "executionRoleArn": "arn:aws:iam::000000000000:role/execution",
            "infrastructureRoleArn": "arn:aws:iam::000000000000:role/infrastructure",
            "primaryContainer": {"image": "registry.example/shop:1"},
        });
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    }

    #[tokio::test]
    async fn is_a_task_definition_a_service_and_an_endpoint() {
        let world = World::with_fargate().await;
        let scaling = json!({"minTaskCount": 2, "maxTaskCount": 4});
        let made = world.ok("CreateExpressGatewayService", request(json!({"scalingTarget": scaling}))).await;
        let made = &made["service"];
        let arn = text(made, "/serviceArn");
        assert_eq!(arn, "arn:aws:ecs:us-east-1:000000000000:service/default/shop");
        assert_eq!(text(made, "/status/statusCode"), "ACTIVE");
        assert_eq!(made["status"], json!({"statusCode": "ACTIVE"}));
        let active = &made["activeConfigurations"][0];
        let endpoint = text(active, "/ingressPaths/0/endpoint");
        assert!(endpoint.starts_with("sh-") && endpoint.ends_with(".ecs.us-east-1.on.aws"), "{endpoint}");
        assert_eq!(active["ingressPaths"], json!([{"accessType": "PUBLIC", "endpoint": endpoint}]));
        assert_eq!((&active["cpu"], &active["memory"]), (&json!("1024"), &json!("2048")));
        assert_eq!(
            active["scalingTarget"],
            json!({"autoScalingMetric": "AVERAGE_CPU", "autoScalingTargetValue": 60, "minTaskCount": 2, "maxTaskCount": 4})
        );
        let services = world.ok("DescribeServices", json!({"services": ["shop"]})).await;
        let service = &services["services"][0];
        assert_eq!((&service["desiredCount"], &service["launchType"]), (&json!(2), &json!("FARGATE")));
        assert_eq!(service["taskDefinition"], active["taskDefinitionArn"]);
        let configuration = &service["deploymentConfiguration"];
        assert_eq!(
            (&configuration["strategy"], &configuration["canaryConfiguration"]),
            (&json!("CANARY"), &json!({"canaryPercent": 5.0, "canaryBakeTimeInMinutes": 3}))
        );
        let shown = world.ok("DescribeTaskDefinition", json!({"taskDefinition": "default-shop"})).await;
        let container = &shown["taskDefinition"]["containerDefinitions"][0];
        assert_eq!(
            (&container["name"], &container["portMappings"][0]["containerPort"]),
            (&json!("Main"), &json!(80))
        );
        assert_eq!(container["logConfiguration"]["options"]["awslogs-group"], "/aws/ecs/default/shop");
    }

    /// The rows of the load balancers that are wished for, and their paths.
    fn wishes(world: &World) -> (Vec<domain::ExpressLoadBalancer>, Vec<domain::ExpressIngress>) {
        let snapshot = world.store.snapshot();
        let everything = store::Prefix::everything;
        let load_balancers = snapshot.scan::<domain::ExpressLoadBalancer>(everything(), None);
        let paths = snapshot.scan::<domain::ExpressIngress>(everything(), None);
        (
            load_balancers.map(|row| domain::ExpressLoadBalancer::clone(&row)).collect(),
            paths.map(|row| domain::ExpressIngress::clone(&row)).collect(),
        )
    }

    #[tokio::test]
    async fn twenty_five_services_share_a_load_balancer() {
        let world = World::with_fargate().await;
        for number in 0..25 {
            world
                .ok("CreateExpressGatewayService", request(json!({"serviceName": format!("s{number}")})))
                .await;
        }
        let (load_balancers, paths) = wishes(&world);
        assert_eq!((load_balancers.len(), paths.len()), (1, 25));
        assert_eq!((load_balancers[0].endpoints.len(), load_balancers[0].subnets.len()), (25, 3));
        let priorities: std::collections::BTreeSet<u32> = paths.iter().map(|path| path.priority).collect();
        assert_eq!(priorities, (1..=25).collect());
        world.ok("CreateExpressGatewayService", request(json!({"serviceName": "one-more"}))).await;
        let (mut load_balancers, _) = wishes(&world);
        load_balancers.sort_by_key(|row| row.endpoints.len());
        assert_eq!(load_balancers.iter().map(|row| row.endpoints.len()).collect::<Vec<_>>(), [1, 25]);
        for row in &load_balancers {
            assert_eq!((row.scheme.as_str(), row.name.len()), ("internet-facing", 32), "{}", row.name);
        }
    }

    #[tokio::test]
    async fn the_service_is_behind_what_is_yet_to_be_made() {
        let world = World::with_fargate().await;
        world.ok("CreateExpressGatewayService", request(json!({}))).await;
        let (load_balancers, paths) = wishes(&world);
        let (load_balancer, path) = (&load_balancers[0], &paths[0]);
        let service =
            world.ok("DescribeServices", json!({"services": ["shop"]})).await["services"][0].clone();
        let [first, second] = path.target_group_arns();
        assert_eq!(
            service["loadBalancers"],
            json!([{
                "targetGroupArn": first.as_str(), "containerName": "Main", "containerPort": 80,
                "advancedConfiguration": {
                    "alternateTargetGroupArn": second.as_str(),
                    "productionListenerRule": load_balancer.rule_arn(&path.rule).as_str(),
                    "roleArn": "arn:aws:iam::000000000000:role/infrastructure",
                },
            }])
        );
        let network = &service["networkConfiguration"]["awsvpcConfiguration"];
        assert_eq!(network["securityGroups"], json!([path.security_group]));
        assert_eq!(network["assignPublicIp"], "ENABLED");
        let arns = json!({"serviceRevisionArns": [service["currentServiceRevisions"][0]["arn"]]});
        let revision = world.ok("DescribeServiceRevisions", arns).await["serviceRevisions"][0].clone();
        let managed = &revision["ecsManagedResources"];
        let shown = &managed["ingressPaths"][0];
        assert_eq!((&shown["endpoint"], &shown["accessType"]), (&json!(path.endpoint), &json!("PUBLIC")));
        assert_eq!(text(shown, "/loadBalancer/arn"), load_balancer.load_balancer_arn().as_str());
        assert_eq!(text(shown, "/loadBalancer/status"), "PROVISIONING");
        assert_eq!(text(shown, "/certificate/domainName"), path.endpoint);
        assert_eq!(text(managed, "/logGroups/0/logGroupName"), "/aws/ecs/default/shop");
    }

    #[tokio::test]
    async fn private_subnets_make_it_private() {
        let world = World::with_fargate().await;
        let snapshot = world.store.snapshot();
        let mut transaction = store::Transaction::new();
        for table in snapshot.scan::<domain::RouteTable>(store::Prefix::everything(), None) {
            let row = domain::RouteTable { routes: Vec::new(), ..domain::RouteTable::clone(&table) };
            transaction.put(row);
        }
        world.store.transact(transaction).await.unwrap();
        let made = world.ok("CreateExpressGatewayService", request(json!({}))).await;
        assert_eq!(text(&made, "/service/activeConfigurations/0/ingressPaths/0/accessType"), "PRIVATE");
        assert_eq!(wishes(&world).0[0].scheme, "internal");
        let services = world.ok("DescribeServices", json!({"services": ["shop"]})).await;
        let network = &services["services"][0]["networkConfiguration"]["awsvpcConfiguration"];
        assert_eq!(network["assignPublicIp"], "DISABLED");
        let one_zone =
            json!({"serviceName": "two", "networkConfiguration": {"subnets": [network["subnets"][0]]}});
        assert_eq!(
            world.refused("CreateExpressGatewayService", request(one_zone)).await,
            "InvalidParameterException: At least two subnets in two different Availability Zones must be specified."
        );
    }

    #[tokio::test]
    async fn without_a_network_there_is_no_default_vpc() {
        let world = World::with_cluster().await;
        let refused = world.refused("CreateExpressGatewayService", request(json!({}))).await;
        assert!(refused.starts_with("ClientException: There is no default VPC"), "{refused}");
    }

    #[tokio::test]
    async fn what_is_refused() {
        let world = World::with_fargate().await;
        world.ok("CreateExpressGatewayService", request(json!({}))).await;
        for (change, wanted) in [
            (json!({}), "InvalidParameterException: Creation of service was not idempotent."),
            (json!({"cluster": "ghost"}), "ClusterNotFoundException: Cluster not found."),
            (
                json!({"serviceName": "two", "executionRoleArn": null}),
                "InvalidParameterException: executionRoleArn must be specified.",
            ),
            (
                json!({"serviceName": "two", "primaryContainer": null}),
                "InvalidParameterException: One of primaryContainer and taskDefinitionArn must be specified.",
            ),
            (
                json!({"serviceName": "two", "taskDefinitionArn": "fargate"}),
                "InvalidParameterException: primaryContainer cannot be specified with taskDefinitionArn.",
            ),
            (
                json!({"serviceName": "two", "primaryContainer": {"image": "i", "secrets": [{"name": "A", "valueFrom": "b"}]}}),
                "ClientException: containerDefinitions.secrets is not supported by this release of Roadstead.",
            ),
        ] {
            assert_eq!(
                world.refused("CreateExpressGatewayService", request(change.clone())).await,
                wanted,
                "{change}"
            );
        }
        for change in [
            json!({"serviceName": "a b"}),
            json!({"serviceName": "two", "infrastructureRoleArn": "arn:aws:s3:::x"}),
            json!({"serviceName": "two", "cpu": "17"}),
            json!({"serviceName": "two", "healthCheckPath": "ping"}),
            json!({"serviceName": "two", "primaryContainer": {"image": "i", "containerPort": 0}}),
            json!({"serviceName": "two", "scalingTarget": {"minTaskCount": 3, "maxTaskCount": 2}}),
            json!({"serviceName": "two", "scalingTarget": {"autoScalingTargetValue": 101}}),
            json!({"serviceName": "two", "networkConfiguration": {"subnets": ["subnet-x"]}}),
            json!({"serviceName": "two", "tags": [{"key": "aws:x", "value": "y"}]}),
        ] {
            world.refused("CreateExpressGatewayService", request(change)).await;
        }
        let listed = world.ok("ListServices", json!({})).await;
        assert_eq!(listed["serviceArns"].as_array().unwrap().len(), 1, "what is refused leaves no service");
    }
}
