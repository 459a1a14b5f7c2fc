//! Floor 5: the VPC data plane on a node.
//!
//! A [`Network`] gives every task of network mode `awsvpc` a network namespace with one interface, `eth0`, that carries
//! the hardware and private address of the task's network interface in EC2. The shape of it:
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
//! - **Nothing that is made is forgotten**: a record is written before the kernel is asked, so that a start after a crash
//!   adopts what is whole and removes what is not.
//!
//! Everything is named after [`NetworkConfig::name`], so that several instances share a machine.

mod check;
mod choose;
mod claims;
mod config;
mod error;
mod firewall;
mod links;
mod namespace;
mod net;
pub mod nftables;
mod record;
mod rules;
mod sysctl;

pub use check::{Finding, check};
pub use choose::{choose_vpc_cidr, usable_vpc_cidrs};
pub use claims::claim_vpc_cidrs;
pub use config::{Attachment, NetworkConfig, SubnetNetwork, TaskNetwork, VpcNetwork};
pub use error::NetworkError;
pub use net::{Network, host_networks};
