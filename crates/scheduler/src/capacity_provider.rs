//! What becomes of a capacity provider's Auto Scaling group: how many instances it is to have, which are protected from
//! scale in, which are drained, and which may end.
//!
//! Source: AWS, "Automatically manage Amazon ECS capacity with cluster auto scaling", "Deep Dive on Amazon ECS Cluster Auto
//! Scaling" (M, N and `CapacityProviderReservation`), "Faster Scaling-in for Amazon ECS Cluster Auto Scaling" (half of the
//! group at once at most), "Use managed instance draining". The way from the reservation to a number of instances is target
//! tracking's: N times reservation over target, rounded up.
//!
//! Vocabulary: *N* is the number of instances in service; *M* the number needed; the reservation is M / N in percent, a
//! *datapoint* one such measure a minute. Without instances it is 100 when none is needed and 200 when some are. *Busy*
//! instances have a task that is not a daemon's. Instances are *coming* that were asked for and have no task yet.

use base::Timestamp;
use domain::{ManagedScaling, Resources};

/// Seconds between two datapoints.
pub const DATAPOINT_SECONDS: i64 = 60;
/// Datapoints in a row below the target before the group shrinks. AWS's alarm has 15 of one minute each.
pub const DATAPOINTS_BELOW_TARGET: u32 = 15;

/// What the provider asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired<'a> {
    /// Managed scaling.
    pub managed_scaling: &'a ManagedScaling,
    /// Whether busy instances are protected from scale in.
    pub managed_termination_protection: bool,
    /// Whether instances are drained before they end.
    pub managed_draining: bool,
    /// Datapoints in a row, up to the last one, that were below the target.
    pub datapoints_below_target: u32,
    /// When the group was last scaled out.
    pub scaled_out_at: Option<Timestamp>,
}

/// The bounds and the wish of the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Never fewer instances.
    pub minimum: u32,
    /// Never more.
    pub maximum: u32,
    /// As many are wished for now.
    pub desired: u32,
}

/// Where an instance stands in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// Being launched.
    Pending,
    /// In service.
    InService,
    /// About to end; the group waits for leave to end it.
    TerminatingWait,
    /// Ending.
    Terminating,
}

/// An instance of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// EC2's or the machine's id.
    pub ec2_instance_id: String,
    /// Where it stands.
    pub lifecycle: Lifecycle,
    /// Whether it is protected from scale in.
    pub protected: bool,
    /// Whether it is a container instance of the cluster.
    pub registered: bool,
    /// Whether that is DRAINING.
    pub draining: bool,
    /// What it has in all, once registered.
    pub capacity: Resources,
    /// Its tasks, less those of daemons.
    pub tasks: usize,
}

/// Tasks that wait for capacity and are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub count: u64,
    /// What one takes.
    pub resources: Resources,
    /// Whole GPUs that one takes.
    pub gpus: usize,
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The group.
    pub group: Group,
    /// Its instances, in a stable order.
    pub instances: Vec<Instance>,
    /// Tasks that wait for it, alike ones together.
    pub waiting: Vec<Waiting>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Wish for so many instances.
    SetDesiredCapacity(u32),
    /// Protect an instance from scale in, or no longer.
    Protect {
        /// Which.
        ec2_instance_id: String,
        /// Whether it is to be protected.
        protected: bool,
    },
    /// Set the container instance DRAINING.
    Drain {
        /// Which.
        ec2_instance_id: String,
    },
    /// Nothing keeps the instance any more: it may end.
    Complete {
        /// Which.
        ec2_instance_id: String,
    },
}

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// N.
    pub instances: u32,
    /// M.
    pub needed: u32,
    /// `CapacityProviderReservation`.
    pub reservation_percent: u32,
    /// The instances that are wanted, where the group's maximum does not allow them.
    pub beyond_maximum: Option<u32>,
}

