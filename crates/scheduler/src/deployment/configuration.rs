//! What a deployment was asked to be: the decider's view of `DeploymentConfiguration`, with AWS's defaults filled in.
//!
//! Source: AWS, "DeploymentConfiguration", "DeploymentCircuitBreaker", "ThresholdConfiguration", "LinearConfiguration",
//! "CanaryConfiguration", "DeploymentEarlySuccessCriteria" and "DeploymentLifecycleHook" data types.

use domain::LifecycleStage;

/// `linearConfiguration.stepPercent` where none is given, in tenths of a percent.
pub const STEP_TENTHS: u16 = 100;
/// `linearConfiguration.stepBakeTimeInMinutes` where none is given.
pub const STEP_BAKE_MINUTES: i64 = 6;
/// `canaryConfiguration.canaryPercent` where none is given, in tenths of a percent.
pub const CANARY_TENTHS: u16 = 50;
/// `canaryConfiguration.canaryBakeTimeInMinutes` where none is given.
pub const CANARY_BAKE_MINUTES: i64 = 10;
/// `timeoutConfiguration.timeoutInMinutes` where none is given.
pub const HOOK_TIMEOUT_MINUTES: i64 = 1440;
/// All traffic, in tenths of a percent.
pub const ALL_TRAFFIC: u16 = 1000;

/// How tasks and traffic go over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Task by task.
    #[default]
    Rolling,
    /// Two full sets, production traffic at once.
    BlueGreen,
    /// Two full sets, production traffic in equal steps.
    Linear {
        /// Size of a step in tenths of a percent of traffic.
        step_tenths: u16,
        /// Wait after each step but the last.
        step_bake_minutes: i64,
    },
    /// Two full sets, a little production traffic first.
    Canary {
        /// The first step in tenths of a percent of traffic.
        canary_tenths: u16,
        /// Wait after it.
        canary_bake_minutes: i64,
    },
}

/// How a threshold is reckoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThresholdType {
    /// The value itself.
    Count,
    /// Percent of the desired count, rounded up, held between 3 and 200.
    BoundedPercent,
    /// Percent of the desired count, rounded up.
    UnboundedPercent,
}

/// `deploymentCircuitBreaker`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// Whether it may end a deployment.
    pub enable: bool,
    /// Whether the service then goes back.
    pub rollback: bool,
    /// Failures in a row (true) or in all (false).
    pub reset_on_healthy_task: bool,
    /// How the threshold is reckoned.
    pub threshold_type: ThresholdType,
    /// Its value.
    pub threshold_value: i32,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            enable: false,
            rollback: false,
            reset_on_healthy_task: true,
            threshold_type: ThresholdType::BoundedPercent,
            threshold_value: 50,
        }
    }
}

/// `alarms`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    /// Whether they are looked at.
    pub enable: bool,
    /// Whether the service goes back when one fires.
    pub rollback: bool,
    /// Their names.
    pub names: Vec<String>,
}

/// `earlySuccessCriteria` that are enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlySuccess {
    /// Percent of the desired count that must be healthy.
    pub healthy_percent: i32,
    /// Whether the deployment waits for the old tasks to be gone.
    pub cleanup_is_blocking: bool,
}

/// Whom a hook asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookTarget {
    /// A function, by ARN.
    Lambda(String),
    /// ContinueServiceDeployment.
    Pause,
}

/// One of `lifecycleHooks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Whom it asks.
    pub target: HookTarget,
    /// At which stages.
    pub stages: Vec<LifecycleStage>,
    /// For how long.
    pub timeout_minutes: i64,
    /// Whether the service goes back when the time is over; else the deployment goes on.
    pub timeout_rolls_back: bool,
}

/// `DeploymentConfiguration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Strategy.
    pub strategy: Strategy,
    /// `minimumHealthyPercent`.
    pub minimum_healthy_percent: i32,
    /// `maximumPercent`.
    pub maximum_percent: i32,
    /// `bakeTimeInMinutes` as given.
    pub bake_minutes: Option<i64>,
    /// The circuit breaker.
    pub circuit_breaker: CircuitBreaker,
    /// The alarms.
    pub alarms: Alarms,
    /// Early success, where it is enabled.
    pub early_success: Option<EarlySuccess>,
    /// Hooks, in order.
    pub hooks: Vec<Hook>,
}

impl Default for Configuration {
    /// A REPLICA service's, as AWS fills it in.
    fn default() -> Self {
        Self {
            strategy: Strategy::Rolling,
            minimum_healthy_percent: 100,
            maximum_percent: 200,
            bake_minutes: None,
            circuit_breaker: CircuitBreaker::default(),
            alarms: Alarms::default(),
            early_success: None,
            hooks: Vec::new(),
        }
    }
}

impl Configuration {
    /// Whether old and new run as two full sets.
    pub fn side_by_side(&self) -> bool {
        self.strategy != Strategy::Rolling
    }

