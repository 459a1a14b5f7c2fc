//! Lists the ACTIVE services of a cluster. AWS: ListServices.
//!
//! Differs from AWS: pages have 10 entries where the caller does not say, as documented, and come in the order of names.

use api::ecs::operations::ListServices;
use api::ecs::{ListServicesRequest, ListServicesResponse};
use domain::{LaunchType, SchedulingStrategy, ServiceStatus};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::page::PageRequest;
use crate::resources::{cluster, service};
use crate::{Ecs, faults};

/// Entries of one page where the caller does not say. Source: ListServices, `maxResults`.
const PAGE_DEFAULT: i32 = 10;

impl Operation<ListServices> for Ecs {
    fn permissions(&self, call: &Call, input: &ListServicesRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:ListServices", "*").when("ecs:cluster", cluster)]
    }

    async fn handle(&self, call: &Call, input: ListServicesRequest) -> Result<ListServicesResponse, Fault> {
        let cluster_name = cluster::name(call, input.cluster.as_deref())?;
        let launch_type = match input.launch_type.as_deref() {
            None => None,
            Some(word) => Some(
                word.parse::<LaunchType>()
                    .map_err(|_| faults::invalid(format!("Invalid launch type: {word}")))?,
            ),
        };
        let scheduling = match input.scheduling_strategy.as_deref() {
            None => None,
            Some(word) => Some(
                word.parse::<SchedulingStrategy>()
                    .map_err(|_| faults::invalid(format!("Invalid scheduling strategy: {word}")))?,
            ),
        };
        let filters = [&input.launch_type, &input.scheduling_strategy, &input.resource_management_type];
        let filters: Vec<&str> = filters.iter().map(|filter| filter.as_deref().unwrap_or_default()).collect();
        let page = PageRequest::parse(
            format!("ListServices/{cluster_name}/{}", filters.join("/")),
            input.max_results.or(Some(PAGE_DEFAULT)),
            input.next_token.as_deref(),
        )?;

        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &cluster_name)?;
        let manager = input.resource_management_type.as_deref();
        let mut services: Vec<_> = service::of_cluster(&snapshot, &call.scope, &cluster_name)
            .filter(|service| service.status == ServiceStatus::Active)
            .filter(|service| {
                manager.is_none_or(|manager| service::resource_management_type(&snapshot, service) == manager)
            })
            .filter(|service| scheduling.is_none_or(|scheduling| service.scheduling_strategy == scheduling))
            .filter(|service| {
                launch_type.is_none() || service::launch_type(&snapshot, service) == launch_type
            })
            .filter(|service| page.after.as_ref().is_none_or(|after| service.name > *after))
            .map(|service| (service.name.clone(), service.arn().to_string()))
            .collect();
        services.sort();
        let (arns, next_token) = page.take(services.into_iter());
        Ok(ListServicesResponse { service_arns: Some(arns), next_token })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::World;

    #[tokio::test]
    async fn filters_and_pages() {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        for name in ["a", "b", "c"] {
            let body = json!({"serviceName": name, "taskDefinition": "web", "desiredCount": 1});
            world.ok("CreateService", body).await;
        }
        let daemon = json!({"serviceName": "d", "taskDefinition": "web", "schedulingStrategy": "DAEMON"});
        world.ok("CreateService", daemon).await;
        let arn = |name: &str| format!("arn:aws:ecs:us-east-1:000000000000:service/default/{name}");
        let list = |body: Value| {
            let world = &world;
            async move { world.ok("ListServices", body).await["serviceArns"].clone() }
        };
        assert_eq!(list(json!({})).await, json!([arn("a"), arn("b"), arn("c"), arn("d")]));
        assert_eq!(list(json!({"schedulingStrategy": "DAEMON"})).await, json!([arn("d")]));
        assert_eq!(list(json!({"launchType": "FARGATE"})).await, json!([]));
        assert_eq!(list(json!({"launchType": "EC2"})).await.as_array().unwrap().len(), 4);
        assert_eq!(list(json!({"resourceManagementType": "ECS"})).await, json!([]));
        assert_eq!(list(json!({"resourceManagementType": "CUSTOMER"})).await.as_array().unwrap().len(), 4);
        let mut transaction = store::Transaction::new();
        transaction.put(domain::ExpressService {
            scope: crate::testing::scope(),
            cluster: "default".to_owned(),
            service: "b".to_owned(),
            infrastructure_role_arn: String::new(),
            configuration_document: "{}".to_owned(),
            created_at: base::Timestamp::from_millis(1_795_348_800_000),
            updated_at: base::Timestamp::from_millis(1_795_348_800_000),
            older: Vec::new(),
            ingress: None,
        });
        world.store.transact(transaction).await.unwrap();
        assert_eq!(list(json!({"resourceManagementType": "ECS"})).await, json!([arn("b")]));
        let first = world.ok("ListServices", json!({"maxResults": 3})).await;
        let body = json!({"maxResults": 3, "nextToken": first["nextToken"]});
        let second = world.ok("ListServices", body).await;
        assert_eq!(second["serviceArns"], json!([arn("d")]));
        assert!(second.get("nextToken").is_none());
        world.ok("DeleteService", json!({"service": "a", "force": true})).await;
        assert_eq!(list(json!({})).await.as_array().unwrap().len(), 3);
        for (body, refusal) in [
            (json!({"cluster": "ghost"}), "ClusterNotFoundException: Cluster not found."),
            (json!({"maxResults": 0}), "InvalidParameterException: maxResults should be between 1 and 100"),
            (json!({"nextToken": "x"}), "InvalidParameterException: Invalid token."),
        ] {
            assert_eq!(world.refused("ListServices", body).await, refusal);
        }
    }
}
