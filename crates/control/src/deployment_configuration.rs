//! A stored `DeploymentConfiguration` as the decider of deployments sees it.

use api::ecs as shape;
use domain::{LifecycleStage, SchedulingStrategy};
use scheduler::deployment::configuration::{
    Alarms, CANARY_BAKE_MINUTES, CANARY_TENTHS, CircuitBreaker, Configuration, EarlySuccess,
    HOOK_TIMEOUT_MINUTES, Hook, HookTarget, STEP_BAKE_MINUTES, STEP_TENTHS, Strategy, ThresholdType,
};
use scheduler::deployment::hooks::CONTINUE;

/// Reads a document in awsJson. Total: what was stored was accepted once, and what is missing has AWS's default.
pub fn parse(document: &str, scheduling_strategy: SchedulingStrategy) -> Configuration {
    let configuration = read(document);
    let percents = match scheduling_strategy {
        SchedulingStrategy::Replica => (100, 200),
        SchedulingStrategy::Daemon => (0, 100),
    };
    Configuration {
        strategy: strategy(&configuration),
        minimum_healthy_percent: configuration.minimum_healthy_percent.unwrap_or(percents.0),
        maximum_percent: configuration.maximum_percent.unwrap_or(percents.1),
        bake_minutes: configuration.bake_time_in_minutes.map(i64::from),
        circuit_breaker: configuration
            .deployment_circuit_breaker
            .as_ref()
            .map(circuit_breaker)
            .unwrap_or_default(),
        alarms: configuration.alarms.map(alarms).unwrap_or_default(),
        early_success: configuration.early_success_criteria.as_ref().and_then(early_success),
        hooks: configuration.lifecycle_hooks.unwrap_or_default().into_iter().map(hook).collect(),
    }
}

/// The document itself.
pub fn read(document: &str) -> shape::DeploymentConfiguration {
    wire::json::from_str(document).unwrap_or_else(|error| {
        tracing::error!(%error, "a stored deployment configuration cannot be read: defaults are taken");
        shape::DeploymentConfiguration::default()
    })
}

/// Percent with one decimal, in tenths.
fn tenths(percent: f64) -> u16 {
    // In range: values of the API are between 0.1 and 100.
    (percent * 10.0).round().clamp(0.0, 1000.0) as u16
}

fn strategy(configuration: &shape::DeploymentConfiguration) -> Strategy {
    match configuration.strategy.as_deref() {
        Some("BLUE_GREEN") => Strategy::BlueGreen,
        Some("LINEAR") => {
            let linear = configuration.linear_configuration.clone().unwrap_or_default();
            Strategy::Linear {
                step_tenths: linear.step_percent.map_or(STEP_TENTHS, tenths),
                step_bake_minutes: linear.step_bake_time_in_minutes.map_or(STEP_BAKE_MINUTES, i64::from),
            }
        }
        Some("CANARY") => {
            let canary = configuration.canary_configuration.clone().unwrap_or_default();
            Strategy::Canary {
                canary_tenths: canary.canary_percent.map_or(CANARY_TENTHS, tenths),
                canary_bake_minutes: canary
                    .canary_bake_time_in_minutes
                    .map_or(CANARY_BAKE_MINUTES, i64::from),
            }
        }
        _ => Strategy::Rolling,
    }
}

fn circuit_breaker(breaker: &shape::DeploymentCircuitBreaker) -> CircuitBreaker {
    let default = CircuitBreaker::default();
    let threshold = breaker.threshold_configuration.clone().unwrap_or_default();
    CircuitBreaker {
        enable: breaker.enable.unwrap_or_default(),
        rollback: breaker.rollback.unwrap_or_default(),
        reset_on_healthy_task: breaker.reset_on_healthy_task.unwrap_or(default.reset_on_healthy_task),
        threshold_type: match threshold.type_.as_deref() {
            Some("COUNT") => ThresholdType::Count,
            Some("UNBOUNDED_PERCENT") => ThresholdType::UnboundedPercent,
            _ => ThresholdType::BoundedPercent,
        },
        threshold_value: threshold.value.unwrap_or(default.threshold_value),
    }
}

fn alarms(alarms: shape::DeploymentAlarms) -> Alarms {
    Alarms {
        enable: alarms.enable.unwrap_or_default(),
        rollback: alarms.rollback.unwrap_or_default(),
        names: alarms.alarm_names.unwrap_or_default(),
    }
}

