//! Network mode `bridge`: ports and links of containers, as Docker has them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use agent_protocol::payload::{Container, PortMapping, Task};
use network::{HostPort, PortWish, Protocol, PublishedPorts};

use super::plan::{NetworkPlan, PlanError, TaskPlan};

/// A link to another container of the task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its place in the plan.
    pub on: usize,
    /// The name that it is known by.
    pub alias: String,
}

/// A container that another one is linked to, as it stands when that one is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// The name that it is known by.
    pub alias: String,
    /// Its name as Docker would show it.
    pub docker_name: String,
    /// What it calls itself.
    pub hostname: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The ports that its image and its definition name.
    pub ports: Vec<(Protocol, u16)>,
    /// Its environment, by image and definition.
    pub environment: Vec<(String, String)>,
}

/// Reads a container's port mappings.
pub fn read_ports(container: &Container) -> Result<Vec<PortWish>, PlanError> {
    container.port_mappings.iter().map(|mapping| read_port(&container.name, mapping)).collect()
}

fn read_port(name: &str, mapping: &PortMapping) -> Result<PortWish, PlanError> {
    let refused = |what: &str| PlanError(format!("container {name}: {what}"));
    let protocol = match mapping.protocol.as_deref().unwrap_or("tcp") {
        "tcp" | "" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => return Err(refused(&format!("protocol {other} is not one"))),
    };
    let range = mapping.container_port_range.as_deref().filter(|range| !range.is_empty());
    let container = match (mapping.container_port, range) {
        (_, Some(range)) => {
            let read = || {
                let (first, last) = range.split_once('-')?;
                let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
                (first > 0 && first <= last).then_some((first, last))
            };
            read().ok_or_else(|| refused(&format!("containerPortRange {range:?} is not one")))?
        }
        (Some(port), None) if port > 0 => (port, port),
        _ => return Err(refused("a port mapping has no container port")),
    };
    let host = mapping.host_port.filter(|port| *port > 0 && range.is_none());
    Ok(PortWish { protocol, container, host })
}

/// Reads a container's links: `name` or `name:alias`.
pub fn read_links(container: &Container, task: &Task) -> Result<Vec<Link>, PlanError> {
    let read = |text: &String| {
        let (name, alias) = text.split_once(':').unwrap_or((text, text));
        let on = task.containers.iter().position(|other| other.name == name);
        let on = on.ok_or_else(|| {
            PlanError(format!("container {}: there is no container {name} to link to", container.name))
        })?;
        Ok(Link { on, alias: alias.to_owned() })
    };
    container.links.iter().map(read).collect()
}

impl Linked {
    /// The names that it is found by in /etc/hosts.
    pub fn names(&self) -> BTreeSet<&str> {
        [self.alias.as_str(), &self.hostname, &self.docker_name].into()
    }

    /// The variables that Docker sets in a container called `parent` that links to it. Source: Docker, "Legacy container links".
    pub fn variables(&self, parent: &str) -> Vec<(String, String)> {
        let prefix = self.alias.to_uppercase().replace('-', "_");
        let url = |(protocol, port): (Protocol, u16)| format!("{protocol}://{}:{port}", self.address);
        let of_port = |(protocol, port): (Protocol, u16)| {
            format!("{prefix}_PORT_{port}_{}", protocol.to_string().to_uppercase())
        };
        let mut variables = Vec::new();
        let ports: BTreeSet<(Protocol, u16)> = self.ports.iter().copied().collect();
        if let Some(first) = ports.first() {
            variables.push((format!("{prefix}_PORT"), url(*first)));
        }
        for port in &ports {
            let name = of_port(*port);
            variables.push((format!("{name}_ADDR"), self.address.to_string()));
            variables.push((format!("{name}_PORT"), port.1.to_string()));
            variables.push((format!("{name}_PROTO"), port.0.to_string()));
            variables.push((name, url(*port)));
        }
        for (first, last) in runs(&ports).into_iter().filter(|(first, last)| first != last) {
            let name = of_port(first);
            variables.push((format!("{name}_START"), url(first)));
            variables.push((format!("{name}_PORT_START"), first.1.to_string()));
            variables.push((format!("{name}_END"), url(last)));
            variables.push((format!("{name}_PORT_END"), last.1.to_string()));
        }
        variables.push((format!("{prefix}_NAME"), format!("/{parent}/{}", self.alias)));
        let own = self.environment.iter().filter(|(name, _)| name != "HOME" && name != "PATH");
        variables.extend(own.map(|(name, value)| (format!("{prefix}_ENV_{name}"), value.clone())));
        variables
    }
}

