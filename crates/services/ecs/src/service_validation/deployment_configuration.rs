//! `deploymentConfiguration`: limits, and the defaults that AWS fills in. Source: AWS, DeploymentConfiguration and its
//! member types.
//!
//! The limits are AWS's; the sentences are ours but for "Both maximumPercent and minimumHealthyPercent cannot be 100".
//! Differs from AWS: `bakeTimeInMinutes` may be left out with the strategy BLUE_GREEN and is 0 then; the strategies that
//! shift traffic are taken without a load balancer too, for services that have no traffic.

use std::collections::BTreeSet;

use api::ecs::{
    CanaryConfiguration, DeploymentAlarms, DeploymentCircuitBreaker, DeploymentConfiguration,
    DeploymentEarlySuccessCriteria, DeploymentLifecycleHook, DeploymentLifecycleHookTimeoutConfiguration,
    LinearConfiguration, ThresholdConfiguration,
};
use domain::{DeploymentControllerType, SchedulingStrategy};
use wire::Fault;

use crate::faults::invalid;

/// Longest bake time. Source: LinearConfiguration, CanaryConfiguration.
const BAKE_TIME_MINUTES: i32 = 1440;
/// Hooks of one configuration. Ours: each of the eight stages has room for some.
const HOOKS: usize = 40;
/// Alarms of one configuration. Ours: AWS names no limit.
const ALARMS: usize = 100;
/// Characters of an alarm's name. Source: CloudWatch, PutMetricAlarm.
const ALARM_NAME_CHARACTERS: usize = 255;
/// Minutes that a hook may take where the caller does not say. Source: DeploymentLifecycleHookTimeoutConfiguration.
const HOOK_TIMEOUT_MINUTES: i32 = 1440;
/// Stages at which nothing can pause. Source: DeploymentLifecycleHook, `lifecycleStages`.
const NO_PAUSE_AT: &[&str] = &["TEST_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT"];
/// The failure threshold where none is given. Source: ThresholdConfiguration.
const DEFAULT_THRESHOLD: (&str, i32) = ("BOUNDED_PERCENT", 50);

/// What is given over what is there (`None` when a service is made), checked and with every default filled in.
pub fn check(
    given: Option<&DeploymentConfiguration>,
    there: Option<&DeploymentConfiguration>,
    controller: DeploymentControllerType,
    scheduling: SchedulingStrategy,
) -> Result<DeploymentConfiguration, Fault> {
    let empty = DeploymentConfiguration::default();
    let given = given.unwrap_or(&empty);
    let mut configuration = merge(given, there.unwrap_or(&empty));
    if controller != DeploymentControllerType::Ecs {
        return for_task_sets(&configuration, controller);
    }
    let strategy = configuration.strategy.get_or_insert_with(|| "ROLLING".to_owned()).clone();
    if scheduling == SchedulingStrategy::Daemon && strategy != "ROLLING" {
        return Err(invalid(format!(
            "The daemon scheduling strategy does not support the {strategy} deployment strategy."
        )));
    }
    percents(&mut configuration, scheduling)?;
    let bake_time = configuration.bake_time_in_minutes.get_or_insert(0);
    minutes("bakeTimeInMinutes", *bake_time)?;
    if let Some(breaker) = &configuration.deployment_circuit_breaker {
        configuration.deployment_circuit_breaker = Some(circuit_breaker(breaker)?);
    } else {
        configuration.deployment_circuit_breaker = Some(DeploymentCircuitBreaker {
            enable: Some(false),
            rollback: Some(false),
            ..DeploymentCircuitBreaker::default()
        });
    }
    if let Some(of_alarms) = &configuration.alarms {
        alarms(of_alarms)?;
    }
    if let Some(criteria) = &configuration.early_success_criteria {
        early_success(criteria, &strategy, configuration.minimum_healthy_percent.unwrap_or(100))?;
    }
    configuration.linear_configuration = linear(configuration.linear_configuration.as_ref(), &strategy)?;
    configuration.canary_configuration = canary(configuration.canary_configuration.as_ref(), &strategy)?;
    if let Some(hooks) = configuration.lifecycle_hooks.take() {
        if hooks.len() > HOOKS {
            return Err(invalid(format!("lifecycleHooks can have at most {HOOKS} items.")));
        }
        configuration.lifecycle_hooks = Some(hooks.iter().map(hook).collect::<Result<_, _>>()?);
    }
    Ok(configuration)
}