/// What to do, and what was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// In order.
    pub actions: Vec<Action>,
    /// The datapoint.
    pub report: Report,
    /// Datapoints in a row, this one included, below the target.
    pub datapoints_below_target: u32,
}

/// Takes one datapoint.
pub fn decide(desired: &Desired<'_>, observed: &Observed, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    drain(desired, observed, &mut decision.actions);
    if !desired.managed_scaling.enabled {
        return decision;
    }
    protect(desired, observed, &mut decision.actions);
    scale(desired, observed, now, &mut decision);
    decision
}

fn drain(desired: &Desired<'_>, observed: &Observed, actions: &mut Vec<Action>) {
    if !desired.managed_draining {
        return;
    }
    for instance in &observed.instances {
        if instance.lifecycle != Lifecycle::TerminatingWait {
            continue;
        }
        let ec2_instance_id = instance.ec2_instance_id.clone();
        if instance.registered && !instance.draining {
            actions.push(Action::Drain { ec2_instance_id });
        } else if instance.tasks == 0 {
            actions.push(Action::Complete { ec2_instance_id });
        }
    }
}

fn protect(desired: &Desired<'_>, observed: &Observed, actions: &mut Vec<Action>) {
    if !desired.managed_termination_protection {
        return;
    }
    for instance in &observed.instances {
        let protected = instance.tasks > 0;
        if instance.lifecycle == Lifecycle::InService && instance.protected != protected {
            let ec2_instance_id = instance.ec2_instance_id.clone();
            actions.push(Action::Protect { ec2_instance_id, protected });
        }
    }
}

fn scale(desired: &Desired<'_>, observed: &Observed, now: Timestamp, decision: &mut Decision) {
    let scaling = desired.managed_scaling;
    let group = observed.group;
    let warm_at =
        desired.scaled_out_at.map(|at| at.plus_seconds(i64::from(scaling.instance_warmup_period_seconds)));
    let is_warming = warm_at.is_some_and(|warm_at| now < warm_at);
    let in_service =
        || observed.instances.iter().filter(|instance| instance.lifecycle == Lifecycle::InService);
    let instances = count(in_service().count());
    // Those that have no task yet count until the warm-up is over: waiting tasks may be about to go there.
    let is_coming = |there: &&Instance| !there.registered || there.tasks == 0;
    let coming = if is_warming { count(in_service().filter(is_coming).count()) } else { 0 };
    let needed = needed(scaling, observed, instances, coming);
    let reservation_percent = match (instances, needed) {
        (0, 0) => 100,
        (0, _) => 200,
        (instances, needed) => share(needed, 100, instances),
    };
    decision.report = Report { instances, needed, reservation_percent, beyond_maximum: None };

    let target = positive(scaling.target_capacity);
    // Compared as products: a rounded percentage would hide a difference of less than one.
    let (have, want) = (u64::from(instances) * u64::from(target), u64::from(needed) * 100);
    let is_above = if instances == 0 { needed > 0 } else { want > have };
    let is_below = instances > 0 && want < have;
    decision.datapoints_below_target =
        if is_below { desired.datapoints_below_target.saturating_add(1) } else { 0 };
    // Target tracking from nothing counts as if one instance were there.
    let tracked =
        if instances == 0 { share(1, reservation_percent, target) } else { share(needed, 100, target) };

    if is_above {
        let step = positive(scaling.maximum_scaling_step_size);
        let wanted = tracked.min(instances.saturating_add(step));
        if wanted > group.maximum {
            decision.report.beyond_maximum = Some(wanted);
        }
        let wanted = wanted.clamp(group.minimum, group.maximum.max(group.minimum));
        if wanted > group.desired {
            decision.actions.push(Action::SetDesiredCapacity(wanted));
        }
    } else if decision.datapoints_below_target >= DATAPOINTS_BELOW_TARGET && !is_warming {
        let at_once = (instances / 2).max(1);
        let wanted = tracked.max(instances.saturating_sub(at_once));
        let wanted = wanted.clamp(group.minimum, group.maximum.max(group.minimum));
        if wanted < group.desired {
            decision.actions.push(Action::SetDesiredCapacity(wanted));
        }
    }
}

