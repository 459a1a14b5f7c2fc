//! `loadBalancers`: which target groups a service's tasks are registered in, and the listener rules that its deployments
//! shift traffic with.
//!
//! Source: AWS, "LoadBalancer" and "AdvancedConfiguration" data types, "Use load balancing to distribute Amazon ECS service
//! traffic", "Required resources for Amazon ECS blue/green deployments". The sentences on target groups without a load
//! balancer, target types, containers and ports are AWS's, the others ours. There are no Classic Load Balancers, so that none
//! of any name exists.

use std::collections::BTreeSet;

use api::ecs::{
    AdvancedConfiguration, LoadBalancer, ResolvedConfiguration, ServiceRevision as Document,
    ServiceRevisionLoadBalancer, TaskDefinition as DefinitionDocument,
};
use base::Arn;
use base::limits::TARGET_GROUPS_PER_SERVICE;
use domain::{
    DeploymentControllerType, LaunchType, ListenerRule, NetworkMode, RuleAction, TargetGroup, TargetState,
    TaskTarget,
};
use store::rows_load_balancing::{forwarding_rule, rules_of_target_group, target_group_by_arn};
use store::{Snapshot, Versioned};
use wire::{Call, Fault};

use crate::faults::invalid;

/// What the tasks behind the load balancers are.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// The task definition.
    pub definition: &'a DefinitionDocument,
    /// Its network mode.
    pub network_mode: NetworkMode,
    /// What they run on.
    pub launch_type: LaunchType,
    /// Whether deployments shift traffic (BLUE_GREEN, LINEAR, CANARY).
    pub shifts_traffic: bool,
}

/// Whether the deployment strategy shifts traffic.
pub fn shifts_traffic(strategy: Option<&str>) -> bool {
    !matches!(strategy, None | Some("ROLLING"))
}

/// Checks the load balancers of a service or task set.
pub fn check(snapshot: &Snapshot, call: &Call, given: &[LoadBalancer], of: Of<'_>) -> Result<(), Fault> {
    if given.len() > TARGET_GROUPS_PER_SERVICE {
        return Err(invalid(format!("load balancers can have at most {TARGET_GROUPS_PER_SERVICE} items.")));
    }
    if !given.is_empty() && of.launch_type == LaunchType::External {
        return Err(invalid("Load balancers are not supported for services with the EXTERNAL launch type."));
    }
    let mut seen = BTreeSet::new();
    for item in given {
        let arn = target_group_arn(item)?;
        let group = target_group(snapshot, call, arn)?;
        if rules_of_target_group(snapshot, &group).is_empty() {
            return Err(invalid(format!(
                "The target group with targetGroupArn {arn} does not have an associated load balancer."
            )));
        }
        check_type(&group, of)?;
        check_container(item, of)?;
        if !seen.insert((arn, item.container_name.as_deref(), item.container_port)) {
            return Err(invalid(format!(
                "The target group {arn} is given twice for the same container and port."
            )));
        }
        match &item.advanced_configuration {
            Some(advanced) => check_advanced(snapshot, call, (item, &group), advanced, of)?,
            None if of.shifts_traffic => {
                return Err(invalid(
                    "advancedConfiguration must be specified for every load balancer of services with a deployment \
                     strategy that shifts traffic.",
                ));
            }
            None => {}
        }
    }
    Ok(())
}

/// The CODE_DEPLOY controller needs a load balancer. Source: CreateService, `loadBalancers`.
pub fn check_controller(controller: DeploymentControllerType, given: &[LoadBalancer]) -> Result<(), Fault> {
    if controller == DeploymentControllerType::CodeDeploy && given.len() != 1 {
        return Err(invalid(
            "loadBalancers must have exactly one item on services with a CODE_DEPLOY deployment controller.",
        ));
    }
    if controller == DeploymentControllerType::CodeDeploy && given[0].advanced_configuration.is_some() {
        return Err(invalid(
            "advancedConfiguration is not supported on services with a CODE_DEPLOY deployment controller.",
        ));
    }
    Ok(())
}

