//! Changes an Express service by a new revision, to which traffic shifts: 5 % for three minutes, then all of it. AWS:
//! UpdateExpressGatewayService. What the call leaves out stays as it was.
//!
//! Differs from AWS: see [`crate::resources::express_service`].

use api::ecs::operations::{UpdateExpressGatewayService, UpdateService};
use api::ecs::{
    ExpressGatewayServiceConfiguration, UpdateExpressGatewayServiceRequest,
    UpdateExpressGatewayServiceResponse, UpdateServiceRequest, UpdatedExpressGatewayService,
};
use store::Transaction;
use store::rows_gateway::express_ingress_of;
use wire::{Call, Fault, Operation, Permission};

use super::create_express_gateway_service::{default_subnets, network_of};
use crate::resources::express_ingress;
use crate::resources::express_service::{self, Asked};
use crate::{Ecs, faults};

impl Operation<UpdateExpressGatewayService> for Ecs {
    fn permissions(&self, call: &Call, input: &UpdateExpressGatewayServiceRequest) -> Vec<Permission> {
        let resource = express_service::arn_for_permission(call, input.service_arn.as_deref());
        let mut permissions = vec![Permission::new("ecs:UpdateExpressGatewayService", resource)];
        let roles = [&input.execution_role_arn, &input.task_role_arn];
        permissions.extend(roles.into_iter().flatten().map(|role| Permission::new("iam:PassRole", role)));
        permissions
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdateExpressGatewayServiceRequest,
    ) -> Result<UpdateExpressGatewayServiceResponse, Fault> {
        let reference = express_service::parse(call, input.service_arn.as_deref())?;
        let snapshot = self.store.snapshot();
        let (row, service) = express_service::active(&snapshot, call, &reference)?;
        let before = express_service::current(&row, &service)?;
        let (ingress, load_balancer) = express_ingress_of(&snapshot, &row)
            .ok_or_else(|| faults::invalid("The service has no load balancer."))?;
        let next =
            express_service::configure(before.clone(), asked(input), || default_subnets(&snapshot, call))?;

        let network = network_of(&snapshot, call, &next)?;
        network.check_fits(&load_balancer)?;

        // What leaves the tasks as they are takes no deployment.
        let next = if express_service::runs_the_same(&before, &next) {
            ExpressGatewayServiceConfiguration { task_definition_arn: before.task_definition_arn, ..next }
        } else {
            self.with_task_definition(call, &reference, next).await?
        };
        let (container, port) = express_service::target(&self.store.snapshot(), call, &next)?;
        let role = &row.infrastructure_role_arn;
        let behind =
            express_ingress::load_balancers(&ingress, &load_balancer, (container.as_str(), port), role);
        let change = UpdateServiceRequest {
            cluster: Some(reference.cluster.clone()),
            service: Some(reference.name.clone()),
            task_definition: next.task_definition_arn.clone(),
            desired_count: Some(express_service::desired_count(&next)),
            network_configuration: Some(express_service::network(&next, network.is_public)),
            load_balancers: Some(behind),
            ..UpdateServiceRequest::default()
        };
        let primary = service.primary().map(|revision| revision.id.clone());
        Operation::<UpdateService>::handle(self, call, change).await?;
        let document = wire::json::to_string(&next);
        let update = self.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            if let Some((row, service)) = express_service::find(snapshot, call, &reference) {
                let document = document.clone();
                let next = express_service::updated(&row, primary.as_deref(), &service, document, call.now);
                transaction.replace(&row, next);
            }
            Ok::<_, Fault>((transaction, ()))
        });
        update.await.map_err(faults::of_update)?;

        let snapshot = self.store.snapshot();
        let (row, service) = express_service::find(&snapshot, call, &reference)
            .ok_or_else(|| Fault::server("an Express service that is gone at once"))?;
        Ok(UpdateExpressGatewayServiceResponse {
            service: Some(UpdatedExpressGatewayService {
                cluster: Some(row.cluster.clone()),
                created_at: Some(row.created_at),
                service_arn: Some(service.arn().to_string()),
                service_name: Some(row.service.clone()),
                status: Some(express_service::describe_status(&snapshot, &row, &service)),
                target_configuration: Some(express_service::describe_configuration(
                    &snapshot, &row, &service,
                )?),
                updated_at: Some(row.updated_at),
            }),
        })
    }
}

