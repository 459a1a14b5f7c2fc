//! [`Network`]: what the agent calls.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::{Ipv4Cidr, MacAddress};
use tokio::sync::{mpsc, watch};

use crate::config::{Attachment, NetworkConfig, TaskNetwork, VpcNetwork};
use crate::container_network::CONTAINERS;
use crate::error::NetworkError;
use crate::host_ports::HostPorts;
use crate::links::{Links, VethPair};
use crate::namespace;
use crate::nftables::{Batch, NftablesSocket};
use crate::record::{AttachmentRecord, Records, Stage, VpcRecord};
use crate::security_groups::{SecurityGroupChange, SecurityGroupPolicy, SecurityGroups};
use crate::sysctl::Shared;
use crate::{ipv6_rules, rules};

mod containers;
mod public;
mod remove;
mod start;
mod transparent;
mod vpc;

pub use public::PublicAddress;

/// How the ids of load balancers' attachments start: they are not the agent's.
pub const LOAD_BALANCER_PREFIX: &str = "lb-";
/// The name of a task's interface, as on Fargate.
const INTERFACE: &str = "eth0";
/// Attachments of one network: bounded by interface names (see [`State::new_name`]) and far above what a machine runs.
const ATTACHMENTS_MAXIMUM: usize = 16_384;

/// The VPC data plane of this node. Cheap to clone; all clones are the same network.
#[derive(Clone, Debug)]
pub struct Network {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    mtu: u32,
    records: Records,
    links: Links,
    nftables: Mutex<NftablesSocket>,
    security_groups: Mutex<SecurityGroups>,
    /// Rings when the kernel has taken other security groups.
    security_groups_changed: watch::Sender<()>,
    shared: Shared,
    metadata_host: Ipv4Addr,
    resolver_host6: Option<Ipv6Addr>,
    state: Mutex<State>,
    /// Held while VPCs change, which takes several steps.
    vpc_changes: tokio::sync::Mutex<()>,
    /// Held while the containers' bridge is looked for and made.
    bridge_making: tokio::sync::Mutex<()>,
    /// Held while a neighbour entry changes: an address that changes hands must keep that of its new owner.
    neighbour_changes: tokio::sync::Mutex<()>,
    /// Held while public addresses change.
    public_changes: tokio::sync::Mutex<()>,
    removals: mpsc::Sender<AttachmentRecord>,
    /// Public addresses that lead to somebody since just now.
    led: mpsc::Sender<Ipv4Addr>,
    /// How many removals were asked for, and how many are done.
    removals_asked: watch::Sender<u64>,
    removals_done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// By the number of the bridge.
    vpcs: BTreeMap<u16, Vpc>,
    /// By id; one that is leaving stays here until its addresses are free.
    attachments: BTreeMap<String, AttachmentRecord>,
    /// Namespaces that are still being removed.
    leaving: HashSet<String>,
    last_name: u16,
    metadata: Option<SocketAddrV4>,
    resolver: Option<SocketAddrV4>,
    /// Public addresses by private ones: as they should be, and as they are.
    public_wanted: BTreeMap<Ipv4Addr, PublicAddress>,
    public_made: BTreeMap<Ipv4Addr, PublicAddress>,
    /// Ports of the host that containers are published at.
    host_ports: HostPorts,
    /// Addresses of the host at which none is.
    unpublished: BTreeSet<Ipv4Addr>,
    /// The address that the last container was given.
    last_container: Option<Ipv4Addr>,
}

#[derive(Clone, Debug)]
struct Vpc {
    record: VpcRecord,
    /// The bridge's index.
    link: u32,
}

impl Network {
    /// Makes what is shared (metadata address, forwarding, rules), and adopts or removes what an earlier run left behind.
    pub async fn start(config: NetworkConfig) -> Result<Self, NetworkError> {
        start::start(config).await
    }

    /// Gives a VPC its bridge and gateways, or changes its subnets. A VPC that overlaps it gives way if it has no
    /// attachments.
    pub async fn ensure_vpc(&self, vpc: VpcNetwork) -> Result<(), NetworkError> {
        self.inner.ensure_vpc(vpc).await
    }

    /// Removes a VPC's bridge; refused while it has attachments, nothing happens where it is not known.
    pub async fn remove_vpc(&self, id: &str) -> Result<(), NetworkError> {
        self.inner.remove_vpc(id).await
    }

