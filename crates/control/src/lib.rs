//! The control plane's acting half: sessions with agents, dispatch of orders, and the loops that make wishes true.
//!
//! Nothing here chooses: what is decided is decided by pure functions of `scheduler`, from rows of the store. A loop
//! takes no input but the store: a change may wake it, never tell it what changed.

pub mod deployment_configuration;
mod dispatch;
mod health;
mod loops;
mod names;
mod network_policy;
mod payload;
pub mod seams;
mod service_connect;
mod session;
mod telemetry;

use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Ids};
use store::Store;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use payload::PayloadError;
pub use session::{Admission, Refusal};

/// How the control plane behaves.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// How long a STOPPED task can be described.
    pub task_history: Duration,
}

impl Default for ControlConfig {
    /// A day: the documentation promises an hour, and an operator looks the next morning.
    fn default() -> Self {
        Self { task_history: Duration::from_secs(24 * 3600) }
    }
}

/// What every part of the control plane works with. A handle: cheap to clone.
#[derive(Clone)]
pub struct Control {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) config: ControlConfig,
    pub(crate) sessions: Arc<dispatch::Sessions>,
    pub(crate) followers: Arc<service_connect::Followers>,
    pub(crate) seams: seams::Seams,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Control {
    /// The acting half over `store`. Nothing runs before [`Control::run`].
    pub fn new(store: Store, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>, config: ControlConfig) -> Self {
        let (sessions, followers) = (Arc::default(), Arc::default());
        Self { store, clock, ids, config, sessions, followers, seams: seams::Seams::default() }
    }

    /// The same with these neighbours.
    pub fn with_seams(mut self, seams: seams::Seams) -> Self {
        self.seams = seams;
        self
    }

    /// Runs every loop until `stop` turns true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut running = JoinSet::new();
        running.spawn(dispatch::run(self.clone()));
        running.spawn(loops::connectivity::forget_sessions_of_the_last_process(self.clone()));
        running.spawn(loops::task_network::run(self.clone()));
        running.spawn(loops::history::run(self.clone()));
        running.spawn(loops::deadlines::run(self.clone()));
        running.spawn(keep_views(self.clone()));
        running.spawn(loops::services::run(self.clone()));
        running.spawn(loops::target_registration::run(self.clone()));
        running.spawn(loops::service_discovery::run(self.clone()));
        running.spawn(service_connect::run(self.clone()));
        running.spawn(loops::placement_queue::run(self.clone()));
        running.spawn(loops::capacity_providers::run(self.clone()));
        running.spawn(loops::daemons::run(self.clone()));
        running.spawn(loops::lifecycle_hooks::run(self.clone()));
        running.spawn(loops::load_balancers::run(self.clone()));
        running.spawn(loops::express_services::run(self.clone()));
        tokio::select! {
            biased;
            () = dispatch::turned_true(&mut stop) => {}
            ended = running.join_next() => {
                tracing::error!(?ended, "a loop of the control plane ended");
            }
        }
        running.shutdown().await;
        self.sessions.close_all();
    }
}

/// Views that are asked for rarely (where there is room for tasks) are kept up as rows change.
async fn keep_views(control: Control) {
    control.store.keep_views().await;
}
