//! Which tasks are registered with their load balancers, which are taken out of them, and when a task that is to stop may be
//! told so.
//!
//! Source: AWS, "Amazon ECS task lifecycle" (ACTIVATING, DEACTIVATING), "Use load balancing to distribute Amazon ECS service
//! traffic", "Deregistration delay".
//!
//! Vocabulary: a task *serves* when it is meant to run and its containers run. One that waits in ACTIVATING is registered in
//! all of its target groups at once; one that does not serve (any more) is taken out of them and *drains*: requests under
//! way are let finish, and only then the order to stop it goes out. A drain is *over* when whoever runs the load balancer has
//! removed the target, when nothing of the task runs any more, or when the target group's deregistration delay and
//! [`SLACK_SECONDS`] have passed: a load balancer that is away keeps no task alive. Where capacity is taken back at a fixed
//! moment, a drain has half of the time that is left, rounded down, and the containers' own end the rest. One that cannot be
//! registered as yet waits, and so does one that a quota on
//! targets has no room for; one whose target group is gone would wait for ever, and is *given up*.

use base::Timestamp;
use domain::{
    DesiredStatus, NewTarget, TargetCounts, TargetState, Task, TaskStatus, TaskTarget, TransportProtocol,
};

/// How long after its deregistration delay a target that is still there is waited for. Ours.
pub const SLACK_SECONDS: i64 = 10;
/// When to look again for room in a target group or load balancer that is full. Ours: AWS does not tell.
pub const ROOM_SECONDS: i64 = 5;

/// What there is of the tasks.
#[derive(Clone, Debug, Default)]
pub struct Observed<'a> {
    /// Tasks that are to be registered or taken out, in a stable order.
    pub tasks: &'a [TaskSeen<'a>],
    /// What the target groups of those that wait have of targets, and the load balancers that forward to them.
    pub counts: TargetCounts,
}

/// A task.
#[derive(Clone, Debug)]
pub struct TaskSeen<'a> {
    /// Its row.
    pub task: &'a Task,
    /// The EC2 instance that it is on.
    pub ec2_instance_id: Option<&'a str>,
    /// The zone of its network interface.
    pub zone: Option<&'a str>,
    /// Of each of [`Task::targets`], in the same order.
    pub groups: Vec<GroupSeen>,
}

/// What there is of a target group, and of the task in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSeen {
    /// Its target type, `ip` or `instance`; `None` where the target group is gone.
    pub target_type: Option<String>,
    /// Whether it is for UDP.
    pub is_udp: bool,
    /// `deregistration_delay.timeout_seconds`.
    pub deregistration_delay_seconds: i64,
    /// Whether the target that the task was registered as still drains.
    pub drains: bool,
}

/// What to do. Tasks by their place in [`Observed::tasks`], targets by their place in [`Task::targets`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Register the task as these targets; it runs from then on.
    Register {
        /// The task.
        task: usize,
        /// Target and port for each place.
        targets: Vec<(usize, (String, u16))>,
    },
    /// Stop it: what it waits for does not come.
    GiveUp {
        /// The task.
        task: usize,
        /// Why, as a sentence without a full stop.
        reason: String,
    },
    /// Take it out of these target groups.
    Deregister {
        /// The task.
        task: usize,
        /// Places.
        targets: Vec<usize>,
    },
    /// The drain of these targets is over.
    Drained {
        /// The task.
        task: usize,
        /// Places.
        targets: Vec<usize>,
        /// All of them are out, and its agent is to be told now.
        order_stop: bool,
    },
}

/// What to do, and when to look again though nothing changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// In the order of the tasks.
    pub actions: Vec<Action>,
    /// The first moment at which a drain is given up.
    pub wake_at: Option<Timestamp>,
    /// Tasks that cannot be registered, and why.
    pub report: Vec<(usize, String)>,
}

