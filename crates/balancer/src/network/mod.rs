//! The Network Load Balancer's half: bytes and datagrams.

pub mod tcp;
pub mod udp;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use crate::balancer::{Shared, State};
use crate::chance;
use crate::configuration::{Action, Listener, Stickiness};
use crate::group::{Group, Outstanding};

/// The group that a listener forwards to: by weight, where there are several.
fn group_of(shared: &Shared, listener: &Listener) -> Option<Arc<Group>> {
    let rule = listener.rules.last()?;
    let Action::Forward(forward) = &rule.action else { return None };
    let total: u64 = forward.target_groups.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut point = shared.chance.below(total);
    for (arn, weight) in &forward.target_groups {
        if point < u64::from(*weight) {
            return shared.group(arn);
        }
        point -= u64::from(*weight);
    }
    None
}

/// The target of a flow: by its addresses and ports, or by the client's address alone where the group is sticky; of the
/// listener's zone where the load balancer does not cross zones.
fn member_of(group: &Group, state: &State, client: SocketAddr, listener: SocketAddr) -> Option<Outstanding> {
    let settings = group.configuration();
    let sticky = settings.stickiness == Some(Stickiness::SourceIp);
    let key = if sticky { client.ip().to_string() } else { format!("{client} {listener}") };
    let crosses = settings.cross_zone || state.attributes.cross_zone;
    let zone = state.place.zone.as_deref().filter(|_| !crosses);
    group.choose_by_hash(chance::mix(chance::hash(key.as_bytes())), zone)
}

/// Whether a client's address can be preserved: not that of a client on this very machine, whose own socket has it, nor
/// towards a target on this very machine, whose answers would go straight to the client.
fn can_be_preserved(client: IpAddr, target: IpAddr) -> bool {
    let is_here = |address| UdpSocket::bind((address, 0)).is_ok();
    !client.is_loopback() && !is_here(client) && !is_here(target)
}
