//! Describes the task sets of a service. AWS: DescribeTaskSets. Differs from AWS: nothing known.

use api::ecs::operations::DescribeTaskSets;
use api::ecs::{DescribeTaskSetsRequest, DescribeTaskSetsResponse, Failure};
use base::Arn;
use wire::{Call, Fault, Operation, Permission};

use crate::Ecs;
use crate::faults;
use crate::resources::service::TaskCounts;
use crate::resources::{cluster, service, task_set};

/// Task sets in one call. Source: as with DescribeServices; AWS names no number here.
const DESCRIBE_MAXIMUM: usize = 100;

impl Operation<DescribeTaskSets> for Ecs {
    fn permissions(&self, call: &Call, input: &DescribeTaskSetsRequest) -> Vec<Permission> {
        let (cluster, of_service) = (input.cluster.as_deref(), input.service.as_deref());
        let permission = |resource: String| {
            Permission::new("ecs:DescribeTaskSets", resource)
                .when("ecs:cluster", cluster::arn_for_permission(call, cluster))
                .when("ecs:service", service::arn_for_permission(call, cluster, of_service))
        };
        match input.task_sets.as_deref() {
            None | Some([]) => vec![permission("*".to_owned())],
            Some(given) => given
                .iter()
                .map(|text| permission(task_set::arn_for_permission(call, cluster, of_service, Some(text))))
                .collect(),
        }
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeTaskSetsRequest,
    ) -> Result<DescribeTaskSetsResponse, Fault> {
        let cluster_name = cluster::name(call, input.cluster.as_deref())?;
        let name = service::name(call, &cluster_name, input.service.as_deref().unwrap_or_default())?;
        let with_tags = input.include.iter().flatten().any(|word| word == "TAGS");
        let given = input.task_sets.unwrap_or_default();
        if given.len() > DESCRIBE_MAXIMUM {
            return Err(faults::invalid(format!(
                "taskSets cannot have more than {DESCRIBE_MAXIMUM} elements."
            )));
        }

        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &cluster_name)?;
        let of_service = service::active(&snapshot, &call.scope, &cluster_name, &name)?;
        let counts = TaskCounts::of_group(&snapshot, &call.scope, &cluster_name, &of_service.group());
        let (mut task_sets, mut failures) = (Vec::new(), Vec::new());
        if given.is_empty() {
            for row in task_set::of_service(&snapshot, &of_service) {
                task_sets.push(task_set::describe(&row, &counts, with_tags)?);
            }
        }
        for text in given {
            let id = task_set::id(call, &of_service, &text)?;
            match task_set::find(&snapshot, &of_service, &id) {
                Some(row) => task_sets.push(task_set::describe(&row, &counts, with_tags)?),
                None => failures.push(Failure {
                    arn: Some(
                        Arn::new("ecs", &call.scope, format!("task-set/{cluster_name}/{name}/ecs-svc/{id}"))
                            .to_string(),
                    ),
                    reason: Some("MISSING".to_owned()),
                    detail: None,
                }),
            }
        }
        Ok(DescribeTaskSetsResponse { task_sets: Some(task_sets), failures: Some(failures) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn all_of_a_service() {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        let external = json!({"serviceName": "s", "deploymentController": {"type": "EXTERNAL"}});
        world.ok("CreateService", external).await;
        let of = json!({"cluster": "default", "service": "s"});
        assert_eq!(world.ok("DescribeTaskSets", of.clone()).await["taskSets"], json!([]));
        for external_id in ["one", "two"] {
            let body = json!({"cluster": "default", "service": "s", "taskDefinition": "web",
                "externalId": external_id, "tags": [{"key": "a", "value": "b"}]});
            world.ok("CreateTaskSet", body).await;
            world.clock.advance_millis(10);
        }
        let body = json!({"cluster": "default", "service": "s", "include": ["TAGS"]});
        let described = world.ok("DescribeTaskSets", body).await;
        assert_eq!(described["taskSets"][0]["externalId"], json!("one"));
        assert_eq!(described["taskSets"][1]["externalId"], json!("two"));
        assert_eq!(described["taskSets"][1]["tags"], json!([{"key": "a", "value": "b"}]));
        for (body, code) in [
            (json!({"cluster": "ghost", "service": "s"}), "ClusterNotFoundException"),
            (json!({"cluster": "default", "service": "x"}), "ServiceNotFoundException"),
            (json!({"cluster": "default", "service": "s", "taskSets": ["?"]}), "InvalidParameterException"),
        ] {
            assert!(world.refused("DescribeTaskSets", body).await.starts_with(code));
        }
        world.ok("DeleteService", json!({"service": "s", "force": true})).await;
        assert!(world.refused("DescribeTaskSets", of).await.starts_with("ServiceNotActiveException"));
    }
}
