//! Where the nouns of `domain` live: table, key and indexes of each row.
//!
//! Index entries that only living rows have are left out for the others, so that an index never grows with history.

use domain::{
    AccountSetting, Allocation, ClientTokenUse, Cluster, ContainerInstance, ContainerInstanceStatus,
    DesiredStatus, OutboxMessage, SettingPrincipal, TargetState, Task, TaskDefinition, TaskDefinitionFamily,
    TaskDefinitionStatus, TaskStatus,
};

use crate::key::number_part;
use crate::{IndexSink, Key, Options, Row, Table};

/// Index of tasks that hold resources, by the ARN of their container instance.
pub const TASKS_HOLDING: &str = "holding";
/// Index of all tasks, by the ARN of their container instance.
pub const TASKS_BY_CONTAINER_INSTANCE: &str = "container_instance";
/// Index of tasks by account, region, cluster and family.
pub const TASKS_BY_FAMILY: &str = "family";
/// Index of tasks by account, region, cluster and group.
pub const TASKS_BY_GROUP: &str = "group";
/// Index of tasks that are not STOPPED, by account, region, cluster and group.
pub const TASKS_LIVE_BY_GROUP: &str = "live_group";
/// Index of STOPPED tasks of services whose end their service has not taken note of: account, region, cluster, group.
pub const TASKS_UNACCOUNTED: &str = "unaccounted";
/// Index of tasks by account, region, cluster and `startedBy`.
pub const TASKS_BY_STARTED_BY: &str = "started_by";
/// Index of tasks that are not STOPPED, by last status.
pub const TASKS_UNFINISHED: &str = "unfinished";
/// Index of tasks that are not STOPPED, by account, region and cluster.
pub const TASKS_OF_CLUSTER: &str = "of_cluster";
/// Index of STOPPED tasks, by the moment they stopped (milliseconds, [`number_part`]).
pub const TASKS_STOPPED_AT: &str = "stopped_at";
/// Index of tasks that are not STOPPED, by the ARN of their task definition.
pub const TASKS_BY_TASK_DEFINITION: &str = "task_definition";
/// Index of tasks that may run for a time only, by the moment that it is over (milliseconds, [`number_part`]).
pub const TASKS_BY_DEADLINE: &str = "deadline";
/// Index of tasks by a target that they are registered as: the target group's ARN, target, port ([`number_part`]).
pub const TASKS_BY_TARGET: &str = "target";
/// Index of tasks that are to be registered with load balancers, or taken out of them: account, region, cluster, group.
pub const TASKS_MOVING_TARGETS: &str = "moving_targets";
/// Index of tasks that AWS Cloud Map is to be told of: account, region, cluster, group.
pub const TASKS_DISCOVERED_ANEW: &str = "discovered_anew";
/// Index of tasks by the id of an attachment: account, region, attachment id.
pub const TASKS_BY_ATTACHMENT: &str = "attachment";
/// Index of container instances that are Fargate capacity: no parts.
pub const CONTAINER_INSTANCES_FARGATE: &str = "fargate_capacity";
/// Index of container instances by the EC2 or machine instance id: account, region, id.
pub const CONTAINER_INSTANCES_BY_EC2_INSTANCE: &str = "ec2_instance";
/// Index of container instances by the id of the node's access key that speaks for them.
pub const CONTAINER_INSTANCES_BY_NODE_KEY: &str = "node_access_key";
/// Index of uses of client tokens, by moment (milliseconds, [`number_part`]).
pub const CLIENT_TOKENS_BY_TIME: &str = "used_at";
/// Index of task definitions whose deletion was asked for.
pub const TASK_DEFINITIONS_DELETING: &str = "deleting";

impl Row for Cluster {
    const TABLE: Table = Table::new("clusters");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        cluster_key(&self.scope, &self.name)
    }
}

/// The key of a cluster.
pub fn cluster_key(scope: &base::Scope, name: &str) -> Key {
    Key::new(scope, &[name])
}

