//! Port mappings and links of all containers.

use std::collections::{BTreeMap, BTreeSet};

use api::ecs::{ContainerDefinition, PortMapping};
use domain::NetworkMode;
use wire::Fault;

use super::containers::setting;
use super::{dependencies, one_of};
use crate::faults::client;

/// Port ranges of one container. Source: PortMapping, `containerPortRange`.
const RANGES: usize = 100;
/// Port mappings of one container. Ours: AWS counts 100 reserved ports a container instance.
const MAPPINGS: usize = 100;

/// Checks ports and links against the network mode and each other.
pub fn check(containers: &[ContainerDefinition], mode: NetworkMode) -> Result<(), Fault> {
    let mut taken: BTreeSet<(u16, bool)> = BTreeSet::new();
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for container in containers {
        let name = container.name.as_deref().unwrap_or_default();
        let mappings = container.port_mappings.as_deref().unwrap_or_default();
        if !mappings.is_empty() && mode == NetworkMode::None {
            return Err(client("Port mappings are not supported when networkMode=none."));
        }
        let ranges = mappings.iter().filter(|mapping| mapping.container_port_range.is_some()).count();
        if mappings.len() > MAPPINGS || ranges > RANGES {
            return Err(setting(name, &format!("A container can have at most {MAPPINGS} port mappings.")));
        }
        for mapping in mappings {
            check_mapping(mapping, name, mode)?;
        }
        container_ports_once(mappings, name)?;
        for mapping in mappings {
            let Some(ports) = host_range(mapping, mode) else { continue };
            let is_udp = is_udp(mapping);
            for port in ports {
                if !taken.insert((port, is_udp)) {
                    return Err(client(format!(
                        "Invalid setting for container '{name}'. The host port {port} is used more than once."
                    )));
                }
            }
        }
        for of_mapping in mappings.iter().filter_map(|mapping| mapping.name.as_deref()) {
            if !names.insert(of_mapping) {
                return Err(client(format!(
                    "Port mapping names must be unique. '{of_mapping}' is used more than once."
                )));
            }
        }
    }
    links(containers, mode)
}

fn is_udp(mapping: &PortMapping) -> bool {
    mapping.protocol.as_deref() == Some("udp")
}

/// Ranges overlap nothing. A single port may be mapped to several of the host's. Source: PortMapping, `containerPortRange`: "A
/// port can only be included in one port mapping per container", "You cannot specify overlapping port ranges".
fn container_ports_once(mappings: &[PortMapping], name: &str) -> Result<(), Fault> {
    let range = |mapping: &PortMapping| mapping.container_port_range.as_deref().and_then(parse_range);
    let ports = |mapping: &PortMapping| {
        let single = || u16::try_from(mapping.container_port?).ok().map(|port| (port, port));
        range(mapping).or_else(single)
    };
    for (index, mapping) in mappings.iter().enumerate() {
        let Some((first, last)) = range(mapping) else { continue };
        let others = mappings.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, other)| other);
        let of_protocol = others.filter(|other| is_udp(other) == is_udp(mapping));
        if of_protocol.filter_map(ports).any(|(start, end)| start <= last && first <= end) {
            return Err(setting(
                name,
                &format!("The port range '{first}-{last}' overlaps another port mapping."),
            ));
        }
    }
    Ok(())
}

fn check_mapping(mapping: &PortMapping, name: &str, mode: NetworkMode) -> Result<(), Fault> {
    one_of("portMappings.protocol", mapping.protocol.as_deref(), &["tcp", "udp"])?;
    one_of("portMappings.appProtocol", mapping.app_protocol.as_deref(), &["http", "http2", "grpc"])?;
    if let Some(of_mapping) = mapping.name.as_deref() {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        if !(1..=64).contains(&of_mapping.len())
            || of_mapping.starts_with('-')
            || !of_mapping.bytes().all(allowed)
        {
            return Err(setting(name, &format!("The port mapping name '{of_mapping}' is invalid.")));
        }
    }
    let is_port = |port: i32, least: i32| (least..=65535).contains(&port);
    match (mapping.container_port, mapping.container_port_range.as_deref()) {
        (Some(_), Some(_)) => {
            return Err(setting(
                name,
                "Only one of 'containerPort' and 'containerPortRange' can be specified.",
            ));
        }
        (None, None) => return Err(setting(name, "A port mapping must have a 'containerPort'.")),
        (None, Some(range)) => {
            if !matches!(mode, NetworkMode::Bridge | NetworkMode::AwsVpc) {
                return Err(client(format!("containerPortRange is not supported when networkMode={mode}.")));
            }
            if mapping.host_port.is_some() {
                return Err(setting(name, "'hostPort' can not be specified with 'containerPortRange'."));
            }
            parse_range(range).ok_or_else(|| {
                setting(
                    name,
                    &format!("The port range '{range}' is invalid. It must be start-end within 1-65535."),
                )
            })?;
        }
        (Some(port), None) => {
            if !is_port(port, 1) {
                return Err(setting(name, "'containerPort' must be between 1 and 65535."));
            }
            if mapping.host_port.is_some_and(|port| !is_port(port, 0)) {
                return Err(setting(name, "'hostPort' must be between 0 and 65535."));
            }
            let differs = mapping.host_port.is_some_and(|host| host != 0 && host != port);
            if differs && matches!(mode, NetworkMode::AwsVpc | NetworkMode::Host) {
                return Err(client(format!(
                    "When networkMode={mode}, the host ports and container ports in port mappings must match."
                )));
            }
        }
    }
    Ok(())
}

/// First and last port of `start-end`.
pub fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (start, end) = text.split_once('-')?;
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(start) || !plain(end) {
        return None;
    }
    let (start, end): (u16, u16) = (start.parse().ok()?, end.parse().ok()?);
    (start >= 1 && start < end).then_some((start, end))
}

/// The fixed ports that a mapping takes, on the host or on the task's own interface; `None` where they are found later.
fn host_range(mapping: &PortMapping, mode: NetworkMode) -> Option<std::ops::RangeInclusive<u16>> {
    let is_own = matches!(mode, NetworkMode::AwsVpc | NetworkMode::Host);
    if let Some(range) = mapping.container_port_range.as_deref() {
        let (start, end) = parse_range(range).filter(|_| is_own)?;
        return Some(start..=end);
    }
    let port = if is_own { mapping.container_port } else { mapping.host_port };
    let port = u16::try_from(port?).ok().filter(|port| *port > 0)?;
    Some(port..=port)
}

fn links(containers: &[ContainerDefinition], mode: NetworkMode) -> Result<(), Fault> {
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for container in containers {
        let name = container.name.as_deref().unwrap_or_default();
        let links = container.links.as_deref().unwrap_or_default();
        if !links.is_empty() && mode != NetworkMode::Bridge {
            return Err(client(format!("Links are not supported when networkMode={mode}.")));
        }
        for link in links {
            let target = link.split(':').next().unwrap_or_default();
            if !containers.iter().any(|other| other.name.as_deref() == Some(target)) {
                return Err(client(format!(
                    "Invalid link '{link}': the container '{target}' does not exist."
                )));
            }
            edges.entry(name).or_default().push(target);
        }
    }
    if dependencies::has_cycle(&edges) {
        return Err(client("Container links should not have a cycle"));
    }
    Ok(())
}
