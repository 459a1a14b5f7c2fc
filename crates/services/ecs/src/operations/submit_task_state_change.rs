//! Takes in what an agent says of a task. AWS: SubmitTaskStateChange.
//!
//! Differs from AWS: a report of a task that is not there (any more) is acknowledged, since the agent could do nothing
//! with a fault but drop it.

use api::ecs::operations::SubmitTaskStateChange;
use api::ecs::{SubmitTaskStateChangeRequest, SubmitTaskStateChangeResponse};
use domain::{NetworkBinding, Task, TaskStatus, TransportProtocol};
use scheduler::task_lifecycle::{ContainerReport, ManagedAgentReport, TaskReport, step};
use store::Transaction;
use store::rows::task_key;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, identifier, node, task};
use crate::{Ecs, faults};

/// Containers, attachments or managed agents in one report. Ours: a task has at most ten containers.
const ENTRIES: usize = 100;
/// Ports of one container in a report. Ours: Docker's ranges go up to 100.
const NETWORK_BINDINGS: usize = 200;

impl Operation<SubmitTaskStateChange> for Ecs {
    fn permissions(&self, call: &Call, input: &SubmitTaskStateChangeRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:SubmitTaskStateChange", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: SubmitTaskStateChangeRequest,
    ) -> Result<SubmitTaskStateChangeResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let key = key(call, &name, input.task.as_deref().unwrap_or_default())?;
        let report = report(input)?;

        let acknowledgment = Some(take_in(self, call, &key, &report).await?);
        Ok(SubmitTaskStateChangeResponse { acknowledgment })
    }
}

/// Changes the task as reported, if the report is news. Gives the acknowledgment.
pub(super) async fn take_in(
    ecs: &Ecs,
    call: &Call,
    key: &store::Key,
    report: &TaskReport,
) -> Result<String, Fault> {
    let update = ecs.store.update(|snapshot| {
        let mut transaction = Transaction::new();
        if let Some(there) = snapshot.get::<Task>(key) {
            node::check_task(snapshot, call, &there)?;
            let outcome = step(&there, report, call.now);
            if outcome.changed {
                transaction.replace(&there, outcome.task);
            }
        }
        Ok::<_, Fault>((transaction, ()))
    });
    update.await.map_err(faults::of_update)?;
    Ok(format!("{}/{}", call.scope.region, call.request_id))
}

/// The key of the task that an agent names. A machine that is Fargate capacity reports tasks of other clusters, accounts
/// and regions than its own, so an ARN is taken as it stands.
pub(super) fn key(call: &Call, cluster: &str, text: &str) -> Result<store::Key, Fault> {
    let arn = text.parse::<base::Arn>().ok();
    let parts = arn.as_ref().and_then(|arn| {
        let (kind, rest) = arn.resource_type_and_id()?;
        let (cluster, id) = rest.split_once('/')?;
        (arn.aws_service() == "ecs" && kind == "task" && identifier::is_name(cluster)).then_some((
            arn.scope()?,
            cluster,
            id,
        ))
    });
    match parts {
        Some((scope, cluster, id)) => Ok(task_key(&scope, cluster, id)),
        None => Ok(task_key(&call.scope, cluster, &task::id(call, cluster, text)?)),
    }
}

fn report(input: SubmitTaskStateChangeRequest) -> Result<TaskReport, Fault> {
    let containers = input.containers.unwrap_or_default();
    let attachments = input.attachments.unwrap_or_default();
    let managed_agents = input.managed_agents.unwrap_or_default();
    if [containers.len(), attachments.len(), managed_agents.len()].iter().any(|length| *length > ENTRIES) {
        return Err(faults::invalid(format!("A report can have at most {ENTRIES} entries of each kind.")));
    }
    Ok(TaskReport {
        status: status(input.status.as_deref())?,
        reason: input.reason.unwrap_or_default(),
        containers: containers.into_iter().map(container).collect::<Result<_, _>>()?,
        attachments: attachments
            .into_iter()
            .map(|attachment| {
                let arn = attachment.attachment_arn.unwrap_or_default();
                let id = arn.rsplit('/').next().unwrap_or_default().to_owned();
                (id, attachment.status.unwrap_or_default())
            })
            .collect(),
        managed_agents: managed_agents
            .into_iter()
            .map(|agent| ManagedAgentReport {
                container: agent.container_name.unwrap_or_default(),
                name: agent.managed_agent_name.unwrap_or_default(),
                status: agent.status.unwrap_or_default(),
                reason: agent.reason,
            })
            .collect(),
        pull_started_at: input.pull_started_at,
        pull_stopped_at: input.pull_stopped_at,
        execution_stopped_at: input.execution_stopped_at,
    })
}

