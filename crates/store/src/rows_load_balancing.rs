//! Where load balancers, listeners, rules, target groups, targets and certificates live.

use std::collections::BTreeSet;

use base::{Arn, Scope, Timestamp};
use domain::{
    Certificate, Listener, ListenerRule, LoadBalancer, LoadBalancerTargets, TargetCounts, TargetDescription,
    TargetGroup, TargetRegistration,
};

use crate::key::number_part;
use crate::{IndexSink, Key, Options, Row, Snapshot, Table, Transaction, Versioned};

/// Index of load balancers by their name in DNS, in lower case.
pub const LOAD_BALANCERS_BY_DNS_NAME: &str = "dns_name";
/// Index of listeners by the ARN of a certificate that they use.
pub const LISTENERS_BY_CERTIFICATE: &str = "certificate";
/// Index of rules by the ARN of a target group that they forward to.
pub const RULES_BY_TARGET_GROUP: &str = "target_group";
/// Index of targets that drain: no parts.
pub const TARGETS_DRAINING: &str = "draining";

impl Row for LoadBalancer {
    const TABLE: Table = Table::new("load_balancers");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        load_balancer_key(&self.scope, &self.name)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        sink.add(LOAD_BALANCERS_BY_DNS_NAME, &[&self.dns_name.to_ascii_lowercase()]);
    }
}

/// The key of a load balancer.
pub fn load_balancer_key(scope: &Scope, name: &str) -> Key {
    Key::new(scope, &[name])
}

impl Row for Listener {
    const TABLE: Table = Table::new("listeners");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        listener_key(&self.scope, &self.load_balancer, &self.id)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        for certificate in &self.certificates {
            sink.add(LISTENERS_BY_CERTIFICATE, &[certificate]);
        }
    }
}

/// The key of a listener; those of one load balancer stand together.
pub fn listener_key(scope: &Scope, load_balancer: &str, id: &str) -> Key {
    Key::new(scope, &[load_balancer, id])
}

impl Row for ListenerRule {
    const TABLE: Table = Table::new("listener_rules");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        listener_rule_key(&self.scope, &self.load_balancer, &self.listener, &self.id)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        for (arn, _) in self.action.target_groups() {
            sink.add(RULES_BY_TARGET_GROUP, &[arn]);
        }
    }
}

/// The key of a rule; those of one listener stand together.
pub fn listener_rule_key(scope: &Scope, load_balancer: &str, listener: &str, id: &str) -> Key {
    Key::new(scope, &[load_balancer, listener, id])
}

impl Row for TargetGroup {
    const TABLE: Table = Table::new("target_groups");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        target_group_key(&self.scope, &self.name)
    }
}

/// The key of a target group.
pub fn target_group_key(scope: &Scope, name: &str) -> Key {
    Key::new(scope, &[name])
}

impl Row for TargetRegistration {
    const TABLE: Table = Table::new("target_registrations");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        target_registration_key(&self.scope, &self.target_group, &self.target, self.port)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        if self.deregistered_at.is_some() {
            sink.add(TARGETS_DRAINING, &[]);
        }
    }
}

/// The key of a target; those of one group stand together.
pub fn target_registration_key(scope: &Scope, target_group: &str, target: &str, port: u16) -> Key {
    Key::new(scope, &[target_group, target, &number_part(u64::from(port))])
}

impl Row for Certificate {
    const TABLE: Table = Table::new("certificates");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        certificate_key(&self.scope, &self.id)
    }
}

/// The key of a certificate.
pub fn certificate_key(scope: &Scope, id: &str) -> Key {
    Key::new(scope, &[id])
}

/// What an ARN of Elastic Load Balancing names: its scope, and the parts of its resource behind the first slash.
fn parts_of(arn: &str) -> Option<(Scope, String, Vec<String>)> {
    let arn: Arn = arn.parse().ok()?;
    let mut parts = arn.resource().split('/').map(str::to_owned);
    Some((arn.scope()?, parts.next()?, parts.collect()))
}

/// The load balancer with this ARN.
pub fn load_balancer_by_arn(snapshot: &Snapshot, arn: &str) -> Option<Versioned<LoadBalancer>> {
    let (scope, _, parts) = parts_of(arn)?;
    let found = snapshot.get::<LoadBalancer>(&load_balancer_key(&scope, parts.get(1)?))?;
    (found.arn().as_str() == arn).then_some(found)
}

