//! Scales, protects and drains the Auto Scaling groups of capacity providers: one datapoint a minute for each association
//! of a provider with a cluster. Also puts new associations in force and forgets providers that were deleted.
//!
//! What the last datapoints were is in the association's row, so that a restart neither repeats nor skips one. What is asked of
//! a group is asked after the commit: lost in a crash, it is asked again at the next datapoint.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use base::Timestamp;
use domain::{
    AssociationStatus, CapacityProvider, CapacityProviderAssociation, CapacityProviderStatus,
    ContainerInstance, ContainerInstanceStatus, GROUP_DAEMON, QueuedTask, Resources, SchedulingStrategy,
    Service, Task,
};
use ecs::container_instance;
use scheduler::capacity_provider::{
    Action, DATAPOINT_SECONDS, Decision, Desired, Instance, Observed, Waiting, decide,
};
use store::rows::{CONTAINER_INSTANCES_BY_EC2_INSTANCE, task_key};
use store::rows_capacity::{capacity_provider_key, of_cluster};
use store::rows_service::service_key;
use store::{Key, Prefix, Row as _, Snapshot, Transaction, Versioned};

use crate::Control;
use crate::seams::AutoScalingGroup;

/// How long a deleted provider can be described. Ours; AWS: "for some time".
const DELETED_SECONDS: i64 = 3600;
/// The loop looks at least this often, so that a clock that was set does no lasting harm.
const SLOW_SCAN: Duration = Duration::from_secs(60);
/// And at most this often.
const BREATHER: Duration = Duration::from_millis(100);

/// Takes datapoints when they are due, and what is new at once.
pub async fn run(control: Control) {
    loop {
        let since = control.store.snapshot().version();
        let next = pass(&control).await;
        let now = control.clock.now();
        let wait = next.map_or(SLOW_SCAN, |at| {
            Duration::from_millis(u64::try_from(at.since_millis(now)).unwrap_or_default())
        });
        // What this pass wrote wakes the loop once more, and then finds nothing to do.
        tokio::time::sleep(BREATHER).await;
        tokio::select! {
            biased;
            _ = control.store.changed(&[CapacityProvider::TABLE, CapacityProviderAssociation::TABLE], since) => {}
            () = tokio::time::sleep(wait.clamp(BREATHER, SLOW_SCAN)) => {}
        }
    }
}

/// Does what is due, and says when something will be.
async fn pass(control: &Control) -> Option<Timestamp> {
    let now = control.clock.now();
    let snapshot = control.store.snapshot();
    let mut next: Option<Timestamp> = None;
    let mut later = |at: Timestamp| next = Some(next.map_or(at, |next| next.min(at)));
    for association in snapshot.scan::<CapacityProviderAssociation>(Prefix::everything(), None) {
        let due = association.measured_at.map(|at| at.plus_seconds(DATAPOINT_SECONDS));
        match due {
            Some(due) if due > now && association.status != AssociationStatus::Precreated => later(due),
            _ => {
                datapoint(control, &association.key(), now).await;
                later(now.plus_seconds(DATAPOINT_SECONDS));
            }
        }
    }
    for provider in snapshot.scan::<CapacityProvider>(Prefix::everything(), None) {
        let (CapacityProviderStatus::Inactive, Some(deleted_at)) = (provider.status, provider.deleted_at)
        else {
            continue;
        };
        let forget_at = deleted_at.plus_seconds(DELETED_SECONDS);
        if forget_at > now {
            later(forget_at);
            continue;
        }
        let mut transaction = Transaction::new();
        transaction.remove(&provider);
        if let Err(error) = control.store.transact(transaction).await {
            tracing::debug!(%error, provider = provider.name, "a deleted capacity provider stays for now");
        }
    }
    next
}

/// What a datapoint comes to: what is asked of the group once the rows are written.
struct Wishes {
    provider: Versioned<CapacityProvider>,
    actions: Vec<Action>,
}

/// Puts an association in force, measures, decides, writes, and asks the group.
async fn datapoint(control: &Control, key: &Key, now: Timestamp) {
    let groups = &control.seams.auto_scaling_groups;
    let done = control.store.update(|snapshot| {
        let mut transaction = Transaction::new();
        let Some(association) = snapshot.get::<CapacityProviderAssociation>(key) else {
            return Ok((transaction, None));
        };
        let provider_key = capacity_provider_key(&association.scope, &association.capacity_provider);
        let Some(provider) = snapshot.get::<CapacityProvider>(&provider_key) else {
            return Ok((transaction, None));
        };
        let mut next = CapacityProviderAssociation::clone(&association);
        next.measured_at = Some(now);
        let Some(group) = groups.describe(snapshot, &provider, &association.cluster) else {
            next.status = AssociationStatus::Failed;
            transaction.replace(&association, next);
            return Ok((transaction, None));
        };
        next.status = AssociationStatus::Created;
        let members = Members::gather(snapshot, &association, &group);
        let decision = decide(&desired(&provider, &association), &members.observed, now);
        let scaling = provider.managed_scaling.enabled;
        next.reservation_percent = scaling.then_some(decision.report.reservation_percent);
        next.datapoints_below_target = decision.datapoints_below_target;
        let grows =
            |action: &Action| matches!(action, Action::SetDesiredCapacity(to) if *to > group.group.desired);
        if decision.actions.iter().any(grows) {
            next.scaled_out_at = Some(now);
        }
        transaction.replace(&association, next);
        for action in &decision.actions {
            if let Action::Drain { ec2_instance_id } = action
                && let Some(instance) = members.instances.get(ec2_instance_id)
            {
                let draining = ContainerInstanceStatus::Draining;
                container_instance::set_status(snapshot, &mut transaction, instance, draining);
            }
        }
        say(&mut transaction, &provider, &group, &decision);
        Ok::<_, Infallible>((transaction, Some(Wishes { provider, actions: decision.actions })))
    });
    match done.await {
        Ok(Some(wishes)) => ask(control, &wishes),
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "a capacity provider is not scaled for now"),
    }
}