fn target_group_arn(item: &LoadBalancer) -> Result<&str, Fault> {
    match (&item.target_group_arn, &item.load_balancer_name) {
        (Some(_), Some(_)) => Err(invalid("loadBalancerName and targetGroupArn can not both be specified.")),
        (Some(arn), None) => Ok(arn),
        (None, Some(name)) => Err(invalid(format!("The load balancer {name} does not exist."))),
        (None, None) => Err(invalid("Either loadBalancerName or targetGroupArn must be specified.")),
    }
}

fn target_group(snapshot: &Snapshot, call: &Call, arn: &str) -> Result<Versioned<TargetGroup>, Fault> {
    target_group_by_arn(snapshot, arn)
        .filter(|group| group.scope == call.scope)
        .ok_or_else(|| invalid(format!("The target group with targetGroupArn {arn} does not exist.")))
}

/// An address for tasks that have one, else the machine.
fn check_type(group: &TargetGroup, of: Of<'_>) -> Result<(), Fault> {
    let wanted = if of.network_mode == NetworkMode::AwsVpc { "ip" } else { "instance" };
    if group.target_type == wanted {
        return Ok(());
    }
    Err(invalid(format!(
        "The provided target group {} has target type {}, which is incompatible with the {} network mode specified in the \
         task definition.",
        group.arn(),
        group.target_type,
        of.network_mode
    )))
}

fn check_container(item: &LoadBalancer, of: Of<'_>) -> Result<(), Fault> {
    let Some(name) = item.container_name.as_deref().filter(|name| !name.is_empty()) else {
        return Err(invalid("containerName must be specified for load balancers."));
    };
    let Some(port) = item.container_port else {
        return Err(invalid("containerPort must be specified for load balancers."));
    };
    let containers = of.definition.container_definitions.iter().flatten();
    let mut named = containers.filter(|container| container.name.as_deref() == Some(name));
    let container = named
        .next()
        .ok_or_else(|| invalid(format!("The container {name} does not exist in the task definition.")))?;
    let mapped = |mapping: &api::ecs::PortMapping| {
        mapping.container_port == Some(port)
            || mapping.container_port_range.as_deref().is_some_and(|range| is_in(range, port))
    };
    if u16::try_from(port).is_ok_and(|port| port > 0) && container.port_mappings.iter().flatten().any(mapped)
    {
        return Ok(());
    }
    Err(invalid(format!("The container {name} did not have a container port {port} defined.")))
}

fn is_in(range: &str, port: i32) -> bool {
    let bounds = range.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    bounds.is_some_and(|(from, to): (i32, i32)| (from..=to).contains(&port))
}

fn check_advanced(
    snapshot: &Snapshot,
    call: &Call,
    (item, group): (&LoadBalancer, &TargetGroup),
    advanced: &AdvancedConfiguration,
    of: Of<'_>,
) -> Result<(), Fault> {
    let required = |field: &str, value: &Option<String>| {
        value.clone().filter(|value| !value.is_empty()).ok_or_else(|| {
            invalid(format!("{field} must be specified in the advancedConfiguration of load balancers."))
        })
    };
    let alternate = required("alternateTargetGroupArn", &advanced.alternate_target_group_arn)?;
    let production = required("productionListenerRule", &advanced.production_listener_rule)?;
    required("roleArn", &advanced.role_arn)?;
    if Some(&alternate) == item.target_group_arn.as_ref() {
        return Err(invalid("alternateTargetGroupArn must be another target group than targetGroupArn."));
    }
    check_type(&*target_group(snapshot, call, &alternate)?, of)?;
    let rule = rule(snapshot, call, &production)?;
    let forwards = |rule: &ListenerRule| match &rule.action {
        RuleAction::Forward { target_groups, .. } => {
            target_groups.iter().any(|(arn, _)| *arn == group.arn().to_string() || *arn == alternate)
        }
        _ => false,
    };
    if !forwards(&rule) {
        return Err(invalid(format!(
            "The productionListenerRule {production} does not forward to the target group {} or {alternate}.",
            group.arn()
        )));
    }
    let Some(test) = advanced.test_listener_rule.as_ref().filter(|test| !test.is_empty()) else {
        return Ok(());
    };
    if *test == production {
        return Err(invalid("testListenerRule must be another rule than productionListenerRule."));
    }
    match self::rule(snapshot, call, test)?.action {
        RuleAction::Forward { .. } => Ok(()),
        _ => Err(invalid(format!("The testListenerRule {test} does not forward to a target group."))),
    }
}

