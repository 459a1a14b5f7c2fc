//! [`Resolver`]: follows a name to its answer, through our own rows and upstream.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::{Clock, Ids, Scope};
use domain::{DnsName, RecordType, RecordValue, Vpc};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, Record, RecordType as WireType};
use store::{Key, Snapshot, Store};

use crate::limits::CHAIN_MAXIMUM;
use crate::look_up::{Asker, Lookup, View, asker_of, look_up};
use crate::message::{Question, Reply};
use crate::record::{authority, dns_name, record, record_type, wire_name};
use crate::upstream::{Upstream, UpstreamServers};

/// What a resolver is made from.
pub struct ResolverConfig {
    /// All rows.
    pub store: Store,
    /// The main account and region, which the host counts as.
    pub scope: Scope,
    /// Who is asked for the rest.
    pub upstream: UpstreamServers,
    /// Numbers of questions.
    pub ids: Arc<dyn Ids>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Answers questions. A handle: cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    store: Store,
    scope: Scope,
    upstream: Upstream,
    chance: Arc<AtomicU64>,
}

/// How far an answer is.
pub(crate) enum Step {
    /// It is there.
    Done(Reply),
    /// Someone else must be asked.
    Upstream(Pending),
}

/// An answer that waits for upstream.
pub(crate) struct Pending {
    asker: Asker,
    /// The records that led to `question`.
    answers: Vec<Record>,
    /// What upstream is asked.
    question: Question,
}

impl Resolver {
    /// A resolver over a store.
    pub fn new(config: ResolverConfig) -> Self {
        let mut seed = [0; 8];
        config.ids.fill(&mut seed);
        Self {
            store: config.store,
            scope: config.scope,
            upstream: Upstream::new(config.upstream, config.ids, config.clock),
            chance: Arc::new(AtomicU64::new(u64::from_ne_bytes(seed))),
        }
    }

    /// This address is served by this resolver: it is not asked upstream.
    pub fn is_served_at(&self, address: SocketAddr) {
        self.upstream.not_to_be_asked(address);
    }

    /// The answer as far as rows and kept answers go.
    pub(crate) fn begin(&self, source: IpAddr, question: &Question) -> Step {
        let snapshot = self.store.snapshot();
        let asker = asker_of(&snapshot, &self.scope, source);
        if !has_dns_support(&snapshot, &asker) {
            return Step::Done(Reply::of(ResponseCode::Refused));
        }
        self.follow(&snapshot, Pending { asker, answers: Vec::new(), question: question.clone() })
    }