/// Ports of one protocol that follow each other, first and last.
fn runs(ports: &BTreeSet<(Protocol, u16)>) -> Vec<((Protocol, u16), (Protocol, u16))> {
    let mut runs: Vec<((Protocol, u16), (Protocol, u16))> = Vec::new();
    for port in ports {
        match runs.last_mut() {
            Some((_, last)) if last.0 == port.0 && last.1.checked_add(1) == Some(port.1) => *last = *port,
            _ => runs.push((*port, *port)),
        }
    }
    runs
}

/// `80/tcp`, as images name the ports that they serve.
pub fn exposed(text: &str) -> Option<(Protocol, u16)> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    Some((protocol, port.parse().ok()?))
}

/// Ports of the host that tasks of this node asked for by number. They are kept free for them: what is found for those who
/// ask for none comes from elsewhere.
#[derive(Debug, Default)]
pub struct PromisedPorts(Mutex<BTreeMap<String, BTreeSet<HostPort>>>);

impl PromisedPorts {
    /// Notes a task's ports. Those of a task with an interface of its own are not the host's.
    pub fn promise(&self, plan: &TaskPlan) {
        if !matches!(plan.network, NetworkPlan::Bridge | NetworkPlan::Host) {
            return;
        }
        let wishes = plan.containers.iter().flat_map(|container| &container.ports);
        let ports: BTreeSet<HostPort> = wishes.filter_map(|wish| Some((wish.protocol, wish.host?))).collect();
        if !ports.is_empty() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(plan.id.clone(), ports);
        }
    }

    /// Forgets them.
    pub fn forget(&self, task: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(task);
    }

    /// All of them.
    pub fn all(&self) -> BTreeSet<HostPort> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().flatten().copied().collect()
    }
}

