//! A service as one task sees it: its endpoints, which is next, and which is left alone for a while.
//!
//! Vocabulary: an endpoint *fails* when it cannot be connected to, gives no answer in time, or answers 5xx. After
//! [`FAILURES_MAXIMUM`] failures in a row it is *ejected*: it gets nothing for [`EJECTION`], and for as much longer as it was
//! ejected before. At most half of the endpoints are ejected at a time, rounded down, but one of two may be. Where all others
//! were tried, ejected ones are tried too. While a deployment shifts traffic, a request belongs to one *group*, drawn by the groups'
//! weights among those that have endpoints, and all of the above happens within it. Source: Envoy, "Outlier detection", which is what AWS runs; the numbers are Envoy's
//! and App Mesh's, AWS does not publish those of Service Connect.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::configuration::{Endpoint, Group, Service, Split};
use crate::log::Log;
use crate::metrics::Counters;
use crate::pool::Pool;

/// Failures in a row after which an endpoint is ejected.
const FAILURES_MAXIMUM: u32 = 5;
/// How long it is, the first time.
const EJECTION: Duration = Duration::from_secs(30);
/// And at most.
const EJECTION_MAXIMUM: Duration = Duration::from_secs(300);

/// Turns after which draws repeat, and the step between two of them: a part of the golden ratio, so that any few in a row are
/// spread over all groups as their weights are.
const SPREAD: u64 = 1_000_000;
const GOLDEN: u64 = 618_033;

/// An endpoint at work.
pub(crate) struct Target {
    /// Where it is.
    pub(crate) endpoint: Endpoint,
    /// Connections to it that wait for use.
    pub(crate) pool: Pool,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    failures: u32,
    ejections: u32,
    ejected_until: Option<Instant>,
}

impl Target {
    /// It did as it should.
    pub(crate) fn succeeded(&self) {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).failures = 0;
    }

    fn is_ejected(&self, now: Instant) -> bool {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.ejected_until.is_some_and(|until| now < until)
    }
}

struct State {
    service: Arc<Service>,
    targets: Arc<Vec<Arc<Target>>>,
}

/// A service's endpoints, as one task sees them.
pub(crate) struct Endpoints {
    state: Mutex<State>,
    cursor: AtomicUsize,
    drawn: AtomicU64,
    counters: Arc<Counters>,
    log: Option<Log>,
    name: String,
}

impl Endpoints {
    /// `name` is what the task calls it.
    pub(crate) fn new(
        service: Arc<Service>,
        counters: Arc<Counters>,
        log: Option<Log>,
        name: String,
    ) -> Self {
        let empty = Arc::new(Service { endpoints: Vec::new(), ..Service::clone(&service) });
        let state = State { service: empty, targets: Arc::default() };
        let endpoints = Self {
            state: Mutex::new(state),
            cursor: AtomicUsize::new(0),
            drawn: AtomicU64::new(0),
            counters,
            log,
            name,
        };
        endpoints.update(service);
        endpoints
    }

