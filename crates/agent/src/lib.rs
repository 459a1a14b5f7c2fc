//! Floor 6: a node. Joins a cluster, runs the tasks it is ordered to, and tells the truth about them.
//!
//! ```text
//! session/acs.rs ── orders ──> task_engine/ ── one executor a task ──> decide.rs: what next ──> steps.rs: engine, network, images, logs
//!                                   │                                                            record on disk
//!                                   ├──> reporting.rs: SubmitTaskStateChange, until taken
//!                                   └──> session/tcs.rs: metrics, health          metadata/: what tasks may ask
//! ```
//!
//! The protocol is the stock Amazon ECS agent's (`agent_protocol`). Two things hold whatever happens: an order is on disk before it is
//! acknowledged, and with the control plane away tasks go on, restarts and health checks act, logs and state changes wait.

mod agent;
mod config;
mod files;
mod images;
mod logs;
mod metadata;
mod names;
mod network_policy;
mod registration;
mod registry_credentials;
mod reporting;
mod seams;
mod session;
mod state;
mod task_engine;
mod telemetry;

pub use agent::{Agent, AgentError, AgentHandle, ShutdownMode};
pub use config::{AgentConfig, ImagePullBehavior};
pub use names::NameQuestions;
pub use registration::{FARGATE_CAPACITY, OVER_COMMIT_PERCENT, RegistrationError};
pub use seams::{BoxFuture, ContainerEngine, ImageSource, TaskNetworking};
pub use state::StateError;

/// An error with what caused it, in one line.
pub(crate) fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}
