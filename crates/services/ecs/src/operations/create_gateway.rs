//! Makes a gateway. AWS: CreateGateway. Differs from AWS: see [`crate::resources::gateway`].

use api::ecs::operations::CreateGateway;
use api::ecs::{CreateGatewayRequest, CreateGatewayResponse};
use domain::{Gateway, GatewayStatus};
use store::rows_gateway::gateway_key;
use store::{Snapshot, Transaction};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{client_token, gateway, tag};
use crate::{Ecs, faults};

impl Operation<CreateGateway> for Ecs {
    fn permissions(&self, call: &Call, input: &CreateGatewayRequest) -> Vec<Permission> {
        let resource = gateway::arn_for_permission(call, input.name.as_deref());
        let mut permissions = vec![Permission::new("ecs:CreateGateway", resource)];
        let role = input.infrastructure_role_arn.iter();
        permissions.extend(role.map(|role| Permission::new("iam:PassRole", role)));
        permissions
    }

    async fn handle(&self, call: &Call, input: CreateGatewayRequest) -> Result<CreateGatewayResponse, Fault> {
        let token = client_token::parse(input.client_token.as_deref())?;
        let digest = client_token::digest(&CreateGatewayRequest { client_token: None, ..input.clone() });
        if input.name.as_deref().is_some_and(|name| name.starts_with("arn:")) {
            return Err(faults::invalid("name must not be an ARN."));
        }
        let name = gateway::name(call, input.name.as_deref())?;
        let alb = gateway::parse_configuration(input.configuration)?;
        let role = input.infrastructure_role_arn.unwrap_or_default();
        gateway::check_role(&role)?;
        gateway::check_propagate_tags(input.propagate_tags.as_deref())?;
        let made = Gateway {
            scope: call.scope.clone(),
            name,
            status: GatewayStatus::Active,
            host_shared_alb_document: wire::json::to_string(&alb),
            infrastructure_role_arn: role,
            deletion_protection: input.deletion_protection.unwrap_or(false),
            propagate_tags: input.propagate_tags.unwrap_or_else(|| "NONE".to_owned()),
            created_at: call.now,
            updated_at: call.now,
            tags: tag::parse(input.tags)?,
        };

        let update = self.store.update(|snapshot| {
            if let Some(there) = repeated(snapshot, call, token.as_deref(), &digest)? {
                return Ok((Transaction::new(), there));
            }
            if snapshot.get::<Gateway>(&gateway_key(&call.scope, &made.name)).is_some() {
                return Err(faults::invalid(format!(
                    "A gateway with the name {} exists already.",
                    made.name
                )));
            }
            let mut transaction = Transaction::new();
            transaction.insert(made.clone());
            if let Some(token) = &token {
                let name = vec![made.name.clone()];
                client_token::remember(
                    snapshot,
                    &mut transaction,
                    call,
                    "CreateGateway",
                    token,
                    &digest,
                    name,
                );
            }
            Ok((transaction, made.clone()))
        });
        let gateway = update.await.map_err(faults::of_update)?;

        Ok(CreateGatewayResponse {
            gateway_arn: Some(gateway.arn().to_string()),
            name: Some(gateway.name.clone()),
            status: Some(gateway.status.to_string()),
        })
    }
}

fn repeated(
    snapshot: &Snapshot,
    call: &Call,
    token: Option<&str>,
    digest: &str,
) -> Result<Option<Gateway>, Fault> {
    let used = token.and_then(|token| client_token::used(snapshot, call, "CreateGateway", token, digest));
    let Some((same, made)) = used else { return Ok(None) };
    if !same {
        return Err(faults::invalid("The client token was used before with other parameters."));
    }
    let there = made.first().and_then(|name| snapshot.get::<Gateway>(&gateway_key(&call.scope, name)));
    Ok(there.map(|there| Gateway::clone(&there)))
}

#[cfg(test)]
pub mod tests {
    use serde_json::{Value, json};

    use crate::testing::{World, text};

