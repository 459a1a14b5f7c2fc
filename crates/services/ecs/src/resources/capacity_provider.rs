//! Capacity providers: `FARGATE`, `FARGATE_SPOT` and those over an Auto Scaling group; their associations with clusters;
//! and the strategies that name them.
//!
//! The wording of refusals is AWS's where it is known; "the least scaling step …", "… cannot be changed or deleted" and the
//! limit of providers in an account are ours.

use api::ecs as wire_shapes;
use api::ecs::faults as modelled;
use base::{Ids, Scope, Timestamp};
use domain::{
    AssociationStatus, CapacityProvider, CapacityProviderAssociation, CapacityProviderStatus,
    CapacityProviderStrategyItem, ContainerInstance, LaunchType, ManagedScaling, Service, ServiceRevision,
    ServiceStatus, TaskSet,
};
use store::rows_capacity::{
    ASSOCIATIONS_OF_PROVIDER, CAPACITY_PROVIDERS_BY_GROUP, association_key, capacity_provider_key, of_cluster,
};
use store::rows_service::service_revision_key;
use store::{Key, Snapshot, Transaction, Versioned};
use wire::{Call, Fault};

use super::{container_instance, identifier, tag};
use crate::faults::invalid;

/// The providers that are always there.
pub const PROVIDERS: &[&str] = &[FARGATE, FARGATE_SPOT];
/// Capacity that stays.
pub const FARGATE: &str = "FARGATE";
/// Capacity that may be taken back.
pub const FARGATE_SPOT: &str = "FARGATE_SPOT";
/// Capacity providers in one strategy. Source: RunTask, `capacityProviderStrategy`.
const PER_STRATEGY: usize = 20;
/// Capacity providers of one cluster. Source: "Amazon ECS service quotas".
const PER_CLUSTER: usize = 20;
/// Capacity providers of one account and region. Ours.
pub const PER_ACCOUNT: usize = 1000;
/// Characters of an Auto Scaling group's name. Source: CreateAutoScalingGroup.
const GROUP_CHARACTERS: usize = 255;

/// Whether the provider is one of Fargate's.
pub fn is_fargate(name: &str) -> bool {
    PROVIDERS.contains(&name)
}

/// The launch type of tasks that a strategy places: its providers are all of one kind.
pub fn launch_type_of(strategy: &[CapacityProviderStrategyItem]) -> LaunchType {
    let fargate = strategy.first().is_some_and(|item| is_fargate(&item.capacity_provider));
    if fargate { LaunchType::Fargate } else { LaunchType::Ec2 }
}

/// The name of a provider, from its name or ARN.
pub fn name(call: &Call, text: &str) -> Result<String, Fault> {
    if text.starts_with("arn:") {
        return identifier::own_arn(call, text, "capacity-provider");
    }
    if identifier::is_name(text) { Ok(text.to_owned()) } else { Err(not_found()) }
}

/// The ARN that `text` means, for permissions.
pub fn arn_for_permission(call: &Call, text: &str) -> String {
    match name(call, text) {
        Ok(name) => CapacityProvider::arn_of(&call.scope, &name).to_string(),
        Err(_) => "*".to_owned(),
    }
}

/// Whether a new provider may be called so.
pub fn check_name(name: &str) -> Result<(), Fault> {
    let lower = name.to_ascii_lowercase();
    let is_reserved = ["aws", "ecs", "fargate"].iter().any(|prefix| lower.starts_with(prefix));
    if identifier::is_name(name) && !is_reserved {
        return Ok(());
    }
    Err(invalid(
        "The specified capacity provider name is invalid. Up to 255 characters are allowed, including letters (upper and \
         lowercase), numbers, underscores, and hyphens. The name cannot be prefixed with \"aws\", \"ecs\", or \"fargate\". \
         Specify a valid name and try again.",
    ))
}

/// The provider that one names and that there is not.
pub fn not_found() -> Fault {
    invalid("The specified capacity provider was not found. Specify a valid name or ARN and try again.")
}

/// The provider of this name, once deleted too.
pub fn find(snapshot: &Snapshot, scope: &Scope, name: &str) -> Option<Versioned<CapacityProvider>> {
    snapshot.get::<CapacityProvider>(&capacity_provider_key(scope, name))
}

/// The provider of this name that can be used.
pub fn get(snapshot: &Snapshot, scope: &Scope, name: &str) -> Option<Versioned<CapacityProvider>> {
    find(snapshot, scope, name).filter(|there| there.status != CapacityProviderStatus::Inactive)
}

