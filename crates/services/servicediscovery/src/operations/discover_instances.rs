//! Finds instances by the names of namespace and service. AWS: DiscoverInstances.
//!
//! Differs from AWS: there is no limit on requests (RequestLimitExceeded). Where private namespaces of several VPCs share the
//! name, the oldest one that has the service answers. Clients that put `data-` in front of the host name reach it too.

use std::collections::BTreeMap;

use api::servicediscovery::operations::DiscoverInstances;
use api::servicediscovery::{DiscoverInstancesRequest, DiscoverInstancesResponse, HttpInstanceSummary};
use base::Ids;
use domain::{DiscoveryInstance, DiscoveryService};
use store::Versioned;
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::{instance, service};

/// Instances where the caller does not say how many. Source: DiscoverInstances, `MaxResults`.
const MAX_RESULTS_DEFAULT: usize = 100;

impl Operation<DiscoverInstances> for Servicediscovery {
    fn permissions(&self, _call: &Call, _input: &DiscoverInstancesRequest) -> Vec<Permission> {
        vec![Permission::new("servicediscovery:DiscoverInstances", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DiscoverInstancesRequest,
    ) -> Result<DiscoverInstancesResponse, Fault> {
        let maximum = input.max_results.and_then(|maximum| usize::try_from(maximum).ok());
        let snapshot = self.store.snapshot();
        let (namespace_name, found) = service::discover(
            &snapshot,
            &call.scope,
            &input.namespace_name.unwrap_or_default(),
            &input.service_name.unwrap_or_default(),
            input.owner_account.as_deref(),
        )?;

        let wanted = input.query_parameters.unwrap_or_default();
        let rows = instance::of_service(&snapshot, &call.scope, &found.id, None);
        let mut rows: Vec<_> = rows.filter(|row| has_all(row, &wanted)).collect();
        rows = by_health(&found, rows, input.health_status.as_deref());
        if let Some(optional) = input.optional_parameters {
            let (both, _): (Vec<_>, Vec<_>) = rows.iter().cloned().partition(|row| has_all(row, &optional));
            if !both.is_empty() {
                rows = both;
            }
        }
        shuffle(&mut rows, &*self.ids);
        rows.truncate(maximum.unwrap_or(MAX_RESULTS_DEFAULT));

        let summary = |row: &Versioned<DiscoveryInstance>| HttpInstanceSummary {
            attributes: Some(row.attributes.clone()),
            health_status: Some(instance::health(&found, row).to_owned()),
            instance_id: Some(row.id.clone()),
            namespace_name: Some(namespace_name.clone()),
            service_name: Some(found.name.clone()),
        };
        Ok(DiscoverInstancesResponse {
            instances: Some(rows.iter().map(summary).collect()),
            instances_revision: i64::try_from(found.instances_revision).ok(),
        })
    }
}

fn has_all(instance: &DiscoveryInstance, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| instance.attributes.get(key) == Some(value))
}

/// The instances of the health asked for; without a health check that counts for nothing. Source: DiscoverInstances,
/// `HealthStatus`; healthy ones are the default ("AWS Cloud Map service health check configuration").
fn by_health(
    service: &DiscoveryService,
    rows: Vec<Versioned<DiscoveryInstance>>,
    wanted: Option<&str>,
) -> Vec<Versioned<DiscoveryInstance>> {
    if !service.custom_health {
        return rows;
    }
    let (healthy, unhealthy): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.is_healthy());
    match wanted {
        Some("UNHEALTHY") => unhealthy,
        Some("ALL") => healthy.into_iter().chain(unhealthy).collect(),
        Some("HEALTHY_OR_ELSE_ALL") if healthy.is_empty() => unhealthy,
        _ => healthy,
    }
}