    /// The VPCs of this node.
    pub fn vpcs(&self) -> Vec<VpcNetwork> {
        let state = self.inner.state();
        let vpcs = state.vpcs.values().filter(|vpc| vpc.record.vpc.id != CONTAINERS);
        vpcs.map(|vpc| vpc.record.vpc.clone()).collect()
    }

    /// The address of the host on which the agent serves task metadata: only tasks and the host itself reach it.
    pub fn metadata_address(&self) -> Ipv4Addr {
        self.inner.metadata_host
    }

    /// Says where the agent serves task metadata: from now on, tasks reach it as 169.254.170.2 port 80, with their own
    /// address as the source (see [`Network::attachment_of`]). With `None` they reach nothing there.
    pub fn serve_metadata(&self, endpoint: Option<SocketAddrV4>) -> Result<(), NetworkError> {
        let mut state = self.inner.open_state()?;
        self.inner.change_rules(|batch| rules::move_metadata(batch, endpoint))?;
        state.metadata = endpoint;
        Ok(())
    }

    /// Says where the VPC resolver listens: from now on, tasks reach it as 169.254.169.253 and as their VPC's base address
    /// plus two, port 53, with their own address as the source. With `None` they reach nothing there.
    pub fn serve_resolver(&self, endpoint: Option<SocketAddrV4>) -> Result<(), NetworkError> {
        let mut state = self.inner.open_state()?;
        self.inner.change_rules(|batch| rules::move_resolver(batch, endpoint))?;
        state.resolver = endpoint;
        Ok(())
    }

    /// The host's IPv6 address for the resolver: only tasks and the host itself reach it. `None` where the kernel has no IPv6.
    pub fn resolver_address_ipv6(&self) -> Option<Ipv6Addr> {
        self.inner.resolver_host6
    }

    /// Says where the VPC resolver listens for IPv6: from now on, tasks reach it as fd00:ec2::253, with their own address as the
    /// source.
    pub fn serve_resolver_ipv6(&self, endpoint: Option<SocketAddrV6>) -> Result<(), NetworkError> {
        let _open = self.inner.open_state()?;
        self.inner.change_rules(|batch| ipv6_rules::move_resolver(batch, endpoint))
    }

    /// Enforces security groups from now on, all of them at once; what did not change is left alone. Before the first
    /// call, what an earlier run enforced stays in force.
    pub fn apply_security_groups(&self, policy: &SecurityGroupPolicy) -> Result<(), NetworkError> {
        self.inner.change_security_groups(|groups| policy.since(groups.policy()))
    }

    /// The same where it is known what changed. After an error, the next call writes everything anew.
    pub fn change_security_groups(&self, change: &SecurityGroupChange) -> Result<(), NetworkError> {
        self.inner.change_security_groups(|_| change.clone())
    }

    /// Whether security groups are in force for this address.
    pub fn has_security_groups(&self, address: IpAddr) -> bool {
        self.inner.security_groups().is_member(address)
    }

    /// Waits until security groups are in force for this address.
    pub async fn security_groups_in_force(&self, address: IpAddr) {
        let mut changed = self.inner.security_groups_changed.subscribe();
        while !self.has_security_groups(address) {
            // The sender lives as long as `self`.
            let _ = changed.changed().await;
        }
    }

    /// Gives the host an address of a subnet, such as a load balancer's; nothing happens where it has it. The VPC must be
    /// known.
    pub async fn add_host_address(&self, address: Ipv4Addr) -> Result<(), NetworkError> {
        self.inner.host_address(address, true).await
    }

    /// Takes such an address away again.
    pub async fn remove_host_address(&self, address: Ipv4Addr) -> Result<(), NetworkError> {
        self.inner.host_address(address, false).await
    }

    /// Makes a namespace with `eth0` in it. Asked again with the same values, it gives what exists.
    pub async fn attach(&self, attachment: Attachment) -> Result<TaskNetwork, NetworkError> {
        self.attach_namespace(attachment.id.clone(), Some(attachment)).await
    }

    /// Makes a namespace with only `lo`, for network mode `none`. Asked again, it gives what exists.
    pub async fn new_namespace(&self, id: &str) -> Result<TaskNetwork, NetworkError> {
        self.attach_namespace(id.to_owned(), None).await
    }

