//! Service deployments: the way from one revision to the next. Source: AWS, "ServiceDeployment" data type and
//! "Amazon ECS service deployments".

use base::{Arn, Scope, Timestamp};
use serde::{Deserialize, Serialize};

word_enum! {
    /// Where a service deployment stands.
    ServiceDeploymentStatus {
        /// Written, not begun.
        Pending = "PENDING",
        /// Under way.
        InProgress = "IN_PROGRESS",
        /// StopServiceDeployment with ABORT came.
        StopRequested = "STOP_REQUESTED",
        /// StopServiceDeployment with ROLLBACK, the circuit breaker, an alarm or a hook asks for the way back.
        RollbackRequested = "ROLLBACK_REQUESTED",
        /// On the way back.
        RollbackInProgress = "ROLLBACK_IN_PROGRESS",
        /// Done.
        Successful = "SUCCESSFUL",
        /// Ended without a way back.
        Stopped = "STOPPED",
        /// Back at the source revision.
        RollbackSuccessful = "ROLLBACK_SUCCESSFUL",
        /// Could not go back.
        RollbackFailed = "ROLLBACK_FAILED",
    }
}

word_enum! {
    /// Stages of a deployment, in order. `PRE_PRODUCTION_TRAFFIC_SHIFT` is a stage of hooks only: a deployment is not
    /// shown in it.
    LifecycleStage {
        /// Several source revisions are brought to one.
        ReconcileService = "RECONCILE_SERVICE",
        /// Before the new tasks.
        PreScaleUp = "PRE_SCALE_UP",
        /// New tasks come up.
        ScaleUp = "SCALE_UP",
        /// They are up.
        PostScaleUp = "POST_SCALE_UP",
        /// Test traffic goes over.
        TestTrafficShift = "TEST_TRAFFIC_SHIFT",
        /// It went.
        PostTestTrafficShift = "POST_TEST_TRAFFIC_SHIFT",
        /// Before production traffic goes over.
        PreProductionTrafficShift = "PRE_PRODUCTION_TRAFFIC_SHIFT",
        /// Production traffic goes over, at once or in steps.
        ProductionTrafficShift = "PRODUCTION_TRAFFIC_SHIFT",
        /// It went.
        PostProductionTrafficShift = "POST_PRODUCTION_TRAFFIC_SHIFT",
        /// Both run side by side.
        BakeTime = "BAKE_TIME",
        /// The old tasks go.
        CleanUp = "CLEAN_UP",
    }
}

word_enum! {
    /// What a monitor that can roll back is doing.
    MonitorStatus {
        /// It fired.
        Triggered = "TRIGGERED",
        /// It watches.
        Monitoring = "MONITORING",
        /// It watched to the end.
        MonitoringComplete = "MONITORING_COMPLETE",
        /// Not asked for.
        Disabled = "DISABLED",
    }
}

word_enum! {
    /// Where a hook stands.
    HookStatus {
        /// A pause: waits for ContinueServiceDeployment.
        AwaitingAction = "AWAITING_ACTION",
        /// Its target works.
        InProgress = "IN_PROGRESS",
        /// Passed.
        Succeeded = "SUCCEEDED",
        /// Refused.
        Failed = "FAILED",
        /// Its time ran out.
        TimedOut = "TIMED_OUT",
    }
}

