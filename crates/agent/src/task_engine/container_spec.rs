//! From a container as ordered to what the engine makes: every parameter of the task definition is mapped here, and what cannot be
//! honoured is refused here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddrV4};
use std::path::PathBuf;

use agent_protocol::docker::HostConfig;
use engine::{
    ContainerId, ContainerSpec, Device, DnsConfig, IpcNamespace, LogOutput, Mount, Namespaces,
    NetworkNamespace, Resources, RootFilesystem, SeccompProfile, SharedNamespace, Signal, TaskGroup,
    TaskGroupHandle, TaskStorage, Tmpfs, Ulimit,
};
use network::ContainerNetwork;

use super::bridge::Linked;
use super::plan::{ContainerPlan, NetworkPlan, Sharing, TaskPlan};
use super::record::ContainerRecord;
use super::{connect, open_files};
use crate::images::LocalImage;

/// The smallest memory limit that is set; smaller ones are raised to it. The stock agent's.
const MEMORY_BYTES_MINIMUM: u64 = 4 << 20;
/// The smallest CPU weight that the kernel takes. cgroups(7).
const CPU_SHARES_MINIMUM: u64 = 2;
/// Processes and threads of one task, against fork bombs. Ours; the stock agent has a setting and no default.
const TASK_PIDS_MAXIMUM: u64 = 4096;
/// Open files of a Fargate task's processes. Source: "Task definition differences for Fargate", resource limits.
const FARGATE_OPEN_FILES: i64 = 65_535;
/// Where tasks find the metadata endpoint.
pub const METADATA_HOST: &str = "http://169.254.170.2";

/// What a container is made from besides its plan.
pub struct Ingredients<'a> {
    /// Its task.
    pub task: &'a TaskPlan,
    /// What was ordered.
    pub plan: &'a ContainerPlan,
    /// Its ids.
    pub record: &'a ContainerRecord,
    /// Its image.
    pub image: &'a LocalImage,
    /// The task's cgroup and shared namespaces.
    pub group: &'a TaskGroupHandle,
    /// The task's network namespace, in mode awsvpc.
    pub network_namespace: Option<PathBuf>,
    /// The container's own part of the network, in mode bridge.
    pub container_network: Option<&'a ContainerNetwork>,
    /// The containers that it knows by name.
    pub links: &'a [Linked],
    /// Volumes, already resolved.
    pub mounts: Vec<Mount>,
    /// Where output goes.
    pub log: LogOutput,
    /// The id of the task role's credentials, if it has any.
    pub credentials_id: Option<&'a str>,
    /// The region of the agent.
    pub region: &'a str,
    /// Port of loopback on which tasks of network mode `host` are answered.
    pub metadata_port: u16,
    /// The cluster as configured, for the label.
    pub cluster: &'a str,
    /// Where this machine's resolver answers.
    pub resolver: Option<SocketAddrV4>,
}

/// The task group of a task: its cgroup and shared namespaces.
pub fn task_group(task: &TaskPlan, id: ContainerId) -> TaskGroup {
    let container_shares: u64 = task.containers.iter().map(|container| shares(container.message.cpu)).sum();
    TaskGroup {
        id,
        resources: Resources {
            cpu_shares: Some(task.cpu_shares.unwrap_or(container_shares).clamp(CPU_SHARES_MINIMUM, 262_144)),
            cpu_quota_microseconds: task.cpu_quota_microseconds,
            memory_bytes: task.memory_bytes,
            pids_limit: Some(TASK_PIDS_MAXIMUM),
            ..Resources::default()
        },
        share_pid_namespace: task.pid_mode == Sharing::Task,
        share_ipc_namespace: task.ipc_mode == Sharing::Task,
        shared_memory_bytes: None,
        storage: task
            .storage
            .map(|storage| TaskStorage { bytes: storage.bytes, required: storage.asked_for }),
    }
}

fn shares(cpu: i64) -> u64 {
    u64::try_from(cpu).unwrap_or(0).clamp(CPU_SHARES_MINIMUM, 262_144)
}

/// The signal that stops the container: the order's, then the image's, then SIGTERM.
pub fn stop_signal(plan: &ContainerPlan, image_signal: Option<&str>) -> Result<Signal, String> {
    let name = plan.config.stop_signal.as_deref().or(image_signal).filter(|name| !name.is_empty());
    name.map_or(Ok(Signal::TERM), |name| name.parse().map_err(|_| format!("{name} is not a signal")))
}

