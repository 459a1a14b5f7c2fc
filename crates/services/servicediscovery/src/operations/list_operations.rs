//! Lists operations of the last day. AWS: ListOperations.
//!
//! Differs from AWS: operations are kept for a day; those that ECS would ask for are not among them, as it registers tasks
//! without asking.

use api::servicediscovery::operations::ListOperations;
use api::servicediscovery::{ListOperationsRequest, ListOperationsResponse, OperationSummary};
use domain::DiscoveryOperation;
use store::Key;
use store::rows_service_discovery::discovery_operation_key;
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::filter::{Condition, Filter};
use crate::resources::page::PageRequest;

fn allowed(name: &str) -> &'static [Condition] {
    match name {
        "NAMESPACE_ID" | "SERVICE_ID" => &[Condition::Eq],
        "STATUS" | "TYPE" => &[Condition::Eq, Condition::In],
        "UPDATE_DATE" => &[Condition::Between],
        _ => &[],
    }
}

fn passes(operation: &DiscoveryOperation, filter: &Filter) -> bool {
    match filter.name.as_str() {
        "NAMESPACE_ID" => operation.namespace.as_ref().is_some_and(|id| filter.passes(id)),
        "SERVICE_ID" => operation.service.as_ref().is_some_and(|id| filter.passes(id)),
        "STATUS" => filter.passes(operation.status.as_str()),
        "TYPE" => filter.passes(operation.operation_type.as_str()),
        _ => filter.passes_time(operation.updated_at.as_seconds()),
    }
}

impl Operation<ListOperations> for Servicediscovery {
    fn permissions(&self, _call: &Call, _input: &ListOperationsRequest) -> Vec<Permission> {
        vec![Permission::new("servicediscovery:ListOperations", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListOperationsRequest,
    ) -> Result<ListOperationsResponse, Fault> {
        let filters =
            input.filters.unwrap_or_default().into_iter().map(|filter| {
                Filter::parse(filter.name, filter.condition.as_deref(), filter.values, allowed)
            });
        let filters = filters.collect::<Result<Vec<_>, _>>()?;
        let listing = Filter::listing("ListOperations", &filters);
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        let after = page.after.as_deref().map(|id| discovery_operation_key(&call.scope, id));
        let rows = snapshot.scan::<DiscoveryOperation>(Key::prefix(&call.scope, &[]), after.as_ref());
        let rows = rows.filter(|row| filters.iter().all(|filter| passes(row, filter)));
        let (operations, next_token) = page.take(rows.map(|row| {
            let summary = OperationSummary { id: Some(row.id.clone()), status: Some(row.status.to_string()) };
            (row.id.clone(), summary)
        }));

        Ok(ListOperationsResponse { operations: Some(operations), next_token })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn operations_are_filtered() {
        let world = World::new();
        let service = world.backend(&[("a", "10.0.0.1", "HEALTHY")]).await;
        world.operation("CreatePrivateDnsNamespace", json!({"Name": "b.local", "Vpc": "vpc-none"})).await;
        for (filter, count) in [
            (json!({"Name": "SERVICE_ID", "Values": [service]}), 1),
            (json!({"Name": "STATUS", "Values": ["FAIL"]}), 1),
            (json!({"Name": "STATUS", "Values": ["FAIL", "SUCCESS"], "Condition": "IN"}), 3),
            (json!({"Name": "TYPE", "Values": ["REGISTER_INSTANCE"]}), 1),
            (
                json!({"Name": "UPDATE_DATE", "Values": ["1700000000", "1700000001"], "Condition": "BETWEEN"}),
                3,
            ),
            (json!({"Name": "UPDATE_DATE", "Values": ["1", "2"], "Condition": "BETWEEN"}), 0),
        ] {
            let answer = world.ok("ListOperations", json!({"Filters": [filter]})).await;
            assert_eq!(answer["Operations"].as_array().unwrap().len(), count, "{filter}");
        }
        let bad = json!({"Filters": [{"Name": "UPDATE_DATE", "Values": ["1", "x"], "Condition": "BETWEEN"}]});
        assert!(world.refused("ListOperations", bad).await.starts_with("InvalidInput: "));
    }
}
