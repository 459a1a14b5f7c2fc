//! Lists tasks. AWS: ListTasks.
//!
//! Differs from AWS: `daemonName` names nothing yet, so that it selects no task.

use api::ecs::operations::ListTasks;
use api::ecs::{ListTasksRequest, ListTasksResponse};
use base::Arn;
use domain::{DesiredStatus, LaunchType, Task};
use store::rows::{
    TASKS_BY_CONTAINER_INSTANCE, TASKS_BY_FAMILY, TASKS_BY_GROUP, TASKS_BY_STARTED_BY, TASKS_LIVE_BY_GROUP,
    TASKS_OF_CLUSTER,
};
use store::{Key, Snapshot, Versioned};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::page::PageRequest;
use crate::resources::{cluster, container_instance, service};
use crate::{Ecs, faults};

struct Filters {
    container_instance: Option<String>,
    family: Option<String>,
    started_by: Option<String>,
    group: Option<String>,
    launch_type: Option<LaunchType>,
    desired_status: Option<DesiredStatus>,
    nothing: bool,
}

impl Operation<ListTasks> for Ecs {
    fn permissions(&self, call: &Call, input: &ListTasksRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:ListTasks", "*").when("ecs:cluster", cluster)]
    }

    async fn handle(&self, call: &Call, input: ListTasksRequest) -> Result<ListTasksResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let filters = filters(call, &name, &input)?;
        let listing = listing(&name, &input);
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &name)?;
        if let Some(of_service) = filters.group.as_deref().and_then(|group| group.strip_prefix("service:")) {
            service::get(&snapshot, &call.scope, &name, of_service)?;
        }
        let mut tasks: Vec<Versioned<Task>> = if filters.nothing {
            Vec::new()
        } else {
            candidates(&snapshot, call, &name, &filters)
                .into_iter()
                .filter(|task| filters.take(task, &name))
                .collect()
        };
        // The newest first, as AWS mostly does.
        tasks.sort_by(|a, b| (b.times.created_at, &b.id).cmp(&(a.times.created_at, &a.id)));
        let position = |task: &Task| format!("{}/{}", task.times.created_at.as_millis(), task.id);
        let skip = match &page.after {
            None => 0,
            Some(after) => tasks.partition_point(|task| !is_behind(task, after)),
        };
        let entries = tasks.iter().skip(skip).map(|task| (position(task), task.arn().to_string()));
        let (arns, next_token) = page.take(entries);
        Ok(ListTasksResponse { task_arns: Some(arns), next_token })
    }
}

/// Whether the task stands behind the position in the listing, newest first.
fn is_behind(task: &Task, after: &str) -> bool {
    let (created_at, id) = after.split_once('/').unwrap_or((after, ""));
    let created_at: i64 = created_at.parse().unwrap_or(i64::MAX);
    (task.times.created_at.as_millis(), task.id.as_str()) < (created_at, id)
}

fn listing(cluster: &str, input: &ListTasksRequest) -> String {
    let parts = [
        &input.container_instance,
        &input.family,
        &input.started_by,
        &input.service_name,
        &input.desired_status,
        &input.launch_type,
        &input.daemon_name,
    ];
    let parts: Vec<&str> = parts.iter().map(|part| part.as_deref().unwrap_or_default()).collect();
    format!("ListTasks/{cluster}/{}", parts.join("/"))
}

fn filters(call: &Call, cluster: &str, input: &ListTasksRequest) -> Result<Filters, Fault> {
    let others = [
        &input.container_instance,
        &input.family,
        &input.service_name,
        &input.launch_type,
        &input.daemon_name,
    ];
    if input.started_by.is_some() && others.iter().any(|other| other.is_some()) {
        return Err(faults::invalid("startedBy must be the only filter that is used."));
    }
    let container_instance = match &input.container_instance {
        None => None,
        Some(text) => {
            let id = container_instance::id(call, cluster, text)?;
            Some(Arn::new("ecs", &call.scope, format!("container-instance/{cluster}/{id}")).to_string())
        }
    };
    let launch_type = match input.launch_type.as_deref() {
        None => None,
        Some(word) => Some(
            word.parse::<LaunchType>()
                .map_err(|_| faults::invalid(format!("Invalid launch type: {word}")))?,
        ),
    };
    let (desired_status, pending) = match input.desired_status.as_deref() {
        None | Some("RUNNING") => (Some(DesiredStatus::Running), false),
        Some("STOPPED") => (Some(DesiredStatus::Stopped), false),
        // AWS: no task ever has this desired status.
        Some("PENDING") => (None, true),
        Some(word) => return Err(faults::invalid(format!("Invalid desired status: {word}"))),
    };
    Ok(Filters {
        container_instance,
        family: input.family.clone(),
        started_by: input.started_by.clone(),
        group: match &input.service_name {
            None => None,
            Some(text) => Some(format!("service:{}", service::name(call, cluster, text)?)),
        },
        launch_type,
        desired_status,
        nothing: pending || input.daemon_name.is_some(),
    })
}

