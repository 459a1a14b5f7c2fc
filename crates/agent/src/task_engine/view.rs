//! [`TaskView`]: what others may see of a task while its executor owns it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::health::Health;
use super::plan::TaskPlan;
use super::record::TaskRecord;

/// A task at one moment.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// What was ordered.
    pub plan: Arc<TaskPlan>,
    /// What is known.
    pub record: TaskRecord,
    /// Health, by container.
    pub health: Vec<Health>,
    /// The labels of the containers' images, by container; empty until an image is here.
    pub image_labels: Vec<BTreeMap<String, String>>,
}