/// In an order of chance, so that callers that take the first one spread.
fn shuffle<T>(rows: &mut [T], ids: &dyn Ids) {
    let mut random = vec![0; rows.len() * 4];
    ids.fill(&mut random);
    for (index, bytes) in (0..rows.len()).rev().zip(random.chunks_exact(4)) {
        let number = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        rows.swap(index, number % (index + 1));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use crate::testing::World;

    async fn found(world: &World, more: Value) -> Vec<String> {
        let mut body = json!({"NamespaceName": "insurance.local", "ServiceName": "backend"});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let answer = world.ok("DiscoverInstances", body).await;
        let instances = answer["Instances"].as_array().unwrap();
        let mut ids: Vec<_> =
            instances.iter().map(|row| row["InstanceId"].as_str().unwrap().to_owned()).collect();
        ids.sort_unstable();
        ids
    }

    #[tokio::test]
    async fn by_health_and_attributes() {
        let world = World::new();
        let healthy =
            [("a", "10.0.0.1", "HEALTHY"), ("b", "10.0.0.2", "HEALTHY"), ("c", "10.0.0.3", "UNHEALTHY")];
        let service = world.backend(&healthy).await;
        assert_eq!(found(&world, json!({})).await, ["a", "b"]);
        for (status, ids) in [
            ("HEALTHY", vec!["a", "b"]),
            ("UNHEALTHY", vec!["c"]),
            ("ALL", vec!["a", "b", "c"]),
            ("HEALTHY_OR_ELSE_ALL", vec!["a", "b"]),
        ] {
            assert_eq!(found(&world, json!({"HealthStatus": status})).await, ids, "{status}");
        }
        assert_eq!(found(&world, json!({"QueryParameters": {"id": "b"}})).await, ["b"]);
        assert_eq!(found(&world, json!({"OptionalParameters": {"id": "b"}})).await, ["b"]);
        assert_eq!(found(&world, json!({"OptionalParameters": {"id": "z"}})).await, ["a", "b"]);
        assert_eq!(found(&world, json!({"MaxResults": 1})).await.len(), 1);
        for id in ["a", "b"] {
            let ill = json!({"ServiceId": service, "InstanceId": id, "Status": "UNHEALTHY"});
            world.ok("UpdateInstanceCustomHealthStatus", ill).await;
        }
        assert_eq!(found(&world, json!({"HealthStatus": "HEALTHY_OR_ELSE_ALL"})).await, ["a", "b", "c"]);
        assert!(found(&world, json!({})).await.is_empty());
    }

    #[tokio::test]
    async fn without_health_checks_all_are_found_and_chance_orders_them() {
        let world = World::new();
        let namespace = world.http_namespace().await;
        let service = world.service(&namespace, json!({})).await;
        for id in ["a", "b", "c"] {
            let body = json!({"ServiceId": service, "InstanceId": id, "Attributes": {"n": "1"}});
            world.ok("RegisterInstance", body).await;
        }
        let body = json!({"NamespaceName": "web", "ServiceName": "BACKEND", "HealthStatus": "UNHEALTHY"});
        let mut first = BTreeSet::new();
        for _ in 0..50 {
            let answer = world.ok("DiscoverInstances", body.clone()).await;
            assert_eq!(answer["Instances"].as_array().unwrap().len(), 3);
            assert_eq!(answer["Instances"][0]["HealthStatus"], "UNKNOWN");
            assert_eq!(answer["InstancesRevision"], 3);
            first.insert(answer["Instances"][0]["InstanceId"].as_str().unwrap().to_owned());
        }
        assert_eq!(first.len(), 3);
    }

    #[tokio::test]
    async fn names_that_are_not_there() {
        let world = World::new();
        world.backend(&[]).await;
        for (body, refused) in [
            (
                json!({"NamespaceName": "x", "ServiceName": "backend"}),
                "NamespaceNotFound: Namespace not found: x",
            ),
            (
                json!({"NamespaceName": "insurance.local", "ServiceName": "x"}),
                "ServiceNotFound: Service not found: x",
            ),
            (
                json!({"NamespaceName": "insurance.local", "ServiceName": "backend", "OwnerAccount": "999999999999"}),
                "NamespaceNotFound: Namespace not found: insurance.local",
            ),
        ] {
            assert_eq!(world.refused("DiscoverInstances", body).await, refused);
        }
    }
}
