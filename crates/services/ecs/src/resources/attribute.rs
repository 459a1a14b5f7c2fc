//! Attributes of container instances.

use api::ecs::{Attribute as WireAttribute, faults};
use domain::{Attribute, Cluster, ContainerInstance};
use store::{Snapshot, Transaction, Versioned};
use wire::{Call, Fault};

use super::container_instance;
use crate::faults::invalid;

/// Custom attributes that one container instance may have. Source: AttributeLimitExceededException.
pub const CUSTOM_PER_INSTANCE: usize = 10;
/// Attributes of every kind that a registration may carry. Ours: the stock agent sends about 70.
pub const PER_REGISTRATION: usize = 250;

/// Reads and checks one attribute.
pub fn parse(attribute: &WireAttribute) -> Result<Attribute, Fault> {
    let name = attribute.name.clone().unwrap_or_default();
    check_name(&name)?;
    if let Some(value) = &attribute.value {
        check_value(value)?;
    }
    Ok(Attribute { name, value: attribute.value.clone() })
}

/// 1 to 128 letters, digits, hyphens, underscores, slashes, backslashes and dots.
pub fn check_name(name: &str) -> Result<(), Fault> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-_/\\.".contains(character);
    if (1..=128).contains(&name.len()) && name.chars().all(allowed) {
        Ok(())
    } else {
        Err(invalid(format!("Invalid attribute name: {name}")))
    }
}

/// Up to 128 letters, digits, hyphens, underscores, dots, at signs, slashes, colons, backslashes and inner spaces.
pub fn check_value(value: &str) -> Result<(), Fault> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-_.@/\\: +=,".contains(character);
    if value.len() <= 128 && value.trim() == value && value.chars().all(allowed) {
        Ok(())
    } else {
        Err(invalid(format!("Invalid attribute value: {value}")))
    }
}

/// Names that ECS and the agent set themselves.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with("ecs.") || name.starts_with("com.amazonaws.")
}

/// An attribute on the wire; `target_id` is the container instance's ARN where the listing says it.
pub fn describe(attribute: &Attribute, target_id: Option<String>) -> WireAttribute {
    WireAttribute {
        name: Some(attribute.name.clone()),
        value: attribute.value.clone(),
        target_type: None,
        target_id,
    }
}

/// Attributes in one PutAttributes or DeleteAttributes. Source: PutAttributes.
const PER_CALL: usize = 10;

/// An attribute, and the id of the container instance that it is about.
#[derive(Debug)]
pub struct Targeted {
    target: String,
    attribute: Attribute,
}

/// Reads the attributes of PutAttributes and DeleteAttributes.
pub fn parse_targeted(call: &Call, cluster: &str, given: Vec<WireAttribute>) -> Result<Vec<Targeted>, Fault> {
    if given.is_empty() {
        return Err(invalid("Attributes cannot be empty."));
    }
    if given.len() > PER_CALL {
        return Err(invalid(format!("Attributes cannot have more than {PER_CALL} elements.")));
    }
    given
        .into_iter()
        .map(|given| {
            let target = given.target_id.as_deref().unwrap_or_default();
            if target.is_empty() {
                return Err(invalid("targetId can not be blank."));
            }
            if given.target_type.as_deref().is_some_and(|kind| kind != "container-instance") {
                return Err(invalid("targetType must be container-instance."));
            }
            let attribute = parse(&given)?;
            if is_reserved(&attribute.name) {
                return Err(invalid(format!("The attribute name {} is reserved.", attribute.name)));
            }
            Ok(Targeted { target: container_instance::id(call, cluster, target)?, attribute })
        })
        .collect()
}

/// Changes the targets' attributes; the answer shows each attribute with its target's ARN.
pub fn change_targets(
    snapshot: &Snapshot,
    cluster: &Cluster,
    given: &[Targeted],
    change: impl Fn(&mut ContainerInstance, &Attribute) -> Result<(), Fault>,
) -> Result<(Transaction, Vec<WireAttribute>), Fault> {
    let mut rows: Vec<(Versioned<ContainerInstance>, ContainerInstance)> = Vec::new();
    let mut shown = Vec::new();
    for Targeted { target, attribute } in given {
        let index = match rows.iter().position(|(_, next)| next.id == *target) {
            Some(index) => index,
            None => {
                let key = store::rows::container_instance_key(&cluster.scope, &cluster.name, target);
                let there = snapshot
                    .get::<ContainerInstance>(&key)
                    .filter(|instance| container_instance::is_registered(instance))
                    .ok_or_else(|| {
                        faults::target_not_found_exception(
                            "The specified target wasn't found. You can view your available container instances with \
                             ListContainerInstances.",
                        )
                    })?;
                let next = ContainerInstance::clone(&there);
                rows.push((there, next));
                rows.len() - 1
            }
        };
        let next = &mut rows[index].1;
        change(next, attribute)?;
        shown.push(describe(attribute, Some(next.arn().to_string())));
    }
    let mut transaction = Transaction::new();
    for (there, mut next) in rows {
        next.version = next.version.saturating_add(1);
        container_instance::touch_allocation(snapshot, &mut transaction, &next);
        transaction.replace(&there, next);
    }
    Ok((transaction, shown))
}
