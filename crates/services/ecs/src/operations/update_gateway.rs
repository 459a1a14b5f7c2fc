//! Changes a gateway. AWS: UpdateGateway.
//!
//! A gateway has no load balancers here, so there is nothing that a change would have to be carried to: it is
//! UPDATE_COMPLETE at once. Differs from AWS: see [`crate::resources::gateway`].

use api::ecs::operations::UpdateGateway;
use api::ecs::{HostSharedAlbConfiguration, UpdateGatewayRequest, UpdateGatewayResponse};
use domain::{Gateway, GatewayStatus};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::gateway;
use crate::{Ecs, faults};

impl Operation<UpdateGateway> for Ecs {
    fn permissions(&self, call: &Call, input: &UpdateGatewayRequest) -> Vec<Permission> {
        let resource = gateway::arn_for_permission(call, input.gateway.as_deref());
        let mut permissions = vec![Permission::new("ecs:UpdateGateway", resource)];
        let role = input.infrastructure_role_arn.iter();
        permissions.extend(role.map(|role| Permission::new("iam:PassRole", role)));
        permissions
    }

    async fn handle(&self, call: &Call, input: UpdateGatewayRequest) -> Result<UpdateGatewayResponse, Fault> {
        let name = gateway::name(call, input.gateway.as_deref())?;
        if let Some(role) = &input.infrastructure_role_arn {
            gateway::check_role(role)?;
        }
        gateway::check_propagate_tags(input.propagate_tags.as_deref())?;

        let update = self.store.update(|snapshot| {
            let there = gateway::get(snapshot, &call.scope, &name)?;
            let mut next = Gateway::clone(&there);
            if let Some(change) = input.configuration.clone() {
                let mut alb: HostSharedAlbConfiguration =
                    wire::json::from_str(&next.host_shared_alb_document).map_err(Fault::server)?;
                gateway::change_configuration(&mut alb, change)?;
                next.host_shared_alb_document = wire::json::to_string(&alb);
            }
            if let Some(role) = &input.infrastructure_role_arn {
                next.infrastructure_role_arn.clone_from(role);
            }
            if let Some(word) = &input.propagate_tags {
                next.propagate_tags.clone_from(word);
            }
            next.deletion_protection = input.deletion_protection.unwrap_or(next.deletion_protection);
            next.status = GatewayStatus::UpdateComplete;
            next.updated_at = call.now;
            let mut transaction = Transaction::new();
            transaction.replace(&there, next.clone());
            Ok((transaction, next))
        });
        let gateway = update.await.map_err(faults::of_update)?;

        Ok(UpdateGatewayResponse {
            gateway_arn: Some(gateway.arn().to_string()),
            name: Some(gateway.name.clone()),
            status: Some(gateway.status.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_gateway::tests::{request, with_alb};
    use crate::testing::{World, text};

    #[tokio::test]
    async fn absent_members_stay() {
        let world = World::new();
        world.ok("CreateGateway", with_alb(json!({"scheme": "internal", "maxAlbCount": 3}))).await;
        let body = json!({"gateway": "front", "configuration": {"hostSharedAlb": {
            "httpDesync": "strictest", "networkConfiguration": {"inboundSecurityGroup": "sg-0123456789abcdef0"},
        }}});
        let answer = world.ok("UpdateGateway", body).await;
        assert_eq!(text(&answer, "/status"), "UPDATE_COMPLETE");
        world.ok("UpdateGateway", json!({"gateway": "front", "deletionProtection": true})).await;
        let shown = world.ok("DescribeGateway", json!({"gateway": "front"})).await;
        let alb = &shown["gateway"]["configuration"]["hostSharedAlb"];
        assert_eq!(
            (&alb["httpDesync"], &alb["maxAlbCount"], &alb["scheme"]),
            (&json!("strictest"), &json!(3), &json!("internal"))
        );
        assert_eq!(alb["networkConfiguration"]["inboundSecurityGroup"], "sg-0123456789abcdef0");
        assert_eq!(shown["gateway"]["accessType"], "PRIVATE");
        assert_eq!(shown["gateway"]["deletionProtection"], true);
        assert_eq!(shown["gateway"]["failures"], json!([]));
    }

    #[tokio::test]
    async fn what_is_refused() {
        let world = World::new();
        assert_eq!(
            world.refused("UpdateGateway", json!({"gateway": "front"})).await,
            "GatewayNotFoundException: Gateway not found."
        );
        world.ok("CreateGateway", request(json!({}))).await;
        for change in [
            json!({"configuration": {}}),
            json!({"configuration": {"hostSharedAlb": {"maxAlbCount": 0}}}),
            json!({"infrastructureRoleArn": "arn:aws:s3:::x"}),
            json!({"propagateTags": "x"}),
        ] {
            let mut body = change;
            body["gateway"] = json!("front");
            world.refused("UpdateGateway", body).await;
        }
        let shown = world.ok("DescribeGateway", json!({"gateway": "front"})).await;
        assert_eq!(shown["gateway"]["status"], "ACTIVE");
    }
}
