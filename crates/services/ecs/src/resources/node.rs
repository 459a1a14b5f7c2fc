//! What a node's access key may speak of: the one container instance that it registered, and that instance's tasks.
//!
//! The root user may speak for every machine: the stock agent joins with its key.

use base::Arn;
use domain::{ContainerInstance, Task};
use store::rows::{CONTAINER_INSTANCES_BY_NODE_KEY, container_instance_key};
use store::{Snapshot, Versioned};
use wire::{Call, Fault, PrincipalKind};

use crate::faults;

/// The id of the caller's access key, where the caller is a node.
pub fn access_key_id(call: &Call) -> Option<&str> {
    (call.principal.kind == PrincipalKind::Node).then_some(call.principal.access_key_id.as_str())
}

/// The registered container instance that the node with this access key speaks for.
pub fn instance_of_key(snapshot: &Snapshot, access_key_id: &str) -> Option<Versioned<ContainerInstance>> {
    snapshot.index::<ContainerInstance>(CONTAINER_INSTANCES_BY_NODE_KEY, &[access_key_id], None).next()
}

/// Refuses a node that speaks for a container instance which is not its own.
pub fn check_instance(call: &Call, instance: &ContainerInstance) -> Result<(), Fault> {
    match access_key_id(call) {
        Some(own) if instance.node_access_key_id.as_deref() != Some(own) => {
            Err(denied(call, &instance.arn()))
        }
        _ => Ok(()),
    }
}

/// Refuses a node that speaks of a task which another container instance runs, or none yet.
pub fn check_task(snapshot: &Snapshot, call: &Call, task: &Task) -> Result<(), Fault> {
    if access_key_id(call).is_none() {
        return Ok(());
    }
    let instance = task.container_instance.as_ref().and_then(|arn| {
        let (cluster, id) = arn.resource().strip_prefix("container-instance/")?.split_once('/')?;
        snapshot.get::<ContainerInstance>(&container_instance_key(&arn.scope()?, cluster, id))
    });
    match instance {
        // An INACTIVE one counts too: what it ran ends some time, and its agent tells.
        Some(instance) => check_instance(call, &instance).map_err(|_| denied(call, &task.arn())),
        None => Err(denied(call, &task.arn())),
    }
}

/// Refuses every node: for what belongs to no machine.
pub fn check_no_node(call: &Call, resource: &Arn) -> Result<(), Fault> {
    match access_key_id(call) {
        Some(_) => Err(denied(call, resource)),
        None => Ok(()),
    }
}

