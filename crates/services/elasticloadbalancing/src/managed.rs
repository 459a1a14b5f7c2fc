//! Load balancers that another part of ECS manages: made with a name and an id that are known before, and taken away whole.

use base::{Ids, Tag, Timestamp};
use domain::{
    ExpressLoadBalancer, Listener, ListenerRule, LoadBalancer, LoadBalancerState, LoadBalancerType,
    RuleAction, Subnet,
};
use store::{Key, Snapshot, Transaction, Versioned, rows_load_balancing};
use wire::Fault;

use crate::quotas;
use crate::resources::subnet::{self, InterfaceWish, SubnetWish};
use crate::resources::{listener, load_balancer};

/// What a managed listener says where no rule is for the request's host.
const NOT_FOUND: u16 = 404;

/// Makes the wished load balancer in `transaction`, with an address in each of its subnets.
///
/// # Errors
/// CreateLoadBalancer's: a subnet that is gone or has no address left, a VPC that leads nowhere, too many load balancers.
pub fn make_load_balancer(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    wish: &ExpressLoadBalancer,
    tags: Vec<Tag>,
    now: Timestamp,
    ids: &dyn Ids,
) -> Result<(), Fault> {
    let kind = LoadBalancerType::Application;
    let rows = snapshot.scan::<LoadBalancer>(Key::prefix(&wish.scope, &[]), None);
    if rows.filter(|row| row.load_balancer_type == kind).count() >= quotas::LOAD_BALANCERS {
        return Err(api::elasticloadbalancing::faults::too_many_load_balancers_exception(format!(
            "The maximum number of load balancers '{}' has been reached",
            quotas::LOAD_BALANCERS
        )));
    }
    let is_internal = wish.scheme == "internal";
    if !is_internal {
        subnet::check_gateway(snapshot, &wish.scope, &wish.vpc)?;
    }
    let wishes: Vec<SubnetWish> = wish
        .subnets
        .iter()
        .map(|(id, _)| SubnetWish { subnet: id.clone(), private_address: None, allocation: None })
        .collect();
    let subnets: Vec<Subnet> = subnet::resolve(snapshot, &wish.scope, &wishes, kind)?;
    let mut row = LoadBalancer {
        scope: wish.scope.clone(),
        name: wish.name.clone(),
        id: wish.id.clone(),
        load_balancer_type: kind,
        scheme: wish.scheme.clone(),
        ip_address_type: "ipv4".to_owned(),
        vpc: wish.vpc.clone(),
        subnets: Vec::new(),
        security_groups: vec![wish.security_group.clone()],
        state: LoadBalancerState::Provisioning,
        state_reason: None,
        dns_name: load_balancer::dns_name(kind, &wish.scope, &wish.name, &wish.id, is_internal, ids),
        attributes: [].into(),
        created_at: now,
        tags,
    };
    let placed = wishes.iter().zip(&subnets).map(|(wish, subnet)| {
        let interface = InterfaceWish { load_balancer: &row, subnet, wish, now };
        interface.make(snapshot, transaction, ids)
    });
    row.subnets = placed.collect::<Result<_, _>>()?;
    transaction.insert(row);
    Ok(())
}

/// Makes the listener of the wished load balancer, with these certificates: HTTPS on port 443. Requests that no rule is for are
/// answered with 404.
pub fn make_listener(
    transaction: &mut Transaction,
    wish: &ExpressLoadBalancer,
    certificates: Vec<String>,
    tags: Vec<Tag>,
    now: Timestamp,
    ids: &dyn Ids,
) {
    let row = Listener {
        scope: wish.scope.clone(),
        load_balancer: wish.name.clone(),
        load_balancer_id: wish.id.clone(),
        load_balancer_type: LoadBalancerType::Application,
        id: wish.listener.clone(),
        port: 443,
        protocol: "HTTPS".to_owned(),
        ssl_policy: Some(listener::DEFAULT_SSL_POLICY.to_owned()),
        certificates,
        alpn_policy: None,
        attributes: [].into(),
        created_at: now,
        tags,
    };
    transaction.insert(ListenerRule {
        scope: wish.scope.clone(),
        load_balancer: wish.name.clone(),
        load_balancer_id: wish.id.clone(),
        load_balancer_type: LoadBalancerType::Application,
        listener: wish.listener.clone(),
        id: ids.hex(16),
        priority: None,
        conditions: Vec::new(),
        action: RuleAction::FixedResponse {
            status: NOT_FOUND,
            content_type: Some("text/plain".to_owned()),
            body: String::new(),
        },
        created_at: now,
        tags: Vec::new(),
    });
    transaction.insert(row);
}

/// Takes a load balancer away in `transaction`, with its listeners and their rules, and gives its addresses back.
pub fn remove_load_balancer(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    row: &Versioned<LoadBalancer>,
    now: Timestamp,
) {
    transaction.remove(row);
    for found in rows_load_balancing::listeners_of(snapshot, row) {
        listener::remove(snapshot, transaction, &found);
    }
    for placed in &row.subnets {
        subnet::release(snapshot, transaction, &row.scope, placed, now);
    }
}