/// The provider that has the Auto Scaling group.
pub fn of_group(snapshot: &Snapshot, scope: &Scope, group: &str) -> Option<Versioned<CapacityProvider>> {
    let parts = [scope.account.as_str(), scope.region.as_str(), group];
    snapshot.index::<CapacityProvider>(CAPACITY_PROVIDERS_BY_GROUP, &parts, None).next()
}

/// The provider that an instance of the Auto Scaling group belongs to in a cluster.
pub fn of_instance(snapshot: &Snapshot, scope: &Scope, cluster: &str, group: &str) -> Option<String> {
    let provider = of_group(snapshot, scope, group)?;
    snapshot.get::<CapacityProviderAssociation>(&association_key(scope, cluster, &provider.name))?;
    Some(provider.name.clone())
}

/// The clusters that a provider is associated with.
pub fn clusters_of(snapshot: &Snapshot, scope: &Scope, name: &str) -> Vec<String> {
    let parts = [scope.account.as_str(), scope.region.as_str(), name];
    snapshot
        .index::<CapacityProviderAssociation>(ASSOCIATIONS_OF_PROVIDER, &parts, None)
        .map(|association| association.cluster.clone())
        .collect()
}

/// A provider of Fargate's on the wire.
pub fn describe_fargate(scope: &Scope, name: &str) -> wire_shapes::CapacityProvider {
    wire_shapes::CapacityProvider {
        capacity_provider_arn: Some(CapacityProvider::arn_of(scope, name).to_string()),
        name: Some(name.to_owned()),
        status: Some("ACTIVE".to_owned()),
        tags: Some(Vec::new()),
        type_: Some(name.to_owned()),
        ..Default::default()
    }
}

/// A provider over an Auto Scaling group on the wire.
pub fn describe(provider: &CapacityProvider, with_tags: bool) -> wire_shapes::CapacityProvider {
    let scaling = &provider.managed_scaling;
    let word = |enabled: bool| Some(if enabled { "ENABLED" } else { "DISABLED" }.to_owned());
    wire_shapes::CapacityProvider {
        capacity_provider_arn: Some(provider.arn().to_string()),
        name: Some(provider.name.clone()),
        status: Some(provider.status.to_string()),
        update_status: provider.update_status.map(|status| status.to_string()),
        update_status_reason: provider.update_status_reason.clone(),
        tags: Some(if with_tags { tag::describe(&provider.tags) } else { Vec::new() }),
        type_: Some("EC2_AUTOSCALING".to_owned()),
        auto_scaling_group_provider: Some(wire_shapes::AutoScalingGroupProvider {
            auto_scaling_group_arn: Some(provider.auto_scaling_group_arn.clone()),
            managed_draining: word(provider.managed_draining),
            managed_termination_protection: word(provider.managed_termination_protection),
            managed_scaling: Some(wire_shapes::ManagedScaling {
                status: word(scaling.enabled),
                target_capacity: Some(scaling.target_capacity),
                minimum_scaling_step_size: Some(scaling.minimum_scaling_step_size),
                maximum_scaling_step_size: Some(scaling.maximum_scaling_step_size),
                instance_warmup_period: Some(scaling.instance_warmup_period_seconds),
            }),
        }),
        ..Default::default()
    }
}

/// Reads `ENABLED` and `DISABLED`.
pub fn parse_switch(member: &str, word: Option<&str>) -> Result<Option<bool>, Fault> {
    match word {
        None => Ok(None),
        Some("ENABLED") => Ok(Some(true)),
        Some("DISABLED") => Ok(Some(false)),
        Some(other) => Err(invalid(format!("Invalid value for {member}: {other}"))),
    }
}

/// Puts the members that are given over `scaling`. Their ranges are the model's and checked before.
pub fn apply_scaling(scaling: &mut ManagedScaling, given: &wire_shapes::ManagedScaling) -> Result<(), Fault> {
    if let Some(enabled) = parse_switch("managedScaling.status", given.status.as_deref())? {
        scaling.enabled = enabled;
    }
    let members = [
        (&mut scaling.target_capacity, given.target_capacity),
        (&mut scaling.minimum_scaling_step_size, given.minimum_scaling_step_size),
        (&mut scaling.maximum_scaling_step_size, given.maximum_scaling_step_size),
        (&mut scaling.instance_warmup_period_seconds, given.instance_warmup_period),
    ];
    for (member, value) in members {
        *member = value.unwrap_or(*member);
    }
    if scaling.minimum_scaling_step_size > scaling.maximum_scaling_step_size {
        return Err(invalid(
            "The minimum scaling step size must be less than or equal to the maximum scaling step size.",
        ));
    }
    Ok(())
}

