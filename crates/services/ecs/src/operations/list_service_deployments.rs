//! Lists the deployments of a service, newest first. AWS: ListServiceDeployments.
//!
//! Differs from AWS: a service of a name that was used before shows its own deployments only.

use api::ecs::operations::ListServiceDeployments;
use api::ecs::{ListServiceDeploymentsRequest, ListServiceDeploymentsResponse};
use domain::{ServiceDeployment, ServiceDeploymentStatus};
use store::Versioned;
use store::rows_service::of_service;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::page::PageRequest;
use crate::resources::{cluster, service, service_deployment};
use crate::{Ecs, faults};

/// Entries of one page where the caller does not say. Source: ListServiceDeployments, `maxResults`.
const PAGE_DEFAULT: i32 = 20;

/// A service's ARN names its cluster: that one is meant where the call names none.
fn cluster_of(input: &ListServiceDeploymentsRequest) -> Option<String> {
    let of_arn = || {
        let arn: base::Arn = input.service.as_deref()?.parse().ok()?;
        let (_, rest) = arn.resource_type_and_id()?;
        rest.split_once('/').map(|(cluster, _)| cluster.to_owned())
    };
    input.cluster.clone().or_else(of_arn)
}

impl Operation<ListServiceDeployments> for Ecs {
    fn permissions(&self, call: &Call, input: &ListServiceDeploymentsRequest) -> Vec<Permission> {
        let cluster = cluster_of(input);
        let resource = service::arn_for_permission(call, cluster.as_deref(), input.service.as_deref());
        vec![
            Permission::new("ecs:ListServiceDeployments", resource)
                .when("ecs:cluster", cluster::arn_for_permission(call, cluster.as_deref())),
        ]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListServiceDeploymentsRequest,
    ) -> Result<ListServiceDeploymentsResponse, Fault> {
        let cluster_name = cluster::name(call, cluster_of(&input).as_deref())?;
        let name = service::name(call, &cluster_name, input.service.as_deref().unwrap_or_default())?;
        let statuses: Vec<ServiceDeploymentStatus> = input
            .status
            .iter()
            .flatten()
            .map(|word| word.parse().map_err(|_| faults::invalid(format!("Invalid status: {word}"))))
            .collect::<Result<_, _>>()?;
        let created = input.created_at.unwrap_or_default();
        let words: Vec<&str> = statuses.iter().map(|status| status.as_str()).collect();
        let moment =
            |at: Option<base::Timestamp>| at.map_or_else(String::new, |at| at.as_millis().to_string());
        let listing = format!(
            "ListServiceDeployments/{cluster_name}/{name}/{}/{}/{}",
            words.join(","),
            moment(created.after),
            moment(created.before)
        );
        let size = input.max_results.or(Some(PAGE_DEFAULT));
        let page = PageRequest::parse(listing, size, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &cluster_name)?;
        let there = service::get(&snapshot, &call.scope, &cluster_name, &name)?;
        let mut rows: Vec<Versioned<ServiceDeployment>> = snapshot
            .scan::<ServiceDeployment>(of_service(&call.scope, &cluster_name, &name), None)
            .filter(|row| row.created_at >= there.created_at)
            .filter(|row| statuses.is_empty() || statuses.contains(&row.status))
            .filter(|row| created.after.is_none_or(|after| row.created_at > after))
            .filter(|row| created.before.is_none_or(|before| row.created_at < before))
            .collect();
        rows.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        let position = |row: &ServiceDeployment| format!("{}/{}", row.created_at.as_millis(), row.id);
        let skip = page.after.as_ref().map_or(0, |after| rows.partition_point(|row| !is_behind(row, after)));
        let rows = rows.iter().skip(skip);
        let (brief, next_token) =
            page.take(rows.map(|row| (position(row), service_deployment::describe_brief(row))));
        Ok(ListServiceDeploymentsResponse { service_deployments: Some(brief), next_token })
    }
}

/// Whether the row stands behind the position in the listing, newest first.
fn is_behind(row: &ServiceDeployment, after: &str) -> bool {
    let (created_at, id) = after.split_once('/').unwrap_or((after, ""));
    let created_at: i64 = created_at.parse().unwrap_or(i64::MAX);
    (row.created_at.as_millis(), row.id.as_str()) < (created_at, id)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{World, text};

    #[tokio::test]
    async fn newest_first_with_filters() {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        let made = world
            .ok("CreateService", json!({"serviceName": "s", "taskDefinition": "web", "desiredCount": 1}));
        let made = made.await;
        let mut arns = vec![text(&made, "/service/currentServiceDeployment")];
        for _ in 0..2 {
            world.clock.advance_millis(1000);
            let body = json!({"service": "s", "forceNewDeployment": true});
            let updated = world.ok("UpdateService", body).await;
            arns.insert(0, text(&updated, "/service/currentServiceDeployment"));
        }
        let list = |more: Value| {
            let world = &world;
            async move {
                let mut body = json!({"service": "s"});
                for (key, value) in more.as_object().unwrap() {
                    body[key] = value.clone();
                }
                let listed = world.ok("ListServiceDeployments", body).await;
                let rows = listed["serviceDeployments"].as_array().unwrap().clone();
                rows.iter().map(|row| text(row, "/serviceDeploymentArn")).collect::<Vec<_>>()
            }
        };
        assert_eq!(list(json!({})).await, arns);
        // A deployment that another one took the place of has stopped.
        assert_eq!(list(json!({"status": ["STOPPED"]})).await, arns[1..]);
        assert_eq!(list(json!({"status": ["PENDING"]})).await, arns[..1]);
        let start = 1_795_348_800.0;
        assert_eq!(list(json!({"createdAt": {"after": start}})).await, arns[..2]);
        assert_eq!(list(json!({"createdAt": {"after": start, "before": start + 2.0}})).await, arns[1..2]);
        let service = text(&made, "/service/serviceArn");
        assert_eq!(list(json!({"service": service})).await, arns);

        let first = world.ok("ListServiceDeployments", json!({"service": "s", "maxResults": 2})).await;
        let body = json!({"service": "s", "maxResults": 2, "nextToken": first["nextToken"]});
        let second = world.ok("ListServiceDeployments", body).await;
        assert_eq!(text(&second, "/serviceDeployments/0/serviceDeploymentArn"), arns[2]);
        assert!(second.get("nextToken").is_none());
        for (body, code) in [
            (json!({"service": "ghost"}), "ServiceNotFoundException"),
            (json!({"service": "s", "cluster": "ghost"}), "ClusterNotFoundException"),
            (json!({"service": "s", "maxResults": 101}), "InvalidParameterException"),
            (json!({"service": ""}), "InvalidParameterException"),
        ] {
            let refused = world.refused("ListServiceDeployments", body).await;
            assert!(refused.starts_with(code), "{refused}");
        }
    }
}