impl Row for TaskDefinition {
    const TABLE: Table = Table::new("task_definitions");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        task_definition_key(&self.scope, &self.family, self.revision)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        if self.status == TaskDefinitionStatus::DeleteInProgress {
            sink.add(TASK_DEFINITIONS_DELETING, &[]);
        }
    }
}

/// The key of one revision. Revisions of a family are ordered by number.
pub fn task_definition_key(scope: &base::Scope, family: &str, revision: i32) -> Key {
    Key::new(scope, &[family, &number_part(u64::try_from(revision).unwrap_or_default())])
}

impl Row for TaskDefinitionFamily {
    const TABLE: Table = Table::new("task_definition_families");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::new(&self.scope, &[&self.family])
    }
}

impl Row for Task {
    const TABLE: Table = Table::new("tasks");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        task_key(&self.scope, &self.cluster, &self.id)
    }
    fn is_history(&self) -> bool {
        self.is_over() && (self.accounted || !self.is_of_service())
    }
    fn compact(&mut self) {
        self.containers.shrink_to_fit();
        self.attachments.shrink_to_fit();
        self.attributes.shrink_to_fit();
        self.targets.shrink_to_fit();
        self.registries.shrink_to_fit();
        self.tags.shrink_to_fit();
        for container in &mut self.containers {
            container.network_bindings.shrink_to_fit();
            container.managed_agents.shrink_to_fit();
            container.gpu_ids.shrink_to_fit();
        }
    }
    fn indexes(&self, sink: &mut IndexSink) {
        let (account, region, cluster) =
            (self.scope.account.as_str(), self.scope.region.as_str(), self.cluster.as_str());
        if let Some(container_instance) = &self.container_instance {
            let container_instance = container_instance.to_string();
            sink.add(TASKS_BY_CONTAINER_INSTANCE, &[&container_instance]);
            if self.last_status.holds_resources() {
                sink.add(TASKS_HOLDING, &[&container_instance]);
            }
        }
        sink.add(TASKS_BY_FAMILY, &[account, region, cluster, &self.family]);
        sink.add(TASKS_BY_GROUP, &[account, region, cluster, &self.group]);
        if let Some(started_by) = &self.started_by {
            sink.add(TASKS_BY_STARTED_BY, &[account, region, cluster, started_by]);
        }
        if let Some(deadline) = self.deadline() {
            let milliseconds = u64::try_from(deadline.as_millis()).unwrap_or_default();
            sink.add(TASKS_BY_DEADLINE, &[&number_part(milliseconds)]);
        }
        for there in &self.targets {
            if let Some((target, port)) = &there.target
                && there.state != TargetState::Deregistered
            {
                let (group, port) = (there.target_group.to_string(), number_part(u64::from(*port)));
                sink.add(TASKS_BY_TARGET, &[&group, target, &port]);
            }
        }
        let stays = self.desired_status == DesiredStatus::Running && self.last_status == TaskStatus::Running;
        let waits = self.last_status == TaskStatus::Activating;
        if !self.targets.is_empty() && (waits || (!stays && self.is_served_by_load_balancers())) {
            sink.add(TASKS_MOVING_TARGETS, &[account, region, cluster, &self.group]);
        }
        if self.is_discovered_anew() {
            sink.add(TASKS_DISCOVERED_ANEW, &[account, region, cluster, &self.group]);
        }
        for attachment in &self.attachments {
            sink.add(TASKS_BY_ATTACHMENT, &[account, region, &attachment.id]);
        }
        match self.times.stopped_at {
            Some(stopped_at) if self.is_over() => {
                let milliseconds = u64::try_from(stopped_at.as_millis()).unwrap_or_default();
                sink.add(TASKS_STOPPED_AT, &[&number_part(milliseconds)]);
                if !self.accounted && self.is_of_service() {
                    sink.add(TASKS_UNACCOUNTED, &[account, region, cluster, &self.group]);
                }
            }
            _ => {
                sink.add(TASKS_UNFINISHED, &[self.last_status.as_str()]);
                sink.add(TASKS_OF_CLUSTER, &[account, region, cluster]);
                sink.add(TASKS_LIVE_BY_GROUP, &[account, region, cluster, &self.group]);
                sink.add(TASKS_BY_TASK_DEFINITION, &[&self.task_definition.to_string()]);
            }
        }
    }
}