fn early_success(criteria: &shape::DeploymentEarlySuccessCriteria) -> Option<EarlySuccess> {
    criteria.enable.unwrap_or_default().then(|| EarlySuccess {
        healthy_percent: criteria.healthy_percent.unwrap_or(100),
        cleanup_is_blocking: criteria.source_service_revision_cleanup.as_deref() != Some("DEFERRED"),
    })
}

fn hook(hook: shape::DeploymentLifecycleHook) -> Hook {
    let timeout = hook.timeout_configuration.unwrap_or_default();
    let target = match hook.target_type.as_deref() {
        Some("PAUSE") => HookTarget::Pause,
        _ => HookTarget::Lambda(hook.hook_target_arn.unwrap_or_default()),
    };
    let stages = hook.lifecycle_stages.unwrap_or_default();
    Hook {
        target,
        stages: stages.iter().filter_map(|stage| stage.parse::<LifecycleStage>().ok()).collect(),
        timeout_minutes: timeout.timeout_in_minutes.map_or(HOOK_TIMEOUT_MINUTES, i64::from),
        timeout_rolls_back: timeout.action.as_deref() != Some(CONTINUE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_has_the_default() {
        assert_eq!(parse("{}", SchedulingStrategy::Replica), Configuration::default());
        let daemon = parse("{}", SchedulingStrategy::Daemon);
        assert_eq!((daemon.minimum_healthy_percent, daemon.maximum_percent), (0, 100));
        assert_eq!(parse("no JSON", SchedulingStrategy::Replica), Configuration::default());
        let linear = parse(r#"{"strategy": "LINEAR"}"#, SchedulingStrategy::Replica);
        assert_eq!(linear.strategy, Strategy::Linear { step_tenths: 100, step_bake_minutes: 6 });
    }

    #[test]
    fn every_member_arrives() {
        let document = serde_json::json!({
            "strategy": "CANARY",
            "canaryConfiguration": {"canaryPercent": 0.1, "canaryBakeTimeInMinutes": 3},
            "bakeTimeInMinutes": 4,
            "minimumHealthyPercent": 50,
            "maximumPercent": 150,
            "alarms": {"alarmNames": ["high"], "enable": true, "rollback": true},
            "deploymentCircuitBreaker": {
                "enable": true, "rollback": true, "resetOnHealthyTask": false,
                "thresholdConfiguration": {"type": "UNBOUNDED_PERCENT", "value": 20},
            },
            "earlySuccessCriteria": {"enable": true, "healthyPercent": 75, "sourceServiceRevisionCleanup": "DEFERRED"},
            "lifecycleHooks": [
                {"targetType": "PAUSE", "lifecycleStages": ["PRE_SCALE_UP"],
                 "timeoutConfiguration": {"timeoutInMinutes": 5, "action": "CONTINUE"}},
                {"hookTargetArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
                 "lifecycleStages": ["POST_SCALE_UP", "PRE_PRODUCTION_TRAFFIC_SHIFT"], "hookDetails": {"a": 1}},
            ],
        });
        let expected = Configuration {
            strategy: Strategy::Canary { canary_tenths: 1, canary_bake_minutes: 3 },
            minimum_healthy_percent: 50,
            maximum_percent: 150,
            bake_minutes: Some(4),
            circuit_breaker: CircuitBreaker {
                enable: true,
                rollback: true,
                reset_on_healthy_task: false,
                threshold_type: ThresholdType::UnboundedPercent,
                threshold_value: 20,
            },
            alarms: Alarms { enable: true, rollback: true, names: vec!["high".into()] },
            early_success: Some(EarlySuccess { healthy_percent: 75, cleanup_is_blocking: false }),
            hooks: vec![
                Hook {
                    target: HookTarget::Pause,
                    stages: vec![LifecycleStage::PreScaleUp],
                    timeout_minutes: 5,
                    timeout_rolls_back: false,
                },
                Hook {
                    target: HookTarget::Lambda("arn:aws:lambda:us-east-1:000000000000:function:f".into()),
                    stages: vec![LifecycleStage::PostScaleUp, LifecycleStage::PreProductionTrafficShift],
                    timeout_minutes: 1440,
                    timeout_rolls_back: true,
                },
            ],
        };
        assert_eq!(parse(&document.to_string(), SchedulingStrategy::Replica), expected);
    }
}
