//! Lifecycle hooks: which are to begin at a stage, and what those that were begun say.
//!
//! A hook is begun once per stage (and step, where a stage comes again at every step) and has one identity until it ends;
//! that it was begun is in the deployment's row, so that a crash begins none twice.
//! Source: AWS, "Lifecycle hooks for Amazon ECS service deployments", "Lambda hooks …" and "Pause hooks …".

use base::Timestamp;
use domain::{HookRun, HookStatus, LifecycleStage};

use super::configuration::{Configuration, HookTarget};

/// `targetType` of a hook that calls a function.
pub const AWS_LAMBDA: &str = "AWS_LAMBDA";
/// `targetType` of a hook that waits for ContinueServiceDeployment.
pub const PAUSE: &str = "PAUSE";
/// `timeoutConfiguration.action` that ends the deployment.
pub const ROLLBACK: &str = "ROLLBACK";
/// `timeoutConfiguration.action` that lets the deployment go on.
pub const CONTINUE: &str = "CONTINUE";

/// Seconds until a function that said IN_PROGRESS is called again, where it says no more.
pub const CALLBACK_SECONDS: i64 = 30;
/// The longest wait that a function may ask for: a day, which is also the longest that a function's hook may last.
pub const CALLBACK_SECONDS_MAXIMUM: i64 = 86_400;
/// Calls in a row without an answer after which a hook fails. With the waits between them (1, 2, 4 and 8 seconds) a
/// restart of the target is outlived; a target that is gone is found out before anyone wonders.
pub const UNANSWERED_MAXIMUM: u32 = 5;

/// What a call of a hook's target brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `hookStatus: SUCCEEDED`.
    Succeeded,
    /// `hookStatus: FAILED`.
    Failed,
    /// `hookStatus: IN_PROGRESS`.
    InProgress {
        /// `callBackDelay` in seconds.
        callback_seconds: Option<i64>,
        /// `hookDetails` so far, as JSON, to be handed back.
        details: Option<String>,
    },
    /// Something else: why it cannot be read. As on AWS, that fails the hook.
    Unreadable(String),
    /// No answer: the target is away, slow or broken. It is asked again.
    None(String),
    /// Nobody can be asked; why.
    Impossible(String),
}

/// Notes what a call brought.
pub fn note(run: &mut HookRun, answer: Answer, now: Timestamp) {
    if run.status != HookStatus::InProgress {
        return;
    }
    let target = run.target.clone().unwrap_or_default();
    run.calls = run.calls.saturating_add(1);
    run.errors = if matches!(answer, Answer::None(_)) { run.errors.saturating_add(1) } else { 0 };
    let mut fail = |reason: Option<String>| {
        run.status = HookStatus::Failed;
        run.reason = reason;
    };
    match answer {
        Answer::Succeeded => run.status = HookStatus::Succeeded,
        Answer::Failed => fail(None),
        Answer::Unreadable(why) => {
            fail(Some(format!("ECS was unable to parse the response from {target} due to: {why}")));
        }
        Answer::Impossible(why) => fail(Some(why)),
        Answer::None(why) if run.errors >= UNANSWERED_MAXIMUM => {
            fail(Some(format!("Lifecycle hook target {target} could not be invoked: {why}")));
        }
        Answer::None(_) => {
            let doublings = run.errors.saturating_sub(1).min(UNANSWERED_MAXIMUM);
            run.call_not_before = Some(now.plus_seconds(1 << doublings));
        }
        Answer::InProgress { callback_seconds, details } => {
            let seconds = callback_seconds.unwrap_or(CALLBACK_SECONDS).clamp(1, CALLBACK_SECONDS_MAXIMUM);
            run.call_not_before = Some(now.plus_seconds(seconds));
            run.callback = details.or_else(|| run.callback.take());
        }
    }
}

/// A moment of a deployment at which hooks may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The stage.
    pub stage: LifecycleStage,
    /// The step of the production traffic shift; 0 at stages that come once.
    pub step: u16,
    /// On the way back.
    pub rollback: bool,
}

/// What the hooks of a moment say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All have passed, or there are none.
    Passed,
    /// Some are under way; the earliest moment at which one's time is over.
    Waiting(Option<Timestamp>),
    /// One refused; why, in AWS's words.
    Failed(String),
}

