//! Writes what was decided for a load balancer of Express services.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use base::{Ids, Ipv4Cidr, Tag, Timestamp};
use domain::{
    ExpressIngress, ExpressLoadBalancer, Listener, ListenerRule, LoadBalancerType, ManagedResourceStatus,
    RuleAction, RuleCondition, RuleValues, SecurityGroup, SecurityGroupPeer, SecurityGroupRule, TargetGroup,
    TargetGroupHealthCheck, Vpc, to_everyone,
};
use elasticloadbalancing::managed;
use scheduler::express_ingress::{Action, Check};
use store::rows_load_balancing::targets_of;
use store::{Key, Snapshot, Transaction};
use wire::Fault;

use super::gather::{Gathered, GatheredPath, open_port};

/// The port of the listener.
const HTTPS_PORT: i32 = 443;
/// The tag of what ECS manages, as accounts show it.
const MANAGED: (&str, &str) = ("AmazonECSManaged", "true");
/// Characters of a security group's name. Source: CreateSecurityGroup, `GroupName`.
const GROUP_NAME_CHARACTERS: usize = 255;
/// Share of the traffic of the target group that the PRIMARY revision is in.
const ALL_TRAFFIC: u32 = 100;

/// Puts the actions into `transaction`.
///
/// # Errors
/// A load balancer or certificate that cannot be made, with the reason.
pub fn apply(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    gathered: &Gathered,
    actions: &[Action],
    now: Timestamp,
    ids: &dyn Ids,
) -> Result<(), Fault> {
    let mut writer = Writer { snapshot, transaction, gathered, now, ids };
    let mut forgotten = BTreeSet::new();
    let mut forgets_load_balancer = false;
    for action in actions {
        match action {
            Action::Forget(at) => {
                writer.forget(*at);
                forgotten.insert(*at);
            }
            Action::ForgetLoadBalancer => forgets_load_balancer = true,
            other => writer.write(other)?,
        }
    }
    let wish = &gathered.wish;
    if forgets_load_balancer {
        if let Some(group) = &gathered.security_group {
            transaction.remove(group);
        }
        transaction.remove(wish);
    } else if !forgotten.is_empty() {
        let kept = gathered.paths.iter().enumerate().filter(|(at, _)| !forgotten.contains(at));
        let endpoints = kept.map(|(_, path)| path.ingress.endpoint.clone()).collect();
        transaction.replace(wish, ExpressLoadBalancer { endpoints, ..ExpressLoadBalancer::clone(wish) });
    } else if !actions.is_empty() {
        transaction.require_unchanged(wish);
    }
    Ok(())
}

struct Writer<'a> {
    snapshot: &'a Snapshot,
    transaction: &'a mut Transaction,
    gathered: &'a Gathered,
    now: Timestamp,
    ids: &'a dyn Ids,
}