/// Compares where tasks are registered with where they are to be.
pub fn decide(observed: &Observed<'_>, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    let mut counts = observed.counts.clone();
    for (index, seen) in observed.tasks.iter().enumerate() {
        if serves(seen.task) {
            if seen.task.last_status == TaskStatus::Activating {
                register(index, seen, &mut counts, now, &mut decision);
            }
            continue;
        }
        let places = |wanted: &dyn Fn(&TaskTarget) -> bool| -> Vec<usize> {
            let of = seen.task.targets.iter().enumerate();
            of.filter(|(_, target)| wanted(target)).map(|(place, _)| place).collect()
        };
        let registered = places(&|target| target.state.is_registered());
        if !registered.is_empty() {
            decision.actions.push(Action::Deregister { task: index, targets: registered });
            continue;
        }
        let draining = places(&|target| target.state == TargetState::Draining);
        let over: Vec<usize> =
            draining.iter().copied().filter(|place| is_over(seen, *place, now, &mut decision)).collect();
        if !over.is_empty() {
            let order_stop =
                over.len() == draining.len() && seen.task.last_status == TaskStatus::Deactivating;
            decision.actions.push(Action::Drained { task: index, targets: over, order_stop });
        }
    }
    decision
}

fn serves(task: &Task) -> bool {
    task.desired_status == DesiredStatus::Running && task.last_status < TaskStatus::Deactivating
}

/// The zone that a task is registered in with a target group of this type: as an address, that of its interface.
pub fn zone_in<'a>(seen: &TaskSeen<'a>, target_type: Option<&str>) -> Option<&'a str> {
    seen.zone.filter(|_| target_type == Some("ip"))
}

fn register(
    index: usize,
    seen: &TaskSeen<'_>,
    counts: &mut TargetCounts,
    now: Timestamp,
    decision: &mut Decision,
) {
    let mut targets = Vec::new();
    for (place, target) in seen.task.targets.iter().enumerate() {
        let group = seen.groups.get(place);
        let found = match group.and_then(|group| group.target_type.as_deref()) {
            None => {
                let missing = format!("the target group {} does not exist", target.target_group);
                // AWS does not document what becomes of such a task.
                let reason = format!("Task failed to register with its load balancers: {missing}");
                decision.actions.push(Action::GiveUp { task: index, reason });
                decision.report.push((index, missing));
                return;
            }
            Some("instance") => {
                let is_udp = group.is_some_and(|group| group.is_udp);
                let protocol = if is_udp { TransportProtocol::Udp } else { TransportProtocol::Tcp };
                instance_target(seen, target, protocol)
            }
            Some(_) => address_target(seen.task, target),
        };
        match found {
            Ok(found) => targets.push((place, found)),
            Err(reason) => {
                decision.report.push((index, reason));
                return;
            }
        }
    }
    let new: Vec<NewTarget<'_>> = targets
        .iter()
        .map(|(place, (target, _))| NewTarget {
            target_group: seen.task.targets[*place].target_group.as_str(),
            target,
            zone: zone_in(seen, seen.groups[*place].target_type.as_deref()),
        })
        .collect();
    match counts.enter(&new) {
        Ok(()) => decision.actions.push(Action::Register { task: index, targets }),
        Err(quota) => {
            decision.report.push((index, quota.to_string()));
            wake(decision, now.plus_seconds(ROOM_SECONDS));
        }
    }
}

fn wake(decision: &mut Decision, at: Timestamp) {
    decision.wake_at = Some(decision.wake_at.map_or(at, |there| there.min(at)));
}

/// The address of the task's own interface, and the container's port.
fn address_target(task: &Task, target: &TaskTarget) -> Result<(String, u16), String> {
    let address = task.network_interface().and_then(|interface| interface.details.get("privateIPv4Address"));
    let address = address.ok_or_else(|| "the task has no network interface".to_owned())?;
    Ok((address.clone(), target.container_port))
}

/// The machine, and the port of it that leads to the container's. In the host's own network they are the same.
fn instance_target(
    seen: &TaskSeen<'_>,
    target: &TaskTarget,
    protocol: TransportProtocol,
) -> Result<(String, u16), String> {
    let instance = seen.ec2_instance_id.ok_or_else(|| "the task is on no container instance".to_owned())?;
    let bindings = seen.task.container(&target.container).map(|container| &container.network_bindings);
    let of_port = bindings.into_iter().flatten().find(|binding| {
        binding.container_port == Some(i32::from(target.container_port)) && binding.protocol == protocol
    });
    let bound = of_port.and_then(|binding| u16::try_from(binding.host_port?).ok());
    let own = (seen.task.network_mode == domain::NetworkMode::Host).then_some(target.container_port);
    match bound.or(own) {
        Some(port) => Ok((instance.to_owned(), port)),
        None => Err(format!(
            "no port of the host is bound to the port {} of the container {}",
            target.container_port, target.container
        )),
    }
}

