//! Which share of the traffic each revision is to have.
//!
//! The weights are a wish in the service's row; whoever owns the listeners makes them hold. All weights change in one
//! write, so that they always add up to all traffic: on the way back too.

use domain::{LifecycleStage, RevisionInUse};

use super::configuration::{ALL_TRAFFIC, Configuration};
use super::stages::is_before;

/// Production and test share of the target, in tenths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Of production traffic.
    pub production: u16,
    /// Of test traffic.
    pub test: u16,
}

/// The target's share in `stage` at `step`.
pub fn share(configuration: &Configuration, stage: LifecycleStage, step: u16, has_survivor: bool) -> Share {
    let production = if stage == LifecycleStage::PreProductionTrafficShift && step > 0 {
        configuration.production_tenths(step - 1)
    } else if is_before(stage, LifecycleStage::ProductionTrafficShift) {
        0
    } else if !has_survivor {
        // A service's first deployment has nobody to share with.
        ALL_TRAFFIC
    } else if stage == LifecycleStage::ProductionTrafficShift {
        configuration.production_tenths(step)
    } else {
        ALL_TRAFFIC
    };
    let test = if is_before(stage, LifecycleStage::TestTrafficShift) { 0 } else { ALL_TRAFFIC };
    Share { production, test }
}

/// The last step of the production traffic shift.
pub fn is_last_step(configuration: &Configuration, step: u16, has_survivor: bool) -> bool {
    !has_survivor || configuration.production_tenths(step) >= ALL_TRAFFIC
}

/// Gives the target its share and the survivor the rest.
pub fn set(revisions: &mut [RevisionInUse], target: &str, survivor: Option<&str>, share: Share) {
    for revision in revisions {
        let wanted = if revision.id == target {
            share
        } else if survivor == Some(revision.id.as_str()) {
            Share { production: ALL_TRAFFIC - share.production, test: ALL_TRAFFIC - share.test }
        } else {
            Share { production: 0, test: 0 }
        };
        (revision.production_weight, revision.test_weight) = (wanted.production, wanted.test);
    }
}
