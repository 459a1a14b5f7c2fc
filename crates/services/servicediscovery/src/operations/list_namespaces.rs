//! Lists namespaces, in the order of their ids. AWS: ListNamespaces.

use api::servicediscovery::operations::ListNamespaces;
use api::servicediscovery::{ListNamespacesRequest, ListNamespacesResponse};
use domain::DiscoveryNamespace;
use store::Key;
use store::rows_service_discovery::discovery_namespace_key;
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::filter::{Condition, Filter};
use crate::resources::namespace;
use crate::resources::page::PageRequest;

fn allowed(name: &str) -> &'static [Condition] {
    match name {
        "TYPE" | "NAME" | "HTTP_NAME" => &[Condition::Eq, Condition::BeginsWith],
        "RESOURCE_OWNER" => &[Condition::Eq],
        _ => &[],
    }
}

fn passes(namespace: &DiscoveryNamespace, filter: &Filter) -> bool {
    match filter.name.as_str() {
        "TYPE" => filter.passes(namespace.namespace_type.as_str()),
        "NAME" | "HTTP_NAME" => filter.passes(&namespace.name),
        _ => filter.passes_owner(),
    }
}

impl Operation<ListNamespaces> for Servicediscovery {
    fn permissions(&self, _call: &Call, _input: &ListNamespacesRequest) -> Vec<Permission> {
        vec![Permission::new("servicediscovery:ListNamespaces", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListNamespacesRequest,
    ) -> Result<ListNamespacesResponse, Fault> {
        let filters =
            input.filters.unwrap_or_default().into_iter().map(|filter| {
                Filter::parse(filter.name, filter.condition.as_deref(), filter.values, allowed)
            });
        let filters = filters.collect::<Result<Vec<_>, _>>()?;
        let listing = Filter::listing("ListNamespaces", &filters);
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        let after = page.after.as_deref().map(|id| discovery_namespace_key(&call.scope, id));
        let rows = snapshot.scan::<DiscoveryNamespace>(Key::prefix(&call.scope, &[]), after.as_ref());
        let rows = rows.filter(|row| filters.iter().all(|filter| passes(row, filter)));
        let (namespaces, next_token) =
            page.take(rows.map(|row| (row.id.clone(), namespace::summarize(&row))));

        Ok(ListNamespacesResponse { namespaces: Some(namespaces), next_token })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::World;

    fn names(answer: &Value) -> Vec<&str> {
        let list = answer["Namespaces"].as_array().unwrap();
        let mut names: Vec<_> = list.iter().map(|namespace| namespace["Name"].as_str().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[tokio::test]
    async fn filters_and_pages() {
        let world = World::new();
        world.http_namespace().await;
        world.private_namespace().await;
        world.made("CreatePublicDnsNamespace", json!({"Name": "example.com"})).await;
        let all = world.ok("ListNamespaces", json!({})).await;
        assert_eq!(names(&all), ["example.com", "insurance.local", "web"]);
        for (filter, found) in [
            (json!({"Name": "TYPE", "Values": ["HTTP"]}), vec!["web"]),
            (
                json!({"Name": "TYPE", "Values": ["DNS_"], "Condition": "BEGINS_WITH"}),
                vec!["example.com", "insurance.local"],
            ),
            (
                json!({"Name": "NAME", "Values": ["insurance.local"], "Condition": "EQ"}),
                vec!["insurance.local"],
            ),
            (json!({"Name": "HTTP_NAME", "Values": ["ex"], "Condition": "BEGINS_WITH"}), vec!["example.com"]),
            (json!({"Name": "RESOURCE_OWNER", "Values": ["OTHER_ACCOUNTS"]}), vec![]),
        ] {
            let answer = world.ok("ListNamespaces", json!({"Filters": [filter]})).await;
            assert_eq!(names(&answer), found, "{filter}");
        }
        let first = world.ok("ListNamespaces", json!({"MaxResults": 2})).await;
        assert_eq!(names(&first).len(), 2);
        let second =
            world.ok("ListNamespaces", json!({"MaxResults": 2, "NextToken": first["NextToken"]})).await;
        assert_eq!((names(&second).len(), &second["NextToken"]), (1, &Value::Null));
        for bad in [
            json!({"NextToken": "x"}),
            json!({"Filters": [{"Name": "TYPE", "Values": ["HTTP"], "Condition": "BETWEEN"}]}),
            json!({"Filters": [{"Name": "TYPE", "Values": ["HTTP", "DNS_PRIVATE"]}]}),
        ] {
            let refused = world.refused("ListNamespaces", bad).await;
            assert!(refused.starts_with("InvalidInput: "), "{refused}");
        }
    }
}
