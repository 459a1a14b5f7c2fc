//! Volumes, mount points, and volumes taken from other containers.

use std::collections::{BTreeMap, BTreeSet};

use api::ecs::{ContainerDefinition, Volume};
use wire::Fault;

use super::{dependencies, one_of};
use crate::faults::client;
use crate::resources::identifier;

/// Checks volumes and what refers to them.
pub fn check(volumes: &[Volume], containers: &[ContainerDefinition]) -> Result<(), Fault> {
    let mut names = BTreeSet::new();
    for volume in volumes {
        let name = check_volume(volume)?;
        if !names.insert(name) {
            return Err(client(format!("Volume names must be unique. '{name}' is used more than once.")));
        }
    }
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for container in containers {
        let own = container.name.as_deref().unwrap_or_default();
        let mut paths = BTreeSet::new();
        for point in container.mount_points.iter().flatten() {
            let source = point.source_volume.as_deref().unwrap_or_default();
            if !names.contains(source) {
                return Err(client(format!("Unknown volume '{source}'.")));
            }
            let path = point.container_path.as_deref().unwrap_or_default();
            if !path.starts_with('/') || path.contains('\0') {
                return Err(client(format!("Invalid container path '{path}' of the volume '{source}'.")));
            }
            if !paths.insert(path) {
                return Err(client(format!("Duplicate mount point '{path}' of the container '{own}'.")));
            }
        }
        for from in container.volumes_from.iter().flatten() {
            let source = from.source_container.as_deref().unwrap_or_default();
            if source == own || !containers.iter().any(|other| other.name.as_deref() == Some(source)) {
                return Err(client(format!(
                    "Invalid 'volumesFrom' of the container '{own}': unknown container '{source}'."
                )));
            }
            edges.entry(own).or_default().push(source);
        }
    }
    if dependencies::has_cycle(&edges) {
        return Err(client("Container volumesFrom should not have a cycle"));
    }
    Ok(())
}

fn check_volume(volume: &Volume) -> Result<&str, Fault> {
    let name = volume.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        return Err(client("Volume.name should not be null or empty."));
    }
    if !identifier::is_name(name) {
        return Err(client("Volume.name contains invalid characters."));
    }
    if let Some(path) = volume.host.as_ref().and_then(|host| host.source_path.as_deref())
        && !path.is_empty()
        && (!path.starts_with('/') || path.contains('\0'))
    {
        return Err(client(format!("Invalid source path '{path}' of the volume '{name}'.")));
    }
    let Some(docker) = &volume.docker_volume_configuration else { return Ok(name) };
    if volume.host.is_some() {
        return Err(client(format!(
            "Only one of 'host' and 'dockerVolumeConfiguration' can be specified for the volume '{name}'."
        )));
    }
    one_of("dockerVolumeConfiguration.scope", docker.scope.as_deref(), &["task", "shared"])?;
    if docker.autoprovision.is_some() && docker.scope.as_deref() != Some("shared") {
        return Err(client(format!(
            "Autoprovision is only supported for volumes with the scope shared, but that of '{name}' is task."
        )));
    }
    Ok(name)
}