fn rule(snapshot: &Snapshot, call: &Call, arn: &str) -> Result<Versioned<ListenerRule>, Fault> {
    forwarding_rule(snapshot, arn)
        .filter(|rule| rule.scope == call.scope)
        .ok_or_else(|| invalid(format!("The listener rule {arn} does not exist.")))
}

/// The roles that load balancers' configurations hand on.
pub fn roles(given: Option<&[LoadBalancer]>) -> Vec<String> {
    let advanced = given.unwrap_or_default().iter().filter_map(|item| item.advanced_configuration.as_ref());
    advanced.filter_map(|advanced| advanced.role_arn.clone()).collect()
}

/// Which target groups a new revision's tasks go to. Where deployments shift traffic it is the one of each pair that the
/// revision in `serving` is not in, else the one that it is in.
pub fn resolve(
    given: &[LoadBalancer],
    shifts_traffic: bool,
    serving: Option<&Document>,
) -> Option<ResolvedConfiguration> {
    let there: Vec<&str> = serving
        .and_then(|serving| serving.resolved_configuration.as_ref()?.load_balancers.as_deref())
        .unwrap_or_default()
        .iter()
        .filter_map(|item| item.target_group_arn.as_deref())
        .collect();
    let resolved = given.iter().map(|item| {
        let own = item.target_group_arn.as_deref();
        let advanced = item.advanced_configuration.as_ref();
        let alternate = advanced.and_then(|advanced| advanced.alternate_target_group_arn.as_deref());
        let is_in = |arn: Option<&str>| arn.is_some_and(|arn| there.contains(&arn));
        let chosen = match alternate {
            None => own,
            Some(_) if is_in(own) => {
                if shifts_traffic {
                    alternate
                } else {
                    own
                }
            }
            Some(_) if is_in(alternate) => {
                if shifts_traffic {
                    own
                } else {
                    alternate
                }
            }
            Some(_) => own,
        };
        ServiceRevisionLoadBalancer {
            target_group_arn: chosen.map(str::to_owned),
            production_listener_rule: advanced.and_then(|advanced| advanced.production_listener_rule.clone()),
        }
    });
    (!given.is_empty()).then(|| ResolvedConfiguration {
        load_balancers: Some(resolved.collect()),
        ..ResolvedConfiguration::default()
    })
}