    async fn attach_namespace(
        &self,
        id: String,
        attachment: Option<Attachment>,
    ) -> Result<TaskNetwork, NetworkError> {
        let inner = Arc::clone(&self.inner);
        // A task of its own: a caller that goes away midway must not leave half an attachment.
        let making = tokio::spawn(async move { inner.attach(id, attachment).await });
        making.await.unwrap_or(Err(NetworkError::ShutDown))
    }

    /// Removes a namespace and frees its addresses; nothing happens where the id is not known. Returns once that is noted
    /// and the task can send no more; the kernel's part of the work goes on behind (see [`Network::drained`]).
    pub async fn detach(&self, id: &str) -> Result<(), NetworkError> {
        let (inner, id) = (Arc::clone(&self.inner), id.to_owned());
        let detaching = tokio::spawn(async move { inner.detach(&id).await });
        detaching.await.unwrap_or(Err(NetworkError::ShutDown))
    }

    /// Waits until everything that was detached before this call is gone from the kernel.
    pub async fn drained(&self) {
        let asked = *self.inner.removals_asked.borrow();
        let mut done = self.inner.removals_done.subscribe();
        let _ = done.wait_for(|done| *done >= asked).await;
    }

    /// The ids of all attachments, in order.
    pub fn list(&self) -> Vec<String> {
        self.inner.state().attachments.keys().cloned().collect()
    }

    /// The attachment that has this private address: who is asking the metadata endpoint.
    pub fn attachment_of(&self, address: Ipv4Addr) -> Option<String> {
        let state = self.inner.state();
        let found = state.attachments.values().find(|record| record.address() == Some(address));
        found.map(|record| record.id.clone())
    }

    /// Detaches all tasks but `keep`: for the agent's start, when it knows which tasks still run.
    pub async fn sweep(&self, keep: &HashSet<String>) -> Result<(), NetworkError> {
        for id in self.list() {
            if !keep.contains(&id) && !id.starts_with(LOAD_BALANCER_PREFIX) {
                self.detach(&id).await?;
            }
        }
        Ok(())
    }

    /// Removes every namespace, link, rule and record, and gives the machine's settings back.
    pub async fn shutdown(&self) -> Result<(), NetworkError> {
        self.inner.state().closed = true;
        for id in self.list() {
            self.detach(&id).await?;
        }
        self.drained().await;
        self.inner.remove_what_is_shared().await
    }
}

/// The networks that this machine routes, other than to the bridges of the instance called `name`: what a new VPC of that
/// instance must not overlap.
pub async fn host_networks(name: &str) -> Result<Vec<Ipv4Cidr>, NetworkError> {
    let links = Links::open()?;
    let prefix = bridge_prefix(name);
    let all = links.list().await?;
    let ours: HashSet<u32> =
        all.iter().filter(|link| link.name.starts_with(&prefix)).map(|link| link.index).collect();
    let (routes, _) = links.routes().await?;
    let is_foreign = |link: &Option<u32>| link.is_none_or(|link| !ours.contains(&link));
    Ok(routes.into_iter().filter(|(_, link)| is_foreign(link)).map(|(network, _)| network).collect())
}

impl AttachmentRecord {
    fn address(&self) -> Option<Ipv4Addr> {
        self.attachment.as_ref().map(|attachment| attachment.address)
    }

    /// All of its private addresses.
    fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let attachment = self.attachment.iter();
        attachment.flat_map(|attachment| {
            let ipv6 = attachment.ipv6_addresses.iter().map(|address| IpAddr::from(*address));
            std::iter::once(IpAddr::from(attachment.address)).chain(ipv6)
        })
    }
}

impl State {
    /// A name for a namespace and its veth pair that nothing uses: `rs<instance>.<number>`, at most 15 characters.
    fn new_name(&mut self, instance: &str) -> Option<String> {
        for _ in 0..=u16::MAX {
            self.last_name = self.last_name.wrapping_add(1);
            let name = format!("{}{:x}", veth_prefix(instance), self.last_name);
            let is_used = self.attachments.values().any(|record| record.namespace == name);
            if !is_used && !self.leaving.contains(&name) {
                return Some(name);
            }
        }
        None
    }

