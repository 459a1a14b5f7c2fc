//! `dependsOn`: who waits for whom.

use std::collections::BTreeMap;

use api::ecs::ContainerDefinition;
use wire::Fault;

use super::one_of;
use crate::faults::client;

/// Checks that dependencies lead somewhere and come to an end.
pub fn check(containers: &[ContainerDefinition]) -> Result<(), Fault> {
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for container in containers {
        let own = container.name.as_deref().unwrap_or_default();
        for dependency in container.depends_on.iter().flatten() {
            let name = dependency.container_name.as_deref().unwrap_or_default();
            let condition = dependency.condition.as_deref().unwrap_or_default();
            one_of("dependsOn.condition", Some(condition), &["START", "COMPLETE", "SUCCESS", "HEALTHY"])?;
            let Some(target) = containers.iter().find(|other| other.name.as_deref() == Some(name)) else {
                return Err(client(format!(
                    "Cannot depend on container + '{name}' because it does not exist"
                )));
            };
            if name == own {
                return Err(client(format!("The container '{own}' can not depend on itself.")));
            }
            if matches!(condition, "COMPLETE" | "SUCCESS") && target.essential.unwrap_or(true) {
                return Err(client(
                    "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container",
                ));
            }
            if condition == "HEALTHY" && target.health_check.is_none() {
                return Err(client(format!(
                    "A dependency container with HEALTHY condition must have a health check, but '{name}' has none."
                )));
            }
            edges.entry(own).or_default().push(name);
        }
    }
    if has_cycle(&edges) {
        return Err(client("Container dependencies should not have a cycle"));
    }
    Ok(())
}

/// Whether following the edges leads back to where it began.
pub fn has_cycle(edges: &BTreeMap<&str, Vec<&str>>) -> bool {
    // Take away whoever waits for nobody that is left, until all are gone or nobody can go.
    let mut left = edges.clone();
    loop {
        let free: Vec<&str> = left
            .iter()
            .filter(|(_, targets)| !targets.iter().any(|target| left.contains_key(target)))
            .map(|(name, _)| *name)
            .collect();
        if free.is_empty() {
            return !left.is_empty();
        }
        for name in free {
            left.remove(name);
        }
    }
}
