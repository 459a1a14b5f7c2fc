//! [`Link`]: the network between one agent and the control plane, and what can be wrong with it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::random::Random;

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Nothing gets through.
    pub cut: bool,
    /// Of a thousand messages, how many are lost.
    pub lost_permille: u64,
    /// Of a thousand messages, how many come twice.
    pub doubled_permille: u64,
    /// Shortest and longest time under way, in milliseconds.
    pub delay_millis: (u64, u64),
    /// Whether a later message may overtake an earlier one.
    pub reorders: bool,
}

impl Way {
    /// A good network.
    pub const FAIR: Self =
        Self { cut: false, lost_permille: 0, doubled_permille: 0, delay_millis: (1, 3), reorders: false };
    /// The network of fault F15: 30 % loss, 200 ms jitter, reordering and duplication.
    pub const FOUL: Self = Self {
        cut: false,
        lost_permille: 300,
        doubled_permille: 100,
        delay_millis: (1, 201),
        reorders: true,
    };
    /// Nothing gets through.
    pub const CUT: Self = Self { cut: true, ..Self::FAIR };
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// From the control plane.
    Agent,
    /// From the agent.
    ControlPlane,
}

/// The network between one agent and the control plane.
#[derive(Debug)]
pub struct Link {
    state: Mutex<State>,
    /// Rings when connections are reset.
    reset: Notify,
}

#[derive(Debug)]
struct State {
    to_agent: Way,
    to_plane: Way,
    random: Random,
    /// When anything last was, or was made, wrong with it.
    disturbed_at: Instant,
}

impl Link {
    /// A good link whose chance comes from `random`.
    pub fn new(random: Random) -> Self {
        let state = State { to_agent: Way::FAIR, to_plane: Way::FAIR, random, disturbed_at: Instant::now() };
        Self { state: Mutex::new(state), reset: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the two ways are like this.
    pub fn set(&self, to_agent: Way, to_plane: Way) {
        let mut state = self.state();
        (state.to_agent, state.to_plane) = (to_agent, to_plane);
        state.disturbed_at = Instant::now();
    }

    /// Good again.
    pub fn mend(&self) {
        self.set(Way::FAIR, Way::FAIR);
    }

    /// Connections break now; new ones can be made.
    pub fn reset(&self) {
        self.state().disturbed_at = Instant::now();
        self.reset.notify_waiters();
    }

    /// Waits for the next reset.
    pub async fn broken(&self) {
        self.reset.notified().await;
    }

    /// Since when nothing was wrong; `None` while something is.
    pub fn fair_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.to_agent == Way::FAIR && state.to_plane == Way::FAIR).then_some(state.disturbed_at)
    }

    /// Notes that something else disturbed what goes over it, such as the end of the agent.
    pub fn disturb(&self) {
        self.state().disturbed_at = Instant::now();
    }

    /// When a message that is sent now arrives: never, once or twice.
    pub fn carry(&self, towards: Towards) -> Vec<Duration> {
        let mut state = self.state();
        let way = match towards {
            Towards::Agent => state.to_agent,
            Towards::ControlPlane => state.to_plane,
        };
        if way.cut || state.random.permille(way.lost_permille) {
            return Vec::new();
        }
        let copies = if state.random.permille(way.doubled_permille) { 2 } else { 1 };
        (0..copies)
            .map(|_| Duration::from_millis(state.random.between(way.delay_millis.0, way.delay_millis.1)))
            .collect()
    }

    /// Whether a later message may overtake an earlier one.
    pub fn reorders(&self, towards: Towards) -> bool {
        let state = self.state();
        match towards {
            Towards::Agent => state.to_agent.reorders,
            Towards::ControlPlane => state.to_plane.reorders,
        }
    }
}
