//! Describes services. AWS: DescribeServices. Differs from AWS: nothing known.

use api::ecs::operations::DescribeServices;
use api::ecs::{DescribeServicesRequest, DescribeServicesResponse};
use base::limits::DESCRIBE_SERVICES_MAXIMUM;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, service};
use crate::{Ecs, faults};

impl Operation<DescribeServices> for Ecs {
    fn permissions(&self, call: &Call, input: &DescribeServicesRequest) -> Vec<Permission> {
        let cluster = input.cluster.as_deref();
        let of_cluster = cluster::arn_for_permission(call, cluster);
        let services = input.services.iter().flatten();
        services
            .map(|text| {
                let resource = service::arn_for_permission(call, cluster, Some(text));
                Permission::new("ecs:DescribeServices", resource).when("ecs:cluster", &of_cluster)
            })
            .collect()
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeServicesRequest,
    ) -> Result<DescribeServicesResponse, Fault> {
        let cluster_name = cluster::name(call, input.cluster.as_deref())?;
        let given = input.services.unwrap_or_default();
        if given.is_empty() {
            return Err(faults::invalid("Services cannot be empty."));
        }
        if given.len() > DESCRIBE_SERVICES_MAXIMUM {
            return Err(faults::invalid(format!(
                "Services cannot have more than {DESCRIBE_SERVICES_MAXIMUM} elements."
            )));
        }
        let names = given
            .iter()
            .map(|text| service::name(call, &cluster_name, text))
            .collect::<Result<Vec<_>, _>>()?;
        let with_tags = input.include.iter().flatten().any(|word| word == "TAGS");

        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &cluster_name)?;
        let (mut services, mut failures) = (Vec::new(), Vec::new());
        for name in names {
            match service::find(&snapshot, &call.scope, &cluster_name, &name) {
                Some(there) => services.push(service::describe(&snapshot, &there, with_tags)?),
                None => failures.push(service::missing(&call.scope, &cluster_name, &name)),
            }
        }
        Ok(DescribeServicesResponse { services: Some(services), failures: Some(failures) })
    }
}

#[cfg(test)]
mod tests {
    use domain::{Service, ServiceEvent, Task, TaskStatus};
    use serde_json::json;
    use store::Transaction;
    use store::rows::task_key;

    use crate::resources::service;
    use crate::testing::{World, scope, text};

    #[tokio::test]
    async fn counts_events_and_failures() {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        let body = json!({"serviceName": "s", "taskDefinition": "web", "desiredCount": 2,
            "tags": [{"key": "a", "value": "b"}]});
        world.ok("CreateService", body).await;
        let there = service::find(&world.store.snapshot(), &scope(), "default", "s").unwrap();
        // What the scheduler would have done: three tasks, of which one is being stopped; and 150 events.
        let run = world.ok("RunTask", json!({"taskDefinition": "web", "count": 3})).await;
        let mut transaction = Transaction::new();
        for (number, status) in
            [TaskStatus::Running, TaskStatus::Pending, TaskStatus::Running].iter().enumerate()
        {
            let arn = text(&run, &format!("/tasks/{number}/taskArn"));
            let id = arn.rsplit('/').next().unwrap();
            let row = world.store.snapshot().get::<Task>(&task_key(&scope(), "default", id)).unwrap();
            let desired = if number == 2 { domain::DesiredStatus::Stopped } else { row.desired_status };
            transaction.put(Task {
                group: "service:s".to_owned(),
                started_by: Some(there.revisions[0].started_by()),
                last_status: *status,
                desired_status: desired,
                ..Task::clone(&row)
            });
        }
        for number in 1..=150 {
            transaction.put(ServiceEvent {
                scope: scope(),
                cluster: "default".to_owned(),
                service: "s".to_owned(),
                number,
                id: format!("event-{number}"),
                created_at: there.created_at,
                message: format!("(service s) {number}"),
            });
        }
        world.store.transact(transaction).await.unwrap();

        let arn = text(&world.ok("ListServices", json!({})).await, "/serviceArns/0");
        let body = json!({"services": [arn, "ghost"], "include": ["TAGS"]});
        let described = world.ok("DescribeServices", body).await;
        let shown = &described["services"][0];
        assert_eq!((&shown["runningCount"], &shown["pendingCount"]), (&json!(1), &json!(1)));
        assert_eq!(shown["deployments"][0]["runningCount"], json!(1));
        assert_eq!(shown["currentServiceRevisions"][0]["pendingTaskCount"], json!(1));
        assert_eq!(shown["tags"], json!([{"key": "a", "value": "b"}]));
        let events = shown["events"].as_array().unwrap();
        assert_eq!((events.len(), text(&events[0], "/id")), (100, "event-150".to_owned()));
        assert_eq!(
            described["failures"],
            json!([{"arn": "arn:aws:ecs:us-east-1:000000000000:service/default/ghost", "reason": "MISSING"}])
        );
        let plain = world.ok("DescribeServices", json!({"services": ["s"]})).await;
        assert!(plain["services"][0].get("tags").is_none());
        for (body, refusal) in [
            (json!({"services": []}), "InvalidParameterException: Services cannot be empty."),
            (
                json!({"services": vec!["s"; 11]}),
                "InvalidParameterException: Services cannot have more than 10 elements.",
            ),
            (json!({"services": ["s"], "cluster": "ghost"}), "ClusterNotFoundException: Cluster not found."),
            (json!({"services": ["a b"]}), "InvalidParameterException: Invalid service name: a b"),
        ] {
            assert_eq!(world.refused("DescribeServices", body).await, refusal);
        }
        let _: &Service = &there;
    }
}
