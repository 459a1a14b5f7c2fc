//! Load balancers of this machine: the balancer's sockets, in the network namespaces of the load balancers' interfaces.
//!
//! A load balancer has a namespace for each of its private addresses, as a task has one for its own
//! (`decisions/0027-where-load-balancers-listen.md`). So what else listens on the machine is in nobody's way, and
//! security groups see a load balancer as they see a task.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use balancer::configuration::{LoadBalancer, Target, TargetGroup};
use balancer::{Balancer, ListenError, Namespace, Place, Settings, TargetHealth, TargetState};
use base::{Clock, Ids};
use control::seams::{
    LoadBalancerInterface, LoadBalancing, Pending, ServedLoadBalancer, Standing, VpcOfLoadBalancer,
};
use network::{Attachment, LOAD_BALANCER_PREFIX, Network, SubnetNetwork, VpcNetwork};
use nix::sys::resource::{Resource, getrlimit};

use crate::access_log::AccessLogFiles;
use crate::commands::{Failure, with_causes};
use crate::data_dir::DataDir;

/// For how long a load balancer waits for the rules of its security groups, which the control plane tells this machine's agent.
/// They come within milliseconds; a load balancer that fails for want of them is tried again.
const RULES_PATIENCE: Duration = Duration::from_secs(3);

/// The machine that load balancers are to be served on.
pub struct LoadBalancerMachine {
    /// Its network.
    pub network: Arc<Network>,
    /// Addresses of the machine on which internet-facing load balancers listen too.
    pub published: Vec<IpAddr>,
}

