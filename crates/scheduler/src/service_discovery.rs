//! Which tasks are registered in AWS Cloud Map, with which attributes, what it is told of their health, and when they are
//! taken out.
//!
//! Source: AWS, "Use service discovery to connect Amazon ECS services with DNS names", "Amazon ECS task lifecycle"
//! (ACTIVATING, DEACTIVATING); the attributes are those that accounts show.
//!
//! Vocabulary: a task *serves* when it is meant to run and its containers run. One that waits in ACTIVATING is registered in
//! all of its registries at once; one that does not serve (any more) is taken out of them, and only then the order to stop it
//! goes out. A task whose essential containers have health checks is unhealthy until they pass.

use std::collections::BTreeMap;
use std::net::IpAddr;

use domain::{
    AWS_INIT_HEALTH_STATUS, AWS_INSTANCE_IPV4, AWS_INSTANCE_IPV6, AWS_INSTANCE_PORT, DesiredStatus,
    LaunchType, NetworkMode, RegistryState, Task, TaskRegistry, TaskStatus,
};

/// What there is of the tasks.
#[derive(Clone, Debug, Default)]
pub struct Observed<'a> {
    /// Tasks that are to be registered or taken out, or whose health is another one, in a stable order.
    pub tasks: &'a [TaskSeen<'a>],
}

/// A task.
#[derive(Clone, Debug)]
pub struct TaskSeen<'a> {
    /// Its row.
    pub task: &'a Task,
    /// The EC2 instance that it is on.
    pub ec2_instance_id: Option<&'a str>,
    /// Of each of [`Task::registries`], in the same order; `None` where the service is gone.
    pub registries: Vec<Option<RegistrySeen>>,
}

/// What there is of a service of AWS Cloud Map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrySeen {
    /// Whether it has custom health.
    pub custom_health: bool,
    /// Whether its instances need an IPv6 address.
    pub has_ipv6: bool,
    /// The address by which the machine is reached from where the service's names resolve: for tasks without one of their own.
    pub host_address: Option<IpAddr>,
}

/// An instance to be made of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Place in [`Task::registries`].
    pub place: usize,
    /// The instance's attributes.
    pub attributes: BTreeMap<String, String>,
    /// Its first health, where the service has custom health.
    pub healthy: Option<bool>,
}

/// What to do. Tasks by their place in [`Observed::tasks`], registries by their place in [`Task::registries`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Register the task as these instances; it runs from then on, where nothing else is waited for.
    Register {
        /// The task.
        task: usize,
        /// All of its registries.
        registrations: Vec<Registration>,
    },
    /// Tell these registries of its health.
    Tell {
        /// The task.
        task: usize,
        /// Places.
        registries: Vec<usize>,
        /// Whether it is healthy.
        healthy: bool,
    },
    /// Take it out of these registries.
    Deregister {
        /// The task.
        task: usize,
        /// Places.
        registries: Vec<usize>,
    },
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// In the order of the tasks.
    pub actions: Vec<Action>,
    /// Tasks that cannot be registered, and why.
    pub report: Vec<(usize, String)>,
}

/// Compares where tasks are registered with where they are to be.
pub fn decide(observed: &Observed<'_>) -> Decision {
    let mut decision = Decision::default();
    for (index, seen) in observed.tasks.iter().enumerate() {
        let registered: Vec<usize> = places(seen.task, |there| there.state == RegistryState::Registered);
        if !serves(seen.task) {
            if !registered.is_empty() {
                decision.actions.push(Action::Deregister { task: index, registries: registered });
            }
            continue;
        }
        if seen.task.last_status == TaskStatus::Activating && registered.is_empty() {
            match registrations(seen) {
                Ok(registrations) => {
                    decision.actions.push(Action::Register { task: index, registrations });
                }
                Err(reason) => decision.report.push((index, reason)),
            }
            continue;
        }
        let healthy = seen.task.passes_checks();
        let otherwise = |there: &TaskRegistry| {
            there.state == RegistryState::Registered && there.told_healthy == Some(!healthy)
        };
        let registries = places(seen.task, otherwise);
        if !registries.is_empty() {
            decision.actions.push(Action::Tell { task: index, registries, healthy });
        }
    }
    decision
}