/// `AccessDeniedException` for a resource that is not the node's.
pub fn denied(call: &Call, resource: &Arn) -> Fault {
    tracing::warn!(principal = %call.principal.arn, %resource, "a node spoke for what is not its own");
    faults::access_denied(format!(
        "User: {} is not authorized to act for resource: {resource}: a node speaks for its own container instance and \
         its tasks only",
        call.principal.arn
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::ecs::{
        DeregisterContainerInstanceRequest, RegisterContainerInstanceRequest,
        SubmitAttachmentStateChangesRequest, SubmitContainerStateChangeRequest, SubmitTaskStateChangeRequest,
        TagResourceRequest, UpdateContainerInstancesStateRequest, operations,
    };
    use base::{SeededIds, Timestamp};
    use serde_json::json;
    use wire::{Fault, Operation, Principal};

    use super::*;
    use crate::testing::{World, scope, text};
    use crate::{Ecs, EcsConfig};

    fn call(access_key_id: &str) -> Call {
        let account = scope().account;
        Call {
            scope: scope(),
            now: Timestamp::from_millis(1_795_348_800_000),
            request_id: "1".to_owned(),
            principal: Principal::node(&account, "node", access_key_id),
            source_ip: None,
            endpoint: "http://127.0.0.1:4566".to_owned(),
        }
    }

    struct Nodes {
        world: World,
        ecs: Arc<Ecs>,
    }

    impl Nodes {
        async fn new() -> Self {
            let world = World::with_cluster().await;
            let ids = Arc::new(SeededIds::new(77));
            let ecs = Arc::new(Ecs { store: world.store.clone(), ids, config: EcsConfig::default() });
            Self { world, ecs }
        }

        async fn register(&self, key: &str, arn: Option<&str>) -> Result<String, Fault> {
            let input = RegisterContainerInstanceRequest {
                container_instance_arn: arn.map(str::to_owned),
                ..RegisterContainerInstanceRequest::default()
            };
            let answer =
                Operation::<operations::RegisterContainerInstance>::handle(&*self.ecs, &call(key), input)
                    .await?;
            Ok(answer.container_instance.unwrap().container_instance_arn.unwrap())
        }

        /// Whether the node may say that the task is RUNNING.
        async fn report(&self, key: &str, task: &str) -> Result<(), Fault> {
            let input = SubmitTaskStateChangeRequest {
                task: Some(task.to_owned()),
                status: Some("RUNNING".to_owned()),
                ..SubmitTaskStateChangeRequest::default()
            };
            Operation::<operations::SubmitTaskStateChange>::handle(&*self.ecs, &call(key), input)
                .await
                .map(drop)
        }
    }

    fn code(done: Result<(), Fault>) -> String {
        match done {
            Ok(()) => "done".to_owned(),
            Err(fault) => fault.code().to_owned(),
        }
    }

    #[tokio::test]
    async fn a_key_belongs_to_the_instance_that_it_registered_first() {
        let nodes = Nodes::new().await;
        let first = nodes.register("AKIA1", None).await.unwrap();
        let second = nodes.register("AKIA2", None).await.unwrap();
        assert_ne!(first, second);
        assert_eq!(nodes.register("AKIA1", None).await.unwrap(), first, "an answer may have been lost");
        assert_eq!(nodes.register("AKIA1", Some(&first)).await.unwrap(), first);
        let taken = nodes.register("AKIA1", Some(&second)).await.map(drop);
        assert_eq!(code(taken), "AccessDeniedException");
        // A node that started again has a new key, and knows which instance it was.
        assert_eq!(nodes.register("AKIA3", Some(&first)).await.unwrap(), first);
        let body = json!({"containerInstances": [first, second]});
        let described = nodes.world.ok("DescribeContainerInstances", body).await;
        assert_eq!(described["failures"], json!([]));
    }

    #[tokio::test]
    async fn a23_a_node_reports_its_own_tasks_only() {
        let nodes = Nodes::new().await;
        let (world, ecs) = (&nodes.world, &nodes.ecs);
        nodes.register("AKIA1", None).await.unwrap();
        let theirs = world.add_instance(1024, 1024, &[]).await;
        world.register("web").await;
        let run =
            world.ok("StartTask", json!({"taskDefinition": "web", "containerInstances": [theirs]})).await;
        let task = text(&run, "/tasks/0/taskArn");
        let before = world.ok("DescribeTasks", json!({"tasks": [task]})).await;

        assert_eq!(code(nodes.report("AKIA1", &task).await), "AccessDeniedException");
        let input = SubmitContainerStateChangeRequest {
            task: Some(task.clone()),
            container_name: Some("app".to_owned()),
            status: Some("RUNNING".to_owned()),
            ..SubmitContainerStateChangeRequest::default()
        };
        let done =
            Operation::<operations::SubmitContainerStateChange>::handle(&**ecs, &call("AKIA1"), input).await;
        assert_eq!(code(done.map(drop)), "AccessDeniedException");
        let input = DeregisterContainerInstanceRequest {
            container_instance: Some(theirs.clone()),
            force: Some(true),
            ..DeregisterContainerInstanceRequest::default()
        };
        let done =
            Operation::<operations::DeregisterContainerInstance>::handle(&**ecs, &call("AKIA1"), input).await;
        assert_eq!(code(done.map(drop)), "AccessDeniedException");
        let input = UpdateContainerInstancesStateRequest {
            container_instances: Some(vec![theirs.clone()]),
            status: Some("DRAINING".to_owned()),
            ..UpdateContainerInstancesStateRequest::default()
        };
        let done =
            Operation::<operations::UpdateContainerInstancesState>::handle(&**ecs, &call("AKIA1"), input)
                .await;
        assert_eq!(code(done.map(drop)), "AccessDeniedException");
        for resource in [theirs, task.clone()] {
            let input = TagResourceRequest { resource_arn: Some(resource), tags: Some(Vec::new()) };
            let done = Operation::<operations::TagResource>::handle(&**ecs, &call("AKIA1"), input).await;
            assert_eq!(code(done.map(drop)), "AccessDeniedException");
        }
        assert_eq!(world.ok("DescribeTasks", json!({"tasks": [task]})).await, before);
    }

    #[tokio::test]
    async fn a25_a_node_reports_attachments_of_its_own_tasks_only() {
        let nodes = Nodes { world: World::with_fargate().await, ..Nodes::new().await };
        let (world, ids) = (&nodes.world, Arc::new(SeededIds::new(78)));
        let ecs = Ecs { store: world.store.clone(), ids, config: EcsConfig::default() };
        let run = world.run_on_fargate(json!({})).await;
        let id = text(&run, "/tasks/0/attachments/0/id");
        let input = SubmitAttachmentStateChangesRequest {
            attachments: Some(vec![api::ecs::AttachmentStateChange {
                attachment_arn: Some(format!("arn:aws:ecs:us-east-1:000000000000:attachment/{id}")),
                status: Some("ATTACHED".to_owned()),
            }]),
            ..SubmitAttachmentStateChangesRequest::default()
        };
        let done =
            Operation::<operations::SubmitAttachmentStateChanges>::handle(&ecs, &call("AKIA1"), input).await;
        assert_eq!(code(done.map(drop)), "AccessDeniedException");
    }
}
