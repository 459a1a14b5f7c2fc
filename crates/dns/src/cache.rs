//! Answers from upstream, kept for as long as they allow. Sources: RFC 2308 (nothing found), RFC 8767 (past their time).

use std::collections::HashMap;
use std::hash::Hash;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, Record, RecordType};

use crate::limits::{
    CACHED_ANSWERS, CACHED_NEGATIVE_SECONDS_MAXIMUM, CACHED_SECONDS_MAXIMUM, STALE_SECONDS_MAXIMUM,
    STALE_TTL_SECONDS,
};

/// What is asked upstream: name in lower case, type, signatures wanted, signatures checked by the asker.
pub(crate) type CacheKey = (domain::DnsName, RecordType, bool, bool);

/// An answer from upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub code: ResponseCode,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    /// Seconds for which it may be given.
    ttl_seconds: u32,
    /// Milliseconds since the epoch.
    taken_at: i64,
}

impl Kept {
    /// An answer that came in at `now` (milliseconds).
    pub fn new(code: ResponseCode, answers: Vec<Record>, authorities: Vec<Record>, now: i64) -> Self {
        let ttl_seconds = lifetime(code, &answers, &authorities);
        Self { code, answers, authorities, ttl_seconds, taken_at: now }
    }

    /// Whether it may be kept at all.
    pub const fn may_be_kept(&self) -> bool {
        self.ttl_seconds > 0
    }

    fn age_seconds(&self, now: i64) -> u32 {
        u32::try_from((now - self.taken_at) / 1000).unwrap_or_default()
    }

    /// With the time that is left of it; `None` past its time.
    pub fn fresh(&self, now: i64) -> Option<Self> {
        let age = self.age_seconds(now);
        (age < self.ttl_seconds).then(|| self.with_ttl(|ttl| ttl.saturating_sub(age)))
    }

    /// Past its time, for want of a better one.
    pub fn stale(&self, now: i64) -> Option<Self> {
        let age = self.age_seconds(now);
        let is_usable = self.ttl_seconds > 0 && age < self.ttl_seconds.saturating_add(STALE_SECONDS_MAXIMUM);
        is_usable.then(|| self.with_ttl(|_| STALE_TTL_SECONDS))
    }

    /// For at most so long, or for so long where the records do not say.
    pub fn at_most(mut self, seconds: u32) -> Self {
        self.ttl_seconds = if self.may_be_kept() { self.ttl_seconds.min(seconds) } else { seconds };
        self
    }

    fn with_ttl(&self, change: impl Fn(u32) -> u32) -> Self {
        let mut kept = self.clone();
        for record in kept.answers.iter_mut().chain(&mut kept.authorities) {
            record.ttl = change(record.ttl);
        }
        kept
    }
}

/// Seconds for which an answer may be kept; 0 for not at all.
fn lifetime(code: ResponseCode, answers: &[Record], authorities: &[Record]) -> u32 {
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return 0;
    }
    let shortest = answers.iter().map(|record| record.ttl).min();
    let negative = authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum).min(CACHED_NEGATIVE_SECONDS_MAXIMUM)),
        _ => None,
    });
    let is_negative = code == ResponseCode::NXDomain || answers.is_empty();
    let lifetime = match (shortest, negative) {
        (Some(shortest), Some(negative)) if is_negative => shortest.min(negative),
        (Some(shortest), _) if !is_negative => shortest,
        (None, Some(negative)) => negative,
        _ => 0,
    };
    lifetime.min(CACHED_SECONDS_MAXIMUM)
}

/// A bounded number of answers. The younger half fills up; then the older one is dropped and the younger grows old, so that
/// what is asked for stays.
pub(crate) struct Cache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// What was kept, fresh or not.
    pub fn get(&mut self, key: &K) -> Option<V> {
        if let Some(found) = self.young.get(key) {
            return Some(found.clone());
        }
        let (key, found) = self.old.remove_entry(key)?;
        self.put(key, found.clone());
        Some(found)
    }

    /// Keeps an answer.
    pub fn put(&mut self, key: K, kept: V) {
        if self.young.len() >= CACHED_ANSWERS / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use domain::DnsName;
    use hickory_proto::rr::Name;
    use hickory_proto::rr::rdata::{A, SOA};

    fn key(number: usize) -> CacheKey {
        (DnsName::parse(&format!("n{number}.example")).unwrap(), RecordType::A, false, false)
    }

    fn record(ttl: u32) -> Record {
        Record::from_rdata(Name::from_ascii("a.example.").unwrap(), ttl, RData::A(A([192, 0, 2, 1].into())))
    }

    fn soa(ttl: u32, minimum: u32) -> Record {
        let name = Name::from_ascii("example.").unwrap();
        Record::from_rdata(name.clone(), ttl, RData::SOA(SOA::new(name.clone(), name, 1, 1, 1, 1, minimum)))
    }

    #[test]
    fn answers_age_and_are_stale_for_a_day() {
        let kept = Kept::new(ResponseCode::NoError, vec![record(60), record(30)], Vec::new(), 0);
        assert_eq!(kept.fresh(29_999).unwrap().answers[0].ttl, 31);
        assert_eq!(kept.fresh(30_000), None);
        assert_eq!(kept.stale(30_000).unwrap().answers[1].ttl, STALE_TTL_SECONDS);
        assert_eq!(kept.stale(1000 * (30 + i64::from(STALE_SECONDS_MAXIMUM))), None);
    }

    #[test]
    fn nothing_found_is_kept_as_its_zone_says() {
        let of = |code, answers, authorities| Kept::new(code, answers, authorities, 0).ttl_seconds;
        assert_eq!(of(ResponseCode::NXDomain, vec![], vec![soa(900, 60)]), 60);
        assert_eq!(of(ResponseCode::NoError, vec![], vec![soa(20, 60)]), 20);
        assert_eq!(of(ResponseCode::NoError, vec![], vec![soa(99_999, 99_999)]), 3600);
        assert_eq!(of(ResponseCode::NXDomain, vec![], vec![]), 0);
        assert_eq!(of(ResponseCode::ServFail, vec![record(60)], vec![]), 0);
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_asked_for() {
        let mut cache = Cache::default();
        let kept = Arc::new(Kept::new(ResponseCode::NoError, vec![record(60)], Vec::new(), 0));
        for number in 0..CACHED_ANSWERS * 2 {
            cache.put(key(number), Arc::clone(&kept));
            assert!(cache.get(&key(0)).is_some(), "{number}");
        }
        assert!(cache.young.len() + cache.old.len() <= CACHED_ANSWERS);
        assert!(cache.get(&key(1)).is_none());
    }
}
