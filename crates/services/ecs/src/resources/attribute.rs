//! Attributes of container instances.

use api::ecs::Attribute as WireAttribute;
use domain::Attribute;
use wire::Fault;

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
