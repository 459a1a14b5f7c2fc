//! Names on a node whose rows are elsewhere: the control plane is asked what our own names lead to, and what it said is kept.
//! Everything outside is asked by the node itself. See `decisions/0038`.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use base::Clock;
use domain::DnsName;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use store::Snapshot;

use crate::cache::{Cache, Kept};
use crate::limits::{CONTROL_PLANE_PATIENCE, CONTROL_PLANE_PAUSE, TOLD_SECONDS_MAXIMUM};
use crate::look_up::Asker;
use crate::message::{Question, Reply, read_question};
use crate::record::dns_name;
use crate::resolver::{Followed, follow, has_dns_support};

/// The control plane, as a node asks it.
pub trait ControlPlaneNames: Send + Sync + 'static {
    /// An address that stands for all askers of the VPC that `source` is in, so that one answer does for all of them.
    fn represented_by(&self, source: IpAddr) -> IpAddr;

    /// Asks what the rows say to an asker; `question` is a DNS message. `None` where the control plane is away or says nothing.
    fn ask(
        &self,
        asker: IpAddr,
        question: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Option<NodeAnswer>> + Send + '_>>;
}

/// What the rows say to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAnswer {
    /// A DNS message.
    pub message: Vec<u8>,
    /// Whether its records lead to a name that the rows say nothing about, which is to be asked upstream.
    pub elsewhere: bool,
}

/// What the rows of a snapshot say to `asker` about a question (a DNS message) of a node; `None`: it is none. `chance` differs from
/// question to question.
pub fn answer_node(snapshot: &Snapshot, asker: &Asker, chance: u64, question: &[u8]) -> Option<NodeAnswer> {
    let question = read_question(question).ok()?;
    if !has_dns_support(snapshot, asker) {
        let message = question.write(Reply::of(ResponseCode::Refused), u16::MAX);
        return Some(NodeAnswer { message, elsewhere: false });
    }
    let (reply, elsewhere) = match follow(snapshot, asker, chance, &question, Vec::new()) {
        Followed::Done(reply) => (reply, false),
        Followed::Elsewhere { answers, .. } => (Reply { answers, ..Reply::of(ResponseCode::NoError) }, true),
    };
    Some(NodeAnswer { message: question.write(reply, u16::MAX), elsewhere })
}

/// What the control plane said.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub kept: Kept,
    pub authoritative: bool,
    pub elsewhere: bool,
}

type Key = (IpAddr, DnsName, RecordType);

/// Asks the control plane, and keeps what it said. A handle: cheap to clone.
#[derive(Clone)]
pub(crate) struct There(Arc<Inner>);

struct Inner {
    control_plane: Arc<dyn ControlPlaneNames>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cache: Cache<Key, Arc<Told>>,
    /// When it did not answer, in milliseconds.
    silent_since: Option<i64>,
}

impl There {
    pub fn new(control_plane: Arc<dyn ControlPlaneNames>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { control_plane, clock, state: Mutex::default() }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        self.0.clock.now().as_millis()
    }

    /// Who stands for the asker.
    pub fn represented_by(&self, source: IpAddr) -> IpAddr {
        self.0.control_plane.represented_by(source)
    }

    /// What was said a moment ago.
    pub fn kept(&self, asker: IpAddr, question: &Question) -> Option<Told> {
        let told = self.state().cache.get(&key_of(asker, question)?)?;
        let kept = told.kept.fresh(self.now())?;
        Some(Told { kept, ..Told::clone(&told) })
    }

    /// What the control plane says, or said last where it is away.
    pub async fn ask(&self, asker: IpAddr, question: &Question) -> Option<Told> {
        if let Some(told) = self.kept(asker, question) {
            return Some(told);
        }
        let key = key_of(asker, question)?;
        match self.ask_now(asker, question).await {
            Some(told) => {
                self.state().cache.put(key, Arc::new(told.clone()));
                Some(told)
            }
            None => {
                let told = self.state().cache.get(&key)?;
                let kept = told.kept.stale(self.now())?;
                Some(Told { kept, ..Told::clone(&told) })
            }
        }
    }

    async fn ask_now(&self, asker: IpAddr, question: &Question) -> Option<Told> {
        let silent_since = self.state().silent_since;
        if silent_since.is_some_and(|since| self.now() - since < CONTROL_PLANE_PAUSE) {
            return None;
        }
        // Its number is of no interest: the connection says which answer is which question's.
        let question = question.about(0, question.name.clone());
        let asking = self.0.control_plane.ask(asker, question.write_question()?);
        let answer = tokio::time::timeout(CONTROL_PLANE_PATIENCE, asking).await;
        self.state().silent_since = answer.is_err().then(|| self.now());
        let answer = answer.ok()??;
        let message = question.read_reply(&answer.message)?;
        let code = message.metadata.response_code;
        let kept = Kept::new(code, message.answers, message.authorities, self.now());
        Some(Told {
            kept: kept.at_most(TOLD_SECONDS_MAXIMUM),
            authoritative: message.metadata.authoritative,
            elsewhere: answer.elsewhere,
        })
    }
}

fn key_of(asker: IpAddr, question: &Question) -> Option<Key> {
    Some((asker, dns_name(&question.name)?, question.record_type))
}