/// Members that are given replace those that are there; what belongs to another strategy goes with it.
fn merge(given: &DeploymentConfiguration, there: &DeploymentConfiguration) -> DeploymentConfiguration {
    let strategy = given.strategy.clone().or_else(|| there.strategy.clone());
    let stays = strategy == there.strategy;
    let kept = |of: &str| stays && there.strategy.as_deref() == Some(of);
    DeploymentConfiguration {
        alarms: given.alarms.clone().or_else(|| there.alarms.clone()),
        bake_time_in_minutes: given.bake_time_in_minutes.or(there.bake_time_in_minutes),
        canary_configuration: given
            .canary_configuration
            .clone()
            .or_else(|| there.canary_configuration.clone().filter(|_| kept("CANARY"))),
        deployment_circuit_breaker: given
            .deployment_circuit_breaker
            .clone()
            .or_else(|| there.deployment_circuit_breaker.clone()),
        early_success_criteria: given
            .early_success_criteria
            .clone()
            .or_else(|| there.early_success_criteria.clone().filter(|_| kept("ROLLING"))),
        lifecycle_hooks: given.lifecycle_hooks.clone().or_else(|| there.lifecycle_hooks.clone()),
        linear_configuration: given
            .linear_configuration
            .clone()
            .or_else(|| there.linear_configuration.clone().filter(|_| kept("LINEAR"))),
        maximum_percent: given.maximum_percent.or(there.maximum_percent),
        minimum_healthy_percent: given.minimum_healthy_percent.or(there.minimum_healthy_percent),
        strategy,
    }
}

/// With the EXTERNAL and CODE_DEPLOY controllers somebody else deploys: nothing can be set, and the percents are shown.
fn for_task_sets(
    configuration: &DeploymentConfiguration,
    controller: DeploymentControllerType,
) -> Result<DeploymentConfiguration, Fault> {
    let given = [
        ("alarms", configuration.alarms.is_some()),
        ("bakeTimeInMinutes", configuration.bake_time_in_minutes.is_some()),
        ("canaryConfiguration", configuration.canary_configuration.is_some()),
        ("deploymentCircuitBreaker", configuration.deployment_circuit_breaker.is_some()),
        ("earlySuccessCriteria", configuration.early_success_criteria.is_some()),
        ("lifecycleHooks", configuration.lifecycle_hooks.as_ref().is_some_and(|hooks| !hooks.is_empty())),
        ("linearConfiguration", configuration.linear_configuration.is_some()),
        ("strategy", configuration.strategy.is_some()),
        ("a custom maximumPercent", configuration.maximum_percent.is_some_and(|percent| percent != 200)),
        (
            "a custom minimumHealthyPercent",
            configuration.minimum_healthy_percent.is_some_and(|percent| percent != 100),
        ),
    ];
    if let Some((field, _)) = given.iter().find(|(_, given)| *given) {
        return Err(invalid(format!(
            "You can't specify {field} in deploymentConfiguration on services with a {controller} deployment controller.",
        )));
    }
    Ok(DeploymentConfiguration {
        maximum_percent: Some(200),
        minimum_healthy_percent: Some(100),
        ..DeploymentConfiguration::default()
    })
}