    /// How the service is set.
    pub(crate) fn service(&self) -> Arc<Service> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner).service)
    }

    /// What the task's proxy writes to.
    pub(crate) const fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    fn say(&self, level: &str, text: &str) {
        if let Some(log) = &self.log {
            log.say(level, &format!("{}: {text}", self.name));
        }
    }

    /// An endpoint could not be connected to.
    pub(crate) fn connection_failed(&self, target: &Target) {
        self.counters.connection_error();
        self.say("warning", &format!("{} cannot be connected to", target.endpoint.address));
    }

    /// What is counted.
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Takes over settings and endpoints. Those that stay keep their connections and their record.
    pub(crate) fn update(&self, service: Arc<Service>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known: BTreeMap<&Endpoint, &Arc<Target>> =
            state.targets.iter().map(|target| (&target.endpoint, target)).collect();
        let mut targets = Vec::with_capacity(service.endpoints.len());
        for endpoint in &service.endpoints {
            targets.push(match known.remove(endpoint) {
                Some(target) if state.service.protocol == service.protocol => Arc::clone(target),
                _ => Arc::new(Target {
                    endpoint: endpoint.clone(),
                    pool: Pool::default(),
                    record: Mutex::default(),
                }),
            });
        }
        // Requests under way end as they will.
        for gone in known.into_values() {
            gone.pool.clear();
        }
        *state = State { service, targets: Arc::new(targets) };
    }

    /// The group that the next request goes to; `None` while traffic is not divided. A group without endpoints is nobody's.
    pub(crate) fn draw(&self, is_test: impl Fn(&Split) -> bool) -> Option<String> {
        let (service, targets) = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            (Arc::clone(&state.service), Arc::clone(&state.targets))
        };
        let split = service.split.as_ref()?;
        let has_endpoints = |name: &str| targets.iter().any(|target| target.endpoint.group == name);
        let weighted = |is_test: bool| -> Vec<(&str, u64)> {
            let weight = |group: &Group| if is_test { group.test_weight } else { group.production_weight };
            let groups = split.groups.iter().map(|group| (group.name.as_str(), u64::from(weight(group))));
            groups.filter(|(name, weight)| *weight > 0 && has_endpoints(name)).collect()
        };
        let mut groups = weighted(is_test(split));
        if groups.is_empty() {
            groups = weighted(false);
        }
        let total: u64 = groups.iter().map(|(_, weight)| weight).sum();
        let turn = self.drawn.fetch_add(1, Ordering::Relaxed) % SPREAD;
        let mut at = turn * GOLDEN % SPREAD * total / SPREAD;
        for (name, weight) in groups {
            if at < weight {
                return Some(name.to_owned());
            }
            at -= weight;
        }
        Some(String::new())
    }

    /// The next endpoint, of this group, that is not among those that were tried.
    pub(crate) fn choose(&self, tried: &[Arc<Target>], group: Option<&str>) -> Option<Arc<Target>> {
        self.choose_at(tried, group, Instant::now())
    }

    fn choose_at(&self, tried: &[Arc<Target>], group: Option<&str>, now: Instant) -> Option<Arc<Target>> {
        let targets = Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner).targets);
        let is_new = |target: &&Arc<Target>| {
            group.is_none_or(|group| target.endpoint.group == group)
                && !tried.iter().any(|other| Arc::ptr_eq(other, target))
        };
        let mut eligible: Vec<&Arc<Target>> =
            targets.iter().filter(is_new).filter(|target| !target.is_ejected(now)).collect();
        if eligible.is_empty() {
            eligible = targets.iter().filter(is_new).collect();
        }
        if eligible.is_empty() {
            return None;
        }
        let turn = self.cursor.fetch_add(1, Ordering::Relaxed) % eligible.len();
        eligible.get(turn).map(|target| Arc::clone(target))
    }

    /// An endpoint failed; after several times in a row it is ejected.
    pub(crate) fn failed(&self, target: &Target) {
        let now = Instant::now();
        let targets = Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner).targets);
        let ejected = targets.iter().filter(|other| other.is_ejected(now)).count();
        let mut record = target.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.failures += 1;
        let is_out = record.ejected_until.is_some_and(|until| now < until);
        if record.failures < FAILURES_MAXIMUM || is_out || ejected + 1 > targets.len() / 2 {
            return;
        }
        record.failures = 0;
        record.ejections += 1;
        record.ejected_until = Some(now + (EJECTION * record.ejections).min(EJECTION_MAXIMUM));
        self.counters.ejected();
        drop(record);
        self.say(
            "warning",
            &format!("{} is left alone for a while: it failed too often", target.endpoint.address),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::AppProtocol;

    fn service(ports: &[u16]) -> Arc<Service> {
        let endpoint = |port: &u16| Endpoint {
            id: port.to_string(),
            address: ([127, 0, 0, 1], *port).into(),
            group: (port % 2).to_string(),
        };
        Arc::new(Service {
            protocol: AppProtocol::Http,
            idle_timeout: Duration::ZERO,
            request_timeout: Duration::ZERO,
            endpoints: ports.iter().map(endpoint).collect(),
            split: None,
        })
    }

    fn endpoints(ports: &[u16]) -> Endpoints {
        Endpoints::new(service(ports), Arc::default(), None, String::new())
    }

    fn chosen(endpoints: &Endpoints, times: usize) -> Vec<u16> {
        let mut ports: Vec<u16> =
            (0..times).map(|_| endpoints.choose(&[], None).unwrap().endpoint.address.port()).collect();
        ports.sort_unstable();
        ports
    }

    #[tokio::test]
    async fn an_endpoint_that_fails_five_times_is_left_alone_for_a_while() {
        let endpoints = endpoints(&[1, 2]);
        assert_eq!(chosen(&endpoints, 4), [1, 1, 2, 2]);
        let bad = endpoints.choose(&[], None).unwrap();
        let good = endpoints.choose(&[], None).unwrap();
        for _ in 0..4 {
            endpoints.failed(&bad);
        }
        bad.succeeded();
        for _ in 0..4 {
            endpoints.failed(&bad);
        }
        assert_eq!(chosen(&endpoints, 4), [1, 1, 2, 2]);
        endpoints.failed(&bad);
        let port = good.endpoint.address.port();
        assert_eq!(chosen(&endpoints, 3), [port; 3]);
        // The last one is never ejected.
        for _ in 0..20 {
            endpoints.failed(&good);
        }
        assert_eq!(chosen(&endpoints, 3), [port; 3]);
        // Where it was tried, the ejected one is.
        let other = endpoints.choose(&[Arc::clone(&good)], None).unwrap();
        assert!(Arc::ptr_eq(&other, &bad));
        assert!(endpoints.choose(&[good, bad], None).is_none());
        let later = Instant::now() + EJECTION;
        let mut ports: Vec<u16> =
            (0..4).map(|_| endpoints.choose_at(&[], None, later).unwrap().endpoint.address.port()).collect();
        ports.sort_unstable();
        assert_eq!(ports, [1, 1, 2, 2]);
    }

    #[tokio::test]
    async fn endpoints_come_and_go_and_those_that_stay_are_remembered() {
        let endpoints = endpoints(&[1, 2, 3]);
        let first = endpoints.choose(&[], None).unwrap();
        endpoints.update(service(&[1, 4]));
        assert_eq!(chosen(&endpoints, 4), [1, 1, 4, 4]);
        let again = endpoints.state.lock().unwrap().targets[0].clone();
        assert!(Arc::ptr_eq(&first, &again) || first.endpoint.address.port() != 1);
        endpoints.update(service(&[]));
        assert!(endpoints.choose(&[], None).is_none());
    }

    #[tokio::test]
    async fn traffic_is_divided_by_the_groups_weights() {
        let shared = |weights: [(u16, u16); 2], ports: &[u16]| {
            let groups = weights.into_iter().enumerate().map(|(name, weights)| Group {
                name: name.to_string(),
                production_weight: weights.0,
                test_weight: weights.1,
            });
            let split = Split { groups: groups.collect(), test_header: ("test".to_owned(), None) };
            let all = endpoints(&[]);
            all.update(Arc::new(Service { split: Some(split), ..Service::clone(&service(ports)) }));
            all
        };
        let odd = |all: &Endpoints, is_test: bool| {
            let drawn = (0..1000).map(|_| all.draw(|_| is_test).unwrap());
            drawn.filter(|group| group == "1").count()
        };
        let all = shared([(900, 0), (100, 1000)], &[1, 2, 3]);
        assert!((98..=102).contains(&odd(&all, false)), "{}", odd(&all, false));
        assert_eq!(odd(&all, true), 1000);
        let port = |all: &Endpoints, group| all.choose(&[], Some(group)).unwrap().endpoint.address.port();
        assert_eq!([port(&all, "0"), port(&all, "0")], [2, 2]);
        assert!([1, 3].contains(&port(&all, "1")));
        // Nobody is there for the tests: they are production's.
        let all = shared([(1000, 0), (0, 1000)], &[2]);
        assert_eq!(odd(&all, true), 0);
        // Production has nobody: what waits for its turn does not step in.
        let all = shared([(1000, 0), (0, 1000)], &[1]);
        let group = all.draw(|_| false).unwrap();
        assert!(all.choose(&[], Some(&group)).is_none());
    }
}