/// The key of a task.
pub fn task_key(scope: &base::Scope, cluster: &str, id: &str) -> Key {
    Key::new(scope, &[cluster, id])
}

impl Row for ContainerInstance {
    const TABLE: Table = Table::new("container_instances");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        container_instance_key(&self.scope, &self.cluster, &self.id)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        if self.status == ContainerInstanceStatus::Inactive {
            return;
        }
        let (account, region) = (self.scope.account.as_str(), self.scope.region.as_str());
        sink.add(CONTAINER_INSTANCES_BY_EC2_INSTANCE, &[account, region, &self.ec2_instance_id]);
        if self.fargate_capacity {
            sink.add(CONTAINER_INSTANCES_FARGATE, &[]);
        }
        if let Some(node_access_key_id) = &self.node_access_key_id {
            sink.add(CONTAINER_INSTANCES_BY_NODE_KEY, &[node_access_key_id]);
        }
    }
}

/// The key of a container instance, and of its [`Allocation`].
pub fn container_instance_key(scope: &base::Scope, cluster: &str, id: &str) -> Key {
    Key::new(scope, &[cluster, id])
}

impl Row for Allocation {
    const TABLE: Table = Table::new("allocations");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        container_instance_key(&self.scope, &self.cluster, &self.container_instance)
    }
}

impl Row for OutboxMessage {
    const TABLE: Table = Table::new("outbox");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::global(&[
            &self.container_instance.to_string(),
            self.scope.account.as_str(),
            self.scope.region.as_str(),
            &self.cluster,
            &self.task_id,
        ])
    }
}

impl Row for ClientTokenUse {
    const TABLE: Table = Table::new("client_tokens");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        client_token_key(&self.scope, &self.operation, &self.token)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        let milliseconds = u64::try_from(self.used_at.as_millis()).unwrap_or_default();
        sink.add(CLIENT_TOKENS_BY_TIME, &[&number_part(milliseconds)]);
    }
}

/// The key of the use of a client token.
pub fn client_token_key(scope: &base::Scope, operation: &str, token: &str) -> Key {
    Key::new(scope, &[operation, token])
}

impl Row for AccountSetting {
    const TABLE: Table = Table::new("account_settings");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        account_setting_key(&self.scope, &self.name, &self.principal)
    }
}

/// The key of an account setting.
pub fn account_setting_key(scope: &base::Scope, name: &str, principal: &SettingPrincipal) -> Key {
    match principal {
        SettingPrincipal::Default => Key::new(scope, &[name, "default"]),
        SettingPrincipal::Arn(arn) => Key::new(scope, &[name, "principal", arn]),
    }
}

/// `options` with every row of `domain`: those of this file, of `rows_logs` and of `rows_vpc`.
pub fn register(options: Options) -> Options {
    let options = crate::rows_capacity::register(crate::rows_load_balancing::register(options));
    let options = crate::rows_dns::register(options);
    let options = crate::rows_gateway::register(crate::rows_daemon::register(options));
    let options = crate::rows_service_discovery::register(options);
    crate::rows_service::register(crate::rows_logs::register(crate::rows_vpc::register(options)))
        .row::<Cluster>()
        .row::<TaskDefinition>()
        .row::<TaskDefinitionFamily>()
        .row::<Task>()
        .row::<ContainerInstance>()
        .row::<Allocation>()
        .row::<OutboxMessage>()
        .row::<ClientTokenUse>()
        .row::<AccountSetting>()
}