/// The configuration's hooks that stand at `moment` and were not begun, without an id: who writes them gives it.
pub fn to_begin(
    configuration: &Configuration,
    runs: &[HookRun],
    moment: Moment,
    now: Timestamp,
) -> Vec<HookRun> {
    let mut begun = Vec::new();
    for (index, hook) in configuration.hooks.iter().enumerate() {
        let Ok(index) = u16::try_from(index) else { break };
        // On the way back only functions are called: nobody is asked whether to go back.
        let stands = hook.stages.contains(&moment.stage)
            && !(moment.rollback && matches!(hook.target, HookTarget::Pause));
        if !stands || runs.iter().any(|run| run.hook == index && is_at(run, moment)) {
            continue;
        }
        let (target_type, target, status) = match &hook.target {
            HookTarget::Lambda(arn) => (AWS_LAMBDA, Some(arn.clone()), HookStatus::InProgress),
            HookTarget::Pause => (PAUSE, None, HookStatus::AwaitingAction),
        };
        let action = if hook.timeout_rolls_back { ROLLBACK } else { CONTINUE };
        begun.push(HookRun {
            id: String::new(),
            hook: index,
            stage: moment.stage,
            step: moment.step,
            rollback: moment.rollback,
            target_type: target_type.to_owned(),
            target,
            status,
            expires_at: Some(now.plus_seconds(hook.timeout_minutes.max(0).saturating_mul(60))),
            timeout_action: Some(action.to_owned()),
            call_not_before: None,
            calls: 0,
            errors: 0,
            callback: None,
            reason: None,
        });
    }
    begun
}

/// Ends the runs whose time is over, and says what all of `moment` say together.
pub fn verdict(runs: &mut [HookRun], moment: Moment, now: Timestamp) -> Verdict {
    let mut waiting: Option<Option<Timestamp>> = None;
    let mut failed = None;
    for run in runs.iter_mut().filter(|run| is_at(run, moment)) {
        if !run.status.is_final() && run.expires_at.is_some_and(|expires_at| expires_at <= now) {
            run.status = HookStatus::TimedOut;
        }
        match run.status {
            HookStatus::Succeeded => {}
            HookStatus::TimedOut if run.timeout_action.as_deref() == Some(CONTINUE) => {}
            HookStatus::Failed | HookStatus::TimedOut => {
                failed.get_or_insert_with(|| failure(run));
            }
            HookStatus::AwaitingAction | HookStatus::InProgress => {
                let earliest = waiting.flatten();
                waiting = Some(match (earliest, run.expires_at) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                });
            }
        }
    }
    match (failed, waiting) {
        (Some(reason), _) => Verdict::Failed(reason),
        (None, Some(expires_at)) => Verdict::Waiting(expires_at),
        (None, None) => Verdict::Passed,
    }
}

/// Ends every run that is under way: nobody waits for it any more.
pub fn give_up(runs: &mut [HookRun], reason: &str) {
    for run in runs.iter_mut().filter(|run| !run.status.is_final()) {
        run.status = HookStatus::Failed;
        run.reason = Some(reason.to_owned());
    }
}

fn is_at(run: &HookRun, moment: Moment) -> bool {
    run.stage == moment.stage && run.step == moment.step && run.rollback == moment.rollback
}

/// `Service deployment rolled back because STAGE lifecycle hook(s) failed. …`
fn failure(run: &HookRun) -> String {
    let detail = match (&run.reason, &run.target) {
        (Some(reason), _) => reason.clone(),
        (None, Some(target)) if run.status == HookStatus::Failed => {
            format!("Lifecycle hook target {target} returned FAILED status.")
        }
        (None, Some(target)) => format!("Lifecycle hook target {target} timed out."),
        (None, None) if run.status == HookStatus::Failed => {
            format!("Lifecycle hook {} was answered with ROLLBACK.", run.id)
        }
        (None, None) => format!("Lifecycle hook {} timed out.", run.id),
    };
    format!("Service deployment rolled back because {} lifecycle hook(s) failed. {detail}", run.stage)
}