fn asked(input: UpdateExpressGatewayServiceRequest) -> Asked {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_express_gateway_service::tests::request;
    use crate::testing::{World, text};

    #[tokio::test]
    async fn absent_members_stay() {
        let world = World::with_fargate().await;
        let made =
            world.ok("CreateExpressGatewayService", request(json!({"cpu": "512", "memory": "1024"}))).await;
        let arn = text(&made, "/service/serviceArn");
        let container = json!({"image": "registry.example/shop:2", "containerPort": 8080});
        let body =
            json!({"serviceArn": arn, "primaryContainer": container, "scalingTarget": {"minTaskCount": 3}});
        let answer = world.ok("UpdateExpressGatewayService", body).await;
        let target = &answer["service"]["targetConfiguration"];
        assert_eq!((&target["cpu"], &target["scalingTarget"]["minTaskCount"]), (&json!("512"), &json!(3)));
        assert!(text(target, "/taskDefinitionArn").ends_with("default-shop:2"));
        assert_ne!(
            target["serviceRevisionArn"],
            made["service"]["activeConfigurations"][0]["serviceRevisionArn"]
        );
        let services = world.ok("DescribeServices", json!({"services": ["shop"]})).await;
        assert_eq!(services["services"][0]["taskDefinition"], target["taskDefinitionArn"]);
        assert_eq!(services["services"][0]["desiredCount"], 3);
        // Both revisions are in use, each with what it was made from.
        let shown = world.ok("DescribeExpressGatewayService", json!({"serviceArn": arn})).await;
        let active = &shown["service"]["activeConfigurations"];
        assert_eq!(active[0]["primaryContainer"]["containerPort"], 8080);
        assert_eq!(active[1], made["service"]["activeConfigurations"][0]);
        assert_eq!(active[0]["ingressPaths"], active[1]["ingressPaths"]);
        let behind = &services["services"][0]["loadBalancers"][0];
        assert_eq!(behind["containerPort"], 8080);
        // What leaves the tasks as they are makes no new revision.
        let body =
            json!({"serviceArn": arn, "healthCheckPath": "/health", "scalingTarget": {"minTaskCount": 1}});
        let answer = world.ok("UpdateExpressGatewayService", body).await;
        let next = &answer["service"]["targetConfiguration"];
        assert_eq!(next["serviceRevisionArn"], target["serviceRevisionArn"]);
        assert_eq!((&next["healthCheckPath"], &next["cpu"]), (&json!("/health"), &json!("512")));
        let shown = world.ok("DescribeExpressGatewayService", json!({"serviceArn": arn})).await;
        assert_eq!(shown["service"]["activeConfigurations"][1]["healthCheckPath"], "/ping");
        world.refused("UpdateExpressGatewayService", json!({"serviceArn": arn, "cpu": "17"})).await;
        let rolling = json!({"service": "shop", "deploymentConfiguration": {"strategy": "ROLLING"}});
        assert_eq!(
            world.refused("UpdateService", rolling).await,
            "InvalidParameterException: Updating to ROLLING deployment strategy is not supported for ExpressGatewayServices."
        );
        let one_zone = json!({"subnets": [target["networkConfiguration"]["subnets"][0]]});
        world
            .refused(
                "UpdateExpressGatewayService",
                json!({"serviceArn": arn, "networkConfiguration": one_zone}),
            )
            .await;
        let ghost = json!({"serviceArn": arn.replace("shop", "ghost")});
        assert_eq!(
            world.refused("UpdateExpressGatewayService", ghost).await,
            "ServiceNotFoundException: Service not found."
        );
        world.ok("DeleteExpressGatewayService", json!({"serviceArn": arn})).await;
        assert_eq!(
            world.refused("UpdateExpressGatewayService", json!({"serviceArn": arn, "cpu": "1024"})).await,
            "ServiceNotActiveException: Service was not ACTIVE."
        );
    }
}
