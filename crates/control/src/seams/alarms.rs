//! The state of CloudWatch alarms.

use base::Scope;

/// An alarm's state. Source: Amazon CloudWatch, "Using Amazon CloudWatch alarms".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmState {
    /// The metric is within bounds.
    Ok,
    /// It is not.
    Alarm,
    /// Nobody knows: too few data, or no such alarm.
    InsufficientData,
}

/// Who knows the state of alarms.
pub trait Alarms: Send + Sync + 'static {
    /// The state of the alarm `name`.
    fn state(&self, scope: &Scope, name: &str) -> AlarmState;

    /// For how long the alarm looks back: its period times its evaluation periods. A rolling deployment bakes as long.
    fn evaluation_seconds(&self, _scope: &Scope, _name: &str) -> i64 {
        0
    }
}

/// A region without alarms.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAlarms;

impl Alarms for NoAlarms {
    fn state(&self, _scope: &Scope, _name: &str) -> AlarmState {
        AlarmState::InsufficientData
    }
}