fn serves(task: &Task) -> bool {
    task.desired_status == DesiredStatus::Running && task.last_status < TaskStatus::Deactivating
}

fn places(task: &Task, wanted: impl Fn(&TaskRegistry) -> bool) -> Vec<usize> {
    let registries = task.registries.iter().enumerate();
    registries.filter(|(_, there)| wanted(there)).map(|(place, _)| place).collect()
}

fn registrations(seen: &TaskSeen<'_>) -> Result<Vec<Registration>, String> {
    let mut registrations = Vec::new();
    for (place, registry) in seen.task.registries.iter().enumerate() {
        let of = seen.registries.get(place).and_then(Option::as_ref);
        let of = of.ok_or_else(|| format!("the service registry {} does not exist", registry.service))?;
        let healthy = of.custom_health.then(|| seen.task.passes_checks());
        let attributes = attributes(seen, registry, of, healthy)?;
        registrations.push(Registration { place, attributes, healthy });
    }
    Ok(registrations)
}

fn attributes(
    seen: &TaskSeen<'_>,
    registry: &TaskRegistry,
    of: &RegistrySeen,
    healthy: Option<bool>,
) -> Result<BTreeMap<String, String>, String> {
    let task = seen.task;
    let mut attributes = BTreeMap::new();
    let mut add = |name: &str, value: String| attributes.insert(name.to_owned(), value);
    if task.network_mode == NetworkMode::AwsVpc {
        let interface = task.network_interface().map(|interface| &interface.details);
        let detail = |name: &str| interface.and_then(|details| details.get(name)).cloned();
        let address = detail("privateIPv4Address").ok_or_else(|| "the task has no address".to_owned())?;
        add(AWS_INSTANCE_IPV4, address);
        if of.has_ipv6 {
            let address = detail("ipv6Address").ok_or_else(|| "the task has no IPv6 address".to_owned())?;
            add(AWS_INSTANCE_IPV6, address);
        }
    } else {
        let address = of.host_address.ok_or_else(|| "the machine has no address there".to_owned())?;
        let name = if address.is_ipv4() { AWS_INSTANCE_IPV4 } else { AWS_INSTANCE_IPV6 };
        add(name, address.to_string());
    }
    if let Some(port) = port(task, registry)? {
        add(AWS_INSTANCE_PORT, port.to_string());
    }
    if let Some(healthy) = healthy {
        add(AWS_INIT_HEALTH_STATUS, if healthy { "HEALTHY" } else { "UNHEALTHY" }.to_owned());
    }
    if let Some(zone) = &task.availability_zone {
        add("AVAILABILITY_ZONE", zone.clone());
    }
    add("REGION", task.scope.region.to_string());
    add("ECS_CLUSTER_NAME", task.cluster.clone());
    if let Some(service) = task.group.strip_prefix("service:") {
        add("ECS_SERVICE_NAME", service.to_owned());
    }
    add("ECS_TASK_DEFINITION_FAMILY", task.family.clone());
    if let Some(instance) = seen.ec2_instance_id.filter(|_| task.launch_type != LaunchType::Fargate) {
        add("EC2_INSTANCE_ID", instance.to_owned());
    }
    Ok(attributes)
}