/// Whether a target is waited for no longer.
fn is_over(seen: &TaskSeen<'_>, place: usize, now: Timestamp, decision: &mut Decision) -> bool {
    let group = seen.groups.get(place).cloned().unwrap_or_default();
    if !group.drains || seen.task.last_status >= TaskStatus::Deprovisioning {
        return true;
    }
    let began = seen.task.targets[place].deregistered_at.unwrap_or(now);
    let mut until =
        began.plus_seconds(group.deregistration_delay_seconds.max(0).saturating_add(SLACK_SECONDS));
    if let Some(stop_by) = seen.task.stop_by {
        until = until.min(began.plus_millis(stop_by.since_millis(began).max(0) / 2));
    }
    if now < until {
        wake(decision, until);
    }
    now >= until
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task_lifecycle::{self, may_be_told_to_stop, request_stop, targets_moved, targets_registered};
    use domain::{NetworkBinding, NetworkMode, StopCode};
    use proptest::prelude::*;

    const DELAY: i64 = 30;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn target(name: &str, state: TargetState) -> TaskTarget {
        let arn = format!(
            "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/{name}/0123456789abcdef"
        );
        TaskTarget {
            target_group: arn.parse().unwrap(),
            container: "app".into(),
            container_port: 80,
            target: (state != TargetState::Unregistered).then(|| ("10.0.0.1".into(), 80)),
            state,
            reason: None,
            deregistered_at: (state >= TargetState::Draining).then(|| at(0)),
        }
    }

    fn task(status: TaskStatus, targets: Vec<TaskTarget>) -> Task {
        let mut task = task_lifecycle::tests::task(true);
        task.last_status = status;
        task.container_instance =
            Some("arn:aws:ecs:us-east-1:000000000000:container-instance/default/1".parse().unwrap());
        let interface = &mut task.attachments[0];
        interface.details.insert("privateIPv4Address".into(), "10.0.0.1".into());
        task.targets = targets;
        task
    }

    fn group(drains: bool) -> GroupSeen {
        GroupSeen {
            target_type: Some("ip".into()),
            is_udp: false,
            deregistration_delay_seconds: DELAY,
            drains,
        }
    }

    fn decide_one(task: &Task, groups: &[GroupSeen], now: i64) -> Decision {
        let seen = [TaskSeen { task, ec2_instance_id: Some("i-1"), zone: None, groups: groups.to_vec() }];
        decide(&Observed { tasks: &seen, counts: TargetCounts::default() }, at(now))
    }

    #[test]
    fn a_full_target_group_has_room_for_the_last_one_and_the_others_wait() {
        let waits = task(TaskStatus::Activating, vec![target("a", TargetState::Unregistered)]);
        let arn = waits.targets[0].target_group.to_string();
        let of = || TaskSeen { task: &waits, ec2_instance_id: None, zone: None, groups: vec![group(false)] };
        let seen = [of(), of()];
        let mut counts = TargetCounts::default();
        counts.add_group(arn.clone(), domain::TARGETS_PER_TARGET_GROUP - 1, Vec::new());
        let decision = decide(&Observed { tasks: &seen, counts }, at(100));
        let registered = Action::Register { task: 0, targets: vec![(0, ("10.0.0.1".to_owned(), 80))] };
        assert_eq!(decision.actions, [registered]);
        let reason = domain::TargetQuota::TargetGroup(arn).to_string();
        assert_eq!(decision.report, [(1, reason)]);
        assert_eq!(decision.wake_at, Some(at(100 + ROOM_SECONDS)), "it is looked at again");
    }

    #[test]
    fn a_task_is_registered_in_all_of_its_groups_at_once_or_in_none() {
        let waits = task(
            TaskStatus::Activating,
            vec![target("a", TargetState::Unregistered), target("b", TargetState::Unregistered)],
        );
        let address = || ("10.0.0.1".to_owned(), 80);
        let all = Action::Register { task: 0, targets: vec![(0, address()), (1, address())] };
        assert_eq!(decide_one(&waits, &[group(false), group(false)], 0).actions, [all]);
        let pending = Task { last_status: TaskStatus::Pending, ..waits };
        assert_eq!(decide_one(&pending, &[group(false), group(false)], 0), Decision::default());
    }

    #[test]
    fn a_task_whose_target_group_is_gone_does_not_wait_for_ever() {
        let waits = task(
            TaskStatus::Activating,
            vec![target("a", TargetState::Unregistered), target("b", TargetState::Unregistered)],
        );
        let decision = decide_one(&waits, &[group(false), GroupSeen::default()], 0);
        let [(0, missing)] = decision.report.as_slice() else { panic!("{decision:?}") };
        assert!(missing.ends_with("targetgroup/b/0123456789abcdef does not exist"), "{missing}");
        let reason = format!("Task failed to register with its load balancers: {missing}");
        assert_eq!(decision.actions, [Action::GiveUp { task: 0, reason }]);
        let stops = carried_out(&waits, &decision, at(0));
        assert_eq!(stops.stop_code, Some(StopCode::TaskFailedToStart));
        assert!(may_be_told_to_stop(&stops), "no load balancer knows of it");
        assert_eq!(decide_one(&stops, &[group(false), GroupSeen::default()], 1), Decision::default());
    }

    #[test]
    fn on_a_machine_the_port_of_the_host_counts() {
        let mut waits = task(TaskStatus::Activating, vec![target("a", TargetState::Unregistered)]);
        waits.network_mode = NetworkMode::Bridge;
        let machine = GroupSeen { target_type: Some("instance".into()), ..group(false) };
        let decision = decide_one(&waits, std::slice::from_ref(&machine), 0);
        assert_eq!(
            decision.report,
            [(0, "no port of the host is bound to the port 80 of the container app".to_owned())]
        );
        waits.containers[0].network_bindings = vec![NetworkBinding {
            bind_ip: "0.0.0.0".into(),
            container_port: Some(80),
            host_port: Some(32_768),
            protocol: TransportProtocol::Tcp,
            container_port_range: None,
            host_port_range: None,
        }];
        let datagrams = NetworkBinding {
            host_port: Some(32_769),
            protocol: TransportProtocol::Udp,
            ..waits.containers[0].network_bindings[0].clone()
        };
        waits.containers[0].network_bindings.insert(0, datagrams);
        let bound = Action::Register { task: 0, targets: vec![(0, ("i-1".to_owned(), 32_768))] };
        assert_eq!(decide_one(&waits, std::slice::from_ref(&machine), 0).actions, [bound]);
        waits.network_mode = NetworkMode::Host;
        waits.containers[0].network_bindings.clear();
        let own = Action::Register { task: 0, targets: vec![(0, ("i-1".to_owned(), 80))] };
        assert_eq!(decide_one(&waits, &[machine], 0).actions, [own]);
    }

    #[test]
    fn f22_the_order_to_stop_waits_for_the_drain_and_not_for_a_load_balancer_that_is_away() {
        let runs = task(TaskStatus::Running, vec![target("a", TargetState::Healthy)]);
        assert_eq!(decide_one(&runs, &[group(false)], 0), Decision::default());
        let stops = request_stop(&runs, StopCode::UserInitiated, "", at(0)).task;
        assert_eq!(stops.last_status, TaskStatus::Deactivating);
        assert!(!may_be_told_to_stop(&stops));
        let out = decide_one(&stops, &[group(false)], 0);
        assert_eq!(out.actions, [Action::Deregister { task: 0, targets: vec![0] }]);
        let drains = targets_moved(&stops, &[0], TargetState::Draining, at(0));
        let waiting = decide_one(&drains, &[group(true)], 1);
        assert_eq!((waiting.actions, waiting.wake_at), (vec![], Some(at(DELAY + SLACK_SECONDS))));
        let over = [Action::Drained { task: 0, targets: vec![0], order_stop: true }];
        assert_eq!(decide_one(&drains, &[group(false)], 1).actions, over, "its row is gone");
        assert_eq!(decide_one(&drains, &[group(true)], DELAY + SLACK_SECONDS).actions, over);
        let ended = Task { last_status: TaskStatus::Deprovisioning, ..drains.clone() };
        let told = [Action::Drained { task: 0, targets: vec![0], order_stop: false }];
        assert_eq!(decide_one(&ended, &[group(true)], 1).actions, told, "nothing of it runs any more");
        let taken_back = Task { stop_by: Some(at(20)), ..drains };
        assert_eq!(decide_one(&taken_back, &[group(true)], 1).wake_at, Some(at(10)));
    }

    fn any_state() -> impl Strategy<Value = TargetState> {
        prop_oneof![
            Just(TargetState::Unregistered),
            Just(TargetState::Initial),
            Just(TargetState::Healthy),
            Just(TargetState::Unhealthy),
            Just(TargetState::Draining),
            Just(TargetState::Deregistered),
        ]
    }

    fn any_status() -> impl Strategy<Value = TaskStatus> {
        prop_oneof![
            Just(TaskStatus::Pending),
            Just(TaskStatus::Activating),
            Just(TaskStatus::Running),
            Just(TaskStatus::Deactivating),
            Just(TaskStatus::Stopping),
            Just(TaskStatus::Deprovisioning),
            Just(TaskStatus::Stopped),
        ]
    }

    /// The task as it is once the actions are done.
    fn carried_out(task: &Task, decision: &Decision, now: Timestamp) -> Task {
        decision.actions.iter().fold(task.clone(), |task, action| match action {
            Action::Register { targets, .. } => targets_registered(&task, targets, now).task,
            Action::GiveUp { reason, .. } => {
                request_stop(&task, StopCode::TaskFailedToStart, reason, now).task
            }
            Action::Deregister { targets, .. } => targets_moved(&task, targets, TargetState::Draining, now),
            Action::Drained { targets, .. } => targets_moved(&task, targets, TargetState::Deregistered, now),
        })
    }

    proptest! {
        #[test]
        fn laws(
            status in any_status(),
            meant_to_run in any::<bool>(),
            states in proptest::collection::vec((any_state(), any::<bool>(), any::<bool>()), 1..=5),
            now in 0_i64..2 * DELAY,
            stop_by in proptest::option::of(0_i64..2 * DELAY),
        ) {
            let targets: Vec<TaskTarget> =
                states.iter().enumerate().map(|(place, (state, ..))| target(&place.to_string(), *state)).collect();
            let mut task = task(status, targets);
            let meant_to_run = meant_to_run && status < TaskStatus::Deactivating;
            task.desired_status = if meant_to_run { DesiredStatus::Running } else { DesiredStatus::Stopped };
            task.stop_by = stop_by.map(at);
            if !meant_to_run {
                task.stop_code = Some(StopCode::UserInitiated);
            }
            if status == TaskStatus::Stopped {
                task.times.stopped_at = Some(at(0));
            }
            let groups: Vec<GroupSeen> = states
                .iter()
                .map(|(_, drains, there)| if *there { group(*drains) } else { GroupSeen::default() })
                .collect();
            let decision = decide_one(&task, &groups, now);
            let after = carried_out(&task, &decision, at(now));
            prop_assert_eq!(crate::laws::forward(&task, &after), Ok(()));
            for action in &decision.actions {
                match action {
                    // Who serves stays, and is registered as a whole.
                    Action::Register { .. } => {
                        prop_assert!(meant_to_run && after.last_status == TaskStatus::Running);
                        prop_assert!(after.targets.iter().all(|target| target.state != TargetState::Unregistered));
                    }
                    Action::GiveUp { .. } => {
                        prop_assert!(meant_to_run && after.desired_status == DesiredStatus::Stopped);
                        prop_assert!(states.iter().any(|(.., there)| !there));
                    }
                    Action::Deregister { targets, .. } => {
                        prop_assert!(!meant_to_run);
                        prop_assert!(targets.iter().all(|place| task.targets[*place].state.is_registered()));
                    }
                    // Nobody is told to stop whom a load balancer may send a request.
                    Action::Drained { order_stop, .. } => {
                        prop_assert!(!meant_to_run);
                        prop_assert!(!order_stop || may_be_told_to_stop(&after));
                        prop_assert!(!order_stop || !after.is_served_by_load_balancers());
                    }
                }
            }
            // What was done is not done again.
            if !meant_to_run && !task.targets.iter().any(|target| target.state.is_registered()) {
                prop_assert_eq!(decide_one(&after, &groups, now).actions, Vec::new());
            }
            // A load balancer that never removes anything holds up nobody for ever.
            if status == TaskStatus::Deactivating && task.is_served_by_load_balancers() {
                let (mut task, mut now, mut told) = (task, now, false);
                for _ in 0..3 {
                    let decision = decide_one(&task, &vec![group(true); states.len()], now);
                    task = carried_out(&task, &decision, at(now));
                    told |= decision.actions.iter().any(|action| {
                        matches!(action, Action::Drained { order_stop: true, .. })
                    });
                    now = now.max(DELAY * 2) + DELAY + SLACK_SECONDS;
                }
                prop_assert!(told, "{:?}", task.targets);
            }
        }
    }
}