    /// The VPC that has a subnet with this gateway and prefix length which `address` is a usable address of.
    fn vpc_of(&self, attachment: &Attachment) -> Option<&Vpc> {
        let subnet = Ipv4Cidr::containing(attachment.address, attachment.prefix_length)?;
        let is_usable = attachment.address > subnet.nth(3)? && attachment.address < subnet.last();
        if !is_usable || subnet.nth(1) != Some(attachment.gateway) {
            return None;
        }
        let has_subnet = |vpc: &&Vpc| vpc.record.vpc.subnets.iter().any(|known| known.cidr == subnet);
        self.vpcs.values().find(has_subnet)
    }

    /// Refuses addresses that another attachment has.
    fn check_free(&self, attachment: &Attachment) -> Result<(), NetworkError> {
        for record in self.attachments.values() {
            let Some(other) = &record.attachment else { continue };
            if other.address == attachment.address {
                return Err(NetworkError::AddressInUse {
                    address: other.address.into(),
                    id: record.id.clone(),
                });
            }
            if let Some(address) =
                other.ipv6_addresses.iter().find(|address| attachment.ipv6_addresses.contains(address))
            {
                return Err(NetworkError::AddressInUse { address: (*address).into(), id: record.id.clone() });
            }
            if other.mac == attachment.mac {
                return Err(NetworkError::MacInUse { mac: other.mac, id: record.id.clone() });
            }
        }
        Ok(())
    }
}

/// How the names of an instance's veth pairs start.
fn veth_prefix(instance: &str) -> String {
    format!("rs{instance}.")
}

/// How the names of an instance's bridges start.
fn bridge_prefix(instance: &str) -> String {
    format!("rs-{instance}-")
}

/// The link that carries the metadata address: a bridge without ports, for small kernels lack the driver of dummy links.
pub(crate) fn metadata_link(instance: &str) -> String {
    format!("rs-{instance}-md")
}