/// A service deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceDeployment {
    /// Whose and where.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// The service's name.
    pub service: String,
    /// 21 letters, digits, hyphens and underscores.
    pub id: String,
    /// The revision it goes to.
    pub target_revision: String,
    /// The revisions it came from, with the tasks they were asked to have then.
    #[serde(default)]
    pub source_revisions: Vec<SourceRevision>,
    /// Where it stands.
    pub status: ServiceDeploymentStatus,
    /// Why.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// Stage; `None` before it begins.
    #[serde(default)]
    pub stage: Option<LifecycleStage>,
    /// When the stage was entered; bake times count from what is stored, so that a crash neither repeats nor skips them.
    #[serde(default)]
    pub stage_at: Option<Timestamp>,
    /// Step of the production traffic shift (linear and canary), from 0.
    #[serde(default)]
    pub step: u16,
    /// When the step's weights were known to hold; its bake time counts from here.
    #[serde(default)]
    pub step_at: Option<Timestamp>,
    /// `DeploymentConfiguration` as it was when this began, in awsJson.
    pub deployment_configuration_document: String,
    /// Asked for.
    pub created_at: Timestamp,
    /// Begun.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// Ended.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// A stop was asked for.
    #[serde(default)]
    pub stopped_at: Option<Timestamp>,
    /// Last change.
    pub updated_at: Timestamp,
    /// Failures that the circuit breaker counts now.
    #[serde(default)]
    pub failure_count: u32,
    /// The number of failures that trips it.
    #[serde(default)]
    pub failure_threshold: u32,
    /// Tasks of the target that had settled when it was last looked at: one more than that is one that became healthy.
    #[serde(default)]
    pub settled_tasks: i32,
    /// The circuit breaker.
    pub circuit_breaker_status: MonitorStatus,
    /// The alarms.
    pub alarm_status: MonitorStatus,
    /// Alarms that fired.
    #[serde(default)]
    pub triggered_alarms: Vec<String>,
    /// Since when and to which revision it goes back, and why.
    #[serde(default)]
    pub rollback: Option<Rollback>,
    /// Hooks that were reached, in order.
    #[serde(default)]
    pub hooks: Vec<HookRun>,
}

/// A revision that a deployment came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRevision {
    /// Its id.
    pub id: String,
    /// Tasks that it was asked to have when the deployment began.
    pub requested_count: i32,
}

/// The way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// Why.
    pub reason: String,
    /// Since when.
    pub started_at: Timestamp,
    /// The revision it goes back to.
    pub revision: String,
}

/// One hook at one stage: made once when the stage is reached, so that a crash does not call it under a second id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRun {
    /// Identity within the deployment.
    pub id: String,
    /// Which of the configuration's hooks, from 0.
    pub hook: u16,
    /// At which stage.
    pub stage: LifecycleStage,
    /// Which step of the production traffic shift, for hooks that are called at each.
    #[serde(default)]
    pub step: u16,
    /// Called on the way back, where its verdict changes nothing any more.
    #[serde(default)]
    pub rollback: bool,
    /// `AWS_LAMBDA` or `PAUSE`.
    pub target_type: String,
    /// The target's ARN.
    #[serde(default)]
    pub target: Option<String>,
    /// Where it stands.
    pub status: HookStatus,
    /// When its time runs out.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// What happens then: `ROLLBACK` or `CONTINUE`.
    #[serde(default)]
    pub timeout_action: Option<String>,
    /// Not called again before this moment (IN_PROGRESS answers, errors).
    #[serde(default)]
    pub call_not_before: Option<Timestamp>,
    /// Calls made.
    #[serde(default)]
    pub calls: u32,
    /// Calls in a row that brought no answer.
    #[serde(default)]
    pub errors: u32,
    /// What the target gave to be handed back with the next call.
    #[serde(default)]
    pub callback: Option<String>,
    /// Why it failed.
    #[serde(default)]
    pub reason: Option<String>,
}

impl ServiceDeploymentStatus {
    /// Whether nothing will happen any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Successful | Self::Stopped | Self::RollbackSuccessful | Self::RollbackFailed)
    }
}

impl HookStatus {
    /// Whether nothing will happen any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::TimedOut)
    }
}

impl ServiceDeployment {
    /// `arn:aws:ecs:REGION:ACCOUNT:service-deployment/CLUSTER/SERVICE/ID`.
    pub fn arn(&self) -> Arn {
        Self::arn_of(&self.scope, &self.cluster, &self.service, &self.id)
    }

    /// The ARN that the deployment `id` has or would have.
    pub fn arn_of(scope: &Scope, cluster: &str, service: &str, id: &str) -> Arn {
        Arn::new("ecs", scope, format!("service-deployment/{cluster}/{service}/{id}"))
    }
}