impl Writer<'_> {
    fn write(&mut self, action: &Action) -> Result<(), Fault> {
        let wish = &self.gathered.wish;
        match action {
            Action::MakeSecurityGroup => {
                let group = self.load_balancer_group();
                self.transaction.insert(group);
            }
            Action::MakeLoadBalancer => {
                managed::make_load_balancer(
                    self.snapshot,
                    self.transaction,
                    wish,
                    tags(),
                    self.now,
                    self.ids,
                )?;
            }
            Action::MakeListener(paths) => {
                let certificates = self.certificates(paths);
                managed::make_listener(self.transaction, wish, certificates, tags(), self.now, self.ids);
            }
            Action::Serve(paths) => self.serve(paths),
            Action::MakeCertificate(at) => {
                let ingress = &self.path(*at).ingress;
                let (scope, id, name) = (&ingress.scope, &ingress.certificate, &ingress.endpoint);
                let made = acm::managed_certificate(scope, id, name, tags(), self.now, self.ids)?;
                self.transaction.put(made);
            }
            Action::MakeServiceGroup(at, ports) => {
                let group = self.service_group(self.path(*at), ports);
                self.transaction.insert(group);
            }
            Action::Open(at, ports) => self.open(*at, ports),
            Action::MakeTargetGroup(at, which, check) => {
                let group = self.target_group(self.path(*at), *which, check);
                self.transaction.insert(group);
            }
            Action::Check(at, which, check) => self.check(*at, *which, check),
            Action::MakeRule(at) => {
                let rule = self.rule(self.path(*at));
                self.transaction.insert(rule);
            }
            Action::Activate(at) => self.say(*at, ManagedResourceStatus::Active, None),
            Action::Wait(at) => self.say(
                *at,
                ManagedResourceStatus::Deprovisioning,
                Some("The security group of the service's tasks is still in use."),
            ),
            Action::Remove(at) => self.remove(*at),
            Action::RemoveLoadBalancer => {
                if let Some(row) = &self.gathered.load_balancer {
                    managed::remove_load_balancer(self.snapshot, self.transaction, row, self.now);
                }
            }
            Action::Forget(_) | Action::ForgetLoadBalancer => {}
        }
        Ok(())
    }

    fn path(&self, at: usize) -> &GatheredPath {
        &self.gathered.paths[at]
    }

    fn certificates(&self, paths: &[usize]) -> Vec<String> {
        paths.iter().map(|at| self.path(*at).ingress.certificate_arn().to_string()).collect()
    }

    /// Certificates of these paths first; those that somebody added stay behind them.
    fn serve(&mut self, paths: &[usize]) {
        let Some(there) = &self.gathered.listener else { return };
        let mut certificates = self.certificates(paths);
        let ours: BTreeSet<String> =
            self.gathered.paths.iter().map(|path| path.ingress.certificate_arn().to_string()).collect();
        certificates.extend(there.certificates.iter().filter(|arn| !ours.contains(*arn)).cloned());
        self.transaction.replace(there, Listener { certificates, ..Listener::clone(there) });
    }

    fn load_balancer_group(&self) -> SecurityGroup {
        let wish = &self.gathered.wish;
        let vpc = self.snapshot.get::<Vpc>(&Key::new(&wish.scope, &[&wish.vpc]));
        let everyone = Ipv4Cidr::containing(Ipv4Addr::UNSPECIFIED, 0);
        let clients = if wish.scheme == "internal" { vpc.map(|vpc| vpc.cidr) } else { everyone };
        let inbound = clients.map(|cidr| self.inbound(HTTPS_PORT, SecurityGroupPeer::Ipv4(cidr)));
        SecurityGroup {
            scope: wish.scope.clone(),
            id: wish.security_group.clone(),
            vpc: wish.vpc.clone(),
            name: wish.name.replacen("-alb-", "-alb-sg-", 1),
            description: "Security group of a load balancer that Express services share".to_owned(),
            rules: inbound.into_iter().chain(to_everyone(self.ids)).collect(),
            tags: tags(),
        }
    }

    fn service_group(&self, path: &GatheredPath, ports: &BTreeSet<u16>) -> SecurityGroup {
        let (ingress, wish) = (&path.ingress, &self.gathered.wish);
        let inbound = ports.iter().map(|port| self.let_load_balancer_in(*port));
        SecurityGroup {
            scope: ingress.scope.clone(),
            id: ingress.security_group.clone(),
            vpc: wish.vpc.clone(),
            // The endpoint tells it from the group of an earlier service of this name, which may still be used.
            name: group_name(ingress),
            description: "Security group of the tasks of an Express service".to_owned(),
            rules: inbound.chain(to_everyone(self.ids)).collect(),
            tags: tags(),
        }
    }

    fn let_load_balancer_in(&self, port: u16) -> SecurityGroupRule {
        let peer = SecurityGroupPeer::Group(self.gathered.wish.security_group.clone());
        self.inbound(i32::from(port), peer)
    }

    fn inbound(&self, port: i32, peer: SecurityGroupPeer) -> SecurityGroupRule {
        SecurityGroupRule {
            id: format!("sgr-{}", self.ids.hex(17)),
            is_egress: false,
            ip_protocol: "tcp".to_owned(),
            from_port: port,
            to_port: port,
            peer,
            description: None,
            tags: Vec::new(),
        }
    }

    fn open(&mut self, at: usize, ports: &BTreeSet<u16>) {
        let Some(there) = &self.gathered.paths[at].security_group else { return };
        let load_balancer = &self.gathered.wish.security_group;
        let mut next = SecurityGroup::clone(there);
        next.rules.retain(|rule| open_port(rule, load_balancer).is_none_or(|port| ports.contains(&port)));
        let open: BTreeSet<u16> =
            next.rules.iter().filter_map(|rule| open_port(rule, load_balancer)).collect();
        next.rules.extend(ports.difference(&open).map(|port| self.let_load_balancer_in(*port)));
        self.transaction.replace(there, next);
    }

    fn target_group(&self, path: &GatheredPath, which: usize, check: &Check) -> TargetGroup {
        let (name, id) = &path.ingress.target_groups[which];
        TargetGroup {
            scope: path.ingress.scope.clone(),
            name: name.clone(),
            id: id.clone(),
            protocol: "HTTP".to_owned(),
            protocol_version: Some("HTTP1".to_owned()),
            port: check.port,
            vpc: Some(self.gathered.wish.vpc.clone()),
            target_type: "ip".to_owned(),
            ip_address_type: "ipv4".to_owned(),
            health_check: TargetGroupHealthCheck {
                enabled: true,
                protocol: "HTTP".to_owned(),
                port: "traffic-port".to_owned(),
                path: Some(check.path.clone()),
                interval_seconds: 30,
                timeout_seconds: 5,
                healthy_threshold: 5,
                unhealthy_threshold: 2,
                matcher: Some("200".to_owned()),
            },
            attributes: [].into(),
            created_at: self.now,
            tags: tags(),
        }
    }

    fn check(&mut self, at: usize, which: usize, check: &Check) {
        let Some(there) = &self.gathered.paths[at].target_groups[which] else { return };
        let mut next = TargetGroup::clone(there);
        next.port = check.port;
        next.health_check.path = Some(check.path.clone());
        self.transaction.replace(there, next);
    }

    fn rule(&self, path: &GatheredPath) -> ListenerRule {
        let (ingress, wish) = (&path.ingress, &self.gathered.wish);
        let share = |(at, arn): (usize, base::Arn)| {
            (arn.to_string(), if at == path.serving { ALL_TRAFFIC } else { 0 })
        };
        let target_groups = ingress.target_group_arns().into_iter().enumerate().map(share).collect();
        ListenerRule {
            scope: ingress.scope.clone(),
            load_balancer: wish.name.clone(),
            load_balancer_id: wish.id.clone(),
            load_balancer_type: LoadBalancerType::Application,
            listener: wish.listener.clone(),
            id: ingress.rule.clone(),
            priority: Some(ingress.priority),
            conditions: vec![RuleCondition::HostHeader(RuleValues::Wildcards(vec![
                ingress.endpoint.clone(),
            ]))],
            action: RuleAction::Forward { target_groups, stickiness_seconds: None },
            created_at: self.now,
            tags: tags(),
        }
    }

    fn say(&mut self, at: usize, status: ManagedResourceStatus, reason: Option<&str>) {
        let there = &self.gathered.paths[at].ingress;
        let next = ExpressIngress {
            status,
            status_reason: reason.map(str::to_owned),
            updated_at: self.now,
            ..ExpressIngress::clone(there)
        };
        self.transaction.replace(there, next);
    }

    fn remove(&mut self, at: usize) {
        let path = &self.gathered.paths[at];
        // A rule that names the load balancer which goes as a whole goes with it, and only once.
        let goes_with_listener = self.gathered.desired.paths.iter().all(|path| !path.is_wanted)
            && self.gathered.listener.is_some()
            && self.gathered.load_balancer.is_some();
        if let Some(rule) = path.rule.as_ref().filter(|_| !goes_with_listener) {
            self.transaction.remove(rule);
        }
        for group in path.target_groups.iter().flatten() {
            for target in targets_of(self.snapshot, group) {
                self.transaction.remove(&target);
            }
            self.transaction.remove(group);
        }
        if let Some(certificate) = &path.certificate {
            self.transaction.remove(certificate);
        }
    }

    fn forget(&mut self, at: usize) {
        let path = &self.gathered.paths[at];
        if let Some(group) = &path.security_group {
            self.transaction.remove(group);
        }
        self.transaction.remove(&path.ingress);
    }
}

/// `CLUSTER-SERVICE-LABEL`, with what is too long left out in the middle.
fn group_name(ingress: &ExpressIngress) -> String {
    let label = ingress.endpoint.split('.').next().unwrap_or_default();
    let mut name = format!("{}-{}", ingress.cluster, ingress.service);
    name.truncate(GROUP_NAME_CHARACTERS - 1 - label.len().min(GROUP_NAME_CHARACTERS - 1));
    format!("{name}-{label}")
}

fn tags() -> Vec<Tag> {
    vec![Tag { key: MANAGED.0.to_owned(), value: MANAGED.1.to_owned() }]
}