impl LoadBalancerMachine {
    /// Makes it ready to serve.
    pub fn open(
        self,
        dir: &DataDir,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<MachineLoadBalancing, Failure> {
        let cookie_key = dir.cookie_key(&*ids).map_err(|error| error.to_string())?;
        let connections_maximum = connections_maximum();
        let access_log = AccessLogFiles::start(dir.access_logs(), Arc::clone(&ids))
            .map_err(|error| format!("cannot start the writer of access logs: {error}"))?;
        let settings =
            Settings { clock, ids, cookie_key, access_log: Some(Arc::new(access_log)), connections_maximum };
        Ok(MachineLoadBalancing::new(settings, self.network, self.published))
    }
}

/// Connections of clients, at two files each: what is left of the files that this process may have open, or half of them
/// where they are few.
fn connections_maximum() -> usize {
    /// Files for all that is not a connection of a load balancer: the API's connections, logs, containers.
    const OTHERS: u64 = 4096;
    let open_files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    let connections = open_files.saturating_sub(OTHERS).max(open_files / 2) / 2;
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// Serves the load balancers of a control plane on its own machine.
pub struct MachineLoadBalancing {
    balancer: Balancer,
    network: Arc<Network>,
    /// Addresses of the machine on which internet-facing load balancers listen too.
    published: Vec<IpAddr>,
    /// Whether targets can be spoken to from clients' own addresses.
    preserves: AtomicBool,
    /// By the load balancers' ARNs: where they stand, by attachment.
    standing: Mutex<BTreeMap<Arc<str>, BTreeMap<String, Place>>>,
}

impl MachineLoadBalancing {
    /// Serves nothing yet.
    pub fn new(settings: Settings, network: Arc<Network>, published: Vec<IpAddr>) -> Self {
        Self {
            balancer: Balancer::new(settings),
            network,
            published,
            preserves: AtomicBool::new(false),
            standing: Mutex::default(),
        }
    }

    fn standing(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, BTreeMap<String, Place>>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn stand(&self, wish: ServedLoadBalancer) -> Result<Standing, String> {
        let before = self.standing().get(&wish.arn).cloned().unwrap_or_default();
        let wanted: BTreeMap<String, &LoadBalancerInterface> =
            wish.interfaces.iter().map(|interface| (attachment_id(&interface.id), interface)).collect();
        let mut there = BTreeMap::new();
        if wanted.keys().any(|id| !before.contains_key(id)) {
            self.network.ensure_vpc(vpc_network(&wish.vpc)).await.map_err(|error| with_causes(&error))?;
        }
        for (id, interface) in &wanted {
            let place = match before.get(id) {
                Some(place) => place.clone(),
                None => self.take_place(id, interface).await?,
            };
            there.insert(id.clone(), place);
            // Noted one by one, so that what was taken is given back also where the next one fails.
            self.standing().entry(Arc::clone(&wish.arn)).or_default().extend(there.clone());
        }
        let mut places: Vec<Place> = wanted.keys().filter_map(|id| there.get(id).cloned()).collect();
        if wish.is_internet_facing {
            places.extend(self.published.iter().map(|address| Place::here(*address)));
        }
        let errors = self
            .balancer
            .set_load_balancer(&LoadBalancer {
                arn: Arc::clone(&wish.arn),
                places,
                admission: wish.admission,
                listeners: wish.listeners,
                attributes: wish.attributes,
            })
            .await;
        for id in before.keys().filter(|id| !there.contains_key(*id)) {
            self.leave(id).await;
        }
        self.standing().insert(wish.arn, there);
        Ok(verdict(&errors))
    }

    /// Makes an interface's namespace, or finds it made by an earlier process. One that is there is behind the rules of before.
    async fn take_place(&self, id: &str, interface: &LoadBalancerInterface) -> Result<Place, String> {
        if interface.has_security_groups && !self.network.list().iter().any(|there| there == id) {
            let in_force = self.network.security_groups_in_force(interface.address.into());
            tokio::time::timeout(RULES_PATIENCE, in_force).await.map_err(|_| {
                format!("The security groups of {} are not in force on this machine yet.", interface.address)
            })?;
        }
        let attachment = Attachment {
            id: id.to_owned(),
            mac: interface.mac,
            address: interface.address,
            ipv6_addresses: Vec::new(),
            prefix_length: interface.subnet.prefix_length(),
            gateway: interface.subnet.nth(1).unwrap_or(interface.address),
        };
        let attached = self.network.attach(attachment).await.map_err(|error| with_causes(&error))?;
        let namespace = Namespace::open(&attached.namespace).map_err(|error| with_causes(&error))?;
        Ok(Place {
            address: interface.address.into(),
            namespace: Some(Arc::new(namespace)),
            zone: Some(Arc::clone(&interface.zone)),
        })
    }

    async fn leave(&self, attachment: &str) {
        if let Err(error) = self.network.detach(attachment).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                attachment,
                "a load balancer's address stays"
            );
        }
    }
}

fn attachment_id(interface: &str) -> String {
    format!("{LOAD_BALANCER_PREFIX}{interface}")
}

fn vpc_network(vpc: &VpcOfLoadBalancer) -> VpcNetwork {
    let subnet = |(id, cidr): &(String, _)| SubnetNetwork { id: id.clone(), cidr: *cidr, ipv6_cidr: None };
    VpcNetwork {
        id: vpc.id.clone(),
        cidr: vpc.cidr,
        ipv6_cidr: None,
        subnets: vpc.subnets.iter().map(subnet).collect(),
    }
}

fn verdict(errors: &[ListenError]) -> Standing {
    if errors.is_empty() {
        return Standing::Active;
    }
    let texts: Vec<String> =
        errors.iter().map(|error| format!("{}: {}", error.address, error.source)).collect();
    Standing::Impaired(format!(
        "It cannot listen on {}. Another program or load balancer may have the port: end it, or choose another port.",
        texts.join("; ")
    ))
}

impl LoadBalancing for MachineLoadBalancing {
    fn retain(&self, interfaces: BTreeSet<String>) -> Pending<'_, ()> {
        Box::pin(async move {
            match self.network.deliver_to_transparent_sockets().await {
                Ok(()) => self.preserves.store(true, Ordering::Release),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::info!(
                        error,
                        "targets of network load balancers do not see their clients' addresses"
                    );
                }
            }
            let kept: BTreeSet<String> = interfaces.iter().map(|id| attachment_id(id)).collect();
            for id in self.network.list() {
                let is_known = || self.standing().values().any(|places| places.contains_key(&id));
                if id.starts_with(LOAD_BALANCER_PREFIX) && !kept.contains(&id) && !is_known() {
                    self.leave(&id).await;
                }
            }
        })
    }

    fn serve(&self, load_balancer: ServedLoadBalancer) -> Pending<'_, Standing> {
        Box::pin(async move { self.stand(load_balancer).await.unwrap_or_else(Standing::Failed) })
    }

    fn withdraw<'a>(&'a self, arn: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            self.balancer.remove_load_balancer(arn).await;
            let places = self.standing().remove(arn).unwrap_or_default();
            for id in places.keys() {
                self.leave(id).await;
            }
        })
    }

    fn set_target_group(&self, mut group: Arc<TargetGroup>, seen: &[(Target, TargetState)]) {
        if group.preserve_client_ip && !self.preserves.load(Ordering::Acquire) {
            Arc::make_mut(&mut group).preserve_client_ip = false;
        }
        self.balancer.set_target_group(group, seen);
    }

    fn remove_target_group(&self, arn: &str) {
        self.balancer.remove_target_group(arn);
    }

    fn changed(&self) -> Pending<'_, BTreeSet<(Arc<str>, Target)>> {
        Box::pin(async move {
            let mut bell = self.balancer.changes();
            loop {
                bell.mark_unchanged();
                let changed = self.balancer.take_changed();
                if !changed.is_empty() {
                    return changed;
                }
                if bell.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        })
    }

    fn target_health(&self, group: &str, target: &Target) -> Option<TargetHealth> {
        self.balancer.health_of(group, target)
    }
}

#[cfg(test)]
mod tests;