/// The ARN of an Auto Scaling group, from its ARN or its name. `id` is the made-up part of one that is given by name.
pub fn group_arn(call: &Call, text: &str, id: &str) -> Result<String, Fault> {
    let refused = || {
        invalid(
            "The specified Auto Scaling group ARN is invalid. Specify a valid Auto Scaling group ARN and try again.",
        )
    };
    let is_group = |name: &str| {
        !name.is_empty()
            && name.chars().count() <= GROUP_CHARACTERS
            && !name.chars().any(|character| character.is_control() || "/:".contains(character))
    };
    if !text.starts_with("arn:") {
        let Scope { account, region } = &call.scope;
        let arn = format!(
            "arn:aws:autoscaling:{region}:{account}:autoScalingGroup:{id}:autoScalingGroupName/{text}"
        );
        return if is_group(text) { Ok(arn) } else { Err(refused()) };
    }
    let arn: base::Arn = text.parse().map_err(|_| refused())?;
    let own = arn.scope().as_ref() == Some(&call.scope) && arn.aws_service() == "autoscaling";
    let resource = arn.resource();
    let named = resource.starts_with("autoScalingGroup:")
        && resource.split_once("autoScalingGroupName/").is_some_and(|(_, name)| is_group(name));
    if own && named { Ok(text.to_owned()) } else { Err(refused()) }
}

/// Reads and checks the capacity providers that a cluster is to have.
pub fn parse_names(call: &Call, names: Vec<String>) -> Result<Vec<String>, Fault> {
    let mut parsed: Vec<String> = Vec::new();
    for text in names {
        let name = name(call, &text)?;
        if parsed.contains(&name) {
            return Err(invalid("A capacity provider can only be specified once."));
        }
        parsed.push(name);
    }
    if parsed.len() > PER_CLUSTER {
        return Err(invalid("The maximum number of capacity providers per cluster has been exceeded."));
    }
    Ok(parsed)
}

/// Refuses names of providers that there are not.
pub fn check_there(snapshot: &Snapshot, scope: &Scope, names: &[String]) -> Result<(), Fault> {
    let there = |name: &String| is_fargate(name) || get(snapshot, scope, name).is_some();
    if names.iter().all(there) { Ok(()) } else { Err(not_found()) }
}

/// Writes that a cluster which had the providers `before` has those of `after`: associations come and go, and with them
/// what its container instances say of themselves.
pub fn associate(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    ids: &dyn Ids,
    (scope, cluster, now): (&Scope, &str, Timestamp),
    (before, after): (&[String], &[String]),
) {
    for name in after.iter().filter(|name| !before.contains(name) && !is_fargate(name)) {
        // The provider must still be there when this is written, and its deletion must see the association.
        let Some(provider) = get(snapshot, scope, name) else { continue };
        transaction.replace(&provider, CapacityProvider::clone(&provider));
        transaction.put(CapacityProviderAssociation {
            scope: scope.clone(),
            cluster: cluster.to_owned(),
            capacity_provider: name.clone(),
            status: AssociationStatus::Precreated,
            policy_id: ids.uuid(),
            draining_id: ids.uuid(),
            created_at: now,
            measured_at: None,
            reservation_percent: None,
            datapoints_below_target: 0,
            scaled_out_at: None,
        });
        let group = provider.auto_scaling_group().to_owned();
        let joins = |instance: &ContainerInstance| container_instance::group(instance) == Some(&group);
        belong(snapshot, transaction, (scope, cluster), joins, Some(name));
    }
    for name in before.iter().filter(|name| !after.contains(name) && !is_fargate(name)) {
        transaction.delete::<CapacityProviderAssociation>(&association_key(scope, cluster, name));
        let leaves = |instance: &ContainerInstance| instance.capacity_provider.as_ref() == Some(name);
        belong(snapshot, transaction, (scope, cluster), leaves, None);
    }
}

