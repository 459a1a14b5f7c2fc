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

/// What was drawn for one request or connection.
#[derive(Default)]
pub(crate) struct Lot {
    /// The settings that it was drawn by.
    drawn_of: Option<Arc<Service>>,
    /// The group; `None` while traffic is not divided.
    group: Option<String>,
}

/// Groups that a request may go to, with their weights: those that have endpoints; for a test, production's where there are none.
fn eligible_groups<'a>(split: &'a Split, is_test: bool, targets: &[Arc<Target>]) -> Vec<(&'a str, u64)> {
    let has_endpoints = |name: &str| targets.iter().any(|target| target.endpoint.group == name);
    let weighted = |is_test: bool| -> Vec<(&'a str, u64)> {
        let weight = |group: &Group| if is_test { group.test_weight } else { group.production_weight };
        let groups = split.groups.iter().map(|group| (group.name.as_str(), u64::from(weight(group))));
        groups.filter(|(name, weight)| *weight > 0 && has_endpoints(name)).collect()
    };
    let groups = weighted(is_test);
    if groups.is_empty() { weighted(false) } else { groups }
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

    /// The next endpoint of the request's group that is not among those that were tried.
    ///
    /// A request stays with the group that was drawn for it. Where the groups have changed since and that one has nobody any
    /// more, another is drawn: what a deployment moves at this moment fails nobody's request.
    pub(crate) fn choose(
        &self,
        tried: &[Arc<Target>],
        lot: &mut Lot,
        is_test: impl Fn(&Split) -> bool,
    ) -> Option<Arc<Target>> {
        // Groups and endpoints of the same moment.
        let (service, targets) = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            (Arc::clone(&state.service), Arc::clone(&state.targets))
        };
        let is_new = lot.drawn_of.as_ref().is_none_or(|of| !Arc::ptr_eq(of, &service));
        if is_new {
            let groups = service.split.as_ref().map(|split| eligible_groups(split, is_test(split), &targets));
            let stays =
                |groups: &[(&str, u64)]| groups.iter().any(|(name, _)| Some(*name) == lot.group.as_deref());
            lot.group = match groups {
                Some(groups) if stays(&groups) => lot.group.take(),
                Some(groups) => Some(self.draw(&groups).to_owned()),
                None => None,
            };
            lot.drawn_of = Some(service);
        }
        self.choose_among(&targets, tried, lot.group.as_deref(), Instant::now())
    }

    /// One of the groups, by their weights; of none, nobody's name.
    fn draw<'a>(&self, groups: &[(&'a str, u64)]) -> &'a str {
        let total: u64 = groups.iter().map(|(_, weight)| weight).sum();
        let turn = self.drawn.fetch_add(1, Ordering::Relaxed) % SPREAD;
        let mut at = turn * GOLDEN % SPREAD * total / SPREAD;
        for (name, weight) in groups {
            if at < *weight {
                return name;
            }
            at -= weight;
        }
        ""
    }

    fn choose_among(
        &self,
        targets: &[Arc<Target>],
        tried: &[Arc<Target>],
        group: Option<&str>,
        now: Instant,
    ) -> Option<Arc<Target>> {
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

    fn choose(endpoints: &Endpoints, tried: &[Arc<Target>]) -> Option<Arc<Target>> {
        endpoints.choose(tried, &mut Lot::default(), |_| false)
    }

    fn chosen(endpoints: &Endpoints, times: usize) -> Vec<u16> {
        let mut ports: Vec<u16> =
            (0..times).map(|_| choose(endpoints, &[]).unwrap().endpoint.address.port()).collect();
        ports.sort_unstable();
        ports
    }

    #[tokio::test]
    async fn an_endpoint_that_fails_five_times_is_left_alone_for_a_while() {
        let endpoints = endpoints(&[1, 2]);
        assert_eq!(chosen(&endpoints, 4), [1, 1, 2, 2]);
        let bad = choose(&endpoints, &[]).unwrap();
        let good = choose(&endpoints, &[]).unwrap();
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
        let other = choose(&endpoints, &[Arc::clone(&good)]).unwrap();
        assert!(Arc::ptr_eq(&other, &bad));
        assert!(choose(&endpoints, &[good, bad]).is_none());
        let later = Instant::now() + EJECTION;
        let targets = Arc::clone(&endpoints.state.lock().unwrap().targets);
        let port = |_| endpoints.choose_among(&targets, &[], None, later).unwrap().endpoint.address.port();
        let mut ports: Vec<u16> = (0..4).map(port).collect();
        ports.sort_unstable();
        assert_eq!(ports, [1, 1, 2, 2]);
    }

    #[tokio::test]
    async fn endpoints_come_and_go_and_those_that_stay_are_remembered() {
        let endpoints = endpoints(&[1, 2, 3]);
        let first = choose(&endpoints, &[]).unwrap();
        endpoints.update(service(&[1, 4]));
        assert_eq!(chosen(&endpoints, 4), [1, 1, 4, 4]);
        let again = endpoints.state.lock().unwrap().targets[0].clone();
        assert!(Arc::ptr_eq(&first, &again) || first.endpoint.address.port() != 1);
        endpoints.update(service(&[]));
        assert!(choose(&endpoints, &[]).is_none());
    }

    /// Settings whose groups `0` (even ports) and `1` (odd ones) have these weights, for production and for tests.
    fn shared(weights: [(u16, u16); 2], ports: &[u16]) -> Arc<Service> {
        let groups = weights.into_iter().enumerate().map(|(name, weights)| Group {
            name: name.to_string(),
            production_weight: weights.0,
            test_weight: weights.1,
        });
        let split = Split { groups: groups.collect(), test_header: ("test".to_owned(), None) };
        Arc::new(Service { split: Some(split), ..Service::clone(&service(ports)) })
    }

    fn at(endpoints: &Endpoints, lot: &mut Lot, tried: &[Arc<Target>], is_test: bool) -> Option<u16> {
        endpoints.choose(tried, lot, |_| is_test).map(|target| target.endpoint.address.port())
    }

    #[tokio::test]
    async fn traffic_is_divided_by_the_groups_weights() {
        let all = endpoints(&[]);
        let odd = |is_test: bool| {
            let drawn = (0..1000).map(|_| at(&all, &mut Lot::default(), &[], is_test).unwrap());
            drawn.filter(|port| port % 2 == 1).count()
        };
        all.update(shared([(900, 0), (100, 1000)], &[1, 2, 3]));
        assert!((98..=102).contains(&odd(false)), "{}", odd(false));
        assert_eq!(odd(true), 1000);
        // Nobody is there for the tests: they are production's.
        all.update(shared([(1000, 0), (0, 1000)], &[2]));
        assert_eq!(odd(true), 0);
        // Production has nobody: what waits for its turn does not step in.
        all.update(shared([(1000, 0), (0, 1000)], &[1]));
        assert!(at(&all, &mut Lot::default(), &[], false).is_none());
    }

    #[tokio::test]
    async fn a_request_stays_with_its_group_as_long_as_that_has_anybody() {
        let all = endpoints(&[]);
        all.update(shared([(1000, 0), (0, 1000)], &[1, 2, 4]));
        let mut lot = Lot::default();
        let first = all.choose(&[], &mut lot, |_| false).unwrap();
        let other = 6 - first.endpoint.address.port();
        // The shares have changed: the next try is the same group's.
        all.update(shared([(1, 0), (999, 1000)], &[1, 2, 4]));
        assert_eq!(at(&all, &mut lot, &[Arc::clone(&first)], false), Some(other));
        // All has moved, and the old endpoints have gone.
        all.update(shared([(0, 0), (1000, 1000)], &[1]));
        assert_eq!(at(&all, &mut lot, &[Arc::clone(&first)], false), Some(1));
        // The deployment is over: nothing is divided any more.
        all.update(service(&[1, 3]));
        assert!(at(&all, &mut lot, &[first], false).is_some());
    }
}
