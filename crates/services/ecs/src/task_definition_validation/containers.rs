//! Containers, each by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::ecs::{ContainerDefinition, HealthCheck, KeyValuePair, LogConfiguration};
use domain::NetworkMode;
use wire::Fault;

use super::{Frame, linux, one_of};
use crate::faults::client;
use crate::resources::identifier;

/// Least memory of a container in MiB. Source: ContainerDefinition, `memory`.
const LEAST_MEMORY_MIB: i32 = 6;
/// Characters of an image reference. Source: ContainerDefinition, `image`.
const IMAGE_CHARACTERS: usize = 255;
/// Exit codes that a restart policy may ignore. Source: ContainerRestartPolicy.
const IGNORED_EXIT_CODES: usize = 50;
/// Entries of lists that AWS names no bound for. Ours: the whole definition is held to 64 KiB.
const ENTRIES: usize = 1000;

/// Checks one container against itself and the task.
pub fn check(container: &ContainerDefinition, frame: Frame) -> Result<(), Fault> {
    let name = container.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        return Err(client("Container.name should not be null or empty."));
    }
    if !identifier::is_name(name) {
        return Err(client("Container.name contains invalid characters."));
    }
    image(container.image.as_deref().unwrap_or_default())?;
    memory(container, name, frame)?;
    if container.cpu.is_some_and(|cpu| cpu < 0) {
        return Err(setting(name, "'cpu' must not be negative."));
    }
    environment(container.environment.as_deref().unwrap_or_default(), name)?;
    texts(container, name)?;
    network(container, name, frame.network_mode)?;
    timeouts(container, name)?;
    restart_policy(container, name)?;
    if let Some(check) = &container.health_check {
        health_check(check, name)?;
    }
    if let Some(log) = &container.log_configuration {
        log_configuration(log)?;
    }
    one_of("versionConsistency", container.version_consistency.as_deref(), &["enabled", "disabled"])?;
    linux::check(container, name)
}

/// The fault for a container's setting.
pub fn setting(name: &str, why: &str) -> Fault {
    client(format!("Invalid setting for container '{name}'. {why}"))
}

fn image(image: &str) -> Result<(), Fault> {
    if image.is_empty() {
        return Err(client("Container.image should not be null or empty."));
    }
    let (repository, digest) =
        image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:./#".contains(&byte);
    let of_digest = |digest: &str| {
        digest
            .strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    if repository.is_empty() {
        return Err(client("Container.image repository should not be null or empty."));
    }
    if repository.len() > IMAGE_CHARACTERS {
        return Err(client(format!(
            "Container.image repository should not be longer than {IMAGE_CHARACTERS} characters."
        )));
    }
    if !repository.bytes().all(allowed) || digest.is_some_and(|digest| !of_digest(digest)) {
        return Err(client("Container.image contains invalid characters."));
    }
    Ok(())
}

fn memory(container: &ContainerDefinition, name: &str, frame: Frame) -> Result<(), Fault> {
    for (field, value) in [("memory", container.memory), ("memoryReservation", container.memory_reservation)]
    {
        if value.is_some_and(|value| value < LEAST_MEMORY_MIB) {
            return Err(setting(name, &format!("'{field}' must be at least {LEAST_MEMORY_MIB}.")));
        }
    }
    match (container.memory, container.memory_reservation) {
        (None, None) if frame.memory_mib.is_none() => {
            Err(setting(name, "At least one of 'memory' or 'memoryReservation' must be specified."))
        }
        (Some(memory), Some(reservation)) if reservation > memory => {
            Err(setting(name, "The 'memory' value must be greater than or equal to 'memoryReservation'."))
        }
        _ => Ok(()),
    }
}

fn environment(environment: &[KeyValuePair], container: &str) -> Result<(), Fault> {
    for pair in environment {
        let name = pair.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(setting(container, "The name of an environment variable can not be blank."));
        }
        if name.contains(['=', '\0']) || pair.value.as_deref().is_some_and(|value| value.contains('\0')) {
            return Err(setting(container, &format!("The environment variable '{name}' is invalid.")));
        }
    }
    Ok(())
}

