//! What there is of a load balancer that Express services share, read from one snapshot.

use std::collections::BTreeSet;

use api::ecs::ExpressGatewayServiceConfiguration;
use base::Timestamp;
use domain::{
    Certificate, ExpressIngress, ExpressLoadBalancer, ExpressService, Listener, ListenerRule, LoadBalancer,
    ManagedResourceStatus, NetworkInterface, RevisionStatus, SecurityGroup, SecurityGroupPeer,
    SecurityGroupRule, Service, ServiceRevision, ServiceStatus, TargetGroup,
};
use ecs::launch::service::Workload;
use scheduler::express_ingress::{Check, Desired, Observed, Path, PathSeen};
use store::rows_gateway::{express_ingress_key, express_service_key};
use store::rows_load_balancing::{
    certificate_by_arn, listener_by_arn, listener_rule_by_arn, load_balancer_by_arn, target_group_by_arn,
};
use store::rows_service::{service_key, service_revision_key};
use store::rows_vpc::{NETWORK_INTERFACES_BY_SECURITY_GROUP, security_group_key};
use store::{Key, Snapshot, Versioned};

/// How long before its end a certificate is made anew. Source: "Managed certificate renewal" (60 days).
const RENEWAL_SECONDS: i64 = 60 * 24 * 3600;
/// The port of a container that no revision tells.
const PORT_DEFAULT: u16 = 80;

/// A load balancer, its paths, and the rows that these wish for.
pub struct Gathered {
    /// The wish.
    pub wish: Versioned<ExpressLoadBalancer>,
    /// As decided upon.
    pub desired: Desired,
    /// As decided upon.
    pub observed: Observed,
    /// The load balancer.
    pub load_balancer: Option<Versioned<LoadBalancer>>,
    /// Its listener.
    pub listener: Option<Versioned<Listener>>,
    /// Its security group.
    pub security_group: Option<Versioned<SecurityGroup>>,
    /// Its paths, in their order.
    pub paths: Vec<GatheredPath>,
}

/// A path, and what there is of it.
pub struct GatheredPath {
    /// The wish.
    pub ingress: Versioned<ExpressIngress>,
    /// The certificate.
    pub certificate: Option<Versioned<Certificate>>,
    /// The rule.
    pub rule: Option<Versioned<ListenerRule>>,
    /// The target groups.
    pub target_groups: [Option<Versioned<TargetGroup>>; 2],
    /// The security group of the service's tasks.
    pub security_group: Option<Versioned<SecurityGroup>>,
    /// Which target group the PRIMARY revision is in.
    pub serving: usize,
}

/// The paths of the load balancer with this key, in their order.
pub fn paths(snapshot: &Snapshot, key: &Key) -> Vec<Versioned<ExpressIngress>> {
    let Some(wish) = snapshot.get::<ExpressLoadBalancer>(key) else { return Vec::new() };
    let path = |endpoint: &String| {
        snapshot.get::<ExpressIngress>(&express_ingress_key(&wish.scope, &wish.name, endpoint))
    };
    wish.endpoints.iter().filter_map(path).collect()
}

impl Gathered {
    /// Reads it; `None` where it is forgotten.
    pub fn of(snapshot: &Snapshot, key: &Key, now: Timestamp) -> Option<Self> {
        let wish = snapshot.get::<ExpressLoadBalancer>(key)?;
        let ingress = paths(snapshot, key);
        let mut desired = Desired::default();
        let mut gathered = Vec::new();
        for ingress in ingress {
            desired.paths.push(desired_path(snapshot, &ingress));
            gathered.push(GatheredPath::of(snapshot, &wish, ingress));
        }
        let listener = listener_by_arn(snapshot, wish.listener_arn().as_str());
        let security_group =
            snapshot.get::<SecurityGroup>(&security_group_key(&wish.scope, &wish.security_group));
        let load_balancer = load_balancer_by_arn(snapshot, wish.load_balancer_arn().as_str());
        let place = |arn: &String| {
            gathered.iter().position(|path| path.ingress.certificate_arn().as_str() == arn.as_str())
        };
        let own: BTreeSet<&str> = gathered.iter().map(|path| path.ingress.security_group.as_str()).collect();
        let interfaces: BTreeSet<&str> = load_balancer
            .iter()
            .flat_map(|row| &row.subnets)
            .filter_map(|subnet| subnet.network_interface.as_deref())
            .collect();
        let observed = Observed {
            has_load_balancer: load_balancer.is_some(),
            listener: listener.as_ref().map(|row| row.certificates.iter().map(place).collect()),
            has_security_group: security_group.is_some(),
            is_security_group_used: security_group
                .as_ref()
                .is_some_and(|group| is_used(snapshot, group, &interfaces, &own)),
            paths: gathered
                .iter()
                .zip(&desired.paths)
                .map(|(path, desired)| path.seen(snapshot, &wish, desired.is_wanted, now))
                .collect(),
        };
        Some(Self { wish, desired, observed, load_balancer, listener, security_group, paths: gathered })
    }
}

impl GatheredPath {
    fn of(snapshot: &Snapshot, wish: &ExpressLoadBalancer, ingress: Versioned<ExpressIngress>) -> Self {
        let [one, other] = ingress.target_group_arns();
        Self {
            certificate: certificate_by_arn(snapshot, ingress.certificate_arn().as_str()),
            rule: listener_rule_by_arn(snapshot, wish.rule_arn(&ingress.rule).as_str()),
            target_groups: [
                target_group_by_arn(snapshot, one.as_str()),
                target_group_by_arn(snapshot, other.as_str()),
            ],
            security_group: snapshot.get(&security_group_key(&ingress.scope, &ingress.security_group)),
            serving: serving(snapshot, &ingress).unwrap_or_default(),
            ingress,
        }
    }

