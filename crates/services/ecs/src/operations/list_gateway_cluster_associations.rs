//! Lists associations of gateways with clusters. AWS: ListGatewayClusterAssociations.
//!
//! Differs from AWS: a filter that names nothing that is there gives an empty list; the model has no fault for it.

use api::ecs::operations::ListGatewayClusterAssociations;
use api::ecs::{
    GatewayClusterAssociationSummary, ListGatewayClusterAssociationsRequest,
    ListGatewayClusterAssociationsResponse,
};
use domain::{Cluster, Gateway, GatewayClusterAssociation, GatewayClusterAssociationStatus};
use store::{Key, Row};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::page::PageRequest;
use crate::resources::{cluster, gateway};
use crate::{Ecs, faults};

impl Operation<ListGatewayClusterAssociations> for Ecs {
    fn permissions(&self, _call: &Call, _input: &ListGatewayClusterAssociationsRequest) -> Vec<Permission> {
        vec![Permission::new("ecs:ListGatewayClusterAssociations", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListGatewayClusterAssociationsRequest,
    ) -> Result<ListGatewayClusterAssociationsResponse, Fault> {
        let of_gateway = input.gateway.as_deref().map(|text| gateway::name(call, Some(text))).transpose()?;
        let of_cluster = input.cluster.as_deref().map(|text| cluster::name(call, Some(text))).transpose()?;
        let statuses = input
            .status
            .iter()
            .flatten()
            .map(|word| word.parse().map_err(|_| faults::invalid(format!("Invalid status: {word}"))))
            .collect::<Result<Vec<GatewayClusterAssociationStatus>, _>>()?;
        let listing = format!("ListGatewayClusterAssociations/{of_gateway:?}/{of_cluster:?}/{statuses:?}");
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        let after = page.after.as_deref().map(Key::from_text);
        let prefix = match &of_gateway {
            Some(gateway) => Key::prefix(&call.scope, &[gateway]),
            None => Key::prefix(&call.scope, &[]),
        };
        let wanted = |row: &GatewayClusterAssociation| {
            of_cluster.as_ref().is_none_or(|cluster| *cluster == row.cluster)
                && (statuses.is_empty() || statuses.contains(&row.status))
        };
        let rows = snapshot.scan::<GatewayClusterAssociation>(prefix, after.as_ref());
        let (associations, next_token) = page
            .take(rows.filter(|row| wanted(row)).map(|row| (row.key().as_str().to_owned(), summarize(&row))));
        Ok(ListGatewayClusterAssociationsResponse {
            gateway_cluster_associations: Some(associations),
            next_token,
        })
    }
}

fn summarize(association: &GatewayClusterAssociation) -> GatewayClusterAssociationSummary {
    GatewayClusterAssociationSummary {
        cluster_arn: Some(Cluster::arn_of(&association.scope, &association.cluster).to_string()),
        gateway_arn: Some(Gateway::arn_of(&association.scope, &association.gateway).to_string()),
        status: Some(association.status.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_gateway::tests::request;
    use crate::testing::World;

    #[tokio::test]
    async fn pages_and_filters() {
        let world = World::with_cluster().await;
        world.ok("CreateCluster", json!({"clusterName": "two"})).await;
        for gateway in ["a", "b"] {
            world.ok("CreateGateway", request(json!({"name": gateway}))).await;
            for cluster in ["default", "two"] {
                let both = json!({"gateway": gateway, "cluster": cluster});
                world.ok("AssociateGatewayWithCluster", both).await;
            }
        }
        let count =
            |answer: &serde_json::Value| answer["gatewayClusterAssociations"].as_array().unwrap().len();
        let operation = "ListGatewayClusterAssociations";
        assert_eq!(count(&world.ok(operation, json!({"gateway": "a"})).await), 2);
        assert_eq!(count(&world.ok(operation, json!({"cluster": "two"})).await), 2);
        assert_eq!(count(&world.ok(operation, json!({"cluster": "two", "gateway": "b"})).await), 1);
        assert_eq!(count(&world.ok(operation, json!({"status": ["DISASSOCIATING"]})).await), 0);
        let first = world.ok(operation, json!({"maxResults": 3})).await;
        assert_eq!(count(&first), 3);
        let rest = world.ok(operation, json!({"maxResults": 3, "nextToken": first["nextToken"]})).await;
        assert_eq!(count(&rest), 1);
        world.refused(operation, json!({"maxResults": 101})).await;
    }
}