/// Words, paths and lists of text that only have to be fit to be handed to a process.
fn texts(container: &ContainerDefinition, name: &str) -> Result<(), Fault> {
    let lists = [("entryPoint", &container.entry_point), ("command", &container.command)];
    for (field, list) in lists {
        let list = list.as_deref().unwrap_or_default();
        if list.len() > ENTRIES || list.iter().any(|text| text.contains('\0')) {
            return Err(setting(name, &format!("'{field}' is invalid.")));
        }
    }
    if let Some(directory) = container.working_directory.as_deref()
        && (!directory.starts_with('/') || directory.contains('\0'))
    {
        return Err(setting(name, "'workingDirectory' must be an absolute path."));
    }
    if let Some(user) = container.user.as_deref() {
        let part = |part: &str| {
            !part.is_empty()
                && !part.starts_with('-')
                && part.len() <= 255
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if user.matches(':').count() > 1 || !user.split(':').all(part) {
            return Err(setting(name, "'user' must have one of the forms user, user:group, uid, uid:gid."));
        }
    }
    for (key, value) in container.docker_labels.iter().flatten() {
        if key.is_empty() || key.contains('\0') || value.contains('\0') {
            return Err(setting(name, "'dockerLabels' has an invalid label."));
        }
    }
    Ok(())
}

fn network(container: &ContainerDefinition, name: &str, mode: NetworkMode) -> Result<(), Fault> {
    let is_awsvpc = mode == NetworkMode::AwsVpc;
    let not_on =
        |field: &str| client(format!("{field} is not supported on container when networkMode={mode}."));
    if let Some(hostname) = container.hostname.as_deref() {
        if is_awsvpc {
            return Err(not_on("hostname"));
        }
        if !is_host_name(hostname) {
            return Err(setting(name, "'hostname' is invalid."));
        }
    }
    let extra_hosts = container.extra_hosts.as_deref().unwrap_or_default();
    if is_awsvpc && !extra_hosts.is_empty() {
        return Err(client("Extra hosts are not supported when networkMode=awsvpc."));
    }
    for host in extra_hosts {
        let address = host.ip_address.as_deref().unwrap_or_default();
        if !is_host_name(host.hostname.as_deref().unwrap_or_default()) || address.parse::<IpAddr>().is_err() {
            return Err(setting(name, "'extraHosts' has an invalid entry."));
        }
    }
    for server in container.dns_servers.iter().flatten() {
        if server.parse::<IpAddr>().is_err() {
            return Err(setting(name, &format!("'dnsServers' has an invalid address: {server}.")));
        }
    }
    for domain in container.dns_search_domains.iter().flatten() {
        if domain != "." && !is_host_name(domain) {
            return Err(setting(name, &format!("'dnsSearchDomains' has an invalid domain: {domain}.")));
        }
    }
    if container.disable_networking == Some(true) && is_awsvpc {
        return Err(client("Networking can not be disabled when networkMode=awsvpc."));
    }
    Ok(())
}

fn is_host_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

/// Seconds of a time-out. Source: ContainerDefinition, for Fargate 2 to 120; on EC2 any number (see `fargate.rs`).
fn timeouts(container: &ContainerDefinition, name: &str) -> Result<(), Fault> {
    for (field, value) in [("startTimeout", container.start_timeout), ("stopTimeout", container.stop_timeout)]
    {
        if value.is_some_and(|value| value < 0) {
            return Err(setting(name, &format!("'{field}' must not be negative.")));
        }
    }
    Ok(())
}

fn restart_policy(container: &ContainerDefinition, name: &str) -> Result<(), Fault> {
    let Some(policy) = &container.restart_policy else { return Ok(()) };
    if policy.enabled.is_none() {
        return Err(setting(name, "'restartPolicy.enabled' must be specified."));
    }
    let codes = policy.ignored_exit_codes.as_deref().unwrap_or_default();
    if codes.len() > IGNORED_EXIT_CODES {
        return Err(setting(
            name,
            &format!("'restartPolicy.ignoredExitCodes' can have at most {IGNORED_EXIT_CODES} exit codes."),
        ));
    }
    if codes.iter().any(|code| !(0..=255).contains(code)) {
        return Err(setting(name, "'restartPolicy.ignoredExitCodes' must be between 0 and 255."));
    }
    if policy.restart_attempt_period.is_some_and(|period| !(60..=1800).contains(&period)) {
        return Err(setting(
            name,
            "'restartPolicy.restartAttemptPeriod' must be between 60 and 1800 seconds.",
        ));
    }
    if policy.enabled == Some(false) && (!codes.is_empty() || policy.restart_attempt_period.is_some()) {
        return Err(setting(
            name,
            "'ignoredExitCodes' and 'restartAttemptPeriod' can only be set when the restart policy is enabled.",
        ));
    }
    Ok(())
}

fn health_check(check: &HealthCheck, name: &str) -> Result<(), Fault> {
    let command = check.command.as_deref().unwrap_or_default();
    match command.first().map(String::as_str) {
        None => return Err(setting(name, "The health check command can not be empty.")),
        Some("CMD") if command.len() >= 2 => {}
        Some("CMD-SHELL") if command.len() == 2 => {}
        Some("NONE") if command.len() == 1 => {}
        Some(_) => {
            return Err(setting(name, "The health check command must start with CMD or CMD-SHELL."));
        }
    }
    if command.iter().any(|text| text.contains('\0')) {
        return Err(setting(name, "The health check command is invalid."));
    }
    let ranges = [
        ("interval", check.interval, 5, 300),
        ("timeout", check.timeout, 2, 60),
        ("retries", check.retries, 1, 10),
        ("startPeriod", check.start_period, 0, 300),
    ];
    for (field, value, least, most) in ranges {
        if value.is_some_and(|value| !(least..=most).contains(&value)) {
            return Err(setting(
                name,
                &format!("The health check '{field}' must be between {least} and {most}."),
            ));
        }
    }
    Ok(())
}

const LOG_DRIVERS: &[&str] =
    &["json-file", "syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "awsfirelens", "none"];

fn log_configuration(log: &LogConfiguration) -> Result<(), Fault> {
    let driver = log.log_driver.as_deref().unwrap_or_default();
    one_of("logDriver", Some(driver), LOG_DRIVERS)?;
    let empty = BTreeMap::new();
    let options = log.options.as_ref().unwrap_or(&empty);
    if driver == "awslogs" {
        let missing: Vec<&str> = ["awslogs-group", "awslogs-region"]
            .into_iter()
            .filter(|option| options.get(*option).is_none_or(String::is_empty))
            .collect();
        if !missing.is_empty() {
            return Err(client(format!("Log driver awslogs requires options: {}", missing.join(", "))));
        }
    }
    if let Some(mode) = options.get("mode") {
        one_of("log option mode", Some(mode), &["blocking", "non-blocking"])?;
    }
    Ok(())
}

/// What holds among the containers: names differ, and one is essential.
pub fn check_together(containers: &[ContainerDefinition]) -> Result<(), Fault> {
    let mut names = BTreeSet::new();
    for container in containers {
        let name = container.name.as_deref().unwrap_or_default();
        if !names.insert(name) {
            return Err(client(format!("Container names must be unique. '{name}' is used more than once.")));
        }
    }
    if containers.iter().all(|container| container.essential == Some(false)) {
        return Err(client("Task definition doesn't have any essential container."));
    }
    Ok(())
}

/// The containers together must fit in the task.
pub fn check_sums(containers: &[ContainerDefinition], frame: Frame) -> Result<(), Fault> {
    let sum = |value: &dyn Fn(&ContainerDefinition) -> Option<i32>| -> i64 {
        containers.iter().map(|container| i64::from(value(container).unwrap_or(0))).sum()
    };
    let cpu = sum(&|container| container.cpu);
    if frame.cpu_units.is_some_and(|task| cpu > i64::from(task)) {
        return Err(client(
            "The total amount of CPU reserved for all containers within a task must be lower than or equal to the \
             task-level CPU value.",
        ));
    }
    let reserved = sum(&|container| container.memory_reservation.or(container.memory));
    if frame.memory_mib.is_some_and(|task| reserved > i64::from(task)) {
        return Err(client(
            "The total amount of memory reserved for all containers within a task must be lower than or equal to the \
             task-level memory value.",
        ));
    }
    for container in containers {
        if let (Some(memory), Some(task)) = (container.memory, frame.memory_mib)
            && memory > task
        {
            let name = container.name.as_deref().unwrap_or_default();
            return Err(setting(name, "The 'memory' value must not exceed the task-level memory value."));
        }
    }
    Ok(())
}