/// The listener with this ARN.
pub fn listener_by_arn(snapshot: &Snapshot, arn: &str) -> Option<Versioned<Listener>> {
    let (scope, _, parts) = parts_of(arn)?;
    let found = snapshot.get::<Listener>(&listener_key(&scope, parts.get(1)?, parts.get(3)?))?;
    (found.arn().as_str() == arn).then_some(found)
}

/// The rule with this ARN.
pub fn listener_rule_by_arn(snapshot: &Snapshot, arn: &str) -> Option<Versioned<ListenerRule>> {
    let (scope, _, parts) = parts_of(arn)?;
    let key = listener_rule_key(&scope, parts.get(1)?, parts.get(3)?, parts.get(4)?);
    let found = snapshot.get::<ListenerRule>(&key)?;
    (found.arn().as_str() == arn).then_some(found)
}

/// The rule with this ARN; with a listener's (a Network Load Balancer has no rules to name), its default rule.
pub fn forwarding_rule(snapshot: &Snapshot, arn: &str) -> Option<Versioned<ListenerRule>> {
    listener_rule_by_arn(snapshot, arn).or_else(|| {
        let listener = listener_by_arn(snapshot, arn)?;
        rules_of(snapshot, &listener).into_iter().find(|rule| rule.priority.is_none())
    })
}

/// The target group with this ARN.
pub fn target_group_by_arn(snapshot: &Snapshot, arn: &str) -> Option<Versioned<TargetGroup>> {
    let (scope, _, parts) = parts_of(arn)?;
    let found = snapshot.get::<TargetGroup>(&target_group_key(&scope, parts.first()?))?;
    (found.arn().as_str() == arn).then_some(found)
}

/// The certificate with this ARN.
pub fn certificate_by_arn(snapshot: &Snapshot, arn: &str) -> Option<Versioned<Certificate>> {
    let (scope, _, parts) = parts_of(arn)?;
    let found = snapshot.get::<Certificate>(&certificate_key(&scope, parts.first()?))?;
    (found.arn().as_str() == arn).then_some(found)
}

/// The listeners of a load balancer.
pub fn listeners_of(snapshot: &Snapshot, load_balancer: &LoadBalancer) -> Vec<Versioned<Listener>> {
    let prefix = Key::prefix(&load_balancer.scope, &[&load_balancer.name]);
    snapshot.scan::<Listener>(prefix, None).collect()
}

/// The rules of a listener by priority, the default rule last.
pub fn rules_of(snapshot: &Snapshot, listener: &Listener) -> Vec<Versioned<ListenerRule>> {
    let prefix = Key::prefix(&listener.scope, &[&listener.load_balancer, &listener.id]);
    let mut rules: Vec<_> = snapshot.scan::<ListenerRule>(prefix, None).collect();
    rules.sort_by_key(|rule| rule.priority.unwrap_or(u32::MAX));
    rules
}

/// The rules that forward to a target group, whatever the weight.
pub fn rules_of_target_group(snapshot: &Snapshot, group: &TargetGroup) -> Vec<Versioned<ListenerRule>> {
    snapshot.index::<ListenerRule>(RULES_BY_TARGET_GROUP, &[group.arn().as_str()], None).collect()
}

/// The targets of a group, those that drain too.
pub fn targets_of(snapshot: &Snapshot, group: &TargetGroup) -> Vec<Versioned<TargetRegistration>> {
    let prefix = Key::prefix(&group.scope, &[&group.name]);
    snapshot.scan::<TargetRegistration>(prefix, None).collect()
}

/// The ARNs of the target groups that a load balancer forwards to, whatever the weight.
pub fn target_groups_of(snapshot: &Snapshot, scope: &Scope, load_balancer: &str) -> BTreeSet<String> {
    let rules = snapshot.scan::<ListenerRule>(Key::prefix(scope, &[load_balancer]), None);
    rules.flat_map(|rule| rule.action.target_groups().to_vec()).map(|(arn, _)| arn).collect()
}