    /// The plain request, with `change` merged into it.
    pub fn request(change: Value) -> Value {
        let mut body = json!({
            "name": "front",
            "infrastructureRoleArn": "arn:aws:iam::000000000000:role/infrastructure",
            "configuration": {"hostSharedAlb": {}},
        });
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    }

    /// A request with these members of `hostSharedAlb`.
    pub fn with_alb(alb: Value) -> Value {
        request(json!({"configuration": {"hostSharedAlb": alb}}))
    }

    #[tokio::test]
    async fn is_active_with_defaults_and_without_load_balancers() {
        let world = World::new();
        let body = request(json!({"clientToken": "t", "tags": [{"key": "a", "value": "b"}]}));
        let made = world.ok("CreateGateway", body.clone()).await;
        let arn = text(&made, "/gatewayArn");
        assert_eq!(arn, "arn:aws:ecs:us-east-1:000000000000:gateway/front");
        assert_eq!(text(&made, "/status"), "ACTIVE");
        assert_eq!(world.ok("CreateGateway", body).await, made, "the same token");
        let tags = world.ok("ListTagsForResource", json!({"resourceArn": arn})).await;
        assert_eq!(tags["tags"], json!([{"key": "a", "value": "b"}]));
        let shown = world.ok("DescribeGateway", json!({"gateway": arn})).await;
        let shown = &shown["gateway"];
        assert_eq!(
            shown["configuration"]["hostSharedAlb"],
            json!({
                "currentAlbCount": 0, "httpDesync": "defensive", "maxAlbCount": 10, "port": 443, "protocol": "HTTPS",
                "scheme": "internet-facing", "networkConfiguration": {"ipAddressType": "ipv4"},
            })
        );
        assert_eq!(
            (text(shown, "/accessType").as_str(), &shown["deletionProtection"]),
            ("PUBLIC", &json!(false))
        );
        assert!(text(shown, "/statusReason").contains("no load balancers"));
        assert_eq!(shown["tags"], json!([{"key": "a", "value": "b"}]));
    }

    #[tokio::test]
    async fn what_is_refused() {
        let world = World::new();
        world.ok("CreateGateway", request(json!({"clientToken": "t"}))).await;
        assert_eq!(
            world.refused("CreateGateway", request(json!({}))).await,
            "InvalidParameterException: A gateway with the name front exists already."
        );
        for body in [
            request(json!({"clientToken": "t", "deletionProtection": true})),
            request(json!({"name": "a b"})),
            request(json!({"name": "x".repeat(256)})),
            request(json!({"name": "arn:aws:ecs:us-east-1:000000000000:gateway/x"})),
            request(json!({"name": "two", "configuration": {}})),
            request(json!({"name": "two", "infrastructureRoleArn": ""})),
            request(json!({"name": "two", "infrastructureRoleArn": "arn:aws:s3:::x"})),
            request(json!({"name": "two", "propagateTags": "SERVICE"})),
            request(json!({"name": "two", "tags": [{"key": "aws:x", "value": "y"}]})),
            request(json!({"name": "two", "clientToken": "a b"})),
            with_alb(json!({"port": 80})),
            with_alb(json!({"protocol": "HTTP"})),
            with_alb(json!({"maxAlbCount": 0})),
            with_alb(json!({"maxAlbCount": 21})),
            with_alb(json!({"httpDesync": "lax"})),
            with_alb(json!({"scheme": "outside"})),
            with_alb(json!({"webACLArn": "x"})),
            with_alb(json!({"networkConfiguration": {"subnets": ["x"]}})),
            with_alb(json!({"networkConfiguration": {"inboundSecurityGroup": "x"}})),
            with_alb(json!({"accessLogs": {"destination": {"s3": {"bucket": "b"}}}})),
            with_alb(json!({"testTrafficRules": {"header": {"name": "", "values": ["x"]}}})),
            with_alb(json!({"testTrafficRules": {"header": {"name": "x-test", "values": []}}})),
        ] {
            world.refused("CreateGateway", body).await;
        }
        let listed = world.ok("ListGateways", json!({})).await;
        assert_eq!(listed["gateways"].as_array().unwrap().len(), 1, "what is refused leaves nothing");
    }
}
