//! How long an agent may be silent: when a container instance counts as disconnected.
//!
//! A connected agent answers every heartbeat of its session (one at least every [`HEARTBEAT_SECONDS`]); one that has been
//! silent for [`SILENCE_SECONDS`] is taken as gone, its session is closed, and the instance shows
//! `agentConnected: false`. Its tasks run on: the agent looks after them, and reports when it is back.

use base::Timestamp;

/// Seconds between two heartbeats to an agent. The stock agent hangs up after 60 to 120 s of silence.
pub const HEARTBEAT_SECONDS: i64 = 25;
/// Seconds without a word from an agent after which its session counts as dead: five heartbeats, and a little more.
pub const SILENCE_SECONDS: i64 = 130;

/// What the instance's row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Desired {
    /// `agentConnected`.
    pub agent_connected: bool,
}

/// What the session says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// When the agent was last heard; `None` where there is no session.
    pub last_heard: Option<Timestamp>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Show `agentConnected: true`.
    MarkConnected,
    /// Show `agentConnected: false`.
    MarkDisconnected,
    /// End the session: the agent is silent.
    CloseSession,
}

/// What to do, and when to look again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// In order.
    pub actions: Vec<Action>,
    /// When silence would become too long.
    pub wake_at: Option<Timestamp>,
}

/// Compares what is shown with what is heard.
pub fn decide(desired: Desired, observed: Observed, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    let deadline = observed.last_heard.map(|heard| heard.plus_seconds(SILENCE_SECONDS));
    let alive = deadline.is_some_and(|deadline| now < deadline);
    match (desired.agent_connected, alive) {
        (false, true) => decision.actions.push(Action::MarkConnected),
        (true, false) => decision.actions.push(Action::MarkDisconnected),
        _ => {}
    }
    if alive {
        decision.wake_at = deadline;
    } else if observed.last_heard.is_some() {
        decision.actions.push(Action::CloseSession);
    }
    decision
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_disconnects() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let decided = |agent_connected, last_heard: Option<i64>, now| {
            decide(Desired { agent_connected }, Observed { last_heard: last_heard.map(at) }, at(now))
        };
        assert_eq!(decided(false, None, 0), Decision::default());
        let fresh = decided(false, Some(10), 10);
        assert_eq!((fresh.actions, fresh.wake_at), (vec![Action::MarkConnected], Some(at(140))));
        assert_eq!(decided(true, Some(10), 139).actions, []);
        let silent = decided(true, Some(10), 140);
        assert_eq!(silent.actions, [Action::MarkDisconnected, Action::CloseSession]);
        assert_eq!(silent.wake_at, None);
        assert_eq!(decided(true, None, 0).actions, [Action::MarkDisconnected]);
    }
}