/// Maps a container. The error is for its `reason`, without the `CannotCreateContainerError: ` before it.
pub fn container_spec(from: &Ingredients) -> Result<ContainerSpec, String> {
    let (plan, host) = (from.plan, &from.plan.host);
    let config = &from.image.image.config;
    let id = ContainerId::new(from.record.runtime_id.clone()).map_err(|error| error.to_string())?;
    let root = RootFilesystem {
        lower_directories: from.image.lower_directories.clone(),
        readonly: host.readonly_rootfs.unwrap_or(false),
        writable: from.group.storage.as_ref().map(|storage| storage.join("layers")),
    };
    let mut spec = ContainerSpec::new(id, root, arguments(from)?);
    spec.environment = environment(from);
    spec.user =
        plan.config.user.clone().filter(|user| !user.is_empty()).unwrap_or_else(|| config.user.clone());
    let directory = plan.config.working_dir.clone().filter(|directory| !directory.is_empty());
    spec.working_directory = PathBuf::from(directory.unwrap_or_else(|| config.working_dir.clone()));
    spec.privileged = host.privileged.unwrap_or(false);
    spec.capabilities_add.clone_from(&host.cap_add);
    spec.capabilities_drop.clone_from(&host.cap_drop);
    spec.devices = devices(host);
    spec.init = host.init.unwrap_or(false);
    spec.shared_memory_bytes = positive(host.shm_size);
    spec.tmpfs = host.tmpfs.iter().map(|(path, options)| tmpfs(path, options)).collect::<Result<_, _>>()?;
    spec.ulimits = ulimits(from);
    spec.sysctls.clone_from(&host.sysctls);
    spec.mounts.clone_from(&from.mounts);
    spec.terminal = plan.config.tty.unwrap_or(false);
    spec.open_stdin = plan.config.open_stdin.unwrap_or(false);
    spec.resources = resources(plan);
    spec.task_group = Some(from.group.id.clone());
    spec.log = from.log.clone();
    spec.labels = labels(from);
    spec.stop_signal = stop_signal(plan, config.stop_signal.as_deref())?;
    spec.namespaces = namespaces(from);
    apply_names(&mut spec, from)?;
    apply_security_options(&mut spec, &host.security_opt)?;
    Ok(spec)
}

/// Docker's rule: an entry point of the order also does away with the image's command.
fn arguments(from: &Ingredients) -> Result<Vec<String>, String> {
    let (message, image) = (&from.plan.message, &from.image.image.config);
    let mut arguments = Vec::new();
    if message.entry_point.is_empty() {
        arguments.extend(image.entrypoint.iter().flatten().cloned());
        if message.command.is_empty() {
            arguments.extend(image.cmd.iter().flatten().cloned());
        }
    } else {
        arguments.extend(message.entry_point.iter().cloned());
    }
    arguments.extend(message.command.iter().cloned());
    if arguments.is_empty() {
        return Err("No command specified".to_owned());
    }
    Ok(arguments)
}

fn environment(from: &Ingredients) -> Vec<(String, String)> {
    // What links say gives way to what the image and the order say.
    let links = from.links.iter().flat_map(|link| link.variables(&from.record.docker_name));
    let mut environment: Vec<(String, String)> = links.collect();
    for entry in &from.image.image.config.env {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        environment.push((name.to_owned(), value.to_owned()));
    }
    environment
        .extend(from.plan.message.environment.iter().map(|(name, value)| (name.clone(), value.clone())));
    let has = |wanted: &str| environment.iter().any(|(name, _)| name == wanted);
    let mut added = Vec::new();
    if !has("AWS_REGION") && !has("AWS_DEFAULT_REGION") {
        added.push(("AWS_REGION", from.region.to_owned()));
        added.push(("AWS_DEFAULT_REGION", from.region.to_owned()));
    }
    // Nothing on the host's own network is rerouted, so its tasks are told the full address.
    let on_host = from.task.network == NetworkPlan::Host;
    let base =
        if on_host { format!("http://127.0.0.1:{}", from.metadata_port) } else { METADATA_HOST.to_owned() };
    let endpoint = &from.record.endpoint_id;
    added.push(("ECS_CONTAINER_METADATA_URI", format!("{base}/v3/{endpoint}")));
    added.push(("ECS_CONTAINER_METADATA_URI_V4", format!("{base}/v4/{endpoint}")));
    added.push(("ECS_AGENT_URI", format!("{base}/api/{endpoint}")));
    match from.credentials_id {
        Some(id) if on_host => {
            added.push(("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{base}/v2/credentials/{id}")));
        }
        Some(id) => added.push(("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", format!("/v2/credentials/{id}"))),
        None => {}
    }
    environment.extend(added.into_iter().map(|(name, value)| (name.to_owned(), value)));
    environment
}

