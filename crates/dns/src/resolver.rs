//! [`Resolver`]: follows a name to its answer, through our own rows and upstream.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::{Clock, Ids, Scope};
use domain::{DnsName, RecordType, RecordValue, Vpc};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType as WireType};
use store::{Key, Snapshot, Store};

use crate::cache::Kept;
use crate::limits::CHAIN_MAXIMUM;
use crate::look_up::{Asker, Lookup, View, asker_of, look_up};
use crate::message::{Question, Reply};
use crate::record::{authority, dns_name, record, record_type, wire_name};
use crate::there::{ControlPlaneNames, There, Told};
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
    rows: Rows,
    upstream: Upstream,
    chance: Arc<AtomicU64>,
}

/// Who knows what our own names lead to.
#[derive(Clone)]
enum Rows {
    /// We do: they are here.
    Here { store: Store, scope: Scope },
    /// The control plane of this node.
    There(There),
}

/// How far an answer is.
pub(crate) enum Step {
    /// It is there.
    Done(Reply),
    /// Someone else must be asked.
    Later(Pending),
}

/// An answer that waits for others.
pub(crate) struct Pending {
    asker: PendingAsker,
    /// The records that led to `question`.
    answers: Vec<Record>,
    /// What is asked.
    question: Question,
    /// What the rows say of `question` is still to be asked of the control plane.
    untold: bool,
    /// The control plane could not be asked.
    in_doubt: bool,
}

enum PendingAsker {
    Known(Asker),
    /// An address that stands for everyone in its VPC.
    Behind(IpAddr),
}

impl Resolver {
    /// A resolver over a store.
    pub fn new(config: ResolverConfig) -> Self {
        let rows = Rows::Here { store: config.store, scope: config.scope };
        Self::over(rows, config.upstream, config.ids, config.clock)
    }

    /// The resolver of a node whose rows are elsewhere: the control plane says what our own names lead to.
    pub fn of_node(
        control_plane: Arc<dyn ControlPlaneNames>,
        upstream: UpstreamServers,
        ids: Arc<dyn Ids>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::over(Rows::There(There::new(control_plane, Arc::clone(&clock))), upstream, ids, clock)
    }

    fn over(rows: Rows, upstream: UpstreamServers, ids: Arc<dyn Ids>, clock: Arc<dyn Clock>) -> Self {
        let mut seed = [0; 8];
        ids.fill(&mut seed);
        let chance = Arc::new(AtomicU64::new(u64::from_ne_bytes(seed)));
        Self { rows, upstream: Upstream::new(upstream, ids, clock), chance }
    }

    /// This address is served by this resolver: it is not asked upstream.
    pub fn is_served_at(&self, address: SocketAddr) {
        self.upstream.not_to_be_asked(address);
    }

    /// The answer as far as rows and kept answers go.
    pub(crate) fn begin(&self, source: IpAddr, question: &Question) -> Step {
        let pending = |asker, untold| Pending {
            asker,
            answers: Vec::new(),
            question: question.clone(),
            untold,
            in_doubt: false,
        };
        match &self.rows {
            Rows::Here { store, scope } => {
                let snapshot = store.snapshot();
                let asker = asker_of(&snapshot, scope, source);
                if !has_dns_support(&snapshot, &asker) {
                    return Step::Done(Reply::of(ResponseCode::Refused));
                }
                self.follow(&snapshot, pending(PendingAsker::Known(asker), false))
            }
            Rows::There(there) => {
                let asker = there.represented_by(source);
                let pending = pending(PendingAsker::Behind(asker), true);
                match there.kept(asker, question) {
                    Some(told) => self.take_told(pending, told),
                    None => Step::Later(pending),
                }
            }
        }
    }