    /// Tasks that must stay healthy: rounded up.
    pub fn healthy_floor(&self, desired_count: i32) -> i32 {
        percent_up(desired_count, self.minimum_healthy_percent)
    }

    /// Tasks that may run at once: rounded down.
    pub fn running_ceiling(&self, desired_count: i32) -> i32 {
        let ceiling = i64::from(desired_count.max(0)) * i64::from(self.maximum_percent.max(0)) / 100;
        i32::try_from(ceiling).unwrap_or(i32::MAX)
    }

    /// Share of production traffic of the new revision after step `step`, in tenths of a percent.
    pub fn production_tenths(&self, step: u16) -> u16 {
        let tenths = match self.strategy {
            Strategy::Rolling | Strategy::BlueGreen => ALL_TRAFFIC,
            Strategy::Linear { step_tenths, .. } => step_tenths.max(1).saturating_mul(step.saturating_add(1)),
            Strategy::Canary { canary_tenths, .. } if step == 0 => canary_tenths,
            Strategy::Canary { .. } => ALL_TRAFFIC,
        };
        tenths.min(ALL_TRAFFIC)
    }

    /// Seconds to wait after step `step` before the next; the last step has none.
    pub fn step_bake_seconds(&self, step: u16) -> i64 {
        if self.production_tenths(step) >= ALL_TRAFFIC {
            return 0;
        }
        let minutes = match self.strategy {
            Strategy::Linear { step_bake_minutes, .. } => step_bake_minutes,
            Strategy::Canary { canary_bake_minutes, .. } => canary_bake_minutes,
            Strategy::Rolling | Strategy::BlueGreen => 0,
        };
        minutes.max(0).saturating_mul(60)
    }

    /// Seconds for which both run once all traffic is over: none where none are given. A rolling deployment bakes for at
    /// least as long as its alarms look back.
    pub fn bake_seconds(&self, alarm_bake_seconds: i64) -> i64 {
        let given = self.bake_minutes.unwrap_or(0).max(0).saturating_mul(60);
        let watches = self.alarms.enable && !self.side_by_side();
        if watches { given.max(alarm_bake_seconds) } else { given }
    }

    /// Healthy tasks at which the new revision counts as up.
    pub fn success_count(&self, desired_count: i32) -> i32 {
        match self.early_success {
            Some(early) if !self.side_by_side() => {
                percent_up(desired_count, early.healthy_percent).min(desired_count.max(0))
            }
            _ => desired_count.max(0),
        }
    }
}

/// `percent` of `count`, rounded up.
pub(super) fn percent_up(count: i32, percent: i32) -> i32 {
    let hundredths = i64::from(count.max(0)) * i64::from(percent.max(0));
    i32::try_from((hundredths + 99) / 100).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_round_up_and_ceilings_down() {
        let configuration =
            Configuration { minimum_healthy_percent: 50, maximum_percent: 150, ..Configuration::default() };
        let limits = |count| (configuration.healthy_floor(count), configuration.running_ceiling(count));
        assert_eq!([0, 1, 3, 4].map(limits), [(0, 0), (1, 1), (2, 4), (2, 6)]);
        assert_eq!(limits(i32::MAX).1, i32::MAX);
        assert_eq!(limits(-3), (0, 0));
    }

    #[test]
    fn steps_end_at_all_traffic() {
        let with = |strategy| Configuration { strategy, ..Configuration::default() };
        let linear = with(Strategy::Linear { step_tenths: 300, step_bake_minutes: 2 });
        assert_eq!([0, 1, 2, 3, 4].map(|step| linear.production_tenths(step)), [300, 600, 900, 1000, 1000]);
        assert_eq!([0, 2, 3].map(|step| linear.step_bake_seconds(step)), [120, 120, 0]);
        let canary = with(Strategy::Canary { canary_tenths: 1, canary_bake_minutes: 7 });
        assert_eq!([0, 1].map(|step| canary.production_tenths(step)), [1, 1000]);
        assert_eq!([0, 1].map(|step| canary.step_bake_seconds(step)), [420, 0]);
        assert_eq!(with(Strategy::BlueGreen).production_tenths(0), 1000);
    }

    #[test]
    fn bake_time_is_given_or_the_strategys() {
        let mut configuration = Configuration::default();
        assert_eq!(configuration.bake_seconds(300), 0);
        configuration.alarms.enable = true;
        // What is stored has a 0 where none was given.
        configuration.bake_minutes = Some(0);
        assert_eq!(configuration.bake_seconds(300), 300);
        configuration.bake_minutes = Some(6);
        assert_eq!(configuration.bake_seconds(300), 360);
        configuration.bake_minutes = None;
        configuration.strategy = Strategy::BlueGreen;
        assert_eq!(configuration.bake_seconds(300), 0);
        configuration.bake_minutes = Some(15);
        assert_eq!(configuration.bake_seconds(300), 900);
    }
}
