//! Gives a task its network interface before it goes to an agent, and takes it back when it has ended.

use domain::Task;
use store::Snapshot;

use crate::Control;
use crate::payload::Surroundings;

/// What of the account and the network goes into a task's message.
pub fn surroundings(_snapshot: &Snapshot, _task: &Task) -> Surroundings {
    Surroundings::default()
}

/// Runs for ever.
pub async fn run(_control: Control) {
    std::future::pending::<()>().await;
}