/// What the tasks of a revision or task set are to be registered as.
pub fn targets(given: Option<&[LoadBalancer]>, resolved: Option<&ResolvedConfiguration>) -> Vec<TaskTarget> {
    let resolved = resolved.and_then(|resolved| resolved.load_balancers.as_deref()).unwrap_or_default();
    let target = |(place, item): (usize, &LoadBalancer)| {
        let chosen = resolved.get(place).and_then(|resolved| resolved.target_group_arn.as_ref());
        let arn: Arn = chosen.or(item.target_group_arn.as_ref())?.parse().ok()?;
        Some(TaskTarget {
            target_group: arn,
            container: item.container_name.clone()?,
            container_port: u16::try_from(item.container_port?).ok()?,
            target: None,
            state: TargetState::Unregistered,
            reason: None,
            deregistered_at: None,
        })
    };
    given.unwrap_or_default().iter().enumerate().filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use base::Timestamp;
    use domain::LoadBalancerType;
    use domain::{ListenerRule, RuleAction, TargetGroup, TargetGroupHealthCheck};
    use serde_json::{Value, json};
    use store::Transaction;

    use crate::testing::{World, scope};

    fn group(name: &str, target_type: &str) -> TargetGroup {
        TargetGroup {
            scope: scope(),
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
                interval_seconds: 30,
                timeout_seconds: 5,
                healthy_threshold: 5,
                unhealthy_threshold: 2,
                matcher: Some("200".to_owned()),
            },
            attributes: BTreeMap::new(),
            created_at: Timestamp::from_millis(0),
            tags: Vec::new(),
        }
    }

    fn arn(name: &str) -> String {
        group(name, "ip").arn().to_string()
    }

    fn rule(id: &str, groups: &[&str]) -> ListenerRule {
        ListenerRule {
            scope: scope(),
            load_balancer: "front".to_owned(),
            load_balancer_id: "1111111111111111".to_owned(),
            load_balancer_type: LoadBalancerType::Application,
            listener: "2222222222222222".to_owned(),
            id: id.to_owned(),
            priority: Some(1),
            conditions: Vec::new(),
            action: RuleAction::Forward {
                target_groups: groups.iter().map(|name| (arn(name), 1)).collect(),
                stickiness_seconds: None,
            },
            created_at: Timestamp::from_millis(0),
            tags: Vec::new(),
        }
    }

    async fn world() -> World {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        let container =
            |ports: Value| json!({"name": "app", "image": "busybox", "memory": 64, "portMappings": ports});
        let web = json!({"family": "web", "networkMode": "host",
            "containerDefinitions": [container(json!([{"containerPort": 80}]))]});
        world.ok("RegisterTaskDefinition", web).await;
        let mut transaction = Transaction::new();
        for (name, target_type) in
            [("blue", "instance"), ("green", "instance"), ("alone", "instance"), ("ip", "ip")]
        {
            transaction.put(group(name, target_type));
        }
        transaction.put(rule("3333333333333333", &["blue", "ip"])).put(rule("4444444444444444", &["blue"]));
        transaction.put(ListenerRule {
            action: RuleAction::FixedResponse { status: 404, content_type: None, body: String::new() },
            ..rule("5555555555555555", &[])
        });
        world.store.transact(transaction).await.unwrap();
        world
    }

    fn service(load_balancers: &Value, configuration: &Value) -> Value {
        json!({"serviceName": "s", "taskDefinition": "web", "desiredCount": 1, "loadBalancers": load_balancers,
            "deploymentConfiguration": configuration})
    }

    fn behind(change: &Value) -> Value {
        let mut item = json!({"targetGroupArn": arn("blue"), "containerName": "app", "containerPort": 80});
        for (key, value) in change.as_object().unwrap() {
            item[key] = value.clone();
            if value.is_null() {
                item.as_object_mut().unwrap().remove(key);
            }
        }
        item
    }

    fn advanced(change: &Value) -> Value {
        let mut advanced = json!({
            "alternateTargetGroupArn": arn("green"),
            "productionListenerRule": rule("3333333333333333", &[]).arn().to_string(),
            "testListenerRule": rule("4444444444444444", &[]).arn().to_string(),
            "roleArn": "arn:aws:iam::000000000000:role/ecs",
        });
        for (key, value) in change.as_object().unwrap() {
            advanced[key] = value.clone();
            if value.is_null() {
                advanced.as_object_mut().unwrap().remove(key);
            }
        }
        behind(&json!({"advancedConfiguration": advanced}))
    }

    #[tokio::test]
    async fn what_is_refused() {
        let world = world().await;
        let none = arn("ghost");
        let other_rule = rule("9999999999999999", &[]).arn().to_string();
        let fixed = rule("5555555555555555", &[]).arn().to_string();
        for (item, refusal) in [
            (
                behind(&json!({"targetGroupArn": none})),
                format!("The target group with targetGroupArn {none} does not exist."),
            ),
            (
                behind(&json!({"targetGroupArn": arn("alone")})),
                format!(
                    "The target group with targetGroupArn {} does not have an associated load balancer.",
                    arn("alone")
                ),
            ),
            (
                behind(&json!({"targetGroupArn": arn("ip")})),
                format!(
                    "The provided target group {} has target type ip, which is incompatible with the host network mode \
                     specified in the task definition.",
                    arn("ip")
                ),
            ),
            (
                behind(&json!({"containerName": "x"})),
                "The container x does not exist in the task definition.".to_owned(),
            ),
            (
                behind(&json!({"containerPort": 81})),
                "The container app did not have a container port 81 defined.".to_owned(),
            ),
            (behind(&json!({"containerName": null})), "containerName must be specified".to_owned()),
            (behind(&json!({"containerPort": null})), "containerPort must be specified".to_owned()),
            (
                behind(&json!({"loadBalancerName": "classic"})),
                "loadBalancerName and targetGroupArn can not".to_owned(),
            ),
            (
                behind(&json!({"loadBalancerName": "classic", "targetGroupArn": null})),
                "The load balancer classic does not exist.".to_owned(),
            ),
            (
                behind(&json!({"targetGroupArn": null})),
                "Either loadBalancerName or targetGroupArn".to_owned(),
            ),
        ] {
            let refused = world.refused("CreateService", service(&json!([item]), &json!({}))).await;
            assert!(
                refused.starts_with(&format!("InvalidParameterException: {refusal}")),
                "{item}: {refused}"
            );
        }
        let twice = json!([behind(&json!({})), behind(&json!({}))]);
        assert!(world.refused("CreateService", service(&twice, &json!({}))).await.contains("is given twice"));
        let shifts = json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0});
        for (item, refusal) in [
            (behind(&json!({})), "advancedConfiguration must be specified".to_owned()),
            (
                advanced(&json!({"alternateTargetGroupArn": null})),
                "alternateTargetGroupArn must be".to_owned(),
            ),
            (
                advanced(&json!({"alternateTargetGroupArn": arn("blue")})),
                "alternateTargetGroupArn must be another".to_owned(),
            ),
            (
                advanced(&json!({"alternateTargetGroupArn": arn("ip")})),
                "The provided target group".to_owned(),
            ),
            (advanced(&json!({"roleArn": null})), "roleArn must be specified".to_owned()),
            (advanced(&json!({"productionListenerRule": null})), "productionListenerRule must be".to_owned()),
            (
                advanced(&json!({"productionListenerRule": other_rule})),
                format!("The listener rule {other_rule} does not exist."),
            ),
            (advanced(&json!({"productionListenerRule": fixed})), "The productionListenerRule".to_owned()),
            (advanced(&json!({"testListenerRule": fixed})), "The testListenerRule".to_owned()),
            (
                advanced(&json!({"testListenerRule": rule("3333333333333333", &[]).arn().to_string()})),
                "testListenerRule must be another rule".to_owned(),
            ),
        ] {
            let refused = world.refused("CreateService", service(&json!([item]), &shifts)).await;
            assert!(
                refused.starts_with(&format!("InvalidParameterException: {refusal}")),
                "{item}: {refused}"
            );
        }
    }

    #[tokio::test]
    async fn they_are_kept_shown_and_changed_by_a_deployment() {
        let world = world().await;
        let made = world.ok("CreateService", service(&json!([behind(&json!({}))]), &json!({}))).await;
        assert_eq!(made["service"]["loadBalancers"], json!([behind(&json!({}))]));
        let revision = async || {
            let shown = world.ok("DescribeServices", json!({"services": ["s"]})).await["services"][0].clone();
            let arn = shown["currentServiceRevisions"][0]["arn"].clone();
            world.ok("DescribeServiceRevisions", json!({"serviceRevisionArns": [arn]})).await["serviceRevisions"][0].clone()
        };
        let first = revision().await;
        assert_eq!(first["loadBalancers"], json!([behind(&json!({}))]));
        assert_eq!(first["resolvedConfiguration"]["loadBalancers"][0]["targetGroupArn"], json!(arn("blue")));
        // The same again begins nothing; an empty list takes them away.
        world.ok("UpdateService", json!({"service": "s", "loadBalancers": [behind(&json!({}))]})).await;
        assert_eq!(revision().await, first);
        let taken = world.ok("UpdateService", json!({"service": "s", "loadBalancers": []})).await;
        assert_eq!(taken["service"]["loadBalancers"], json!([]));
        assert_ne!(revision().await["serviceRevisionArn"], first["serviceRevisionArn"]);
        let refused = world.refused(
            "UpdateService",
            json!({"service": "s", "loadBalancers": [behind(&json!({"containerPort": 1}))]}),
        );
        assert!(refused.await.contains("did not have a container port 1 defined"));
        world.ok("UpdateService", json!({"service": "s", "loadBalancers": [advanced(&json!({}))]})).await;
        let shown = revision().await;
        assert_eq!(shown["loadBalancers"], json!([advanced(&json!({}))]));
        // A definition that no longer has the port.
        world.register("bare").await;
        let refused = world.refused("UpdateService", json!({"service": "s", "taskDefinition": "bare"})).await;
        assert!(refused.contains("did not have a container port 80 defined"), "{refused}");
    }

    #[tokio::test]
    async fn controllers_with_task_sets() {
        let world = world().await;
        let mut external = service(&json!([behind(&json!({}))]), &json!({}));
        external["deploymentController"] = json!({"type": "EXTERNAL"});
        external.as_object_mut().unwrap().remove("taskDefinition");
        external.as_object_mut().unwrap().remove("deploymentConfiguration");
        let refused = world.refused("CreateService", external.clone()).await;
        assert!(refused.contains("You can't specify loadBalancers"), "{refused}");
        external.as_object_mut().unwrap().remove("loadBalancers");
        world.ok("CreateService", external).await;
        let set = |item: Value| json!({"cluster": "default", "service": "s", "taskDefinition": "web", "loadBalancers": [item]});
        let made = world.ok("CreateTaskSet", set(behind(&json!({})))).await;
        assert_eq!(made["taskSet"]["loadBalancers"], json!([behind(&json!({}))]));
        assert!(
            world.refused("CreateTaskSet", set(advanced(&json!({})))).await.contains("advancedConfiguration")
        );
        let gone = set(behind(&json!({"targetGroupArn": arn("ghost")})));
        assert!(world.refused("CreateTaskSet", gone).await.contains("does not exist"));
        let refused = world
            .refused("UpdateService", json!({"service": "s", "loadBalancers": [behind(&json!({}))]}))
            .await;
        assert!(refused.contains("Unable to update load balancers"), "{refused}");

        let mut code_deploy = service(&json!([behind(&json!({}))]), &json!({}));
        code_deploy["serviceName"] = json!("t");
        code_deploy["deploymentController"] = json!({"type": "CODE_DEPLOY"});
        code_deploy.as_object_mut().unwrap().remove("deploymentConfiguration");
        let made = world.ok("CreateService", code_deploy).await["service"].clone();
        assert_eq!(made["taskSets"][0]["scale"], json!({"value": 100.0, "unit": "PERCENT"}));
        assert_eq!(made["taskSets"][0]["loadBalancers"], json!([behind(&json!({}))]));
        assert_eq!(made["deployments"], json!([]));
    }
}
