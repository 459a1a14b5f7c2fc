//! Load balancers: told in rows, served by whoever has the sockets.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;

use balancer::configuration::{Admission, Listener, LoadBalancerAttributes, Target, TargetGroup};
use balancer::{TargetHealth, TargetState};
use base::{Ipv4Cidr, MacAddress};
use store::Version;
use tokio::sync::watch;

/// An answer that is waited for.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A load balancer as it is to be served.
#[derive(Clone, Debug)]
pub struct ServedLoadBalancer {
    /// Its ARN.
    pub arn: Arc<str>,
    /// Whether it is to be reached from outside its VPC.
    pub is_internet_facing: bool,
    /// Its VPC.
    pub vpc: Arc<VpcOfLoadBalancer>,
    /// Its network interfaces, one a subnet.
    pub interfaces: Vec<LoadBalancerInterface>,
    /// Whom its security groups let in; `None`: it has none, and everybody may connect.
    pub admission: Option<Arc<Admission>>,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// Attributes that act on every listener of it.
    pub attributes: LoadBalancerAttributes,
}

/// A VPC with its subnets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcOfLoadBalancer {
    /// Such as `vpc-0123456789abcdef0`.
    pub id: String,
    /// All its addresses.
    pub cidr: Ipv4Cidr,
    /// Ids and addresses of its subnets.
    pub subnets: Vec<(String, Ipv4Cidr)>,
}

/// A network interface of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancerInterface {
    /// Such as `eni-0123456789abcdef0`.
    pub id: String,
    /// Hardware address.
    pub mac: MacAddress,
    /// The private address.
    pub address: Ipv4Addr,
    /// The subnet's addresses.
    pub subnet: Ipv4Cidr,
    /// The subnet's zone.
    pub zone: Arc<str>,
    /// Whether security groups say who reaches it and whom it reaches.
    pub has_security_groups: bool,
}

/// How far a load balancer came. The texts are for the load balancer's state reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything listens.
    Active,
    /// It serves in its VPC, but not everywhere that it should.
    Impaired(String),
    /// It cannot be served.
    Failed(String),
}

/// Who serves load balancers.
pub trait LoadBalancing: Send + Sync + 'static {
    /// Forgets what is left of load balancers other than these, from an earlier process; by interface.
    fn retain(&self, interfaces: BTreeSet<String>) -> Pending<'_, ()>;

    /// Serves a load balancer as it is said here. What stays as it was keeps its sockets and connections.
    fn serve(&self, load_balancer: ServedLoadBalancer) -> Pending<'_, Standing>;

    /// Serves it no more.
    fn withdraw<'a>(&'a self, arn: &'a str) -> Pending<'a, ()>;

    /// Takes over a target group. Targets that it did not know start with the state that `seen` has of them.
    fn set_target_group(&self, group: Arc<TargetGroup>, seen: &[(Target, TargetState)]);

    /// Forgets a target group.
    fn remove_target_group(&self, arn: &str);

    /// Waits until states of targets have changed since the last call, and says which, by their groups' ARNs.
    fn changed(&self) -> Pending<'_, BTreeSet<(Arc<str>, Target)>>;

    /// What is known of a target: of its registration where it has one, else of what drains of it.
    fn target_health(&self, group: &str, target: &Target) -> Option<TargetHealth>;
}

/// A control plane without a machine: nobody serves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unserved;

impl LoadBalancing for Unserved {
    fn retain(&self, _interfaces: BTreeSet<String>) -> Pending<'_, ()> {
        Box::pin(async {})
    }

    fn serve(&self, _load_balancer: ServedLoadBalancer) -> Pending<'_, Standing> {
        let reason = "This control plane has no machine of its own to serve load balancers on: \
                      start it with `roadstead up` in place of `roadstead server`.";
        Box::pin(async { Standing::Failed(reason.to_owned()) })
    }

    fn withdraw<'a>(&'a self, _arn: &'a str) -> Pending<'a, ()> {
        Box::pin(async {})
    }

    fn set_target_group(&self, _group: Arc<TargetGroup>, _seen: &[(Target, TargetState)]) {}

    fn remove_target_group(&self, _arn: &str) {}

    fn changed(&self) -> Pending<'_, BTreeSet<(Arc<str>, Target)>> {
        Box::pin(std::future::pending())
    }

    fn target_health(&self, _group: &str, _target: &Target) -> Option<TargetHealth> {
        None
    }
}

/// Load balancers that somebody else serves, who writes what he sees into the targets' rows by himself, and removes those that
/// have drained: simulations, and tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServedElsewhere;

impl LoadBalancing for ServedElsewhere {
    fn retain(&self, _interfaces: BTreeSet<String>) -> Pending<'_, ()> {
        Box::pin(async {})
    }

    fn serve(&self, _load_balancer: ServedLoadBalancer) -> Pending<'_, Standing> {
        Box::pin(async { Standing::Active })
    }

    fn withdraw<'a>(&'a self, _arn: &'a str) -> Pending<'a, ()> {
        Box::pin(async {})
    }

    fn set_target_group(&self, _group: Arc<TargetGroup>, _seen: &[(Target, TargetState)]) {}

    fn remove_target_group(&self, _arn: &str) {}

    fn changed(&self) -> Pending<'_, BTreeSet<(Arc<str>, Target)>> {
        Box::pin(std::future::pending())
    }

    /// As far as is known here, everything may have requests under way.
    fn target_health(&self, _group: &str, target: &Target) -> Option<TargetHealth> {
        Some(TargetHealth {
            target: target.clone(),
            state: TargetState::Draining,
            reason: Some("Target.DeregistrationInProgress"),
            description: Some("Target deregistration is in progress".to_owned()),
        })
    }
}

/// Which version of the load balancers' rows requests are served by. A handle: clones are the same.
#[derive(Clone, Debug)]
pub struct RowsInForce(Arc<watch::Sender<Version>>);

impl Default for RowsInForce {
    fn default() -> Self {
        Self(Arc::new(watch::channel(Version::default()).0))
    }
}

impl RowsInForce {
    /// Everything that was written up to this version acts: a row whose revision is not above its number is in force.
    pub fn version(&self) -> Version {
        *self.0.borrow()
    }

    /// Follows it.
    pub fn subscribe(&self) -> watch::Receiver<Version> {
        self.0.subscribe()
    }

    pub(crate) fn reached(&self, version: Version) {
        self.0.send_if_modified(|there| {
            let newer = version > *there;
            *there = version.max(*there);
            newer
        });
    }
}