/// PENDING, RUNNING or STOPPED; absent or empty where only parts are reported.
pub(super) fn status(word: Option<&str>) -> Result<Option<TaskStatus>, Fault> {
    match word {
        None | Some("") => Ok(None),
        Some(word) => match word.parse() {
            Ok(status @ (TaskStatus::Pending | TaskStatus::Running | TaskStatus::Stopped)) => {
                Ok(Some(status))
            }
            // The stock agent knows more statuses of containers than it means anything by (CREATED, RESOURCES_PROVISIONED).
            _ if word.len() <= 64 => Ok(None),
            _ => Err(faults::invalid("Invalid status.")),
        },
    }
}

fn container(given: api::ecs::ContainerStateChange) -> Result<ContainerReport, Fault> {
    Ok(ContainerReport {
        name: given.container_name.unwrap_or_default(),
        status: status(given.status.as_deref())?,
        runtime_id: given.runtime_id.filter(|id| id.len() <= 255),
        exit_code: given.exit_code,
        reason: given.reason,
        image_digest: given.image_digest.filter(|digest| digest.len() <= 255),
        network_bindings: network_bindings(given.network_bindings.unwrap_or_default())?,
    })
}

/// Ports on the host.
pub(super) fn network_bindings(given: Vec<api::ecs::NetworkBinding>) -> Result<Vec<NetworkBinding>, Fault> {
    if given.len() > NETWORK_BINDINGS {
        return Err(faults::invalid(format!(
            "A container can have at most {NETWORK_BINDINGS} network bindings."
        )));
    }
    Ok(given
        .into_iter()
        .map(|binding| NetworkBinding {
            bind_ip: binding.bind_ip.unwrap_or_default(),
            container_port: binding.container_port,
            host_port: binding.host_port,
            protocol: match binding.protocol.as_deref() {
                Some("udp") => TransportProtocol::Udp,
                _ => TransportProtocol::Tcp,
            },
            container_port_range: binding.container_port_range,
            host_port_range: binding.host_port_range,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn reports_of_every_kind() {
        let world = World::with_fargate().await;
        let run = world.run_on_fargate(json!({})).await;
        let task = text(&run, "/tasks/0/taskArn");
        assert_eq!(text(&run, "/tasks/0/lastStatus"), "PROVISIONING");
        assert_eq!(text(&run, "/tasks/0/attachments/0/status"), "PRECREATED");
        let id = text(&run, "/tasks/0/attachments/0/id");
        let attachment = format!("arn:aws:ecs:us-east-1:000000000000:attachment/{id}");
        let attached = json!([{"attachmentArn": attachment, "status": "ATTACHED"}]);
        world
            .ok("SubmitAttachmentStateChanges", json!({"cluster": "default", "attachments": attached}))
            .await;
        let body = json!({
            "cluster": "default", "task": task, "status": "STOPPED",
            "reason": "CannotPullContainerError: no such image",
            "pullStartedAt": 1_795_348_801.5,
            "containers": [{"containerName": "app", "status": "STOPPED", "reason": "CannotPullContainerError: no such image"}],
        });
        let answer = world.ok("SubmitTaskStateChange", body).await;
        assert!(answer["acknowledgment"].is_string());
        let described = world.ok("DescribeTasks", json!({"tasks": [task]})).await;
        let described = &described["tasks"][0];
        assert_eq!(text(described, "/lastStatus"), "DEPROVISIONING");
        assert_eq!(text(described, "/stopCode"), "TaskFailedToStart");
        assert_eq!(text(described, "/stoppedReason"), "CannotPullContainerError: no such image");
        assert_eq!(text(described, "/attachments/0/status"), "ATTACHED");
        assert_eq!(described["pullStartedAt"], json!(1_795_348_801.5));

        let ghost = json!({"cluster": "default", "task": "0".repeat(32), "status": "RUNNING"});
        world.ok("SubmitTaskStateChange", ghost).await;
        world.refused("SubmitTaskStateChange", json!({"cluster": "default", "task": "x"})).await;
    }

    #[tokio::test]
    async fn one_container_by_itself() {
        let (world, _) = World::with_instance(1024, 1024, &[]).await;
        world.register("web").await;
        let run = world.ok("RunTask", json!({"taskDefinition": "web"})).await;
        let task = text(&run, "/tasks/0/taskArn");
        let binding =
            json!([{"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 32768, "protocol": "udp"}]);
        let body = json!({
            "cluster": "default", "task": task, "containerName": "app", "status": "RUNNING", "runtimeId": "abc",
            "networkBindings": binding,
        });
        world.ok("SubmitContainerStateChange", body).await;
        let described = world.ok("DescribeTasks", json!({"tasks": [task]})).await;
        assert_eq!(described["tasks"][0]["containers"][0]["networkBindings"], binding);
        assert_eq!(text(&described, "/tasks/0/containers/0/lastStatus"), "RUNNING");
    }
}