fn check_id(id: &str) -> Result<(), NetworkError> {
    let is_good =
        (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_good { Ok(()) } else { Err(NetworkError::AttachmentId(id.chars().take(80).collect())) }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_state(&self) -> Result<MutexGuard<'_, State>, NetworkError> {
        let state = self.state();
        if state.closed { Err(NetworkError::ShutDown) } else { Ok(state) }
    }

    fn change_rules(&self, change: impl FnOnce(&mut Batch)) -> Result<(), NetworkError> {
        let mut batch = rules::batch(&self.name);
        change(&mut batch);
        let mut socket = self.nftables.lock().unwrap_or_else(PoisonError::into_inner);
        socket.send(&batch).map_err(NetworkError::Nftables)
    }

    fn security_groups(&self) -> MutexGuard<'_, SecurityGroups> {
        self.security_groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_security_groups(
        &self,
        change: impl FnOnce(&SecurityGroups) -> SecurityGroupChange,
    ) -> Result<(), NetworkError> {
        let _open = self.open_state()?;
        let mut groups = self.security_groups();
        let change = change(&groups);
        let batch = groups.change(&self.name, &change);
        let mut socket = self.nftables.lock().unwrap_or_else(PoisonError::into_inner);
        socket.send(&batch).map_err(|error| {
            groups.refused();
            NetworkError::Nftables(error)
        })?;
        self.security_groups_changed.send_replace(());
        Ok(())
    }

    fn namespace_path(&self, name: &str) -> PathBuf {
        self.records.namespaces().join(name)
    }

    fn task_network(&self, record: &AttachmentRecord) -> TaskNetwork {
        TaskNetwork {
            namespace: self.namespace_path(&record.namespace),
            interfaces: record.attachment.iter().map(|_| INTERFACE.to_owned()).collect(),
        }
    }

    async fn attach(&self, id: String, attachment: Option<Attachment>) -> Result<TaskNetwork, NetworkError> {
        let (mut record, bridge) = match self.reserve(id, attachment)? {
            Reserved::Exists(network) => return Ok(network),
            Reserved::New(record, bridge) => (record, bridge),
        };
        let made = self.make(&record, bridge).await;
        if let Err(error) = made {
            self.forget(record).await;
            return Err(error);
        }
        record.stage = Stage::Made;
        if let Err(error) = self.records.write_attachment(&record) {
            self.forget(record).await;
            return Err(error);
        }
        let network = self.task_network(&record);
        self.state().attachments.insert(record.id.clone(), record);
        Ok(network)
    }

    /// Checks the wish and notes it, so that no other call takes its id or addresses.
    fn reserve(&self, id: String, attachment: Option<Attachment>) -> Result<Reserved, NetworkError> {
        check_id(&id)?;
        let mut state = self.open_state()?;
        if let Some(record) = state.attachments.get(&id) {
            return match record.stage {
                Stage::Made if record.attachment == attachment => {
                    Ok(Reserved::Exists(self.task_network(record)))
                }
                Stage::Made => Err(NetworkError::AttachmentExists(id)),
                Stage::Making | Stage::Removing => Err(NetworkError::AttachmentBusy(id)),
            };
        }
        let mut container = false;
        let bridge = match &attachment {
            None => None,
            Some(attachment) => {
                const MULTICAST: u8 = 1;
                if attachment.mac.0[0] & MULTICAST != 0 || attachment.mac.0 == [0; 6] {
                    return Err(NetworkError::MacInvalid(attachment.mac));
                }
                state.check_free(attachment)?;
                let Attachment { address, gateway, prefix_length, .. } = *attachment;
                let vpc = state.vpc_of(attachment);
                let vpc = vpc.ok_or(NetworkError::NoSubnet { address, gateway, prefix_length })?;
                container = vpc.record.vpc.id == CONTAINERS;
                let name = self.bridge_name(vpc.record.bridge);
                Some(Bridge { link: vpc.link, name, mac: vpc::bridge_mac(vpc.record.vpc.cidr) })
            }
        };
        if state.attachments.len() >= ATTACHMENTS_MAXIMUM {
            return Err(NetworkError::AttachmentBusy(id));
        }
        let namespace = state.new_name(&self.name).ok_or_else(|| NetworkError::AttachmentBusy(id.clone()))?;
        let record = AttachmentRecord {
            id: id.clone(),
            stage: Stage::Making,
            attachment,
            namespace,
            container,
            published: Vec::new(),
        };
        state.attachments.insert(id, record.clone());
        Ok(Reserved::New(record, bridge))
    }

    /// Tells the host for good which hardware address has an attachment's addresses.
    async fn add_neighbours(&self, bridge: u32, attachment: &Attachment) -> Result<(), NetworkError> {
        self.links.add_neighbour(bridge, attachment.address.into(), attachment.mac).await?;
        for address in &attachment.ipv6_addresses {
            self.links.add_neighbour(bridge, (*address).into(), attachment.mac).await?;
        }
        Ok(())
    }

    /// Makes what `record` says, which is written first.
    async fn make(&self, record: &AttachmentRecord, bridge: Option<Bridge>) -> Result<(), NetworkError> {
        self.records.write_attachment(record)?;
        let new = namespace::create(self.namespace_path(&record.namespace)).await?;
        let (Some(attachment), Some(bridge)) = (&record.attachment, bridge) else {
            return new.links.set_up_loopback().await;
        };
        if record.container {
            return self.make_container(record, attachment, &new).await;
        }
        let Attachment { mac, address, prefix_length, gateway, .. } = *attachment;
        let pair = VethPair {
            name: &record.namespace,
            bridge: Some(bridge.link),
            peer_name: INTERFACE,
            peer_mac: mac,
            peer_namespace: &new.file,
            mtu: self.mtu,
        };
        self.links.add_veth(&pair).await?;
        {
            let _alone = self.neighbour_changes.lock().await;
            self.add_neighbours(bridge.link, attachment).await?;
        }
        self.change_rules(|batch| {
            rules::add_attached(batch, mac, address);
            ipv6_rules::add_attached(batch, mac, &attachment.ipv6_addresses);
        })?;
        new.links.set_up_loopback().await?;
        self.lead_public(&[address]).await?;
        new.links.set_up_interface(INTERFACE, address, prefix_length, gateway).await?;
        new.links.set_up_ipv6(INTERFACE, &attachment.ipv6_addresses, bridge.mac).await?;
        new.links.wait_until_up(INTERFACE).await?;
        self.links.wait_until_up(&record.namespace).await?;
        // A bridge has no carrier before its first port.
        self.links.wait_until_up(&bridge.name).await
    }
}

/// What became of a wish to attach.
enum Reserved {
    /// It is there already.
    Exists(TaskNetwork),
    /// It is to be made, on its VPC's bridge.
    New(AttachmentRecord, Option<Bridge>),
}

/// A VPC's bridge.
struct Bridge {
    /// Its index.
    link: u32,
    name: String,
    mac: MacAddress,
}
