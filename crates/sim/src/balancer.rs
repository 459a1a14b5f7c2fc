//! A load balancer as rows know it: checks targets, lets requests finish, reports; and is away for a while now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base::Timestamp;
use domain::{
    ListenerRule, LoadBalancerType, RuleAction, TargetGroup, TargetGroupHealthCheck, TargetRegistration,
};
use serde_json::{Value, json};
use store::{Prefix, Transaction, Versioned};

use crate::random::Random;
use crate::world::World;

/// How long a target group lets requests finish.
pub(crate) const DELAY_SECONDS: i64 = 20;
/// How often it looks.
const LOOK_MILLIS: (u64, u64) = (200, 2000);
/// Of a thousand looks, how many begin a time in which it does nothing.
const AWAY_PERMILLE: u64 = 5;
/// For how long, in milliseconds.
const AWAY_MILLIS: (u64, u64) = (5000, 60_000);
/// Of a thousand looks at a target, how many find it unwell.
const UNWELL_PERMILLE: u64 = 20;
/// Target groups: name and target type. The last two stand in one rule.
const GROUPS: [(&str, &str); 3] = [("machines", "instance"), ("blue", "ip"), ("green", "ip")];
const RULES: [(&str, &[&str]); 2] =
    [("1111111111111111", &["machines"]), ("2222222222222222", &["blue", "green"])];

fn group(world: &World, name: &str, target_type: &str) -> TargetGroup {
    TargetGroup {
        scope: world.scope().clone(),
        name: name.to_owned(),
        id: "0123456789abcdef".to_owned(),
        protocol: "HTTP".to_owned(),
        protocol_version: Some("HTTP1".to_owned()),
        port: 80,
        vpc: None,
        target_type: target_type.to_owned(),
        ip_address_type: "ipv4".to_owned(),
        health_check: TargetGroupHealthCheck {
            enabled: true,
            protocol: "HTTP".to_owned(),
            port: "traffic-port".to_owned(),
            path: Some("/".to_owned()),
            interval_seconds: 5,
            timeout_seconds: 2,
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            matcher: Some("200".to_owned()),
        },
        attributes: BTreeMap::from([(
            "deregistration_delay.timeout_seconds".to_owned(),
            DELAY_SECONDS.to_string(),
        )]),
        created_at: Timestamp::from_millis(0),
        tags: Vec::new(),
    }
}

fn rule(world: &World, id: &str, groups: &[&str]) -> ListenerRule {
    let target_groups = groups
        .iter()
        .enumerate()
        .map(|(place, name)| (group(world, name, "").arn().to_string(), if place == 0 { 100 } else { 0 }));
    ListenerRule {
        scope: world.scope().clone(),
        load_balancer: "front".to_owned(),
        load_balancer_id: "3333333333333333".to_owned(),
        load_balancer_type: LoadBalancerType::Application,
        listener: "4444444444444444".to_owned(),
        id: id.to_owned(),
        priority: Some(1),
        conditions: Vec::new(),
        action: RuleAction::Forward { target_groups: target_groups.collect(), stickiness_seconds: None },
        created_at: Timestamp::from_millis(0),
        tags: Vec::new(),
    }
}

/// Makes target groups and the rules that lead to them.
pub(crate) async fn populate(world: &World) {
    let mut transaction = Transaction::new();
    for (name, target_type) in GROUPS {
        transaction.put(group(world, name, target_type));
    }
    for (id, groups) in RULES {
        transaction.put(rule(world, id, groups));
    }
    if world.store.transact(transaction).await.is_err() {
        world.broken("there are no target groups");
    }
}

/// `loadBalancers` of a service whose tasks have this port of their machine, or an address of their own; in the second case
/// such that deployments can shift its traffic.
pub(crate) fn in_front(world: &World, port_of_machine: Option<u16>) -> Value {
    let arn = |name: &str| group(world, name, "").arn().to_string();
    if let Some(port) = port_of_machine {
        return json!([{"targetGroupArn": arn("machines"), "containerName": "app", "containerPort": port}]);
    }
    let advanced = json!({
        "alternateTargetGroupArn": arn("green"),
        "productionListenerRule": rule(world, RULES[1].0, &[]).arn().to_string(),
        "roleArn": "arn:aws:iam::000000000000:role/ecs",
    });
    json!([{"targetGroupArn": arn("blue"), "containerName": "app", "containerPort": 80,
        "advancedConfiguration": advanced}])
}

/// Works for ever; it is away and targets are unwell until trouble is `over`.
pub(crate) async fn run(world: Arc<World>, mut random: Random, over: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(Duration::from_millis(random.between(LOOK_MILLIS.0, LOOK_MILLIS.1))).await;
        let peace = over.load(Ordering::Relaxed);
        if !peace && random.permille(AWAY_PERMILLE) {
            world.say("the load balancer is away");
            tokio::time::sleep(Duration::from_millis(random.between(AWAY_MILLIS.0, AWAY_MILLIS.1))).await;
            world.say("the load balancer is back");
        }
        let rows: Vec<Versioned<TargetRegistration>> =
            world.store.snapshot().scan::<TargetRegistration>(Prefix::everything(), None).collect();
        for row in rows {
            let mut transaction = Transaction::new();
            let now = world.now();
            if let Some(at) = row.deregistered_at {
                // Requests under way end when they end.
                if now >= at.plus_seconds(DELAY_SECONDS) || random.permille(200) {
                    transaction.remove(&row);
                }
            } else if now >= row.registered_at.plus_seconds(2) {
                let unwell = !peace && random.permille(UNWELL_PERMILLE);
                let mut next = TargetRegistration::clone(&row);
                if unwell { "unhealthy" } else { "healthy" }.clone_into(&mut next.state);
                next.reason = unwell.then(|| "Target.Timeout".to_owned());
                next.description = unwell.then(|| "Request timed out".to_owned());
                if next != *row.value {
                    transaction.replace(&row, next);
                }
            }
            if !transaction.is_empty() {
                // The control plane may have changed it at the same moment: then the next look finds that.
                let _ = world.store.transact(transaction).await;
            }
        }
    }
}