/// A binding as it is reported: a port, or a range where the mapping was one.
pub fn binding(ports: &PublishedPorts) -> api::ecs::NetworkBinding {
    let mut binding = api::ecs::NetworkBinding {
        bind_ip: Some("0.0.0.0".to_owned()),
        protocol: Some(ports.protocol.to_string()),
        ..api::ecs::NetworkBinding::default()
    };
    if ports.container.0 == ports.container.1 {
        binding.container_port = Some(i32::from(ports.container.0));
        binding.host_port = Some(i32::from(ports.host.0));
    } else {
        let range = |(first, last): (u16, u16)| format!("{first}-{last}");
        binding.container_port_range = Some(range(ports.container));
        binding.host_port_range = Some(range(ports.host));
    }
    binding
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::{Value, json};

    use super::*;

    fn container(more: Value) -> Container {
        let mut container = json!({"name": "web", "image": "x", "essential": true});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(container).unwrap()
    }

    #[test]
    fn port_mappings_are_read() {
        let read = |mapping: Value| {
            read_ports(&container(json!({"portMappings": [mapping]})))
                .map(|ports| ports[0])
                .map_err(|error| error.0)
        };
        let wish = |protocol, container, host| Ok(PortWish { protocol, container, host });
        for (mapping, expected) in [
            (json!({"containerPort": 80}), wish(Protocol::Tcp, (80, 80), None)),
            (json!({"containerPort": 80, "hostPort": 0}), wish(Protocol::Tcp, (80, 80), None)),
            (
                json!({"containerPort": 53, "hostPort": 5353, "protocol": "udp"}),
                wish(Protocol::Udp, (53, 53), Some(5353)),
            ),
            (json!({"containerPortRange": "8000-8010"}), wish(Protocol::Tcp, (8000, 8010), None)),
            (
                json!({"containerPortRange": "8010-8000"}),
                Err("container web: containerPortRange \"8010-8000\" is not one".to_owned()),
            ),
            (json!({"hostPort": 1}), Err("container web: a port mapping has no container port".to_owned())),
            (
                json!({"containerPort": 80, "protocol": "sctp"}),
                Err("container web: protocol sctp is not one".to_owned()),
            ),
        ] {
            assert_eq!(read(mapping.clone()), expected, "{mapping}");
        }
    }

    #[test]
    fn a_link_sets_what_docker_sets() {
        let linked = Linked {
            alias: "my-db".to_owned(),
            docker_name: "ecs-f-1-db-abc".to_owned(),
            hostname: "0123456789ab".to_owned(),
            address: Ipv4Addr::new(192, 168, 240, 5),
            ports: vec![
                (Protocol::Udp, 53),
                (Protocol::Tcp, 5433),
                (Protocol::Tcp, 5432),
                (Protocol::Tcp, 80),
            ],
            environment: vec![("PATH".to_owned(), "/bin".to_owned()), ("USER".to_owned(), "me".to_owned())],
        };
        assert_eq!(
            linked.names().into_iter().collect::<Vec<_>>(),
            ["0123456789ab", "ecs-f-1-db-abc", "my-db"]
        );
        let mut lines: Vec<String> = linked
            .variables("ecs-f-1-web-def")
            .into_iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        lines.sort();
        expect![[r"
            MY_DB_ENV_USER=me
            MY_DB_NAME=/ecs-f-1-web-def/my-db
            MY_DB_PORT=tcp://192.168.240.5:80
            MY_DB_PORT_53_UDP=udp://192.168.240.5:53
            MY_DB_PORT_53_UDP_ADDR=192.168.240.5
            MY_DB_PORT_53_UDP_PORT=53
            MY_DB_PORT_53_UDP_PROTO=udp
            MY_DB_PORT_5432_TCP=tcp://192.168.240.5:5432
            MY_DB_PORT_5432_TCP_ADDR=192.168.240.5
            MY_DB_PORT_5432_TCP_END=tcp://192.168.240.5:5433
            MY_DB_PORT_5432_TCP_PORT=5432
            MY_DB_PORT_5432_TCP_PORT_END=5433
            MY_DB_PORT_5432_TCP_PORT_START=5432
            MY_DB_PORT_5432_TCP_PROTO=tcp
            MY_DB_PORT_5432_TCP_START=tcp://192.168.240.5:5432
            MY_DB_PORT_5433_TCP=tcp://192.168.240.5:5433
            MY_DB_PORT_5433_TCP_ADDR=192.168.240.5
            MY_DB_PORT_5433_TCP_PORT=5433
            MY_DB_PORT_5433_TCP_PROTO=tcp
            MY_DB_PORT_80_TCP=tcp://192.168.240.5:80
            MY_DB_PORT_80_TCP_ADDR=192.168.240.5
            MY_DB_PORT_80_TCP_PORT=80
            MY_DB_PORT_80_TCP_PROTO=tcp
        "]]
        .assert_eq(&lines.concat());
    }

    #[test]
    fn images_name_their_ports() {
        assert_eq!(exposed("80/tcp"), Some((Protocol::Tcp, 80)));
        assert_eq!(exposed("53/udp"), Some((Protocol::Udp, 53)));
        assert_eq!(exposed("9"), Some((Protocol::Tcp, 9)));
        assert_eq!((exposed("9/sctp"), exposed("x/tcp")), (None, None));
    }
}