    /// The IPv4 addresses of a name, as the host is told them; none where it has none.
    pub async fn addresses(&self, name: &str) -> Vec<Ipv4Addr> {
        let Some(name) = DnsName::parse(name).ok().and_then(|name| wire_name(&name)) else {
            return Vec::new();
        };
        let question = Question::new(0, name, WireType::A);
        let reply = match self.begin(Ipv4Addr::LOCALHOST.into(), &question) {
            Step::Done(reply) => reply,
            Step::Later(pending) => self.finish(pending).await,
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
            let step = match (&self.rows, &pending.asker) {
                (Rows::There(there), PendingAsker::Behind(asker)) if pending.untold => {
                    match there.ask(*asker, &pending.question).await {
                        Some(told) => self.take_told(pending, told),
                        None => Step::Later(Pending { untold: false, in_doubt: true, ..pending }),
                    }
                }
                _ => {
                    let Ok(kept) = self.upstream.ask(&pending.question).await else {
                        return failed(pending.answers);
                    };
                    // It may be a name of ours that only the control plane knows.
                    if pending.in_doubt && kept.code == ResponseCode::NXDomain {
                        return failed(pending.answers);
                    }
                    self.led_home(&mut pending, &kept).await;
                    if pending.untold { Step::Later(pending) } else { self.take_in(pending, kept) }
                }
            };
            match step {
                Step::Done(reply) => return reply,
                Step::Later(next) => pending = next,
            }
        }
        failed(pending.answers)
    }

    /// Goes on at the first name that upstream leads to and that is ours as the control plane says.
    async fn led_home(&self, pending: &mut Pending, kept: &Kept) {
        let (Rows::There(there), PendingAsker::Behind(asker)) = (&self.rows, &pending.asker) else { return };
        let mut led = Vec::new();
        for (answer, target) in chain(pending, kept) {
            led.push(answer.clone());
            let question = pending.question.about(0, target.clone());
            let told = there.ask(*asker, &question).await;
            if told.is_some_and(|told| !told.elsewhere || !told.kept.answers.is_empty()) {
                pending.answers.extend(led);
                pending.question.name = target;
                pending.untold = true;
                return;
            }
        }
    }

    /// What the control plane says.
    fn take_told(&self, mut pending: Pending, told: Told) -> Step {
        pending.untold = false;
        let asked = pending.question.name.clone();
        for answer in as_asked(&asked, told.kept.answers) {
            if let RData::CNAME(target) = &answer.data
                && told.elsewhere
            {
                // The rows' own records are in the order in which they lead on.
                pending.question.name = target.0.clone();
            }
            pending.answers.push(answer);
        }
        if !told.elsewhere {
            return Step::Done(Reply {
                code: told.kept.code,
                authoritative: told.authoritative,
                answers: pending.answers,
                authorities: told.kept.authorities,
            });
        }
        if !pending.question.recursion_desired {
            return Step::Done(Reply::of(ResponseCode::Refused));
        }
        match self.upstream.kept(&pending.question) {
            // Names that it leads to may be ours.
            Some(kept) if chain(&pending, &kept).is_empty() => self.take_in(pending, kept),
            _ => Step::Later(pending),
        }
    }

    /// Follows names through our own rows.
    fn follow(&self, snapshot: &Snapshot, pending: Pending) -> Step {
        let PendingAsker::Known(asker) = &pending.asker else { return Step::Later(pending) };
        let chance = mixed(self.chance.fetch_add(1, Ordering::Relaxed));
        match follow(snapshot, asker, chance, &pending.question, pending.answers) {
            Followed::Done(reply) => Step::Done(reply),
            Followed::Elsewhere { answers, question } if question.recursion_desired => {
                let pending = Pending { answers, question, ..pending };
                match self.upstream.kept(&pending.question) {
                    Some(kept) => self.take_in(pending, kept),
                    None => Step::Later(pending),
                }
            }
            Followed::Elsewhere { .. } => Step::Done(Reply::of(ResponseCode::Refused)),
        }
    }