fn desired<'a>(provider: &'a CapacityProvider, association: &CapacityProviderAssociation) -> Desired<'a> {
    Desired {
        managed_scaling: &provider.managed_scaling,
        managed_termination_protection: provider.managed_termination_protection,
        managed_draining: provider.managed_draining,
        datapoints_below_target: association.datapoints_below_target,
        scaled_out_at: association.scaled_out_at,
    }
}

/// Shows on the provider that its group cannot grow as far as is needed, or that it no longer has to.
fn say(
    transaction: &mut Transaction,
    provider: &Versioned<CapacityProvider>,
    group: &AutoScalingGroup,
    decision: &Decision,
) {
    let reason = decision.report.beyond_maximum.map(|wanted| {
        format!(
            "The Auto Scaling group {} cannot grow: {wanted} instances are needed, and its maximum size is {}.",
            provider.auto_scaling_group(),
            group.group.maximum
        )
    });
    let says_so = |text: &String| text.starts_with("The Auto Scaling group ");
    let is_free = provider.update_status_reason.as_ref().is_none_or(says_so);
    if is_free && provider.update_status_reason != reason {
        let next = CapacityProvider { update_status_reason: reason, ..CapacityProvider::clone(provider) };
        transaction.replace(provider, next);
    } else {
        transaction.require_unchanged(provider);
    }
}

fn ask(control: &Control, wishes: &Wishes) {
    let groups = &control.seams.auto_scaling_groups;
    for action in &wishes.actions {
        match action {
            Action::SetDesiredCapacity(desired) => groups.set_desired_capacity(&wishes.provider, *desired),
            Action::Protect { ec2_instance_id, protected } => {
                groups.protect(&wishes.provider, ec2_instance_id, *protected);
            }
            Action::Complete { ec2_instance_id } => {
                groups.complete_termination(&wishes.provider, ec2_instance_id);
            }
            Action::Drain { .. } => {}
        }
    }
}

/// The group's instances with what is on them, and the tasks that wait for it.
struct Members {
    observed: Observed,
    /// Those that are container instances of the cluster, by EC2 instance id.
    instances: BTreeMap<String, Versioned<ContainerInstance>>,
}

impl Members {
    fn gather(
        snapshot: &Snapshot,
        association: &CapacityProviderAssociation,
        group: &AutoScalingGroup,
    ) -> Self {
        let mut instances = BTreeMap::new();
        let mut observed = Observed { group: group.group, ..Observed::default() };
        for member in &group.instances {
            let row = container_instance_of(snapshot, association, &member.ec2_instance_id);
            let tasks = row.as_ref().map_or(0, |row| busy_with(snapshot, row));
            observed.instances.push(Instance {
                ec2_instance_id: member.ec2_instance_id.clone(),
                lifecycle: member.lifecycle,
                protected: member.protected,
                registered: row.is_some(),
                draining: row.as_ref().is_some_and(|row| row.status == ContainerInstanceStatus::Draining),
                capacity: row.as_ref().map_or_else(Resources::default, |row| row.capacity()),
                tasks,
            });
            if let Some(row) = row {
                instances.insert(member.ec2_instance_id.clone(), row);
            }
        }
        observed.waiting = waiting(snapshot, association);
        Self { observed, instances }
    }
}

fn container_instance_of(
    snapshot: &Snapshot,
    association: &CapacityProviderAssociation,
    ec2_instance_id: &str,
) -> Option<Versioned<ContainerInstance>> {
    let scope = &association.scope;
    let parts = [scope.account.as_str(), scope.region.as_str(), ec2_instance_id];
    snapshot
        .index::<ContainerInstance>(CONTAINER_INSTANCES_BY_EC2_INSTANCE, &parts, None)
        .find(|instance| instance.cluster == association.cluster)
}

/// The instance's tasks, less those of daemons.
fn busy_with(snapshot: &Snapshot, instance: &ContainerInstance) -> usize {
    let is_of_daemon = |task: &Task| match task.group.strip_prefix("service:") {
        None => task.group.starts_with(GROUP_DAEMON),
        Some(name) => snapshot
            .get::<Service>(&service_key(&task.scope, &task.cluster, name))
            .is_some_and(|service| service.scheduling_strategy == SchedulingStrategy::Daemon),
    };
    container_instance::tasks(snapshot, instance).iter().filter(|task| !is_of_daemon(task)).count()
}

/// The tasks that wait for the provider's capacity, alike ones together.
fn waiting(snapshot: &Snapshot, association: &CapacityProviderAssociation) -> Vec<Waiting> {
    let mut waiting: Vec<Waiting> = Vec::new();
    for queued in snapshot.scan::<QueuedTask>(of_cluster(&association.scope, &association.cluster), None) {
        let task = snapshot.get::<Task>(&task_key(&queued.scope, &queued.cluster, &queued.task_id));
        let Some(task) = task else { continue };
        let is_for_it = task.capacity_provider.as_deref() == Some(&association.capacity_provider);
        if !is_for_it || task.container_instance.is_some() {
            continue;
        }
        let alike = |there: &&mut Waiting| there.resources == task.resources && there.gpus == queued.gpus;
        match waiting.iter_mut().find(alike) {
            Some(there) => there.count += 1,
            None => waiting.push(Waiting { count: 1, resources: task.resources.clone(), gpus: queued.gpus }),
        }
    }
    waiting
}