fn percents(
    configuration: &mut DeploymentConfiguration,
    scheduling: SchedulingStrategy,
) -> Result<(), Fault> {
    let daemon = scheduling == SchedulingStrategy::Daemon;
    let (maximum, minimum) = if daemon { (100, 0) } else { (200, 100) };
    let maximum = *configuration.maximum_percent.get_or_insert(maximum);
    let minimum = *configuration.minimum_healthy_percent.get_or_insert(minimum);
    if minimum < 0 || maximum < 0 {
        return Err(invalid("maximumPercent and minimumHealthyPercent can not be negative."));
    }
    if daemon && maximum > 100 {
        return Err(invalid("The daemon scheduling strategy does not support a maximumPercent above 100."));
    }
    if minimum >= 100 && maximum <= 100 {
        return Err(invalid(
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.",
        ));
    }
    if minimum > 100 {
        return Err(invalid("minimumHealthyPercent can not be above 100."));
    }
    if maximum <= minimum {
        return Err(invalid("maximumPercent must be greater than minimumHealthyPercent."));
    }
    Ok(())
}

fn minutes(field: &str, minutes: i32) -> Result<(), Fault> {
    if (0..=BAKE_TIME_MINUTES).contains(&minutes) {
        Ok(())
    } else {
        Err(invalid(format!("{field} must be between 0 and {BAKE_TIME_MINUTES}.")))
    }
}

/// A breaker that is on shows when it breaks.
fn circuit_breaker(given: &DeploymentCircuitBreaker) -> Result<DeploymentCircuitBreaker, Fault> {
    let mut breaker = given.clone();
    breaker.enable.get_or_insert(false);
    breaker.rollback.get_or_insert(false);
    if let Some(threshold) = &breaker.threshold_configuration {
        let (kind, value) =
            (threshold.type_.as_deref().unwrap_or(DEFAULT_THRESHOLD.0), threshold.value.unwrap_or(0));
        let most = if kind == "COUNT" { i32::MAX } else { 100 };
        if !(1..=most).contains(&value) {
            let range =
                if kind == "COUNT" { "at least 1".to_owned() } else { format!("between 1 and {most}") };
            return Err(invalid(format!(
                "The value of thresholdConfiguration must be {range} with the type {kind}."
            )));
        }
    }
    if breaker.enable == Some(true) {
        breaker.reset_on_healthy_task.get_or_insert(true);
        let (kind, value) = DEFAULT_THRESHOLD;
        breaker.threshold_configuration.get_or_insert_with(|| ThresholdConfiguration {
            type_: Some(kind.to_owned()),
            value: Some(value),
        });
    }
    Ok(breaker)
}

fn alarms(given: &DeploymentAlarms) -> Result<(), Fault> {
    let names = given.alarm_names.as_deref().unwrap_or_default();
    if given.enable == Some(true) && names.is_empty() {
        return Err(invalid("alarmNames can not be empty when deployment alarms are enabled."));
    }
    if names.len() > ALARMS {
        return Err(invalid(format!("alarmNames can have at most {ALARMS} items.")));
    }
    let is_name = |name: &String| (1..=ALARM_NAME_CHARACTERS).contains(&name.chars().count());
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        return Err(invalid(format!("Invalid alarm name: {name}")));
    }
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        return Err(invalid("alarmNames can not have the same name twice."));
    }
    Ok(())
}

fn early_success(
    given: &DeploymentEarlySuccessCriteria,
    strategy: &str,
    minimum_healthy_percent: i32,
) -> Result<(), Fault> {
    if given.enable != Some(true) {
        return Ok(());
    }
    if strategy != "ROLLING" {
        return Err(invalid("earlySuccessCriteria can only be used with the ROLLING deployment strategy."));
    }
    let (Some(percent), Some(_)) = (given.healthy_percent, &given.source_service_revision_cleanup) else {
        return Err(invalid(
            "healthyPercent and sourceServiceRevisionCleanup must be specified when earlySuccessCriteria is enabled.",
        ));
    };
    if !(0..=100).contains(&percent) || percent < minimum_healthy_percent {
        return Err(invalid(
            "healthyPercent must be at most 100, and greater than or equal to minimumHealthyPercent.",
        ));
    }
    Ok(())
}