    /// What upstream says, unless it leads back to a name of ours.
    fn take_in(&self, mut pending: Pending, kept: Kept) -> Step {
        if let (Rows::Here { store, .. }, PendingAsker::Known(asker)) = (&self.rows, &pending.asker) {
            let snapshot = store.snapshot();
            let mut led = Vec::new();
            let view = View { snapshot: &snapshot, asker, chance: 0 };
            for (answer, target) in chain(&pending, &kept) {
                led.push(answer.clone());
                let is_ours = dns_name(&target).is_some_and(|target| {
                    look_up(&view, &target, record_type(pending.question.record_type)) != Lookup::NotHere
                });
                if is_ours {
                    pending.answers.extend(led);
                    pending.question.name = target;
                    return self.follow(&snapshot, pending);
                }
            }
        }
        pending.answers.extend(as_asked(&pending.question.name, kept.answers));
        Step::Done(Reply {
            code: kept.code,
            authoritative: false,
            answers: pending.answers,
            authorities: kept.authorities,
        })
    }
}

/// Kept records under the name as it is asked now, with its capitals.
fn as_asked(asked: &Name, records: Vec<Record>) -> impl Iterator<Item = Record> {
    records.into_iter().map(move |mut record| {
        if record.name == *asked {
            record.name = asked.clone();
        }
        record
    })
}

/// The names that upstream's answer leads to one after the other, each with the record that does. Bounded, whatever upstream says.
fn chain<'a>(pending: &Pending, kept: &'a Kept) -> Vec<(&'a Record, Name)> {
    let mut chain: Vec<(&Record, Name)> = Vec::new();
    if pending.question.record_type == WireType::CNAME {
        return chain;
    }
    while chain.len() + pending.answers.len() < CHAIN_MAXIMUM {
        let name = chain.last().map_or(&pending.question.name, |(_, target)| target);
        let next = kept.answers.iter().find_map(|answer| match &answer.data {
            RData::CNAME(target) if answer.name == *name => Some((answer, target.0.clone())),
            _ => None,
        });
        let Some(next) = next else { break };
        chain.push(next);
    }
    chain
}

/// How far our own rows lead.
pub(crate) enum Followed {
    /// To the end.
    Done(Reply),
    /// To a name that they say nothing about.
    Elsewhere { answers: Vec<Record>, question: Question },
}

/// Follows a name through the rows of a snapshot; `answers` led to it.
pub(crate) fn follow(
    snapshot: &Snapshot,
    asker: &Asker,
    chance: u64,
    question: &Question,
    mut answers: Vec<Record>,
) -> Followed {
    let mut question = question.clone();
    let Some(mut name) = dns_name(&question.name) else {
        return Followed::Done(Reply::of(ResponseCode::FormErr));
    };
    let wire_type = question.record_type;
    let wanted = record_type(wire_type);
    let view = View { snapshot, asker, chance };
    while answers.len() <= CHAIN_MAXIMUM {
        let (found, wanted) = match wire_type {
            WireType::ANY => look_up_any(&view, &name),
            _ => (look_up(&view, &name, wanted), wanted),
        };
        let owner = question.name.clone();
        match found {
            Lookup::Records(values) => {
                answers.extend(values.iter().filter_map(|(ttl, value)| record(&owner, wanted, *ttl, value)));
                return Followed::Done(own(ResponseCode::NoError, answers, None));
            }
            Lookup::Cname(ttl, target) => {
                let Some(target_wire) = wire_name(&target) else { break };
                let value = RecordValue::Name(target.clone());
                answers.extend(record(&owner, Some(RecordType::Cname), ttl, &value));
                if wanted == Some(RecordType::Cname) {
                    return Followed::Done(own(ResponseCode::NoError, answers, None));
                }
                (name, question.name) = (target, target_wire);
            }
            Lookup::NoRecords(zone) => {
                return Followed::Done(own(ResponseCode::NoError, answers, authority(&zone)));
            }
            Lookup::NoSuchName(zone) => {
                return Followed::Done(own(ResponseCode::NXDomain, answers, authority(&zone)));
            }
            Lookup::NotHere => return Followed::Elsewhere { answers, question },
        }
    }
    Followed::Done(failed(answers))
}

/// Whether the asker's VPC has its attribute `enableDnsSupport`.
pub(crate) fn has_dns_support(snapshot: &Snapshot, asker: &Asker) -> bool {
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
