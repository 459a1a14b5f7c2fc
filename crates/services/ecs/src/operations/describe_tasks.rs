//! Describes tasks. AWS: DescribeTasks. Differs from AWS: nothing known.

use api::ecs::operations::DescribeTasks;
use api::ecs::{DescribeTasksRequest, DescribeTasksResponse, Failure};
use base::Arn;
use base::limits::DESCRIBE_MAXIMUM;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, task};
use crate::{Ecs, faults};

impl Operation<DescribeTasks> for Ecs {
    fn permissions(&self, call: &Call, input: &DescribeTasksRequest) -> Vec<Permission> {
        let cluster_arn = cluster::arn_for_permission(call, input.cluster.as_deref());
        let name = cluster::name(call, input.cluster.as_deref());
        let resource = |text: &String| {
            let name = name.as_ref().ok()?;
            let id = task::id(call, name, text).ok()?;
            Some(Arn::new("ecs", &call.scope, format!("task/{name}/{id}")).to_string())
        };
        input
            .tasks
            .iter()
            .flatten()
            .map(|text| {
                let resource = resource(text).unwrap_or_else(|| "*".to_owned());
                Permission::new("ecs:DescribeTasks", resource).when("ecs:cluster", &cluster_arn)
            })
            .collect()
    }

    async fn handle(&self, call: &Call, input: DescribeTasksRequest) -> Result<DescribeTasksResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let given = input.tasks.unwrap_or_default();
        if given.is_empty() {
            return Err(faults::invalid("Tasks cannot be empty."));
        }
        if given.len() > DESCRIBE_MAXIMUM {
            return Err(faults::invalid(format!("Tasks cannot have more than {DESCRIBE_MAXIMUM} elements.")));
        }
        let ids = given.iter().map(|text| task::id(call, &name, text)).collect::<Result<Vec<_>, _>>()?;
        let with_tags = input.include.iter().flatten().any(|word| word == "TAGS");

        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &name)?;
        let (mut tasks, mut failures) = (Vec::new(), Vec::new());
        for id in ids {
            match task::get(&snapshot, call, &name, &id) {
                Some(there) => tasks.push(task::describe(&there, with_tags)?),
                None => failures.push(Failure {
                    arn: Some(Arn::new("ecs", &call.scope, format!("task/{name}/{id}")).to_string()),
                    reason: Some("MISSING".to_owned()),
                    detail: None,
                }),
            }
        }
        Ok(DescribeTasksResponse { tasks: Some(tasks), failures: Some(failures) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn by_id_and_arn() {
        let (world, _) = World::with_instance(1024, 1024, &[]).await;
        world.register("web").await;
        let run =
            world.ok("RunTask", json!({"taskDefinition": "web", "tags": [{"key": "a", "value": "b"}]})).await;
        let arn = text(&run, "/tasks/0/taskArn");
        let id = arn.rsplit('/').next().unwrap();
        let ghost = "f".repeat(32);
        let described = world.ok("DescribeTasks", json!({"tasks": [id, ghost], "include": ["TAGS"]})).await;
        assert_eq!(described["tasks"], run["tasks"]);
        assert_eq!(
            described["failures"],
            json!([{"arn": format!("arn:aws:ecs:us-east-1:000000000000:task/default/{ghost}"), "reason": "MISSING"}])
        );
        let plain = world.ok("DescribeTasks", json!({"tasks": [arn]})).await;
        assert_eq!(plain["tasks"][0]["tags"], json!([]));
        assert_eq!(
            world.refused("DescribeTasks", json!({"tasks": []})).await,
            "InvalidParameterException: Tasks cannot be empty."
        );
        assert_eq!(
            world.refused("DescribeTasks", json!({"cluster": "ghost", "tasks": [id]})).await,
            "ClusterNotFoundException: Cluster not found."
        );
        let far = arn.replace("us-east-1", "eu-west-1");
        world.refused("DescribeTasks", json!({"tasks": [far]})).await;
        world.refused("DescribeTasks", json!({"tasks": vec![id; 101]})).await;
    }
}
