//! Lists the services of a namespace. AWS: ListServicesByNamespace.
//!
//! Differs from AWS: namespaces of other accounts are not shared.

use std::collections::BTreeSet;

use api::ecs::operations::ListServicesByNamespace;
use api::ecs::{ListServicesByNamespaceRequest, ListServicesByNamespaceResponse};
use domain::{Service, ServiceRevision, ServiceStatus};
use store::rows_service::{SERVICE_REVISIONS_BY_NAMESPACE, service_key};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::page::PageRequest;
use crate::service_validation::service_connect;
use crate::{Ecs, faults};

/// Entries of one page where the caller does not say. Source: ListServicesByNamespace, `maxResults`.
const PAGE_DEFAULT: i32 = 10;

impl Operation<ListServicesByNamespace> for Ecs {
    fn permissions(&self, _call: &Call, _input: &ListServicesByNamespaceRequest) -> Vec<Permission> {
        vec![Permission::new("ecs:ListServicesByNamespace", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListServicesByNamespaceRequest,
    ) -> Result<ListServicesByNamespaceResponse, Fault> {
        let given = input.namespace.unwrap_or_default();
        if given.trim().is_empty() {
            return Err(faults::invalid("Namespace can not be blank."));
        }
        let page = PageRequest::parse(
            format!("ListServicesByNamespace/{given}"),
            input.max_results.or(Some(PAGE_DEFAULT)),
            input.next_token.as_deref(),
        )?;

        let snapshot = self.store.snapshot();
        let namespace = service_connect::find_namespace(&snapshot, call, &given);
        let namespace = namespace.ok_or_else(service_connect::no_namespace)?;
        let parts = [call.scope.account.as_str(), call.scope.region.as_str(), &namespace.id];
        let revisions = snapshot.index::<ServiceRevision>(SERVICE_REVISIONS_BY_NAMESPACE, &parts, None);
        // A service belongs to the namespace of its newest revision.
        let services: BTreeSet<String> = revisions
            .filter_map(|revision| {
                let key = service_key(&revision.scope, &revision.cluster, &revision.service);
                let service = snapshot.get::<Service>(&key)?;
                let is_newest = service.primary().is_some_and(|primary| primary.id == revision.id);
                (is_newest && service.status != ServiceStatus::Inactive).then(|| service.arn().to_string())
            })
            .collect();
        let after = page.after.clone().unwrap_or_default();
        let rest = services.into_iter().filter(|arn| *arn > after).map(|arn| (arn.clone(), arn));
        let (service_arns, next_token) = page.take(rest);

        Ok(ListServicesByNamespaceResponse { next_token, service_arns: Some(service_arns) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn there_is_no_namespace() {
        let world = World::with_cluster().await;
        assert_eq!(
            world.refused("ListServicesByNamespace", json!({"namespace": "n"})).await,
            "NamespaceNotFoundException: The specified namespace was not found."
        );
        for bad in [
            json!({"namespace": ""}),
            json!({"namespace": "n", "maxResults": 101}),
            json!({"namespace": "n", "nextToken": "x"}),
        ] {
            let refused = world.refused("ListServicesByNamespace", bad).await;
            assert!(refused.starts_with("InvalidParameterException"), "{refused}");
        }
    }
}