    /// The IPv4 addresses of a name, as the host is told them; none where it has none.
    pub async fn addresses(&self, name: &str) -> Vec<Ipv4Addr> {
        let Some(name) = DnsName::parse(name).ok().and_then(|name| wire_name(&name)) else {
            return Vec::new();
        };
        let question = Question::new(0, name, WireType::A);
        let reply = match self.begin(Ipv4Addr::LOCALHOST.into(), &question) {
            Step::Done(reply) => reply,
            Step::Upstream(pending) => self.finish(pending).await,
        };
        let address = |record: Record| match record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        };
        reply.answers.into_iter().filter_map(address).collect()
    }

    /// The rest of it.
    pub(crate) async fn finish(&self, pending: Pending) -> Reply {
        let mut pending = pending;
        for _ in 0..CHAIN_MAXIMUM {
            let Ok(kept) = self.upstream.ask(&pending.question).await else {
                return failed(pending.answers);
            };
            match self.take_in(pending, kept) {
                Step::Done(reply) => return reply,
                Step::Upstream(next) => pending = next,
            }
        }
        failed(pending.answers)
    }

    /// Follows names through our own rows.
    fn follow(&self, snapshot: &Snapshot, mut pending: Pending) -> Step {
        let chance = self.chance.fetch_add(1, Ordering::Relaxed);
        let Some(mut name) = dns_name(&pending.question.name) else {
            return Step::Done(Reply::of(ResponseCode::FormErr));
        };
        let wire_type = pending.question.record_type;
        let wanted = record_type(wire_type);
        while pending.answers.len() <= CHAIN_MAXIMUM {
            let view = View { snapshot, asker: &pending.asker, chance: mixed(chance) };
            let (found, wanted) = match wire_type {
                WireType::ANY => look_up_any(&view, &name),
                _ => (look_up(&view, &name, wanted), wanted),
            };
            let owner = pending.question.name.clone();
            match found {
                Lookup::Records(values) => {
                    pending
                        .answers
                        .extend(values.iter().filter_map(|(ttl, value)| record(&owner, wanted, *ttl, value)));
                    return Step::Done(own(ResponseCode::NoError, pending.answers, None));
                }
                Lookup::Cname(ttl, target) => {
                    let Some(target_wire) = wire_name(&target) else { break };
                    let value = RecordValue::Name(target.clone());
                    pending.answers.extend(record(&owner, Some(RecordType::Cname), ttl, &value));
                    if wanted == Some(RecordType::Cname) {
                        return Step::Done(own(ResponseCode::NoError, pending.answers, None));
                    }
                    (name, pending.question.name) = (target, target_wire);
                }
                Lookup::NoRecords(zone) => {
                    return Step::Done(own(ResponseCode::NoError, pending.answers, authority(&zone)));
                }
                Lookup::NoSuchName(zone) => {
                    return Step::Done(own(ResponseCode::NXDomain, pending.answers, authority(&zone)));
                }
                Lookup::NotHere if !pending.question.recursion_desired => {
                    return Step::Done(Reply::of(ResponseCode::Refused));
                }
                Lookup::NotHere => {
                    return match self.upstream.kept(&pending.question) {
                        Some(kept) => self.take_in(pending, kept),
                        None => Step::Upstream(pending),
                    };
                }
            }
        }
        Step::Done(failed(pending.answers))
    }

    /// What upstream says, unless it leads back to a name of ours.
    fn take_in(&self, mut pending: Pending, kept: crate::cache::Kept) -> Step {
        let snapshot = self.store.snapshot();
        let mut name = pending.question.name.clone();
        let mut led = Vec::new();
        while led.len() + pending.answers.len() < CHAIN_MAXIMUM
            && pending.question.record_type != WireType::CNAME
        {
            let next = kept.answers.iter().find_map(|answer| match &answer.data {
                RData::CNAME(target) if answer.name == name => Some((answer, target.0.clone())),
                _ => None,
            });
            let Some((answer, target)) = next else { break };
            led.push(answer.clone());
            let view = View { snapshot: &snapshot, asker: &pending.asker, chance: 0 };
            let is_ours = dns_name(&target).is_some_and(|target| {
                look_up(&view, &target, record_type(pending.question.record_type)) != Lookup::NotHere
            });
            if is_ours {
                pending.answers.extend(led);
                pending.question.name = target;
                return self.follow(&snapshot, pending);
            }
            name = target;
        }
        // Names come back as they were asked.
        let asked = &pending.question.name;
        let as_asked = |mut record: Record| {
            if record.name == *asked {
                record.name = asked.clone();
            }
            record
        };
        pending.answers.extend(kept.answers.into_iter().map(as_asked));
        Step::Done(Reply {
            code: kept.code,
            authoritative: false,
            answers: pending.answers,
            authorities: kept.authorities,
        })
    }
}

/// Whether the asker's VPC has its attribute `enableDnsSupport`.
fn has_dns_support(snapshot: &Snapshot, asker: &Asker) -> bool {
    let Asker::Vpc { scope, vpc } = asker else { return true };
    snapshot.get::<Vpc>(&Key::new(scope, &[vpc])).is_none_or(|vpc| vpc.enable_dns_support)
}

/// The records of one type, where all are asked for. Source: RFC 8482, section 4.1.
fn look_up_any(view: &View, name: &DnsName) -> (Lookup, Option<RecordType>) {
    let mut nothing = look_up(view, name, None);
    if matches!(nothing, Lookup::NoRecords(_)) {
        for wanted in RecordType::ALL {
            let found = look_up(view, name, Some(*wanted));
            if !matches!(found, Lookup::NoRecords(_)) {
                return (found, Some(*wanted));
            }
            nothing = found;
        }
    }
    (nothing, None)
}

fn own(code: ResponseCode, answers: Vec<Record>, authority: Option<Record>) -> Reply {
    Reply { code, authoritative: true, answers, authorities: authority.into_iter().collect() }
}

fn failed(answers: Vec<Record>) -> Reply {
    Reply { answers, ..Reply::of(ResponseCode::ServFail) }
}

/// Spreads the bits of a number: SplitMix64 (Steele, Lea, Flood 2014). Nothing secret is made of it.
const fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