fn devices(host: &HostConfig) -> Vec<Device> {
    let or =
        |given: &str, default: &str| if given.is_empty() { default.to_owned() } else { given.to_owned() };
    let device = |device: &agent_protocol::docker::DeviceMapping| Device {
        host: PathBuf::from(&device.path_on_host),
        container: PathBuf::from(or(&device.path_in_container, &device.path_on_host)),
        permissions: or(&device.cgroup_permissions, "rwm"),
    };
    host.devices.iter().map(device).collect()
}

/// `size=64m,noexec,mode=755`, as Docker takes it.
fn tmpfs(path: &str, options: &str) -> Result<Tmpfs, String> {
    let mut tmpfs = Tmpfs { path: PathBuf::from(path), size_bytes: None, options: Vec::new() };
    for option in options.split(',').map(str::trim).filter(|option| !option.is_empty()) {
        match option.strip_prefix("size=") {
            Some(size) => {
                tmpfs.size_bytes =
                    Some(size_bytes(size).ok_or_else(|| format!("tmpfs {path}: {size} is not a size"))?);
            }
            None => tmpfs.options.push(option.to_owned()),
        }
    }
    Ok(tmpfs)
}

fn size_bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches('b').trim_end_matches(['k', 'm', 'g']);
    let shift = match lower.trim_end_matches('b').as_bytes().last()? {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        _ => 0,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn ulimits(from: &Ingredients) -> Vec<Ulimit> {
    let given = &from.plan.host.ulimits;
    let mut ulimits: Vec<Ulimit> = given
        .iter()
        .map(|limit| Ulimit { name: limit.name.clone(), soft: limit.soft, hard: limit.hard })
        .collect();
    if from.task.launch_type == "FARGATE" && !ulimits.iter().any(|limit| limit.name == "nofile") {
        let attainable = FARGATE_OPEN_FILES.min(open_files::attainable());
        ulimits.push(Ulimit { name: "nofile".to_owned(), soft: attainable, hard: attainable });
    }
    ulimits
}

fn resources(plan: &ContainerPlan) -> Resources {
    let host = &plan.host;
    Resources {
        cpu_shares: Some(shares(plan.message.cpu)),
        cpuset_cpus: host.cpuset_cpus.clone(),
        memory_bytes: positive(Some(plan.message.memory))
            .map(|mib| mib.saturating_mul(1 << 20).max(MEMORY_BYTES_MINIMUM)),
        memory_reservation_bytes: positive(host.memory_reservation),
        memory_swap_bytes: host.memory_swap.filter(|swap| *swap != 0),
        memory_swappiness: host.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        ..Resources::default()
    }
}

fn positive(value: Option<i64>) -> Option<u64> {
    value.filter(|value| *value > 0).map(i64::unsigned_abs)
}

/// The stock agent's labels, over the image's and the order's.
fn labels(from: &Ingredients) -> BTreeMap<String, String> {
    let mut labels = from.image.image.config.labels.clone();
    labels.extend(from.plan.config.labels.clone());
    for (name, value) in [
        ("cluster", from.cluster),
        ("container-name", &from.plan.name),
        ("task-arn", &from.task.arn.to_string()),
        ("task-definition-family", &from.task.family),
        ("task-definition-version", &from.task.revision),
    ] {
        labels.insert(format!("com.amazonaws.ecs.{name}"), value.to_owned());
    }
    labels
}

fn namespaces(from: &Ingredients) -> Namespaces {
    let network = match (&from.task.network, from.plan.config.network_disabled) {
        (NetworkPlan::None, _) | (_, Some(true)) => NetworkNamespace::None,
        (NetworkPlan::Host, _) => NetworkNamespace::Host,
        (NetworkPlan::Bridge, _) => from
            .container_network
            .map_or(NetworkNamespace::None, |network| NetworkNamespace::Path(network.namespace.clone())),
        (NetworkPlan::AwsVpc(_), _) => {
            from.network_namespace.clone().map_or(NetworkNamespace::None, NetworkNamespace::Path)
        }
    };
    let pid = match (from.task.pid_mode, &from.group.pid_namespace) {
        (Sharing::Host, _) => SharedNamespace::Host,
        (Sharing::Task, Some(path)) => SharedNamespace::Path(path.clone()),
        _ => SharedNamespace::Private,
    };
    let ipc = match (from.task.ipc_mode, &from.group.ipc_namespace) {
        (Sharing::Host, _) => IpcNamespace::Host,
        (Sharing::Nothing, _) => IpcNamespace::WithoutSharedMemory,
        (Sharing::Task, Some(path)) => {
            IpcNamespace::Path { namespace: path.clone(), shared_memory: from.group.shared_memory.clone() }
        }
        _ => IpcNamespace::Private,
    };
    Namespaces { network, pid, ipc }
}

/// Host name, /etc/hosts and /etc/resolv.conf. In mode awsvpc the interface says what the order does not.
fn apply_names(spec: &mut ContainerSpec, from: &Ingredients) -> Result<(), String> {
    let (config, host) = (&from.plan.config, &from.plan.host);
    spec.hostname = config.hostname.clone().filter(|name| !name.is_empty());
    spec.domainname = config.domainname.clone().filter(|name| !name.is_empty());
    spec.dns = DnsConfig { servers: host.dns.clone(), search: host.dns_search.clone(), options: Vec::new() };
    for entry in &host.extra_hosts {
        let (name, address) = entry
            .split_once(':')
            .filter(|(name, address)| !name.is_empty() && address.parse::<IpAddr>().is_ok())
            .ok_or_else(|| format!("extraHosts: {entry:?} is not a host name and an address"))?;
        spec.extra_hosts.push((name.to_owned(), address.to_owned()));
    }
    let connected = connect::hosts(&from.task.connect).into_iter();
    spec.extra_hosts.extend(connected.map(|(name, address)| (name.to_owned(), address.to_string())));
    for link in from.links {
        let names = link.names().into_iter().map(|name| (name.to_owned(), link.address.to_string()));
        spec.extra_hosts.extend(names);
    }
    if let Some(network) = from.container_network {
        spec.addresses = vec![network.address.to_string()];
    }
    if let NetworkPlan::AwsVpc(interface) = &from.task.network {
        spec.addresses =
            interface.ipv4_addresses.iter().map(|address| address.private_address.clone()).collect();
        if spec.hostname.is_none() {
            spec.hostname = interface.private_dns_name.clone().filter(|name| !name.is_empty());
        }
        if spec.dns.search.is_empty() {
            spec.dns.search.clone_from(&interface.domain_name);
        }
    }
    if spec.dns.servers.is_empty() {
        spec.dns.servers = name_servers(from);
    }
    Ok(())
}

/// Whom a container asks for names where its definition does not say: the resolver of its VPC, or, as on an EC2 instance,
/// that of the machine's. Empty: whom the host asks.
fn name_servers(from: &Ingredients) -> Vec<String> {
    /// Every VPC's resolver, which the machine's containers are led to as well. Source: Amazon VPC user guide, "DNS attributes".
    const RESOLVER: &str = "169.254.169.253";
    /// The only port that /etc/resolv.conf knows.
    const DNS_PORT: u16 = 53;
    let Some(resolver) = from.resolver else { return Vec::new() };
    match &from.task.network {
        NetworkPlan::None => Vec::new(),
        NetworkPlan::AwsVpc(interface) => interface.domain_name_servers.clone(),
        NetworkPlan::Bridge => vec![RESOLVER.to_owned()],
        NetworkPlan::Host if resolver.port() == DNS_PORT => vec![resolver.ip().to_string()],
        NetworkPlan::Host => Vec::new(),
    }
}

/// Docker's `--security-opt`: `name=value` or the older `name:value`.
fn apply_security_options(spec: &mut ContainerSpec, options: &[String]) -> Result<(), String> {
    for option in options {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => spec.no_new_privileges = true,
            ("no-new-privileges", "false") => spec.no_new_privileges = false,
            ("seccomp", "unconfined") => spec.seccomp = SeccompProfile::Unconfined,
            ("apparmor", "unconfined") => spec.apparmor_profile = None,
            ("apparmor", profile) if !profile.is_empty() => spec.apparmor_profile = Some(profile.to_owned()),
            ("label", "disable") => spec.selinux_label = None,
            ("label", label) if !label.is_empty() => spec.selinux_label = Some(label.to_owned()),
            _ => return Err(format!("dockerSecurityOptions: {option:?} is not supported")),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "container_spec_tests.rs"]
mod tests;
