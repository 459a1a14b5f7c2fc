//! Describes tasks. AWS: DescribeTasks. Differs from AWS: in a cluster with the tag `roadstead:pending-reason=enabled` a task
//! that does not run yet has one attribute more, which says what it waits for.

use api::ecs::operations::DescribeTasks;
use api::ecs::{DescribeTasksRequest, DescribeTasksResponse, Failure};
use base::Arn;
use base::limits::DESCRIBE_MAXIMUM;
use wire::{Call, Fault, Operation, Permission};

use crate::launch::wishes;
use crate::resources::{cluster, pending_reason, task};
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
        let cluster = cluster::get(&snapshot, &call.scope, &name)?;
        let with_reasons = wishes::pending_reasons(&cluster.tags);
        let (mut tasks, mut failures) = (Vec::new(), Vec::new());
        for id in ids {
            match task::get(&snapshot, call, &name, &id) {
                Some(there) => {
                    let mut described = task::describe(&there, with_tags)?;
                    if with_reasons {
                        let reason = pending_reason::attribute(&snapshot, &there);
                        described.attributes.get_or_insert_default().extend(reason);
                    }
                    tasks.push(described);
                }
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

    /// The attribute with what the task waits for; null where there is none.
    async fn waits_for(world: &World, task: &str) -> String {
        let described = world.ok("DescribeTasks", json!({"tasks": [task]})).await;
        let attributes = described["tasks"][0]["attributes"].as_array().unwrap().clone();
        let found = attributes.iter().find(|attribute| attribute["name"] == "roadstead.pending-reason");
        found.map(|attribute| text(attribute, "/value")).unwrap_or_default()
    }

    #[tokio::test]
    async fn what_it_waits_for() {
        let docker = ["17", "18", "24"]
            .map(|minor| format!("com.amazonaws.ecs.capability.docker-remote-api.1.{minor}"));
        let ecs =
            ["container-health-check", "container-ordering"].map(|name| format!("ecs.capability.{name}"));
        let capabilities: Vec<_> = docker.iter().chain(&ecs).map(|name| (name.as_str(), None)).collect();
        let (world, instance) = World::with_instance(1024, 300, &capabilities).await;
        let definition = json!({
            "family": "two", "networkMode": "host",
            "containerDefinitions": [
                {"name": "db", "image": "db:1", "memory": 100, "healthCheck": {"command": ["CMD", "true"]}},
                {"name": "web", "image": "web:1", "memory": 100,
                    "dependsOn": [{"containerName": "db", "condition": "HEALTHY"}]},
            ],
        });
        world.ok("RegisterTaskDefinition", definition).await;
        let run = world.ok("RunTask", json!({"taskDefinition": "two"})).await;
        let task = text(&run, "/tasks/0/taskArn");
        assert_eq!(waits_for(&world, &task).await, "", "nobody asked");
        let cluster = "arn:aws:ecs:us-east-1:000000000000:cluster/default";
        let tags = json!([{"key": "roadstead:pending-reason", "value": "enabled"}]);
        world.ok("TagResource", json!({"resourceArn": cluster, "tags": tags})).await;

        let there = world.ok("DescribeContainerInstances", json!({"containerInstances": [instance]})).await;
        let name = text(&there, "/containerInstances/0/ec2InstanceId");
        assert_eq!(
            waits_for(&world, &task).await,
            format!("Waiting for the agent of {name} to take the order to start it.")
        );
        let snapshot = world.store.snapshot();
        let order = snapshot.scan::<domain::OutboxMessage>(store::Prefix::everything(), None).next().unwrap();
        let mut transaction = store::Transaction::new();
        transaction.remove(&order);
        world.store.transact(transaction).await.unwrap();
        assert_eq!(waits_for(&world, &task).await, "Waiting for containers: web waits for db to be HEALTHY.");
        let pulling =
            json!({"cluster": "default", "task": task, "status": "PENDING", "pullStartedAt": 1_795_348_800});
        world.ok("SubmitTaskStateChange", pulling).await;
        assert_eq!(waits_for(&world, &task).await, "Waiting for images to be pulled: db:1, web:1.");
        world.report(&task, domain::TaskStatus::Running, json!([])).await;
        assert_eq!(waits_for(&world, &task).await, "");

        let queue = json!([{"key": "roadstead:queue", "value": "enabled"}]);
        let run = world.ok("RunTask", json!({"taskDefinition": "two", "tags": queue})).await;
        let task = text(&run, "/tasks/0/taskArn");
        assert_eq!(text(&run, "/tasks/0/lastStatus"), "PROVISIONING");
        let said = waits_for(&world, &task).await;
        assert!(said.starts_with("Waiting for capacity"), "{said}");
        assert!(said.ends_with("It is number 1 of 1 that wait in its cluster."), "{said}");
    }

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