/// The tasks of the narrowest index that the filters allow.
fn candidates(snapshot: &Snapshot, call: &Call, cluster: &str, filters: &Filters) -> Vec<Versioned<Task>> {
    let (account, region) = (call.scope.account.as_str(), call.scope.region.as_str());
    let of = |index: &str, value: &str| {
        snapshot.index::<Task>(index, &[account, region, cluster, value], None).collect()
    };
    if let Some(arn) = &filters.container_instance {
        snapshot.index::<Task>(TASKS_BY_CONTAINER_INSTANCE, &[arn], None).collect()
    } else if let Some(started_by) = &filters.started_by {
        of(TASKS_BY_STARTED_BY, started_by)
    } else if let Some(group) = &filters.group {
        // The tasks that are to run are found without a look at those that ran once.
        let running = filters.desired_status == Some(DesiredStatus::Running);
        of(if running { TASKS_LIVE_BY_GROUP } else { TASKS_BY_GROUP }, group)
    } else if let Some(family) = &filters.family {
        of(TASKS_BY_FAMILY, family)
    } else if filters.desired_status == Some(DesiredStatus::Running) {
        snapshot.index::<Task>(TASKS_OF_CLUSTER, &[account, region, cluster], None).collect()
    } else {
        snapshot.scan::<Task>(Key::prefix(&call.scope, &[cluster]), None).collect()
    }
}

impl Filters {
    fn take(&self, task: &Task, cluster: &str) -> bool {
        let of_instance = self.container_instance.is_some();
        task.cluster == cluster
            && self.desired_status.is_none_or(|status| task.desired_status == status)
            && self.launch_type.is_none_or(|launch_type| task.launch_type == launch_type)
            && self.group.as_ref().is_none_or(|group| task.group == *group)
            && self.family.as_ref().is_none_or(|family| task.family == *family)
            // A Fargate task is on a machine, but of no container instance.
            && !(of_instance && task.launch_type == LaunchType::Fargate)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn every_filter() {
        let (world, instance) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        world.register("api").await;
        let run = |body| {
            let world = &world;
            async move {
                world.clock.advance_millis(1000);
                text(&world.ok("RunTask", body).await, "/tasks/0/taskArn")
            }
        };
        let web = run(json!({"taskDefinition": "web", "startedBy": "me"})).await;
        let api = run(json!({"taskDefinition": "api"})).await;
        let list = |body| {
            let world = &world;
            async move { world.ok("ListTasks", body).await["taskArns"].clone() }
        };
        assert_eq!(list(json!({})).await, json!([api, web]));
        assert_eq!(list(json!({"family": "web"})).await, json!([web]));
        assert_eq!(list(json!({"startedBy": "me"})).await, json!([web]));
        assert_eq!(list(json!({"containerInstance": instance})).await, json!([api, web]));
        assert_eq!(list(json!({"launchType": "FARGATE"})).await, json!([]));
        assert_eq!(list(json!({"desiredStatus": "STOPPED"})).await, json!([]));
        assert_eq!(list(json!({"desiredStatus": "PENDING"})).await, json!([]));
        world.ok("StopTask", json!({"task": web})).await;
        assert_eq!(list(json!({"desiredStatus": "STOPPED", "family": "web"})).await, json!([web]));
        assert_eq!(list(json!({})).await, json!([api]));

        let web = run(json!({"taskDefinition": "web"})).await;
        let first = world.ok("ListTasks", json!({"maxResults": 1})).await;
        assert_eq!(first["taskArns"], json!([web]));
        let second = world.ok("ListTasks", json!({"maxResults": 1, "nextToken": first["nextToken"]})).await;
        assert_eq!(second["taskArns"], json!([api]));
        assert!(second.get("nextToken").is_none());

        world.refused("ListTasks", json!({"startedBy": "me", "family": "web"})).await;
        assert_eq!(
            world.refused("ListTasks", json!({"cluster": "ghost"})).await,
            "ClusterNotFoundException: Cluster not found."
        );
        assert_eq!(
            world.refused("ListTasks", json!({"serviceName": "s"})).await,
            "ServiceNotFoundException: Service not found."
        );
        let made = world
            .ok("CreateService", json!({"serviceName": "s", "deploymentController": {"type": "EXTERNAL"}}));
        let service = text(&made.await, "/service/serviceArn");
        let id = web.rsplit('/').next().unwrap();
        let key = store::rows::task_key(&crate::testing::scope(), "default", id);
        let row = world.store.snapshot().get::<domain::Task>(&key).unwrap();
        let mut transaction = store::Transaction::new();
        transaction.put(domain::Task { group: "service:s".to_owned(), ..domain::Task::clone(&row) });
        world.store.transact(transaction).await.unwrap();
        for name in ["s", service.as_str()] {
            assert_eq!(list(json!({"serviceName": name})).await, json!([web]));
            assert_eq!(list(json!({"serviceName": name, "desiredStatus": "STOPPED"})).await, json!([]));
            assert_eq!(list(json!({"serviceName": name, "family": "api"})).await, json!([]));
        }
    }
}
