//! The control plane's acting half: sessions with agents, dispatch of orders, and the loops that make wishes true.
//!
//! Nothing here chooses: what is decided is decided by pure functions of `scheduler`, from rows of the store. A loop
//! takes no input but the store: a change may wake it, never tell it what changed.

mod dispatch;
mod health;
mod loops;
mod payload;
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
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Control {
    /// The acting half over `store`. Nothing runs before [`Control::run`].
    pub fn new(store: Store, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>, config: ControlConfig) -> Self {
        Self { store, clock, ids, config, sessions: Arc::default() }
    }

    /// Runs every loop until `stop` turns true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut running = JoinSet::new();
        running.spawn(dispatch::run(self.clone()));
        running.spawn(loops::connectivity::forget_sessions_of_the_last_process(self.clone()));
        running.spawn(loops::task_network::run(self.clone()));
        running.spawn(loops::history::run(self.clone()));
        tokio::select! {
            () = dispatch::turned_true(&mut stop) => {}
            ended = running.join_next() => {
                tracing::error!(?ended, "a loop of the control plane ended");
            }
        }
        running.shutdown().await;
        self.sessions.close_all();
    }
}
