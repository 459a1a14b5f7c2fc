//! Describes an Express service. AWS: DescribeExpressGatewayService.
//!
//! Differs from AWS: see [`crate::resources::express_service`].

use api::ecs::operations::DescribeExpressGatewayService;
use api::ecs::{
    DescribeExpressGatewayServiceRequest, DescribeExpressGatewayServiceResponse, faults as modelled,
};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, express_service};
use crate::{Ecs, faults};

impl Operation<DescribeExpressGatewayService> for Ecs {
    fn permissions(&self, call: &Call, input: &DescribeExpressGatewayServiceRequest) -> Vec<Permission> {
        let resource = express_service::arn_for_permission(call, input.service_arn.as_deref());
        vec![Permission::new("ecs:DescribeExpressGatewayService", resource)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeExpressGatewayServiceRequest,
    ) -> Result<DescribeExpressGatewayServiceResponse, Fault> {
        let reference = express_service::parse(call, input.service_arn.as_deref())?;
        let include = input.include.unwrap_or_default();
        if let Some(word) = include.iter().find(|word| *word != "TAGS") {
            return Err(faults::invalid(format!("Unknown include: {word}")));
        }
        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &reference.cluster)?;
        let (row, service) = express_service::find(&snapshot, call, &reference)
            .ok_or_else(|| modelled::resource_not_found_exception("Service not found."))?;

        let described = express_service::describe(&snapshot, &row, &service, !include.is_empty())?;
        Ok(DescribeExpressGatewayServiceResponse { service: Some(described) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_express_gateway_service::tests::request;
    use crate::testing::{World, text};

    #[tokio::test]
    async fn with_and_without_tags() {
        let world = World::with_fargate().await;
        let made = world
            .ok("CreateExpressGatewayService", request(json!({"tags": [{"key": "a", "value": "b"}]})))
            .await;
        let arn = text(&made, "/service/serviceArn");
        let plain = world.ok("DescribeExpressGatewayService", json!({"serviceArn": arn})).await;
        assert!(plain["service"].get("tags").is_none());
        let tagged =
            world.ok("DescribeExpressGatewayService", json!({"serviceArn": arn, "include": ["TAGS"]})).await;
        assert_eq!(tagged["service"]["tags"], json!([{"key": "a", "value": "b"}]));
        // A plain service is none.
        let body = json!({"serviceName": "plain", "taskDefinition": "fargate", "desiredCount": 0, "launchType": "FARGATE",
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": tagged["service"]["activeConfigurations"][0]["networkConfiguration"]["subnets"]}}});
        world.ok("CreateService", body).await;
        for (arn, wanted) in [
            (arn.replace("shop", "plain"), "ResourceNotFoundException: Service not found."),
            (arn.replace("shop", "ghost"), "ResourceNotFoundException: Service not found."),
            (arn.replace("default", "ghost"), "ClusterNotFoundException: Cluster not found."),
            ("shop".to_owned(), "InvalidParameterException: Invalid arn syntax."),
        ] {
            assert_eq!(
                world.refused("DescribeExpressGatewayService", json!({"serviceArn": arn})).await,
                wanted
            );
        }
        world.refused("DescribeExpressGatewayService", json!({"serviceArn": arn, "include": ["ALL"]})).await;
    }
}