/// Whether `percent` is a multiple of 0.1 within the bounds, which are in tenths.
fn tenths(field: &str, percent: f64, least: i32) -> Result<(), Fault> {
    let tenths = percent * 10.0;
    let whole = tenths.is_finite() && (tenths - tenths.round()).abs() < 1e-6;
    if whole && tenths.round() >= f64::from(least) && tenths.round() <= 1000.0 {
        return Ok(());
    }
    let least = f64::from(least) / 10.0;
    Err(invalid(format!("{field} must be a multiple of 0.1 from {least:.1} to 100.0.")))
}

fn linear(given: Option<&LinearConfiguration>, strategy: &str) -> Result<Option<LinearConfiguration>, Fault> {
    if strategy != "LINEAR" {
        return match given {
            None => Ok(None),
            Some(_) => Err(invalid("linearConfiguration is only valid when the strategy is LINEAR.")),
        };
    }
    let mut configuration = given.cloned().unwrap_or_default();
    tenths("stepPercent", *configuration.step_percent.get_or_insert(10.0), 30)?;
    minutes("stepBakeTimeInMinutes", *configuration.step_bake_time_in_minutes.get_or_insert(6))?;
    Ok(Some(configuration))
}

fn canary(given: Option<&CanaryConfiguration>, strategy: &str) -> Result<Option<CanaryConfiguration>, Fault> {
    if strategy != "CANARY" {
        return match given {
            None => Ok(None),
            Some(_) => Err(invalid("canaryConfiguration is only valid when the strategy is CANARY.")),
        };
    }
    let mut configuration = given.cloned().unwrap_or_default();
    tenths("canaryPercent", *configuration.canary_percent.get_or_insert(5.0), 1)?;
    minutes("canaryBakeTimeInMinutes", *configuration.canary_bake_time_in_minutes.get_or_insert(10))?;
    Ok(Some(configuration))
}

