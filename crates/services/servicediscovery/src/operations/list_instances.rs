//! Lists the instances of a service, in the order of their ids. AWS: ListInstances.

use api::servicediscovery::operations::ListInstances;
use api::servicediscovery::{ListInstancesRequest, ListInstancesResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::page::PageRequest;
use crate::resources::{instance, service};

impl Operation<ListInstances> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &ListInstancesRequest) -> Vec<Permission> {
        vec![Permission::new("servicediscovery:ListInstances", input.service_id.as_deref().unwrap_or("*"))]
    }

    async fn handle(&self, call: &Call, input: ListInstancesRequest) -> Result<ListInstancesResponse, Fault> {
        let snapshot = self.store.snapshot();
        let found = service::get(&snapshot, &call.scope, &input.service_id.unwrap_or_default())?;
        let listing = format!("ListInstances/{}", found.id);
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        let rows = instance::of_service(&snapshot, &call.scope, &found.id, page.after.as_deref());
        let (instances, next_token) = page.take(rows.map(|row| (row.id.clone(), instance::summarize(&row))));

        Ok(ListInstancesResponse {
            instances: Some(instances),
            next_token,
            resource_owner: Some(call.scope.account.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn instances_come_page_by_page() {
        let world = World::new();
        let service = world.backend(&[("a", "10.0.0.1", "HEALTHY"), ("b", "10.0.0.2", "UNHEALTHY")]).await;
        let first = world.ok("ListInstances", json!({"ServiceId": service, "MaxResults": 1})).await;
        assert_eq!(first["Instances"][0]["Id"], "a");
        assert_eq!(first["Instances"][0]["Attributes"]["AWS_INSTANCE_IPV4"], "10.0.0.1");
        let body = json!({"ServiceId": service, "NextToken": first["NextToken"]});
        let second = world.ok("ListInstances", body).await;
        assert_eq!(second["Instances"][0]["Id"], "b");
        assert_eq!(
            world.refused("ListInstances", json!({"ServiceId": "srv-none"})).await,
            "ServiceNotFound: Service not found: srv-none"
        );
        let bad = json!({"ServiceId": service, "NextToken": "x"});
        assert!(world.refused("ListInstances", bad).await.starts_with("InvalidInput: "));
    }
}
