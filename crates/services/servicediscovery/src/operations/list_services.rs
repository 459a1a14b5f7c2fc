//! Lists services, in the order of their ids. AWS: ListServices.

use api::servicediscovery::operations::ListServices;
use api::servicediscovery::{ListServicesRequest, ListServicesResponse};
use domain::DiscoveryService;
use store::Key;
use store::rows_service_discovery::discovery_service_key;
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::filter::{Condition, Filter};
use crate::resources::page::PageRequest;
use crate::resources::{id, service};

fn allowed(name: &str) -> &'static [Condition] {
    match name {
        "NAMESPACE_ID" | "RESOURCE_OWNER" => &[Condition::Eq],
        _ => &[],
    }
}

impl Operation<ListServices> for Servicediscovery {
    fn permissions(&self, _call: &Call, _input: &ListServicesRequest) -> Vec<Permission> {
        vec![Permission::new("servicediscovery:ListServices", "*")]
    }

    async fn handle(&self, call: &Call, input: ListServicesRequest) -> Result<ListServicesResponse, Fault> {
        let filters = input.filters.unwrap_or_default().into_iter().map(|filter| {
            // Namespaces may be given by their ARN.
            let values = filter.values.unwrap_or_default().into_iter();
            let values = values.map(|value| id::parse(&call.scope, "namespace", &value).unwrap_or(value));
            Filter::parse(filter.name, filter.condition.as_deref(), Some(values.collect()), allowed)
        });
        let filters = filters.collect::<Result<Vec<_>, _>>()?;
        let listing = Filter::listing("ListServices", &filters);
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        let after = page.after.as_deref().map(|id| discovery_service_key(&call.scope, id));
        let rows = snapshot.scan::<DiscoveryService>(Key::prefix(&call.scope, &[]), after.as_ref());
        let rows = rows.filter(|row| {
            filters.iter().all(|filter| match filter.name.as_str() {
                "NAMESPACE_ID" => filter.passes(&row.namespace),
                _ => filter.passes_owner(),
            })
        });
        let (services, next_token) = page.take(rows.map(|row| (row.id.clone(), service::summarize(&row))));

        Ok(ListServicesResponse { services: Some(services), next_token })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn services_of_a_namespace() {
        let world = World::new();
        let web = world.http_namespace().await;
        let service = world.service(&web, json!({})).await;
        world.backend(&[]).await;
        let arn = format!("arn:aws:servicediscovery:us-east-1:123456789012:namespace/{web}");
        for value in [&web, &arn] {
            let filters = json!([{"Name": "NAMESPACE_ID", "Values": [value], "Condition": "EQ"}]);
            let answer = world.ok("ListServices", json!({"Filters": filters})).await;
            assert_eq!(answer["Services"][0]["Id"], service.as_str());
            assert_eq!(answer["Services"].as_array().unwrap().len(), 1);
        }
        let first = world.ok("ListServices", json!({"MaxResults": 1})).await;
        let second =
            world.ok("ListServices", json!({"MaxResults": 1, "NextToken": first["NextToken"]})).await;
        assert_ne!(first["Services"], second["Services"]);
        assert!(second.get("NextToken").is_none());
        let filters = json!([{"Name": "NAMESPACE_ID", "Values": [web], "Condition": "IN"}]);
        let refused = world.refused("ListServices", json!({"Filters": filters})).await;
        assert!(refused.starts_with("InvalidInput: "), "{refused}");
    }
}