fn belong(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    (scope, cluster): (&Scope, &str),
    is_meant: impl Fn(&ContainerInstance) -> bool,
    provider: Option<&String>,
) {
    for instance in snapshot.scan::<ContainerInstance>(Key::prefix(scope, &[cluster]), None) {
        if !container_instance::is_registered(&instance) || !is_meant(&instance) {
            continue;
        }
        let mut next = ContainerInstance::clone(&instance);
        next.capacity_provider = provider.cloned();
        next.version = next.version.saturating_add(1);
        transaction.replace(&instance, next);
        container_instance::touch_allocation(snapshot, transaction, &instance);
    }
}

/// Refuses a change of a cluster's providers while an earlier one is not yet in force.
pub fn must_not_be_changing(snapshot: &Snapshot, scope: &Scope, cluster: &str) -> Result<(), Fault> {
    let mut associations = snapshot.scan::<CapacityProviderAssociation>(of_cluster(scope, cluster), None);
    if associations.any(|association| association.status == AssociationStatus::Precreated) {
        return Err(modelled::update_in_progress_exception(
            "The specified cluster is in a busy state. Cluster attachments must be in UPDATE_COMPLETE or UPDATE_FAILED \
             state before they can be updated. Wait and try again.",
        ));
    }
    Ok(())
}

/// Whether a service or task set of the cluster places tasks with one of the providers.
pub fn services_use(
    snapshot: &Snapshot,
    scope: &Scope,
    cluster: &str,
    is_meant: &dyn Fn(&str) -> bool,
) -> bool {
    let names = |strategy: &[CapacityProviderStrategyItem]| {
        strategy.iter().any(|item| is_meant(&item.capacity_provider))
    };
    let of_service = |service: &Service| {
        service.status != ServiceStatus::Inactive
            && service.revisions.iter().any(|revision| {
                let key = service_revision_key(scope, cluster, &service.name, &revision.id);
                snapshot
                    .get::<ServiceRevision>(&key)
                    .is_some_and(|revision| names(&revision.capacity_provider_strategy))
            })
    };
    snapshot.scan::<Service>(Key::prefix(scope, &[cluster]), None).any(|service| of_service(&service))
        || snapshot
            .scan::<TaskSet>(Key::prefix(scope, &[cluster]), None)
            .any(|task_set| names(&task_set.capacity_provider_strategy))
}

/// The attachments that ECS makes for a cluster's providers, and their status together.
pub fn attachments(
    snapshot: &Snapshot,
    scope: &Scope,
    cluster: &str,
) -> (Vec<wire_shapes::Attachment>, Option<String>) {
    let mut attachments = Vec::new();
    let mut statuses = Vec::new();
    for association in snapshot.scan::<CapacityProviderAssociation>(of_cluster(scope, cluster), None) {
        let Some(provider) = get(snapshot, scope, &association.capacity_provider) else { continue };
        statuses.push(association.status);
        let mut attach = |id: &str, kind: &str, name: &str, value: String| {
            let details =
                [("capacityProviderName", provider.name.clone()), (name, value)].map(|(name, value)| {
                    wire_shapes::KeyValuePair { name: Some(name.to_owned()), value: Some(value) }
                });
            attachments.push(wire_shapes::Attachment {
                id: Some(id.to_owned()),
                type_: Some(kind.to_owned()),
                status: Some(association.status.to_string()),
                details: Some(details.to_vec()),
            });
        };
        if provider.managed_scaling.enabled {
            let policy = format!("ECSManagedAutoScalingPolicy-{}", association.policy_id);
            attach(&association.policy_id, "as_policy", "scalingPolicyName", policy);
        }
        if provider.managed_draining {
            let hook = "ecs-managed-draining-termination-hook".to_owned();
            attach(&association.draining_id, "managed_draining", "autoScalingLifecycleHookName", hook);
        }
    }
    let status = if statuses.is_empty() {
        None
    } else if statuses.contains(&AssociationStatus::Precreated) {
        Some("UPDATE_IN_PROGRESS")
    } else if statuses.contains(&AssociationStatus::Failed) {
        Some("UPDATE_FAILED")
    } else {
        Some("UPDATE_COMPLETE")
    };
    (attachments, status.map(str::to_owned))
}

