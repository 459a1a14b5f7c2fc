//! Floor 5: the VPC data plane on a node.
//!
//! A [`Network`] gives every task of network mode `awsvpc`, and every address of a load balancer, a network namespace with
//! one interface, `eth0`, that carries the hardware and private address of its network interface in EC2. The shape of it:
//!
//! - **One bridge a VPC**, with the gateway address (base + 1) of every subnet on it. Its ports are isolated from one
//!   another and the bridge answers ARP in place of the tasks (`proxy_arp_pvlan`), so that all traffic between tasks,
//!   same subnet or not, is *routed* by the host and passes one place: the forward hook of nftables.
//! - **No spoofing**: a port takes frames only from the hardware address it was made for (`locked`, no learning, one
//!   static forwarding entry), the host's neighbour entries of tasks are permanent, and a set in nftables ties each
//!   hardware address to its IPv4 address.
//! - **One nftables table an instance**, loaded once and then changed by set element over one netlink socket.
//! - **The metadata endpoint** is 169.254.170.2 port 80 from inside a task: translated to an address that
//!   nobody but tasks and the host itself reaches. The source address is kept: it tells the agent which task asks.
//! - **The VPC resolver** is 169.254.169.253, the VPC's base address plus two, and fd00:ec2::253, port 53, translated in the
//!   same way.
//! - **Containers of network mode `bridge`** have an address each in one network a node, and ports of the host that lead to
//!   them (see [`Network::attach_container`]). Their links are routed one by one.
//! - **Nothing that is made is forgotten**: a record is written before the kernel is asked, so that a start after a crash
//!   adopts what is whole and removes what is not.
//!
//! Everything is named after [`NetworkConfig::name`], so that several instances share a machine.

mod check;
mod choose;
mod claims;
mod config;
mod connections;
mod container_network;
mod error;
mod firewall;
mod host_ports;
mod ipv6_ports;
mod ipv6_rules;
mod links;
mod namespace;
mod net;
pub mod nftables;
mod port_rules;
mod public_rules;
mod record;
mod routed_links;
mod rules;
mod security_groups;
mod sysctl;

pub use check::{Finding, check};
pub use choose::{choose_vpc_cidr, usable_vpc_cidrs};
pub use claims::{change_vpc_claims, claim_public_addresses, claim_vpc_cidrs};
pub use config::{Attachment, NetworkConfig, SubnetNetwork, TaskNetwork, VpcNetwork};
pub use container_network::ContainerNetwork;
pub use error::NetworkError;
pub use host_ports::{HostPort, PortWish, Protocol, PublishedPorts};
pub use net::{LOAD_BALANCER_PREFIX, Network, PublicAddress, host_networks};
pub use security_groups::{GroupRules, PacketRule, Peer, SecurityGroupChange, SecurityGroupPolicy};