/// Counts the targets of these groups into `counts`, those that drain too.
pub fn count_targets(snapshot: &Snapshot, counts: &mut LoadBalancerTargets, groups: &BTreeSet<String>) {
    for group in groups.iter().filter_map(|arn| target_group_by_arn(snapshot, arn)) {
        for row in targets_of(snapshot, &group) {
            counts.count(&row.target, row.zone.as_deref());
        }
    }
}

/// What these target groups have of targets, and the load balancers that forward to them.
pub fn target_counts<'a>(
    snapshot: &Snapshot,
    groups: impl IntoIterator<Item = &'a TargetGroup>,
) -> TargetCounts {
    let mut counts = TargetCounts::default();
    for group in groups {
        let mut load_balancers = Vec::new();
        for rule in rules_of_target_group(snapshot, group) {
            let arn = rule.load_balancer_arn().to_string();
            if !counts.has_load_balancer(&arn) {
                let mut targets = LoadBalancerTargets::new(arn.clone(), rule.load_balancer_type);
                let all = target_groups_of(snapshot, &rule.scope, &rule.load_balancer);
                count_targets(snapshot, &mut targets, &all);
                counts.add_load_balancer(targets);
            }
            if !load_balancers.contains(&arn) {
                load_balancers.push(arn);
            }
        }
        counts.add_group(group.arn().to_string(), targets_of(snapshot, group).len(), load_balancers);
    }
    counts
}

/// Registers targets with a group, in `transaction`, on condition that the group is not changed meanwhile. One that is
/// registered stays as it is, one that drains is taken back.
pub fn register_targets(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    group: &Versioned<TargetGroup>,
    targets: &[TargetDescription],
    now: Timestamp,
) {
    transaction.require_unchanged(group);
    for target in targets {
        let row = TargetRegistration::new(group, target, now);
        match snapshot.get::<TargetRegistration>(&row.key()) {
            None => {
                transaction.insert(row);
            }
            Some(known) if known.deregistered_at.is_some() => {
                transaction.replace(&known, row);
            }
            Some(_) => {}
        }
    }
}

/// Deregisters targets from a group, in `transaction`. They drain, and their rows go when that is over; where no rule
/// forwards to the group there is nothing to drain, and they go at once. Gives those that are draining now, be it from an
/// earlier call; targets that are not registered are left out.
pub fn deregister_targets(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    group: &Versioned<TargetGroup>,
    targets: &[TargetDescription],
    now: Timestamp,
) -> Vec<TargetRegistration> {
    let is_used =
        snapshot.index::<ListenerRule>(RULES_BY_TARGET_GROUP, &[group.arn().as_str()], None).next().is_some();
    let mut draining = Vec::new();
    for target in targets {
        let key = target_registration_key(&group.scope, &group.name, &target.target, target.port);
        let Some(known) = snapshot.get::<TargetRegistration>(&key) else { continue };
        if !is_used {
            transaction.remove(&known);
        } else if known.deregistered_at.is_some() {
            draining.push(TargetRegistration::clone(&known));
        } else {
            let row = known.draining(now);
            transaction.replace(&known, row.clone());
            draining.push(row);
        }
    }
    draining
}