/// M: the busy instances; with tasks waiting, all instances and those that the tasks need, within the scaling steps.
///
/// For each kind of task the number is the least that could hold them all if they were packed; of several kinds the
/// greatest number counts. It is a lower bound, as AWS's: what is short is seen at the next datapoint.
fn needed(scaling: &ManagedScaling, observed: &Observed, instances: u32, coming: u32) -> u32 {
    if observed.waiting.is_empty() {
        let busy = observed
            .instances
            .iter()
            .filter(|instance| instance.lifecycle == Lifecycle::InService && instance.tasks > 0);
        return count(busy.count());
    }
    let more =
        observed.waiting.iter().filter_map(|waiting| instances_for(waiting, &observed.instances)).max();
    let Some(more) = more else {
        // Not one of them fits on an instance of this group. Without instances there is no knowing.
        let known = observed.instances.iter().any(|instance| instance.registered);
        return if known { instances } else { instances.saturating_add(1) };
    };
    let least = positive(scaling.minimum_scaling_step_size);
    let most = positive(scaling.maximum_scaling_step_size).max(least);
    let more = more.clamp(least, most);
    instances.saturating_add(more.saturating_sub(coming))
}

/// How many instances of the kinds that the group has would hold the tasks at the least; `None` if not one would fit.
fn instances_for(waiting: &Waiting, instances: &[Instance]) -> Option<u32> {
    let on_one = |capacity: &Resources| -> u64 {
        let times = |have: i64, take: i64| if take <= 0 { u64::MAX } else { (have / take).max(0) as u64 };
        let gpus = match waiting.gpus {
            0 => u64::MAX,
            gpus => (capacity.gpu_ids.len() / gpus) as u64,
        };
        let ports = if waiting.resources.ports.is_empty() { u64::MAX } else { 1 };
        times(capacity.cpu_units, waiting.resources.cpu_units)
            .min(times(capacity.memory_mib, waiting.resources.memory_mib))
            .min(gpus)
            .min(ports)
    };
    let registered = instances.iter().filter(|instance| instance.registered);
    let most = registered.map(|instance| on_one(&instance.capacity)).max().filter(|most| *most > 0)?;
    Some(u32::try_from(waiting.count.div_ceil(most)).unwrap_or(u32::MAX))
}

/// `amount` times `times` over `of`, rounded up.
fn share(amount: u32, times: u32, of: u32) -> u32 {
    let product = u64::from(amount).saturating_mul(u64::from(times));
    u32::try_from(product.div_ceil(u64::from(of.max(1)))).unwrap_or(u32::MAX)
}

