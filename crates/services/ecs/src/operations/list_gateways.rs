//! Lists gateways. AWS: ListGateways. Differs from AWS: how many `names` one call may have could not be verified.

use api::ecs::operations::ListGateways;
use api::ecs::{GatewaySummary, ListGatewaysRequest, ListGatewaysResponse};
use domain::{Gateway, GatewayStatus};
use store::{Key, Row};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::page::PageRequest;
use crate::{Ecs, faults};

/// Names in one call. Ours: as many as a page has entries.
const NAMES: usize = 100;

impl Operation<ListGateways> for Ecs {
    fn permissions(&self, _call: &Call, _input: &ListGatewaysRequest) -> Vec<Permission> {
        vec![Permission::new("ecs:ListGateways", "*")]
    }

    async fn handle(&self, call: &Call, input: ListGatewaysRequest) -> Result<ListGatewaysResponse, Fault> {
        let names = input.names.unwrap_or_default();
        if names.len() > NAMES {
            return Err(faults::invalid(format!("names cannot have more than {NAMES} elements.")));
        }
        let statuses = input
            .status
            .iter()
            .flatten()
            .map(|word| word.parse().map_err(|_| faults::invalid(format!("Invalid status: {word}"))))
            .collect::<Result<Vec<GatewayStatus>, _>>()?;
        let listing = format!("ListGateways/{names:?}/{statuses:?}");
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        let after = page.after.as_deref().map(Key::from_text);
        let wanted = |gateway: &Gateway| {
            (names.is_empty() || names.contains(&gateway.name))
                && (statuses.is_empty() || statuses.contains(&gateway.status))
        };
        let rows = snapshot.scan::<Gateway>(Key::prefix(&call.scope, &[]), after.as_ref());
        let (gateways, next_token) = page
            .take(rows.filter(|row| wanted(row)).map(|row| (row.key().as_str().to_owned(), summarize(&row))));
        Ok(ListGatewaysResponse { gateways: Some(gateways), next_token })
    }
}

fn summarize(gateway: &Gateway) -> GatewaySummary {
    GatewaySummary {
        created_at: Some(gateway.created_at),
        gateway_arn: Some(gateway.arn().to_string()),
        name: Some(gateway.name.clone()),
        status: Some(gateway.status.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_gateway::tests::request;
    use crate::testing::World;

    #[tokio::test]
    async fn pages_and_filters() {
        let world = World::new();
        for name in ["a", "b", "c"] {
            world.ok("CreateGateway", request(json!({"name": name}))).await;
        }
        world.ok("UpdateGateway", json!({"gateway": "b"})).await;
        let count = |answer: &serde_json::Value| answer["gateways"].as_array().unwrap().len();
        let first = world.ok("ListGateways", json!({"maxResults": 2})).await;
        assert_eq!(count(&first), 2);
        let rest = world.ok("ListGateways", json!({"maxResults": 2, "nextToken": first["nextToken"]})).await;
        assert_eq!(count(&rest), 1);
        assert!(rest.get("nextToken").is_none());
        let active = world.ok("ListGateways", json!({"status": ["ACTIVE"]})).await;
        assert_eq!(count(&active), 2);
        let named = world.ok("ListGateways", json!({"names": ["b", "ghost"]})).await;
        assert_eq!(count(&named), 1);
        for body in [json!({"maxResults": 0}), json!({"nextToken": "x"}), json!({"names": vec!["a"; 101]})] {
            world.refused("ListGateways", body).await;
        }
    }
}
