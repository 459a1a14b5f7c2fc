//! Deletes an Express service: its service drains, and `control` takes away what was made for it alone when that is over; the
//! load balancer goes with the last service on it. AWS: DeleteExpressGatewayService.
//!
//! Differs from AWS: see [`crate::resources::express_service`]. Task definitions and log groups stay, as they do there.

use api::ecs::operations::{DeleteExpressGatewayService, DeleteService};
use api::ecs::{
    DeleteExpressGatewayServiceRequest, DeleteExpressGatewayServiceResponse, DeleteServiceRequest,
};
use wire::{Call, Fault, Operation, Permission};

use crate::Ecs;
use crate::resources::express_service;

impl Operation<DeleteExpressGatewayService> for Ecs {
    fn permissions(&self, call: &Call, input: &DeleteExpressGatewayServiceRequest) -> Vec<Permission> {
        let resource = express_service::arn_for_permission(call, input.service_arn.as_deref());
        vec![Permission::new("ecs:DeleteExpressGatewayService", resource)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteExpressGatewayServiceRequest,
    ) -> Result<DeleteExpressGatewayServiceResponse, Fault> {
        let reference = express_service::parse(call, input.service_arn.as_deref())?;
        express_service::active(&self.store.snapshot(), call, &reference)?;
        let request = DeleteServiceRequest {
            cluster: Some(reference.cluster.clone()),
            service: Some(reference.name.clone()),
            force: Some(true),
        };
        Operation::<DeleteService>::handle(self, call, request).await?;

        let snapshot = self.store.snapshot();
        let (row, service) = express_service::find(&snapshot, call, &reference)
            .ok_or_else(|| Fault::server("an Express service that is gone at once"))?;
        Ok(DeleteExpressGatewayServiceResponse {
            service: Some(express_service::describe(&snapshot, &row, &service, true)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_express_gateway_service::tests::request;
    use crate::testing::{World, text};

    #[tokio::test]
    async fn it_drains() {
        let world = World::with_fargate().await;
        let made = world.ok("CreateExpressGatewayService", request(json!({}))).await;
        let body = json!({"serviceArn": made["service"]["serviceArn"]});
        let gone = world.ok("DeleteExpressGatewayService", body.clone()).await;
        assert_eq!(text(&gone, "/service/status/statusCode"), "DRAINING");
        assert_eq!(
            world.refused("DeleteExpressGatewayService", body).await,
            "ServiceNotActiveException: Service was not ACTIVE."
        );
        let ghost = "arn:aws:ecs:us-east-1:000000000000:service/default/ghost";
        assert_eq!(
            world.refused("DeleteExpressGatewayService", json!({"serviceArn": ghost})).await,
            "ServiceNotFoundException: Service not found."
        );
    }
}
