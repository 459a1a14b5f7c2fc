//! Where the loops touch what is built elsewhere: alarms, traffic, load balancers, and the functions that hooks call.
//!
//! Each is a trait with a default that is true of a region without the neighbour: no alarm is in ALARM, weights that
//! nobody shifts traffic by hold at once, and functions are reached by the operator's mapping.

mod alarms;
mod auto_scaling_groups;
mod hook_targets;
mod load_balancing;
mod traffic;

use std::sync::Arc;

use domain::Service;
use scheduler::deployment::Configuration;

pub use alarms::{AlarmState, Alarms, NoAlarms};
pub use auto_scaling_groups::{AutoScalingGroup, AutoScalingGroups, GroupInstance, StandingGroups};
pub use hook_targets::{CallError, HookCall, HookTargets, MappedHookTargets, MappingError};
pub use load_balancing::{
    LoadBalancerInterface, LoadBalancing, Pending, RowsInForce, ServedElsewhere, ServedLoadBalancer,
    Standing, Unserved, VpcOfLoadBalancer,
};
pub use traffic::{Traffic, Unbalanced};

/// The neighbours.
#[derive(Clone)]
pub struct Seams {
    /// Who knows the state of alarms.
    pub alarms: Arc<dyn Alarms>,
    /// Who has the Auto Scaling groups of capacity providers.
    pub auto_scaling_groups: Arc<dyn AutoScalingGroups>,
    /// Who shifts traffic.
    pub traffic: Arc<dyn Traffic>,
    /// Who calls functions.
    pub hook_targets: Arc<dyn HookTargets>,
    /// Who serves load balancers.
    pub load_balancing: Arc<dyn LoadBalancing>,
    /// Which version of the load balancers' rows they serve by.
    pub rows_in_force: RowsInForce,
}

impl Default for Seams {
    fn default() -> Self {
        Self {
            alarms: Arc::new(NoAlarms),
            auto_scaling_groups: Arc::new(StandingGroups::default()),
            traffic: Arc::new(Unbalanced),
            hook_targets: Arc::new(MappedHookTargets::default()),
            load_balancing: Arc::new(Unserved),
            rows_in_force: RowsInForce::default(),
        }
    }
}

/// What the neighbours say of a service that is being deployed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The configuration's alarms that are in ALARM.
    pub firing_alarms: Vec<String>,
    /// For how long the slowest of its alarms wants to watch.
    pub alarm_bake_seconds: i64,
    /// Whether the stored weights hold.
    pub traffic_held: bool,
}

impl Seams {
    /// Asks them all.
    pub fn observe(&self, service: &Service, configuration: &Configuration) -> Seen {
        let names = if configuration.alarms.enable { configuration.alarms.names.as_slice() } else { &[] };
        let firing = |name: &&String| self.alarms.state(&service.scope, name) == AlarmState::Alarm;
        Seen {
            firing_alarms: names.iter().filter(firing).cloned().collect(),
            alarm_bake_seconds: names
                .iter()
                .map(|name| self.alarms.evaluation_seconds(&service.scope, name))
                .max()
                .unwrap_or_default(),
            traffic_held: self.traffic.holds(service),
        }
    }
}
