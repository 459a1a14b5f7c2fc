//! What is counted of one service's traffic from one task. Source: AWS, "Amazon ECS Service Connect metrics"; the names of
//! the counters are AWS's.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counts since the listener was opened.
#[derive(Debug, Default)]
pub struct Counters {
    active_connection_count: AtomicI64,
    new_connection_count: AtomicU64,
    processed_bytes: AtomicU64,
    request_count: AtomicU64,
    request_count_per_class: [AtomicU64; 4],
    target_connection_error_count: AtomicU64,
    retry_count: AtomicU64,
    ejection_count: AtomicU64,
    response_microseconds: AtomicU64,
}

impl Counters {
    /// A connection is served until what this gives is dropped.
    pub(crate) fn connection(self: &std::sync::Arc<Self>) -> Connection {
        self.new_connection_count.fetch_add(1, Ordering::Relaxed);
        self.active_connection_count.fetch_add(1, Ordering::Relaxed);
        Connection(std::sync::Arc::clone(self))
    }

    pub(crate) fn bytes(&self, count: u64) {
        self.processed_bytes.fetch_add(count, Ordering::Relaxed);
    }

    /// An answer of an endpoint, with the time to its head.
    pub(crate) fn answered(&self, status: u16, after: std::time::Duration) {
        self.request_count.fetch_add(1, Ordering::Relaxed);
        let class = usize::from(status / 100).checked_sub(2);
        if let Some(counter) = class.and_then(|class| self.request_count_per_class.get(class)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let microseconds = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.response_microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    pub(crate) fn connection_error(&self) {
        self.target_connection_error_count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retry_count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ejected(&self) {
        self.ejection_count.fetch_add(1, Ordering::Relaxed);
    }

    /// Name and count of each.
    pub fn values(&self) -> Vec<(&'static str, u64)> {
        let class = |class: usize| self.request_count_per_class[class].load(Ordering::Relaxed);
        let active = self.active_connection_count.load(Ordering::Relaxed);
        vec![
            ("ActiveConnectionCount", u64::try_from(active).unwrap_or_default()),
            ("NewConnectionCount", self.new_connection_count.load(Ordering::Relaxed)),
            ("ProcessedBytes", self.processed_bytes.load(Ordering::Relaxed)),
            ("RequestCount", self.request_count.load(Ordering::Relaxed)),
            ("HTTPCode_Target_2XX_Count", class(0)),
            ("HTTPCode_Target_3XX_Count", class(1)),
            ("HTTPCode_Target_4XX_Count", class(2)),
            ("HTTPCode_Target_5XX_Count", class(3)),
            ("TargetConnectionErrorCount", self.target_connection_error_count.load(Ordering::Relaxed)),
            ("RetryCount", self.retry_count.load(Ordering::Relaxed)),
            ("EjectionCount", self.ejection_count.load(Ordering::Relaxed)),
            ("TargetResponseMicroseconds", self.response_microseconds.load(Ordering::Relaxed)),
        ]
    }
}

/// A connection under way.
pub(crate) struct Connection(std::sync::Arc<Counters>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.active_connection_count.fetch_sub(1, Ordering::Relaxed);
    }
}
