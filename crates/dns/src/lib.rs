//! Floor 5: names. The resolver of every VPC, and the authority for what has a name here.
//!
//! | name | comes from |
//! | --- | --- |
//! | private hosted zones, Cloud Map's private namespaces | their rows, for askers of the VPCs that they are associated with |
//! | load balancers | `LoadBalancer` rows: the addresses that they listen on |
//! | `ip-172-31-0-9.ec2.internal` and the name of an address | `NetworkInterface` rows, for askers of their VPC |
//! | public hosted zones, Cloud Map's public namespaces | their rows |
//! | everything else | the name servers of the host's /etc/resolv.conf, kept for as long as they allow |
//!
//! [`look_up`] is a function of a snapshot and a name: an answer takes microseconds, and there is no second copy of the
//! state that could be wrong. [`Resolver`] follows names to other names and asks upstream; [`Server`] has the sockets.
//! Messages are read and written by hickory-proto.

mod cache;
mod cloud_map;
mod health;
mod limits;
mod look_up;
mod message;
mod record;
mod resolv_conf;
mod resolver;
mod routing;
mod server;
mod system;
mod there;
mod upstream;
mod zone;

pub use health::HealthChecker;
pub use look_up::{Asker, Authority, Lookup, View, asker_of, health_check_is_healthy, look_up, look_up_in};
pub use message::{Question, Unreadable, read_question};
pub use resolv_conf::server_outside;
pub use resolver::{Resolver, ResolverConfig};
pub use server::{Server, ServerError};
pub use there::{ControlPlaneNames, NodeAnswer, answer_node};
pub use upstream::UpstreamServers;