/// The port that the registry gives, or at which the container's port is reached.
fn port(task: &Task, registry: &TaskRegistry) -> Result<Option<u16>, String> {
    if registry.ingress_port.is_some() {
        return Ok(registry.ingress_port);
    }
    let (Some(container), Some(port)) = (&registry.container, registry.container_port) else {
        return Ok(registry.port);
    };
    if matches!(task.network_mode, NetworkMode::AwsVpc | NetworkMode::Host) {
        return Ok(Some(port));
    }
    let bindings = task.container(container).map(|container| &container.network_bindings);
    let of_port =
        bindings.into_iter().flatten().find(|binding| binding.container_port == Some(i32::from(port)));
    let bound = of_port.and_then(|binding| u16::try_from(binding.host_port?).ok());
    let unbound = || format!("no port of the host is bound to the port {port} of the container {container}");
    bound.map(Some).ok_or_else(unbound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task_lifecycle::{
        self, deregistered_from_registries, may_be_told_to_stop, registered_in_registries, request_stop,
        told_health,
    };
    use base::Timestamp;
    use domain::{HealthStatus, NetworkBinding, StopCode, TransportProtocol};
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn registry(state: RegistryState) -> TaskRegistry {
        TaskRegistry {
            service: "arn:aws:servicediscovery:us-east-1:000000000000:service/srv-1".parse().unwrap(),
            port: None,
            container: None,
            container_port: None,
            ingress_port: None,
            state,
            told_healthy: (state == RegistryState::Registered).then_some(true),
        }
    }

    fn task(status: TaskStatus, registries: Vec<TaskRegistry>) -> Task {
        let mut task = task_lifecycle::tests::task(true);
        task.last_status = status;
        task.group = "service:web".into();
        task.attachments[0].details.insert("privateIPv4Address".into(), "10.0.0.1".into());
        task.container_instance =
            Some("arn:aws:ecs:us-east-1:000000000000:container-instance/default/1".parse().unwrap());
        task.registries = registries;
        task
    }

    fn seen<'a>(task: &'a Task, of: &RegistrySeen) -> [TaskSeen<'a>; 1] {
        let registries = vec![Some(of.clone()); task.registries.len()];
        [TaskSeen { task, ec2_instance_id: Some("i-1"), registries }]
    }

    fn decide_one(task: &Task, of: &RegistrySeen) -> Decision {
        decide(&Observed { tasks: &seen(task, of) })
    }

    #[test]
    fn a_task_is_registered_with_its_address_and_where_it_is_from() {
        let waits = task(TaskStatus::Activating, vec![registry(RegistryState::Unregistered)]);
        let of = RegistrySeen { custom_health: true, ..RegistrySeen::default() };
        let decision = decide_one(&waits, &of);
        let [Action::Register { registrations, .. }] = decision.actions.as_slice() else {
            panic!("{decision:?}")
        };
        let given = &registrations[0].attributes;
        assert_eq!(given[AWS_INSTANCE_IPV4], "10.0.0.1");
        assert_eq!(given["ECS_SERVICE_NAME"], "web");
        assert_eq!(given["REGION"], "us-east-1");
        assert_eq!(given[AWS_INIT_HEALTH_STATUS], "HEALTHY");
        assert!(!given.contains_key(AWS_INSTANCE_PORT));
        let gone = [TaskSeen { task: &waits, ec2_instance_id: None, registries: vec![None] }];
        let decision = decide(&Observed { tasks: &gone });
        assert!(decision.actions.is_empty());
        assert!(decision.report[0].1.ends_with("srv-1 does not exist"), "{decision:?}");
    }

    #[test]
    fn a_task_with_a_health_check_is_unhealthy_until_it_passes() {
        let mut waits = task(TaskStatus::Activating, vec![registry(RegistryState::Unregistered)]);
        waits.containers[0].has_health_check = true;
        let of = RegistrySeen { custom_health: true, ..RegistrySeen::default() };
        let decision = decide_one(&waits, &of);
        let [Action::Register { registrations, .. }] = decision.actions.as_slice() else {
            panic!("{decision:?}")
        };
        assert_eq!(registrations[0].healthy, Some(false));
        assert_eq!(registrations[0].attributes[AWS_INIT_HEALTH_STATUS], "UNHEALTHY");
        let runs = registered_in_registries(&waits, &[(0, Some(false))], at(1)).task;
        assert_eq!(runs.last_status, TaskStatus::Running);
        assert_eq!(decide_one(&runs, &of), Decision::default());
        let passes = Task { health_status: HealthStatus::Healthy, ..runs };
        let tell = Action::Tell { task: 0, registries: vec![0], healthy: true };
        assert_eq!(decide_one(&passes, &of).actions, [tell]);
        let told = told_health(&passes, &[0], true);
        assert_eq!(decide_one(&told, &of), Decision::default());
    }

    #[test]
    fn on_a_machine_the_port_of_the_host_counts() {
        let mut srv = registry(RegistryState::Unregistered);
        srv.container = Some("app".into());
        srv.container_port = Some(80);
        let mut waits = task(TaskStatus::Activating, vec![srv]);
        waits.network_mode = NetworkMode::Bridge;
        let of =
            RegistrySeen { host_address: Some("10.0.0.254".parse().unwrap()), ..RegistrySeen::default() };
        let decision = decide_one(&waits, &of);
        assert_eq!(decision.report[0].1, "no port of the host is bound to the port 80 of the container app");
        waits.containers[0].network_bindings = vec![NetworkBinding {
            bind_ip: "0.0.0.0".into(),
            container_port: Some(80),
            host_port: Some(32_768),
            protocol: TransportProtocol::Tcp,
            container_port_range: None,
            host_port_range: None,
        }];
        let decision = decide_one(&waits, &of);
        let [Action::Register { registrations, .. }] = decision.actions.as_slice() else {
            panic!("{decision:?}")
        };
        assert_eq!(registrations[0].attributes[AWS_INSTANCE_PORT], "32768");
        assert_eq!(registrations[0].attributes[AWS_INSTANCE_IPV4], "10.0.0.254");
        assert_eq!(registrations[0].healthy, None);
    }

    #[test]
    fn another_port_for_what_comes_in_is_the_one_that_is_told() {
        let mut there = registry(RegistryState::Unregistered);
        (there.container, there.container_port, there.ingress_port) =
            (Some("app".into()), Some(80), Some(90));
        let waits = task(TaskStatus::Activating, vec![there]);
        let decision = decide_one(&waits, &RegistrySeen::default());
        let [Action::Register { registrations, .. }] = decision.actions.as_slice() else {
            panic!("{decision:?}")
        };
        assert_eq!(registrations[0].attributes[AWS_INSTANCE_PORT], "90");
    }

    #[test]
    fn a_task_leaves_before_it_is_told_to_stop() {
        let runs = task(TaskStatus::Running, vec![registry(RegistryState::Registered)]);
        let of = RegistrySeen { custom_health: true, ..RegistrySeen::default() };
        assert_eq!(decide_one(&runs, &of), Decision::default());
        let stops = request_stop(&runs, StopCode::UserInitiated, "", at(0)).task;
        assert_eq!(stops.last_status, TaskStatus::Deactivating);
        assert!(!may_be_told_to_stop(&stops));
        let out = [Action::Deregister { task: 0, registries: vec![0] }];
        assert_eq!(decide_one(&stops, &of).actions, out);
        let left = deregistered_from_registries(&stops, &[0]);
        assert!(may_be_told_to_stop(&left));
        assert_eq!(decide_one(&left, &of), Decision::default());
        let ended = Task { last_status: TaskStatus::Stopped, ..runs };
        assert_eq!(decide_one(&ended, &of).actions, out, "one that ended by itself leaves, too");
    }

    fn any_status() -> impl Strategy<Value = TaskStatus> {
        proptest::sample::select(TaskStatus::ALL.to_vec())
    }

    fn any_registry() -> impl Strategy<Value = TaskRegistry> {
        (proptest::sample::select(RegistryState::ALL.to_vec()), any::<Option<bool>>())
            .prop_map(|(state, told_healthy)| TaskRegistry { told_healthy, ..registry(state) })
    }

    proptest! {
        #[test]
        fn laws(
            status in any_status(),
            meant_to_run in any::<bool>(),
            registries in proptest::collection::vec(any_registry(), 1..=3),
            custom_health in any::<bool>(),
        ) {
            let mut task = task(status, registries);
            if !meant_to_run {
                task.desired_status = DesiredStatus::Stopped;
            }
            let of = RegistrySeen { custom_health, ..RegistrySeen::default() };
            let decision = decide_one(&task, &of);
            let mut next = task.clone();
            for action in &decision.actions {
                next = match action {
                    Action::Register { registrations, .. } => {
                        prop_assert!(serves(&task), "only what serves is registered");
                        let done: Vec<_> =
                            registrations.iter().map(|there| (there.place, there.healthy)).collect();
                        registered_in_registries(&next, &done, at(1)).task
                    }
                    Action::Tell { registries, healthy, .. } => told_health(&next, registries, *healthy),
                    Action::Deregister { registries, .. } => {
                        prop_assert!(!serves(&task), "nobody that serves is taken out");
                        deregistered_from_registries(&next, registries)
                    }
                };
            }
            let again = decide_one(&next, &of);
            prop_assert_eq!(again.actions, vec![], "what was decided is done once");
            prop_assert!(serves(&next) || !next.is_discovered(), "what does not serve is nowhere");
        }
    }
}