fn positive(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0).max(1)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Ports;
    use proptest::prelude::*;

    fn size(cpu_units: i64, memory_mib: i64) -> Resources {
        Resources { cpu_units, memory_mib, ..Resources::default() }
    }

    fn instance(number: usize, tasks: usize) -> Instance {
        Instance {
            ec2_instance_id: format!("i-{number}"),
            lifecycle: Lifecycle::InService,
            protected: false,
            registered: true,
            draining: false,
            capacity: size(1024, 4096),
            tasks,
        }
    }

    fn scaling(target_capacity: i32) -> ManagedScaling {
        ManagedScaling { enabled: true, target_capacity, ..ManagedScaling::default() }
    }

    fn desired(managed_scaling: &ManagedScaling) -> Desired<'_> {
        Desired {
            managed_scaling,
            managed_termination_protection: false,
            managed_draining: true,
            datapoints_below_target: 0,
            scaled_out_at: None,
        }
    }

    fn observed(busy: usize, idle: usize) -> Observed {
        let instances: Vec<_> =
            (0..busy + idle).map(|number| instance(number, usize::from(number < busy))).collect();
        let group = Group { minimum: 0, maximum: 100, desired: count(instances.len()) };
        Observed { group, instances, waiting: Vec::new() }
    }

    fn waiting(count: u64, cpu_units: i64) -> Waiting {
        Waiting { count, resources: size(cpu_units, 100), gpus: 0 }
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(minutes * 60_000)
    }

    #[test]
    fn the_reservation_is_needed_over_instances() {
        for (busy, idle, wait, reservation) in [
            (0, 0, 0, 100),
            (0, 0, 1, 200),
            (2, 0, 0, 100),
            (1, 1, 0, 50),
            (1, 2, 0, 34),
            // Two of 512 fit on an instance of 1,024: three more need two instances.
            (2, 0, 3, 200),
            (4, 0, 1, 125),
        ] {
            let mut observed = observed(busy, idle);
            observed.waiting.extend((wait > 0).then(|| waiting(wait, 512)));
            let decision = decide(&desired(&scaling(100)), &observed, at(0));
            assert_eq!(decision.report.reservation_percent, reservation, "{busy} {idle} {wait}");
        }
    }

    #[test]
    fn it_grows_at_once_and_within_its_steps() {
        let grown = |scaling: &ManagedScaling, observed: &Observed| {
            decide(&desired(scaling), observed, at(0)).actions
        };
        let mut full = observed(2, 0);
        full.waiting = vec![waiting(5, 512), waiting(1, 1024)];
        assert_eq!(grown(&scaling(100), &full), [Action::SetDesiredCapacity(5)]);
        // A tenth is kept free: 5 needed at 90 % are 6.
        assert_eq!(grown(&scaling(90), &full), [Action::SetDesiredCapacity(6)]);
        let steps = ManagedScaling { maximum_scaling_step_size: 2, ..scaling(100) };
        assert_eq!(grown(&steps, &full), [Action::SetDesiredCapacity(4)]);
        let steps = ManagedScaling { minimum_scaling_step_size: 7, ..scaling(100) };
        assert_eq!(grown(&steps, &full), [Action::SetDesiredCapacity(9)]);
        // From nothing: as if one instance were twice as full as it may be.
        let mut none = observed(0, 0);
        none.waiting = vec![waiting(9, 512)];
        assert_eq!(grown(&scaling(100), &none), [Action::SetDesiredCapacity(2)]);
        // Spare capacity is wanted though nothing waits.
        assert_eq!(grown(&scaling(50), &observed(2, 0)), [Action::SetDesiredCapacity(4)]);
        let off = ManagedScaling { enabled: false, ..scaling(100) };
        assert_eq!(grown(&off, &full), []);
    }

    #[test]
    fn what_no_instance_could_hold_adds_none() {
        let mut full = observed(2, 0);
        full.waiting = vec![waiting(1, 2048)];
        assert_eq!(decide(&desired(&scaling(100)), &full, at(0)).actions, []);
        full.waiting[0].resources =
            Resources { ports: Ports { tcp: [80].into(), ..Ports::default() }, ..size(1, 1) };
        full.waiting[0].count = 3;
        assert_eq!(
            decide(&desired(&scaling(100)), &full, at(0)).report.needed,
            5,
            "a fixed port is one an instance"
        );
    }

    #[test]
    fn what_the_maximum_forbids_is_reported() {
        let mut full = observed(2, 0);
        full.waiting = vec![waiting(8, 512)];
        full.group.maximum = 3;
        let decision = decide(&desired(&scaling(100)), &full, at(0));
        assert_eq!(decision.actions, [Action::SetDesiredCapacity(3)]);
        assert_eq!(decision.report.beyond_maximum, Some(6));
        full.group.maximum = 2;
        let decision = decide(&desired(&scaling(100)), &full, at(0));
        assert_eq!((decision.actions, decision.report.beyond_maximum), (vec![], Some(6)));
    }

    #[test]
    fn instances_that_are_coming_are_not_asked_for_again() {
        let scaling = scaling(100);
        let mut waits = observed(2, 0);
        waits.waiting = vec![waiting(4, 512)];
        let first = decide(&desired(&scaling), &waits, at(0));
        assert_eq!(first.actions, [Action::SetDesiredCapacity(4)]);
        waits.group.desired = 4;
        let scaled = Desired { scaled_out_at: Some(at(0)), ..desired(&scaling) };
        // They are launched, then in service without having joined, then the warm-up is over.
        assert_eq!(decide(&scaled, &waits, at(1)).actions, []);
        for number in [2, 3] {
            let fresh = Instance { registered: false, ..instance(number, 0) };
            waits.instances.push(fresh);
        }
        assert_eq!(decide(&scaled, &waits, at(2)).actions, []);
        // They have joined, and the tasks are just being placed.
        let mut joined = waits.clone();
        for instance in &mut joined.instances {
            instance.registered = true;
        }
        assert_eq!(decide(&scaled, &joined, at(2)).actions, []);
        assert_eq!(decide(&scaled, &waits, at(5)).actions, [Action::SetDesiredCapacity(6)]);
    }

    #[test]
    fn it_shrinks_after_fifteen_datapoints_by_half_at_most() {
        let scaling = scaling(100);
        let idle = observed(1, 9);
        let mut below = 0;
        for minute in 1..=15 {
            let now = Desired { datapoints_below_target: below, ..desired(&scaling) };
            let decision = decide(&now, &idle, at(minute));
            below = decision.datapoints_below_target;
            assert_eq!(below, u32::try_from(minute).unwrap());
            let wanted: &[Action] = if minute == 15 { &[Action::SetDesiredCapacity(5)] } else { &[] };
            assert_eq!(decision.actions, wanted, "minute {minute}");
        }
        let late = Desired { datapoints_below_target: 14, ..desired(&scaling) };
        let warming = Desired { scaled_out_at: Some(at(14)), ..late.clone() };
        assert_eq!(decide(&warming, &idle, at(15)).actions, []);
        assert_eq!(decide(&late, &observed(3, 0), at(15)).datapoints_below_target, 0);
        assert_eq!(decide(&late, &observed(0, 1), at(15)).actions, [Action::SetDesiredCapacity(0)]);
        let mut bounded = observed(0, 3);
        bounded.group.minimum = 3;
        assert_eq!(decide(&late, &bounded, at(15)).actions, []);
    }

    #[test]
    fn busy_instances_are_protected() {
        let scaling = scaling(100);
        let mut some = observed(1, 1);
        some.instances[1].protected = true;
        let wish = Desired { managed_termination_protection: true, ..desired(&scaling) };
        let protect =
            |number: usize, protected| Action::Protect { ec2_instance_id: format!("i-{number}"), protected };
        assert_eq!(decide(&wish, &some, at(0)).actions, [protect(0, true), protect(1, false)]);
        assert_eq!(decide(&desired(&scaling), &some, at(0)).actions, []);
    }

    #[test]
    fn an_instance_is_drained_before_it_ends() {
        let scaling = ManagedScaling::default();
        let mut some = observed(1, 1);
        for instance in &mut some.instances {
            instance.lifecycle = Lifecycle::TerminatingWait;
        }
        let drain = |number: usize| Action::Drain { ec2_instance_id: format!("i-{number}") };
        assert_eq!(decide(&desired(&scaling), &some, at(0)).actions, [drain(0), drain(1)]);
        for instance in &mut some.instances {
            instance.draining = true;
        }
        let complete = Action::Complete { ec2_instance_id: "i-1".into() };
        assert_eq!(decide(&desired(&scaling), &some, at(0)).actions, [complete], "i-0 has a task yet");
        let off = Desired { managed_draining: false, ..desired(&scaling) };
        assert_eq!(decide(&off, &some, at(0)).actions, []);
    }

    fn any_instance() -> impl Strategy<Value = Instance> {
        (0_usize..4, 0_usize..3, any::<bool>(), any::<bool>(), any::<bool>(), 0_i64..3000).prop_map(
            |(lifecycle, tasks, protected, registered, draining, cpu_units)| Instance {
                ec2_instance_id: String::new(),
                lifecycle: [
                    Lifecycle::Pending,
                    Lifecycle::InService,
                    Lifecycle::TerminatingWait,
                    Lifecycle::Terminating,
                ][lifecycle],
                protected,
                registered,
                draining,
                capacity: size(cpu_units, 4096),
                tasks: if registered { tasks } else { 0 },
            },
        )
    }

    proptest! {
        #[test]
        fn the_laws_hold(
            mut instances in prop::collection::vec(any_instance(), 0..12),
            kinds in prop::collection::vec((1_u64..600, 1_i64..4000), 0..4),
            (minimum, maximum, wish) in (0_u32..5, 0_u32..20, 0_u32..25),
            (target, least, most) in (1_i32..=100, 1_i32..20, 1_i32..20),
            (below, scaled_out) in (0_u32..20, prop::option::of(0_i64..20)),
            (protection, draining) in (any::<bool>(), any::<bool>()),
        ) {
            for (number, instance) in instances.iter_mut().enumerate() {
                instance.ec2_instance_id = format!("i-{number}");
            }
            let maximum = maximum.max(minimum);
            let group = Group { minimum, maximum, desired: wish.clamp(minimum, maximum) };
            let waiting: Vec<_> = kinds.into_iter().map(|(count, cpu)| waiting(count, cpu)).collect();
            let observed = Observed { group, instances, waiting };
            let scaling = ManagedScaling {
                minimum_scaling_step_size: least.min(most),
                maximum_scaling_step_size: most,
                ..scaling(target)
            };
            let desired = Desired {
                managed_termination_protection: protection,
                managed_draining: draining,
                datapoints_below_target: below,
                scaled_out_at: scaled_out.map(at),
                ..desired(&scaling)
            };
            let decision = decide(&desired, &observed, at(15));
            prop_assert_eq!(&decision, &decide(&desired, &observed, at(15)));
            let of = |id: &str| observed.instances.iter().find(|there| there.ec2_instance_id == id).unwrap();
            let in_service = observed.instances.iter().filter(|there| there.lifecycle == Lifecycle::InService);
            let busy = count(in_service.clone().filter(|there| there.tasks > 0).count());
            let all = count(in_service.count());
            for action in &decision.actions {
                match action {
                    Action::SetDesiredCapacity(wanted) => {
                        prop_assert!((minimum..=maximum).contains(wanted));
                        prop_assert_ne!(*wanted, group.desired);
                        if *wanted > group.desired {
                            prop_assert!(*wanted <= (all + most.unsigned_abs()).max(minimum));
                        } else {
                            prop_assert!(*wanted >= busy.min(maximum), "never fewer than are busy");
                            prop_assert!(observed.waiting.is_empty() || decision.report.needed <= all);
                            prop_assert!(*wanted >= (all - (all / 2).max(1).min(all)).min(maximum));
                            prop_assert!(below + 1 >= DATAPOINTS_BELOW_TARGET);
                        }
                    }
                    Action::Protect { ec2_instance_id, protected } => {
                        let instance = of(ec2_instance_id);
                        prop_assert_eq!(*protected, instance.tasks > 0);
                        prop_assert_ne!(*protected, instance.protected);
                    }
                    Action::Drain { ec2_instance_id } => {
                        let instance = of(ec2_instance_id);
                        prop_assert!(instance.lifecycle == Lifecycle::TerminatingWait && !instance.draining);
                    }
                    Action::Complete { ec2_instance_id } => {
                        let instance = of(ec2_instance_id);
                        prop_assert!(instance.lifecycle == Lifecycle::TerminatingWait && instance.tasks == 0);
                    }
                }
            }
        }
    }
}