/// Reads and checks a strategy against the providers of its cluster.
pub fn parse_strategy(
    items: Vec<wire_shapes::CapacityProviderStrategyItem>,
    of_cluster: &[String],
) -> Result<Vec<CapacityProviderStrategyItem>, Fault> {
    if items.len() > PER_STRATEGY {
        return Err(invalid("A capacity provider strategy can contain a maximum of 20 capacity providers."));
    }
    let mut parsed: Vec<CapacityProviderStrategyItem> = Vec::new();
    for item in items {
        let text = item.capacity_provider.unwrap_or_default();
        let capacity_provider =
            text.rsplit_once(":capacity-provider/").map_or(text.as_str(), |(_, name)| name);
        let capacity_provider = capacity_provider.to_owned();
        let (weight, base) = (item.weight.unwrap_or(0), item.base.unwrap_or(0));
        if !of_cluster.contains(&capacity_provider) {
            return Err(invalid(format!(
                "The specified capacity provider strategy contains a capacity provider that is not associated with \
                 the cluster: {capacity_provider}. Associate the capacity provider with the cluster and try again.",
            )));
        }
        if !(0..=1000).contains(&weight) {
            return Err(invalid("Capacity provider strategy weight should be between 0 and 1000."));
        }
        if !(0..=100_000).contains(&base) {
            return Err(invalid("Capacity provider strategy base should be between 0 and 100000."));
        }
        if parsed.iter().any(|there| there.capacity_provider == capacity_provider) {
            return Err(invalid("A capacity provider can only be specified once in a strategy."));
        }
        parsed.push(CapacityProviderStrategyItem { capacity_provider, weight, base });
    }
    let fargate = parsed.iter().filter(|item| is_fargate(&item.capacity_provider)).count();
    if fargate != 0 && fargate != parsed.len() {
        return Err(invalid(
            "A capacity provider strategy cannot contain a mix of capacity providers using Auto Scaling groups and Fargate \
             providers. Specify one or the other and try again.",
        ));
    }
    if parsed.iter().filter(|item| item.base > 0).count() > 1 {
        return Err(invalid(
            "Only one capacity provider in a capacity provider strategy can have a base defined.",
        ));
    }
    if !parsed.is_empty() && parsed.iter().all(|item| item.weight == 0) {
        return Err(invalid(
            "A capacity provider strategy should contain at least one capacity provider with a weight greater than 0.",
        ));
    }
    Ok(parsed)
}

/// Splits `count` tasks over the providers of a strategy: the base first, then by weight (largest remainder, earlier
/// items first). Source: "Amazon ECS capacity providers", base and weight.
pub fn split(strategy: &[CapacityProviderStrategyItem], count: usize, already: &[usize]) -> Vec<usize> {
    let mut shares = vec![0_usize; strategy.len()];
    let of = |shares: &[usize], index: usize| shares[index] + already.get(index).copied().unwrap_or(0);
    for _ in 0..count {
        let below_base = strategy
            .iter()
            .enumerate()
            .find(|(index, item)| of(&shares, *index) < usize::try_from(item.base).unwrap_or(0))
            .map(|(index, _)| index);
        // The provider whose share above its base is furthest below its weight: least (share + 1) / weight.
        let by_weight = || {
            (0..strategy.len()).filter(|&index| strategy[index].weight > 0).min_by(|&a, &b| {
                let above = |index: usize| {
                    let base = usize::try_from(strategy[index].base).unwrap_or(0);
                    (of(&shares, index).saturating_sub(base) + 1) as u64
                };
                let weight = |index: usize| strategy[index].weight as u64;
                (above(a) * weight(b)).cmp(&(above(b) * weight(a))).then(a.cmp(&b))
            })
        };
        if let Some(index) = below_base.or_else(by_weight) {
            shares[index] += 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(capacity_provider: &str, base: i32, weight: i32) -> CapacityProviderStrategyItem {
        CapacityProviderStrategyItem { capacity_provider: capacity_provider.into(), weight, base }
    }

    #[test]
    fn base_first_then_weight() {
        let strategy = [item("FARGATE", 2, 1), item("FARGATE_SPOT", 0, 4)];
        assert_eq!(split(&strategy, 1, &[]), [1, 0]);
        assert_eq!(split(&strategy, 2, &[]), [2, 0]);
        assert_eq!(split(&strategy, 7, &[]), [3, 4]);
        assert_eq!(split(&[item("FARGATE", 0, 1), item("FARGATE_SPOT", 0, 1)], 10, &[]), [5, 5]);
        assert_eq!(split(&[item("FARGATE", 0, 0), item("FARGATE_SPOT", 0, 1)], 3, &[]), [0, 3]);
        assert_eq!(split(&strategy, 1, &[2, 0]), [0, 1]);
    }
}