fn hook(given: &DeploymentLifecycleHook) -> Result<DeploymentLifecycleHook, Fault> {
    let mut hook = given.clone();
    let pauses = hook.target_type.get_or_insert_with(|| "AWS_LAMBDA".to_owned()) == "PAUSE";
    let stages = hook.lifecycle_stages.as_deref().unwrap_or_default();
    if stages.is_empty() {
        return Err(invalid("lifecycleStages must be specified for a deployment lifecycle hook."));
    }
    if stages.iter().collect::<BTreeSet<_>>().len() < stages.len() {
        return Err(invalid("lifecycleStages can not have the same stage twice."));
    }
    if pauses {
        let given = [
            ("hookTargetArn", hook.hook_target_arn.is_some()),
            ("roleArn", hook.role_arn.is_some()),
            ("hookDetails", hook.hook_details.is_some()),
        ];
        if let Some((field, _)) = given.iter().find(|(_, given)| *given) {
            return Err(invalid(format!("{field} is not applicable for PAUSE lifecycle hooks.")));
        }
        if let Some(stage) = stages.iter().find(|stage| NO_PAUSE_AT.contains(&stage.as_str())) {
            return Err(invalid(format!("PAUSE lifecycle hooks can't be configured at the {stage} stage.")));
        }
    } else {
        let Some(target) = hook.hook_target_arn.as_deref() else {
            return Err(invalid("hookTargetArn must be specified for AWS_LAMBDA lifecycle hooks."));
        };
        // Beyond AWS: a task definition, whose task runs once (decisions/0035).
        let can_be_called = target.parse::<base::Arn>().is_ok_and(|arn| match arn.aws_service() {
            "lambda" => arn.resource().starts_with("function:"),
            "ecs" => arn.resource().starts_with("task-definition/"),
            _ => false,
        });
        if !can_be_called {
            return Err(invalid(format!("hookTargetArn is not the ARN of a Lambda function: {target}")));
        }
        if let Some(role) = &hook.role_arn {
            let is_role = role
                .parse::<base::Arn>()
                .is_ok_and(|arn| arn.aws_service() == "iam" && arn.resource().starts_with("role/"));
            if !is_role {
                return Err(invalid(format!("roleArn is not the ARN of an IAM role: {role}")));
            }
        }
    }
    let timeout =
        hook.timeout_configuration.get_or_insert_with(DeploymentLifecycleHookTimeoutConfiguration::default);
    timeout.timeout_in_minutes.get_or_insert(HOOK_TIMEOUT_MINUTES);
    timeout.action.get_or_insert_with(|| "ROLLBACK".to_owned());
    Ok(hook)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(text: &Value) -> DeploymentConfiguration {
        wire::json::from_str(&text.to_string()).unwrap()
    }

    fn checked(given: &Value) -> Result<Value, String> {
        check(Some(&of(given)), None, DeploymentControllerType::Ecs, SchedulingStrategy::Replica)
            .map(|configuration| serde_json::from_str(&wire::json::to_string(&configuration)).unwrap())
            .map_err(|fault| fault.message().to_owned())
    }

    #[test]
    fn defaults() {
        let off = json!({"enable": false, "rollback": false});
        let rolling = json!({"strategy": "ROLLING", "maximumPercent": 200, "minimumHealthyPercent": 100,
            "bakeTimeInMinutes": 0, "deploymentCircuitBreaker": off});
        assert_eq!(checked(&json!({})).unwrap(), rolling);
        let daemon = check(None, None, DeploymentControllerType::Ecs, SchedulingStrategy::Daemon).unwrap();
        assert_eq!((daemon.maximum_percent, daemon.minimum_healthy_percent), (Some(100), Some(0)));
        let linear = checked(&json!({"strategy": "LINEAR"})).unwrap();
        assert_eq!(linear["linearConfiguration"], json!({"stepPercent": 10.0, "stepBakeTimeInMinutes": 6}));
        let canary = checked(&json!({"strategy": "CANARY"})).unwrap();
        assert_eq!(
            canary["canaryConfiguration"],
            json!({"canaryPercent": 5.0, "canaryBakeTimeInMinutes": 10})
        );
        let breaker =
            checked(&json!({"deploymentCircuitBreaker": {"enable": true, "rollback": true}})).unwrap();
        assert_eq!(
            breaker["deploymentCircuitBreaker"],
            json!({"enable": true, "rollback": true, "resetOnHealthyTask": true,
                "thresholdConfiguration": {"type": "BOUNDED_PERCENT", "value": 50}})
        );
        let paused = checked(
            &json!({"lifecycleHooks": [{"targetType": "PAUSE", "lifecycleStages": ["PRE_SCALE_UP"]}]}),
        );
        assert_eq!(
            paused.unwrap()["lifecycleHooks"][0]["timeoutConfiguration"],
            json!({"timeoutInMinutes": 1440, "action": "ROLLBACK"})
        );
    }

    #[test]
    fn what_is_refused() {
        let lambda = "arn:aws:lambda:us-east-1:000000000000:function:f";
        for (given, word) in [
            (json!({"maximumPercent": 100}), "will block deployments"),
            (json!({"maximumPercent": 50, "minimumHealthyPercent": 100}), "will block deployments"),
            (json!({"maximumPercent": 50, "minimumHealthyPercent": 50}), "must be greater"),
            (json!({"maximumPercent": -1}), "negative"),
            (json!({"maximumPercent": 300, "minimumHealthyPercent": 150}), "above 100"),
            (json!({"bakeTimeInMinutes": 1441}), "bakeTimeInMinutes"),
            (json!({"linearConfiguration": {}}), "LINEAR"),
            (json!({"canaryConfiguration": {}}), "CANARY"),
            (json!({"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 2.9}}), "stepPercent"),
            (json!({"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 10.05}}), "stepPercent"),
            (json!({"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 0.05}}), "canaryPercent"),
            (
                json!({"strategy": "CANARY", "canaryConfiguration": {"canaryBakeTimeInMinutes": -1}}),
                "canaryBakeTimeInMinutes",
            ),
            (
                json!({"deploymentCircuitBreaker": {"enable": true, "rollback": false,
                    "thresholdConfiguration": {"type": "BOUNDED_PERCENT", "value": 101}}}),
                "between 1 and 100",
            ),
            (
                json!({"deploymentCircuitBreaker": {"enable": true, "rollback": false,
                    "thresholdConfiguration": {"type": "COUNT", "value": 0}}}),
                "at least 1",
            ),
            (json!({"alarms": {"enable": true, "rollback": false, "alarmNames": []}}), "alarmNames"),
            (json!({"alarms": {"enable": true, "rollback": false, "alarmNames": ["a", "a"]}}), "twice"),
            (json!({"earlySuccessCriteria": {"enable": true}}), "must be specified"),
            (
                json!({"earlySuccessCriteria": {"enable": true, "healthyPercent": 90,
                    "sourceServiceRevisionCleanup": "DEFERRED"}}),
                "minimumHealthyPercent",
            ),
            (
                json!({"strategy": "BLUE_GREEN", "earlySuccessCriteria": {"enable": true, "healthyPercent": 100,
                    "sourceServiceRevisionCleanup": "DEFERRED"}}),
                "ROLLING",
            ),
            (json!({"lifecycleHooks": [{"lifecycleStages": ["PRE_SCALE_UP"]}]}), "hookTargetArn"),
            (json!({"lifecycleHooks": [{"hookTargetArn": lambda}]}), "lifecycleStages"),
            (
                json!({"lifecycleHooks": [{"hookTargetArn": "arn:aws:s3:::b", "lifecycleStages": ["PRE_SCALE_UP"]}]}),
                "Lambda",
            ),
            (
                json!({"lifecycleHooks": [{"targetType": "PAUSE", "hookTargetArn": lambda,
                    "lifecycleStages": ["PRE_SCALE_UP"]}]}),
                "not applicable",
            ),
            (
                json!({"lifecycleHooks": [{"targetType": "PAUSE", "lifecycleStages": ["TEST_TRAFFIC_SHIFT"]}]}),
                "TEST_TRAFFIC_SHIFT",
            ),
        ] {
            let refused = checked(&given).unwrap_err();
            assert!(refused.contains(word), "{given}: {refused}");
        }
        let daemon = check(
            Some(&of(&json!({"strategy": "CANARY"}))),
            None,
            DeploymentControllerType::Ecs,
            SchedulingStrategy::Daemon,
        );
        assert!(daemon.unwrap_err().message().contains("daemon"));
        let external = check(
            Some(&of(&json!({"strategy": "ROLLING"}))),
            None,
            DeploymentControllerType::External,
            SchedulingStrategy::Replica,
        );
        assert!(external.unwrap_err().message().contains("EXTERNAL"));
    }

    #[test]
    fn what_is_given_goes_over_what_is_there() {
        let there = of(&json!({"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 50.0},
            "bakeTimeInMinutes": 5, "lifecycleHooks": [{"targetType": "PAUSE", "lifecycleStages": ["PRE_SCALE_UP"]}]}));
        let update = |given: Value| {
            let (controller, scheduling) = (DeploymentControllerType::Ecs, SchedulingStrategy::Replica);
            check(Some(&of(&given)), Some(&there), controller, scheduling).unwrap()
        };
        let next = update(json!({"maximumPercent": 150}));
        assert_eq!((next.maximum_percent, next.bake_time_in_minutes), (Some(150), Some(5)));
        assert_eq!(next.linear_configuration.unwrap().step_percent, Some(50.0));
        let next = update(json!({"strategy": "CANARY", "lifecycleHooks": []}));
        assert!(next.linear_configuration.is_none() && next.lifecycle_hooks.unwrap().is_empty());
    }
}