    fn seen(
        &self,
        snapshot: &Snapshot,
        wish: &ExpressLoadBalancer,
        is_wanted: bool,
        now: Timestamp,
    ) -> PathSeen {
        // One that runs out is as good as none, and is made again in its place.
        let is_good =
            |row: &Versioned<Certificate>| !is_wanted || row.not_after > now.plus_seconds(RENEWAL_SECONDS);
        let check = |row: &Option<Versioned<TargetGroup>>| {
            let row = row.as_ref()?;
            Some(Check { port: row.port, path: row.health_check.path.clone().unwrap_or_default() })
        };
        let open = |group: &Versioned<SecurityGroup>| {
            group.rules.iter().filter_map(|rule| open_port(rule, &wish.security_group)).collect()
        };
        PathSeen {
            is_active: self.ingress.status == ManagedResourceStatus::Active,
            has_certificate: self.certificate.as_ref().is_some_and(is_good),
            has_rule: self.rule.is_some(),
            target_groups: [check(&self.target_groups[0]), check(&self.target_groups[1])],
            open_ports: self.security_group.as_ref().map(open),
            is_security_group_used: self
                .security_group
                .as_ref()
                .is_some_and(|group| is_used(snapshot, group, &BTreeSet::new(), &BTreeSet::new())),
        }
    }
}

/// The port that a rule opens to the load balancer; `None` for rules of any other kind.
pub fn open_port(rule: &SecurityGroupRule, load_balancer: &str) -> Option<u16> {
    let is_ours = !rule.is_egress
        && rule.ip_protocol == "tcp"
        && rule.from_port == rule.to_port
        && rule.peer == SecurityGroupPeer::Group(load_balancer.to_owned());
    u16::try_from(rule.from_port).ok().filter(|_| is_ours)
}

/// Whether an interface that is none of `interfaces` has the group, or a rule of a group that is none of `groups` names it.
fn is_used(
    snapshot: &Snapshot,
    group: &SecurityGroup,
    interfaces: &BTreeSet<&str>,
    groups: &BTreeSet<&str>,
) -> bool {
    let parts = [group.scope.account.as_str(), group.scope.region.as_str(), group.id.as_str()];
    let mut having = snapshot.index::<NetworkInterface>(NETWORK_INTERFACES_BY_SECURITY_GROUP, &parts, None);
    let peer = SecurityGroupPeer::Group(group.id.clone());
    let mut others = snapshot.scan::<SecurityGroup>(Key::prefix(&group.scope, &[]), None);
    having.any(|interface| !interfaces.contains(interface.id.as_str()))
        || others.any(|other| {
            other.id != group.id
                && !groups.contains(other.id.as_str())
                && other.rules.iter().any(|rule| rule.peer == peer)
        })
}

/// Which target group the PRIMARY revision is in: a rule that is made again is to lead there.
fn serving(snapshot: &Snapshot, ingress: &ExpressIngress) -> Option<usize> {
    let key = service_key(&ingress.scope, &ingress.cluster, &ingress.service);
    let service = snapshot.get::<Service>(&key)?;
    let id = &service.primary()?.id;
    let key = service_revision_key(&service.scope, &service.cluster, &service.name, id);
    let workload = Workload::of_revision(&*snapshot.get::<ServiceRevision>(&key)?)?;
    let arns = ingress.target_group_arns();
    workload.targets.iter().find_map(|target| arns.iter().position(|arn| *arn == target.target_group))
}

/// What is wished for of a path.
fn desired_path(snapshot: &Snapshot, ingress: &ExpressIngress) -> Path {
    let express_key = express_service_key(&ingress.scope, &ingress.cluster, &ingress.service);
    let express = snapshot.get::<ExpressService>(&express_key).filter(|express| {
        express.ingress.as_ref().is_some_and(|reference| reference.endpoint == ingress.endpoint)
    });
    let service = snapshot.get::<Service>(&service_key(&ingress.scope, &ingress.cluster, &ingress.service));
    let (Some(express), Some(service)) = (express, service) else { return Path::default() };
    if service.status == ServiceStatus::Inactive || service.created_at != express.created_at {
        return Path::default();
    }
    let newest = health_check_path(&express.configuration_document);
    let mut path = Path { is_wanted: true, ..Path::default() };
    let mut checks: [Option<Check>; 2] = [None, None];
    let arns = ingress.target_group_arns();
    for revision in service.revisions.iter().filter(|row| row.status != RevisionStatus::Inactive) {
        let key = service_revision_key(&service.scope, &service.cluster, &service.name, &revision.id);
        let row = snapshot.get::<ServiceRevision>(&key);
        let Some(workload) = row.as_ref().and_then(|row| Workload::of_revision(row)) else { continue };
        for target in workload.targets {
            path.ports.insert(target.container_port);
            if let Some(at) = arns.iter().position(|arn| *arn == target.target_group) {
                let (document, _) = express.configuration_of(&revision.id);
                let check = Check { port: target.container_port, path: health_check_path(document) };
                // The newest revision in a group stands first.
                checks[at].get_or_insert(check);
            }
        }
    }
    if path.ports.is_empty() {
        path.ports.insert(PORT_DEFAULT);
    }
    // A group that no revision is in is asked as the other one, until the next deployment fills it.
    let either = checks[0].clone().or(checks[1].clone());
    let either = either.unwrap_or(Check { port: PORT_DEFAULT, path: newest });
    path.checks = checks.map(|check| check.unwrap_or_else(|| either.clone()));
    path
}

fn health_check_path(document: &str) -> String {
    let configuration = wire::json::from_str::<ExpressGatewayServiceConfiguration>(document).ok();
    configuration.and_then(|configuration| configuration.health_check_path).unwrap_or_else(|| "/".to_owned())
}