/// `options` with the rows of this file.
pub fn register(options: Options) -> Options {
    options
        .row::<LoadBalancer>()
        .row::<Listener>()
        .row::<ListenerRule>()
        .row::<TargetGroup>()
        .row::<TargetRegistration>()
        .row::<Certificate>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use domain::{LoadBalancerType, RuleAction, TargetGroupHealthCheck};

    fn scope() -> Scope {
        Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap())
    }

    fn group() -> TargetGroup {
        TargetGroup {
            scope: scope(),
            name: "web".to_owned(),
            id: "0123456789abcdef".to_owned(),
            protocol: "HTTP".to_owned(),
            protocol_version: Some("HTTP1".to_owned()),
            port: 80,
            vpc: Some("vpc-1".to_owned()),
            target_type: "ip".to_owned(),
            ip_address_type: "ipv4".to_owned(),
            health_check: TargetGroupHealthCheck {
                enabled: true,
                protocol: "HTTP".to_owned(),
                port: "traffic-port".to_owned(),
                path: Some("/".to_owned()),
                interval_seconds: 30,
                timeout_seconds: 5,
                healthy_threshold: 5,
                unhealthy_threshold: 2,
                matcher: Some("200".to_owned()),
            },
            attributes: [].into(),
            created_at: Timestamp::from_millis(0),
            tags: Vec::new(),
        }
    }

    fn target(port: u16) -> TargetDescription {
        TargetDescription { target: "10.0.0.1".to_owned(), port, zone: None }
    }

    fn rule() -> ListenerRule {
        ListenerRule {
            scope: scope(),
            load_balancer: "front".to_owned(),
            load_balancer_id: "1".to_owned(),
            load_balancer_type: LoadBalancerType::Application,
            listener: "2".to_owned(),
            id: "3".to_owned(),
            priority: None,
            conditions: Vec::new(),
            action: RuleAction::Forward {
                target_groups: vec![(group().arn().to_string(), 1)],
                stickiness_seconds: None,
            },
            created_at: Timestamp::from_millis(0),
            tags: Vec::new(),
        }
    }

    async fn act<T>(
        store: &Store,
        what: impl FnOnce(&Snapshot, &mut Transaction, &Versioned<TargetGroup>) -> T,
    ) -> T {
        let snapshot = store.snapshot();
        let group = target_group_by_arn(&snapshot, group().arn().as_str()).unwrap();
        let mut transaction = Transaction::new();
        let told = what(&snapshot, &mut transaction, &group);
        store.transact(transaction).await.unwrap();
        told
    }

    fn states(store: &Store) -> Vec<(u16, String, i64)> {
        let targets = targets_of(&store.snapshot(), &group());
        let state = |row: &Versioned<TargetRegistration>| {
            (row.port, row.state.clone(), row.registered_at.as_millis())
        };
        targets.iter().map(state).collect()
    }

    #[tokio::test]
    async fn a_target_drains_only_where_traffic_may_come() {
        let store = Store::ephemeral(register(Options::ephemeral()));
        let mut transaction = Transaction::new();
        transaction.insert(group());
        store.transact(transaction).await.unwrap();
        let at = Timestamp::from_millis;
        act(&store, |s, t, g| register_targets(s, t, g, &[target(80), target(81)], at(1))).await;
        act(&store, |s, t, g| register_targets(s, t, g, &[target(80)], at(2))).await;
        let initial = "initial".to_owned();
        assert_eq!(states(&store), [(80, initial.clone(), 1), (81, initial.clone(), 1)]);
        let left = act(&store, |s, t, g| deregister_targets(s, t, g, &[target(81), target(82)], at(3))).await;
        assert!(left.is_empty());
        assert_eq!(states(&store), [(80, initial.clone(), 1)]);

        let mut transaction = Transaction::new();
        transaction.insert(rule());
        store.transact(transaction).await.unwrap();
        for now in [4, 5] {
            let left = act(&store, |s, t, g| deregister_targets(s, t, g, &[target(80)], at(now))).await;
            assert_eq!(left[0].deregistered_at, Some(at(4)), "draining is not begun twice");
        }
        assert_eq!(states(&store), [(80, "draining".to_owned(), 1)]);
        assert_eq!(store.snapshot().index::<TargetRegistration>(TARGETS_DRAINING, &[], None).count(), 1);
        act(&store, |s, t, g| register_targets(s, t, g, &[target(80)], at(6))).await;
        assert_eq!(states(&store), [(80, initial, 6)]);
    }

    #[tokio::test]
    async fn an_arn_of_another_generation_names_nothing() {
        let store = Store::ephemeral(register(Options::ephemeral()));
        let mut transaction = Transaction::new();
        transaction.insert(group());
        transaction.insert(rule());
        store.transact(transaction).await.unwrap();
        let snapshot = store.snapshot();
        let arn = group().arn().to_string();
        assert!(target_group_by_arn(&snapshot, &arn).is_some());
        assert!(target_group_by_arn(&snapshot, &arn.replace("0123", "0000")).is_none());
        assert!(listener_rule_by_arn(&snapshot, rule().arn().as_str()).is_some());
        assert!(listener_rule_by_arn(&snapshot, &rule().arn().as_str().replace("app/", "net/")).is_none());
        for arn in ["", "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup"] {
            assert!(target_group_by_arn(&snapshot, arn).is_none());
            assert!(load_balancer_by_arn(&snapshot, arn).is_none());
            assert!(listener_by_arn(&snapshot, arn).is_none());
        }
    }
}
