//! Express services: what is made in front of them before their tasks start, how traffic goes over to a new version, and what is
//! left of it all.

use domain::{
    Certificate, ExpressIngress, ExpressLoadBalancer, Listener, LoadBalancer, ManagedResourceStatus,
    NetworkInterface, RuleCondition, RuleValues, SecurityGroup, ServiceStatus,
};
use store::Row;

use super::*;

async fn create(world: &World, name: &str, change: Value) -> Value {
    let mut body = json!({
        "serviceName": name, "cpu": "256", "memory": "512", "healthCheckPath": "/health",
        "executionRoleArn": "arn:aws:iam::000000000000:role/execution",
        "infrastructureRoleArn": "arn:aws:iam::000000000000:role/infrastructure",
        "primaryContainer": {"image": "busybox"},
    });
    for (key, value) in change.as_object().unwrap() {
        body[key] = value.clone();
    }
    world.ok("CreateExpressGatewayService", body).await["service"].clone()
}

fn rows<R: Row + Clone>(world: &World) -> Vec<R> {
    let snapshot = world.store.snapshot();
    snapshot.scan::<R>(Prefix::everything(), None).map(|row| R::clone(&row)).collect()
}

/// The weights of the two target groups of the only path, in its order.
fn weights(world: &World) -> [u32; 2] {
    let path = rows::<ExpressIngress>(world).remove(0);
    let rules = rows::<ListenerRule>(world);
    let rule = rules.iter().find(|rule| rule.id == path.rule).unwrap();
    let RuleAction::Forward { target_groups, .. } = &rule.action else { panic!("{rule:?}") };
    path.target_group_arns().map(|arn| {
        target_groups.iter().find(|(there, _)| *there == arn.to_string()).map(|(_, weight)| *weight).unwrap()
    })
}

fn status(world: &World, name: &str) -> ServiceStatus {
    world.store.snapshot().get::<Service>(&Key::new(&scope(), &["default", name])).unwrap().status
}

#[tokio::test(start_paused = true)]
async fn everything_is_made_before_the_first_task_and_goes_with_the_last_service() {
    let mut world = World::new().await;
    let groups = rows::<SecurityGroup>(&world).len();
    create(&world, "shop", json!({})).await;
    create(&world, "blog", json!({"scalingTarget": {"minTaskCount": 2}})).await;
    world.pass(1).await;
    let load_balancers = rows::<LoadBalancer>(&world);
    assert_eq!(load_balancers.len(), 1, "the two share it");
    let (load_balancer, listener) = (&load_balancers[0], &rows::<Listener>(&world)[0]);
    assert_eq!((load_balancer.subnets.len(), load_balancer.scheme.as_str()), (3, "internet-facing"));
    assert_eq!((listener.port, listener.protocol.as_str()), (443, "HTTPS"));
    let paths = rows::<ExpressIngress>(&world);
    let certificates: BTreeSet<String> =
        rows::<Certificate>(&world).iter().map(|row| row.arn().to_string()).collect();
    assert_eq!(listener.certificates.iter().cloned().collect::<BTreeSet<_>>(), certificates);
    assert_eq!(certificates.len(), 2);
    for path in &paths {
        assert_eq!(path.status, ManagedResourceStatus::Active);
        let rules = rows::<ListenerRule>(&world);
        let rule = rules.iter().find(|rule| rule.id == path.rule).unwrap();
        let host = RuleCondition::HostHeader(RuleValues::Wildcards(vec![path.endpoint.clone()]));
        assert_eq!(rule.conditions, [host]);
        let group =
            world.store.snapshot().get::<TargetGroup>(&target_group_key(&scope(), &path.target_groups[0].0));
        assert_eq!(group.unwrap().health_check.path.as_deref(), Some("/health"));
    }
    world.pass(20).await;
    assert_eq!(world.statuses(), ["RUNNING", "RUNNING", "RUNNING"]);
    assert_eq!(world.serving(), 3);
    for interface in rows::<NetworkInterface>(&world).iter().filter(|row| row.owner_task.is_some()) {
        assert!(paths.iter().any(|path| interface.security_groups == [path.security_group.clone()]));
    }

    let arn = |name: &str| json!({"serviceArn": Service::arn_of(&scope(), "default", name).to_string()});
    world.ok("DeleteExpressGatewayService", arn("shop")).await;
    world.pass(2).await;
    assert_eq!(status(&world, "shop"), ServiceStatus::Draining);
    assert_eq!(rows::<ExpressIngress>(&world).len(), 2, "what drains needs its path");
    world.pass(20).await;
    assert_eq!(status(&world, "shop"), ServiceStatus::Inactive);
    let left = rows::<ExpressIngress>(&world);
    assert_eq!(left.iter().map(|path| path.service.as_str()).collect::<Vec<_>>(), ["blog"]);
    assert_eq!(rows::<Listener>(&world)[0].certificates, [left[0].certificate_arn().to_string()]);
    assert_eq!(world.serving(), 2);

    world.ok("DeleteExpressGatewayService", arn("blog")).await;
    world.pass(30).await;
    assert_eq!((rows::<LoadBalancer>(&world), rows::<ExpressLoadBalancer>(&world)), (vec![], vec![]));
    assert_eq!((rows::<Listener>(&world), rows::<ExpressIngress>(&world)), (vec![], vec![]));
    assert!(rows::<Certificate>(&world).is_empty() && rows::<NetworkInterface>(&world).is_empty());
    assert_eq!(rows::<SecurityGroup>(&world).len(), groups);
    // Those of the other tests' load balancer.
    assert_eq!((rows::<TargetGroup>(&world).len(), rows::<ListenerRule>(&world).len()), (2, 2));
    // The name is free for another one.
    create(&world, "shop", json!({})).await;
    world.pass(20).await;
    assert_eq!((world.statuses(), rows::<LoadBalancer>(&world).len()), (vec!["RUNNING"], 1));
}

