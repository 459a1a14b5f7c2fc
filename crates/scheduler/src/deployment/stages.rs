//! The order of a deployment's stages.

use domain::LifecycleStage::{
    self, BakeTime, CleanUp, PostProductionTrafficShift, PostScaleUp, PostTestTrafficShift,
    PreProductionTrafficShift, PreScaleUp, ProductionTrafficShift, ReconcileService, ScaleUp,
    TestTrafficShift,
};

use super::configuration::Configuration;
use super::traffic_shift::is_last_step;

/// Whether `stage` comes before `other`.
pub fn is_before(stage: LifecycleStage, other: LifecycleStage) -> bool {
    // The enum is declared in order.
    stage < other
}

/// The first stage. RECONCILE_SERVICE is only for a service that has more than one revision to come from.
pub fn first(sources: usize) -> LifecycleStage {
    if sources > 1 { ReconcileService } else { PreScaleUp }
}

/// The stage and step behind `stage` and `step`; `None` behind the last. The traffic goes over step by step, each with the
/// two stages PRE_PRODUCTION_TRAFFIC_SHIFT and PRODUCTION_TRAFFIC_SHIFT.
pub fn next(
    configuration: &Configuration,
    stage: LifecycleStage,
    step: u16,
    has_survivor: bool,
) -> Option<(LifecycleStage, u16)> {
    let next = match stage {
        ReconcileService => PreScaleUp,
        PreScaleUp => ScaleUp,
        ScaleUp => PostScaleUp,
        PostScaleUp => TestTrafficShift,
        TestTrafficShift => PostTestTrafficShift,
        PostTestTrafficShift => PreProductionTrafficShift,
        PreProductionTrafficShift => ProductionTrafficShift,
        ProductionTrafficShift if !is_last_step(configuration, step, has_survivor) => {
            return Some((PreProductionTrafficShift, step.saturating_add(1)));
        }
        ProductionTrafficShift => PostProductionTrafficShift,
        PostProductionTrafficShift => BakeTime,
        BakeTime => CleanUp,
        CleanUp => return None,
    };
    Some((next, step))
}

/// The step that a hook at `stage` belongs to: only the two stages of the shift come more than once.
pub fn hook_step(stage: LifecycleStage, step: u16) -> u16 {
    if matches!(stage, PreProductionTrafficShift | ProductionTrafficShift) { step } else { 0 }
}
