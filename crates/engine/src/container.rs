//! The engine's side of one container: its known state, and the conversation with its shim.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

use crate::cgroup::Cgroup;
use crate::error::EngineError;
use crate::layout;
use crate::shim::protocol::{self, Command, Event, Record, Reply, Request};
use crate::specification::{ContainerId, Signal};
use crate::status::{Exit, State};

/// Requests to one shim that wait to be written.
const REQUESTS_MAXIMUM: usize = 64;
/// How long what is left of a container whose shim died is killed.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

type Answer = oneshot::Sender<Result<Reply, String>>;

/// A container of this engine.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) directory: PathBuf,
    /// Where its writable layer is: `directory`, or a directory of its own elsewhere.
    pub(crate) writable: PathBuf,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) stop_signal: Signal,
    pub(crate) cgroup: Cgroup,
    known: watch::Sender<Known>,
    requests: mpsc::Sender<(Command, Answer)>,
}

/// What is known of a container's state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// None: we do not know whether it was ever made.
    pub(crate) record: Option<Record>,
    /// The conversation with the shim has ended: nothing changes any more.
    pub(crate) over: bool,
}

impl Known {
    /// In the words of the public interface.
    pub(crate) fn state(&self) -> State {
        match &self.record {
            None => State::Unknown,
            Some(Record { exit: Some(exit), .. }) => State::Exited(exit.clone()),
            Some(_) if self.over => State::Unknown,
            Some(Record { started_at: Some(_), .. }) => State::Running,
            Some(_) => State::Created,
        }
    }
}

/// What a [`Container`] is made from, besides its conversation.
pub(crate) struct Identity {
    pub(crate) id: ContainerId,
    pub(crate) directory: PathBuf,
    pub(crate) writable: PathBuf,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) stop_signal: Signal,
    pub(crate) cgroup: Cgroup,
}

impl Container {
    /// Talks to the shim at the other end of `stream` from now on; its first message has been read into `record`.
    pub(crate) fn attach(identity: Identity, record: Record, conversation: Conversation) -> Arc<Self> {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAXIMUM);
        let container = Self::new(identity, Known { record: Some(record), over: false }, requests);
        tokio::spawn(supervise(Arc::clone(&container), conversation, receiver));
        container
    }

    /// A container without a shim: it has ended, or was never made whole.
    pub(crate) fn without_shim(identity: Identity, record: Option<Record>) -> Arc<Self> {
        let (requests, _) = mpsc::channel(1);
        Self::new(identity, Known { record, over: true }, requests)
    }

    fn new(identity: Identity, known: Known, requests: mpsc::Sender<(Command, Answer)>) -> Arc<Self> {
        let Identity { id, directory, writable, labels, stop_signal, cgroup } = identity;
        let known = watch::Sender::new(known);
        Arc::new(Self { id, directory, writable, labels, stop_signal, cgroup, known, requests })
    }

    pub(crate) fn known(&self) -> Known {
        self.known.borrow().clone()
    }

    /// Asks the shim for something.
    pub(crate) async fn ask(&self, command: Command) -> Result<Reply, EngineError> {
        let (answer, answered) = oneshot::channel();
        if self.requests.send((command, answer)).await.is_err() {
            return Err(self.not_running());
        }
        match answered.await {
            Ok(result) => result.map_err(EngineError::Runtime),
            Err(_) => Err(self.not_running()),
        }
    }

    fn not_running(&self) -> EngineError {
        let state = match self.known().state() {
            State::Exited(_) => "stopped",
            State::Created => "not started",
            State::Running => "running",
            State::Unknown => "in an unknown state",
        };
        EngineError::WrongState { id: self.id.clone(), state }
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> Result<Exit, EngineError> {
        let mut known = self.known.subscribe();
        let end = known.wait_for(|known| {
            known.over || known.record.as_ref().is_some_and(|record| record.exit.is_some())
        });
        let record = end.await.ok().and_then(|known| known.record.clone());
        record.and_then(|record| record.exit).ok_or_else(|| self.not_running())
    }

    /// Waits until the shim is gone too (its mounts with it).
    pub(crate) async fn over(&self) {
        // The sender lives in `self`, so that the wait ends by the condition only.
        let _ = self.known.subscribe().wait_for(|known| known.over).await;
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        self.known.send_modify(change);
    }
}

/// A connection to a shim.
#[derive(Debug)]
pub(crate) struct Conversation {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Conversation {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// The next message. None: the shim is gone.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(event) = protocol::decode(&mut self.received)? {
                return Ok(Some(event));
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Talks to a shim until it is gone.
async fn supervise(
    container: Arc<Container>,
    mut conversation: Conversation,
    mut requests: mpsc::Receiver<(Command, Answer)>,
) {
    let mut waiting: HashMap<u64, Answer> = HashMap::new();
    let mut number = 0_u64;
    loop {
        // Both branches can be dropped half way: `next` keeps what it has read, `recv` loses nothing.
        tokio::select! {
            event = conversation.next() => match event {
                Ok(Some(Event::Reply { number, result })) => {
                    if let Ok(Reply::Started { started_at, .. }) = &result {
                        let started_at = *started_at;
                        container.change(|known| if let Some(record) = &mut known.record {
                            record.started_at = Some(started_at);
                        });
                    }
                    if let Some(answer) = waiting.remove(&number) {
                        // The asker may have given up.
                        let _ = answer.send(result);
                    }
                }
                Ok(Some(Event::Exited(exit))) => {
                    container.change(|known| if let Some(record) = &mut known.record {
                        record.exit = Some(exit);
                    });
                }
                Ok(Some(Event::Hello(_) | Event::Failed(_))) => {}
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(container = %container.id, %error, "the conversation with the shim broke");
                    break;
                }
            },
            Some((command, answer)) = requests.recv() => {
                number += 1;
                match protocol::encode(&Request { number, command }) {
                    Ok(bytes) => {
                        waiting.insert(number, answer);
                        // A failure shows itself as the end of the conversation.
                        let _ = conversation.stream.write_all(&bytes).await;
                    }
                    Err(error) => {
                        let _ = answer.send(Err(error.to_string()));
                    }
                }
            }
        }
    }
    requests.close();
    if !matches!(container.known().state(), State::Exited(_)) {
        bury(&container).await;
    }
    container.change(|known| known.over = true);
}

/// A shim died before its container: kills what is left, so that nothing runs unwatched, and writes down the end.
pub(crate) async fn bury(container: &Arc<Container>) {
    tracing::error!(container = %container.id, "the shim is gone; what is left of the container is killed");
    let work = Arc::clone(container);
    let record = tokio::task::spawn_blocking(move || {
        work.cgroup.kill_all(KILL_PATIENCE);
        let out_of_memory = work.cgroup.out_of_memory_kills() > 0;
        let mut record = work.known().record?;
        // The shim may have written the end down and died before it could say so.
        if let Ok(Record { exit: Some(exit), boot_id, .. }) =
            layout::read_json(&work.directory.join(layout::STATE))
            && boot_id == record.boot_id
        {
            record.exit = Some(exit);
            return Some(record);
        }
        record.exit = Some(Exit {
            code: 137,
            signal: Some(libc::SIGKILL),
            out_of_memory,
            finished_at: SystemClock.now(),
            reason: Some(
                "the process that watched the container was killed, and the container with it".to_owned(),
            ),
        });
        if let Err(error) = layout::write_json(&work.directory.join(layout::STATE), &record, true) {
            tracing::error!(container = %work.id, %error, "cannot write the container's state");
        }
        Some(record)
    })
    .await
    .ok()
    .flatten();
    container.change(|known| known.record = record);
}
