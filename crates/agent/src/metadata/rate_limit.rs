//! A bucket of requests per caller, so that one task cannot keep the others from their metadata.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Requests a second. The stock agent's, per task here instead of for all.
const STEADY_PER_SECOND: f64 = 40.0;
/// Requests at once.
const BURST: f64 = 60.0;
/// Callers remembered; those whose bucket is full again are forgotten first.
const CALLERS_MAXIMUM: usize = 4096;

/// Buckets by source address.
#[derive(Default)]
pub(super) struct RateLimit {
    buckets: Mutex<HashMap<IpAddr, (f64, Instant)>>,
}

impl RateLimit {
    /// Whether one more request of `caller` may be served at `now`.
    pub(super) fn admit(&self, caller: IpAddr, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= CALLERS_MAXIMUM && !buckets.contains_key(&caller) {
            let full = Duration::from_secs_f64(BURST / STEADY_PER_SECOND);
            buckets.retain(|_, (_, last)| now.saturating_duration_since(*last) < full);
            if buckets.len() >= CALLERS_MAXIMUM {
                return false;
            }
        }
        let (left, last) = buckets.entry(caller).or_insert((BURST, now));
        let gained = now.saturating_duration_since(*last).as_secs_f64() * STEADY_PER_SECOND;
        *left = (*left + gained).min(BURST);
        *last = now;
        if *left < 1.0 {
            return false;
        }
        *left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a02_a_burst_is_cut_off_and_others_are_served() {
        let (limit, now) = (RateLimit::default(), Instant::now());
        let (one, other) = (IpAddr::from([172, 31, 0, 5]), IpAddr::from([172, 31, 0, 6]));
        assert_eq!((0..100).filter(|_| limit.admit(one, now)).count(), 60);
        assert!(limit.admit(other, now));
        assert_eq!((0..100).filter(|_| limit.admit(one, now + Duration::from_secs(1))).count(), 40);
    }

    #[test]
    fn the_number_of_callers_is_bounded() {
        let (limit, now) = (RateLimit::default(), Instant::now());
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        let most = u32::try_from(CALLERS_MAXIMUM).unwrap();
        assert!((0..most).all(|number| limit.admit(address(number), now)));
        assert!(!limit.admit(address(most), now));
        assert!(limit.admit(address(most), now + Duration::from_secs(2)));
    }
}