#[tokio::test(start_paused = true)]
async fn a_new_version_gets_a_twentieth_and_then_everything() {
    let mut world = World::new().await;
    let made = create(&world, "shop", json!({})).await;
    world.pass(200).await;
    assert_eq!(weights(&world), [100, 0]);
    let next = json!({"image": "busybox", "containerPort": 8080});
    let body = json!({"serviceArn": made["serviceArn"], "primaryContainer": next, "healthCheckPath": "/up"});
    world.ok("UpdateExpressGatewayService", body).await;
    world.pass(20).await;
    assert_eq!(weights(&world), [95, 5]);
    let described = json!({"serviceArn": made["serviceArn"]});
    let shown = world.ok("DescribeExpressGatewayService", described.clone()).await;
    let active = shown["service"]["activeConfigurations"].as_array().unwrap().clone();
    let paths: Vec<_> = active.iter().map(|one| one["healthCheckPath"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/up", "/health"]);
    let path = rows::<ExpressIngress>(&world).remove(0);
    let check = |world: &World, which: usize| {
        let key = target_group_key(&scope(), &path.target_groups[which].0);
        world.store.snapshot().get::<TargetGroup>(&key).unwrap().health_check.path.clone().unwrap()
    };
    assert_eq!((check(&world, 0), check(&world, 1)), ("/health".to_owned(), "/up".to_owned()));
    let open = |world: &World| {
        let groups = rows::<SecurityGroup>(world);
        let group = groups.into_iter().find(|group| group.id == path.security_group).unwrap();
        group.rules.iter().filter(|rule| !rule.is_egress).map(|rule| rule.from_port).collect::<Vec<_>>()
    };
    assert_eq!(open(&world), [80, 8080]);

    world.pass(180).await;
    assert_eq!(weights(&world), [0, 100]);
    world.pass(240).await;
    assert_eq!(world.statuses(), ["RUNNING"]);
    let shown = world.ok("DescribeExpressGatewayService", described).await;
    assert_eq!(shown["service"]["activeConfigurations"].as_array().unwrap().len(), 1);
    assert_eq!((open(&world), check(&world, 0)), (vec![8080], "/up".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_away_by_hand_or_runs_out_is_made_again() {
    let mut world = World::new().await;
    create(&world, "shop", json!({})).await;
    world.pass(20).await;
    let (load_balancer, path) =
        (rows::<LoadBalancer>(&world).remove(0), rows::<ExpressIngress>(&world).remove(0));
    let snapshot = world.store.snapshot();
    let mut transaction = Transaction::new();
    for rule in snapshot.scan::<ListenerRule>(Prefix::everything(), None) {
        if rule.id == path.rule {
            transaction.remove(&rule);
        }
    }
    // A certificate that runs out is as good as none.
    let before = rows::<Certificate>(&world).remove(0);
    let soon = world.clock.now().plus_seconds(24 * 3600);
    transaction.put(Certificate { not_after: soon, ..before.clone() });
    world.store.transact(transaction).await.unwrap();
    world.pass(61).await;
    assert_eq!(weights(&world), [100, 0]);
    let certificates = rows::<Certificate>(&world);
    assert_eq!((certificates.len(), certificates[0].arn()), (1, before.arn()));
    assert!(certificates[0].not_after > soon && certificates[0].certificate != before.certificate);
    assert_eq!(rows::<LoadBalancer>(&world), [load_balancer]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_made_says_why_and_is_made_when_it_can() {
    let mut world = World::new().await;
    // A load balancer needs a gateway; that it is missing is noticed when it is made.
    let made = create(&world, "shop", json!({})).await;
    let store = world.store.clone();
    let snapshot = store.snapshot();
    let gateway = snapshot.scan::<domain::InternetGateway>(Prefix::everything(), None).next().unwrap();
    let mut transaction = Transaction::new();
    transaction.remove(&gateway);
    store.transact(transaction).await.unwrap();
    world.pass(5).await;
    let described = json!({"serviceArn": made["serviceArn"]});
    let shown = world.ok("DescribeExpressGatewayService", described.clone()).await;
    let reason = shown["service"]["status"]["statusReason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("has no internet gateway"), "{shown}");
    assert!(world.tasks().is_empty(), "tasks wait for what is in front of them");
    let mut transaction = Transaction::new();
    transaction.put(domain::InternetGateway::clone(&gateway));
    store.transact(transaction).await.unwrap();
    world.pass(20).await;
    assert_eq!(world.statuses(), ["RUNNING"]);
    let shown = world.ok("DescribeExpressGatewayService", described).await;
    assert_eq!(shown["service"]["status"], json!({"statusCode": "ACTIVE"}));
}
