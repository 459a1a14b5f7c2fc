//! Everything that is not ours: asked of the host's name servers, each time with a new number and from a new port, and kept.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base::{Clock, Ids};
use hickory_proto::op::{Message, ResponseCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};

use crate::cache::{Cache, CacheKey, Kept};
use crate::limits::{DATAGRAM_BYTES_MAXIMUM, UPSTREAM_PATIENCE, UPSTREAM_TRY, WAITING_MAXIMUM};
use crate::message::Question;
use crate::record::dns_name;
use crate::resolv_conf::name_servers;

/// How often a resolv.conf is looked at for changes, in milliseconds.
const FILE_LOOK_INTERVAL: i64 = 1000;
/// How often each name server is asked.
const ROUNDS: usize = 2;

/// Who is asked.
#[derive(Clone, Debug)]
pub enum UpstreamServers {
    /// The name servers of a resolv.conf, which is read again when it changes.
    File(PathBuf),
    /// These; none: only our own names resolve.
    Fixed(Vec<SocketAddr>),
}

/// Nobody could tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Away;

type Outcome = Result<Arc<Kept>, Away>;
type Exchanges = HashMap<CacheKey, watch::Receiver<Option<Outcome>>>;

/// Asks, and keeps what it was told. A handle: cheap to clone.
#[derive(Clone)]
pub(crate) struct Upstream(Arc<Inner>);

struct Inner {
    servers: UpstreamServers,
    /// Our own addresses, which are not asked.
    own: Mutex<Vec<SocketAddr>>,
    file: Mutex<FileServers>,
    cache: Mutex<Cache<CacheKey, Arc<Kept>>>,
    /// One question is asked once, however many wait for it: a name server that asks us back waits for itself, and ends.
    exchanges: Mutex<Exchanges>,
    waiting: Arc<Semaphore>,
    ids: Arc<dyn Ids>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct FileServers {
    looked_at: i64,
    modified: Option<SystemTime>,
    servers: Vec<SocketAddr>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upstream {
    pub fn new(servers: UpstreamServers, ids: Arc<dyn Ids>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            servers,
            own: Mutex::default(),
            file: Mutex::default(),
            cache: Mutex::default(),
            exchanges: Mutex::default(),
            waiting: Arc::new(Semaphore::new(WAITING_MAXIMUM)),
            ids,
            clock,
        }))
    }

    /// These addresses are ours.
    pub fn not_to_be_asked(&self, address: SocketAddr) {
        lock(&self.0.own).push(address);
        lock(&self.0.file).modified = None;
    }

    /// What is kept of an answer and still fresh.
    pub fn kept(&self, question: &Question) -> Option<Kept> {
        let kept = lock(&self.0.cache).get(&key_of(question)?)?;
        kept.fresh(self.0.clock.now().as_millis())
    }

    /// The answer: a fresh one that is kept, or a new one, or the last good one where nobody answers.
    pub async fn ask(&self, question: &Question) -> Result<Kept, Away> {
        let key = key_of(question).ok_or(Away)?;
        if let Some(kept) = self.kept(question) {
            return Ok(kept);
        }
        match self.exchange(key.clone(), question).await {
            Ok(kept) => Ok(Kept::clone(&kept)),
            Err(Away) => {
                let kept = lock(&self.0.cache).get(&key);
                kept.and_then(|kept| kept.stale(self.0.clock.now().as_millis())).ok_or(Away)
            }
        }
    }

    /// Joins the exchange about this question, or starts it.
    async fn exchange(&self, key: CacheKey, question: &Question) -> Outcome {
        let mut outcome = {
            let mut exchanges = lock(&self.0.exchanges);
            if let Some(running) = exchanges.get(&key) {
                running.clone()
            } else {
                let permit = Arc::clone(&self.0.waiting).try_acquire_owned().map_err(|_| Away)?;
                let (sender, receiver) = watch::channel(None);
                exchanges.insert(key.clone(), receiver.clone());
                let (upstream, question) = (self.clone(), question.clone());
                // A task of its own: who asked first may go away, others wait on.
                tokio::spawn(async move {
                    let done = upstream.run(&key, &question).await;
                    lock(&upstream.0.exchanges).remove(&key);
                    sender.send_replace(Some(done));
                    drop(permit);
                });
                receiver
            }
        };
        let done = outcome.wait_for(Option::is_some).await.map_err(|_| Away)?;
        done.clone().unwrap_or(Err(Away))
    }

    async fn run(&self, key: &CacheKey, question: &Question) -> Outcome {
        let servers = self.servers();
        let asking = self.ask_all(&servers, question);
        let message = tokio::time::timeout(UPSTREAM_PATIENCE, asking).await.ok().flatten().ok_or(Away)?;
        let now = self.0.clock.now().as_millis();
        let kept = Kept::new(message.metadata.response_code, message.answers, message.authorities, now);
        let kept = Arc::new(kept);
        if kept.may_be_kept() {
            lock(&self.0.cache).put(key.clone(), Arc::clone(&kept));
        }
        Ok(kept)
    }

    async fn ask_all(&self, servers: &[SocketAddr], question: &Question) -> Option<Message> {
        for _ in 0..ROUNDS {
            for server in servers {
                match self.ask_one(*server, question).await {
                    Ok(message) if is_answer(&message) => return Some(message),
                    Ok(message) => {
                        tracing::debug!(%server, code = %message.metadata.response_code, "a name server refuses");
                    }
                    Err(error) => tracing::debug!(%server, %error, "a name server does not answer"),
                }
            }
        }
        None
    }

    async fn ask_one(&self, server: SocketAddr, question: &Question) -> io::Result<Message> {
        let mut random = [0; 2];
        self.0.ids.fill(&mut random);
        let question = question.about(u16::from_be_bytes(random), question.name.clone());
        let bytes = question.write_question().ok_or(io::ErrorKind::InvalidInput)?;
        let message = within(UPSTREAM_TRY, by_datagram(server, &question, &bytes)).await?;
        if message.metadata.truncation {
            return within(UPSTREAM_TRY, by_stream(server, &question, &bytes)).await;
        }
        Ok(message)
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let path = match &self.0.servers {
            UpstreamServers::Fixed(servers) => return servers.clone(),
            UpstreamServers::File(path) => path,
        };
        let mut file = lock(&self.0.file);
        let now = self.0.clock.now().as_millis();
        if file.modified.is_some() && now - file.looked_at < FILE_LOOK_INTERVAL {
            return file.servers.clone();
        }
        file.looked_at = now;
        let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        if modified.is_none() || modified != file.modified {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            file.servers = name_servers(&text, &lock(&self.0.own));
            file.modified = modified;
        }
        file.servers.clone()
    }
}

fn key_of(question: &Question) -> Option<CacheKey> {
    let name = dns_name(&question.name)?;
    Some((name, question.record_type, question.wants_signatures, question.checking_disabled))
}

/// What another name server would not know better.
fn is_answer(message: &Message) -> bool {
    matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, work).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// From a port that the kernel chooses by chance; only what comes from the server is received.
async fn by_datagram(server: SocketAddr, question: &Question, bytes: &[u8]) -> io::Result<Message> {
    let local: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = [0; DATAGRAM_BYTES_MAXIMUM as usize];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Anything else may be forged: the true reply may still come.
        if let Some(message) = question.read_reply(&buffer[..length]) {
            return Ok(message);
        }
    }
}

async fn by_stream(server: SocketAddr, question: &Question, bytes: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    question.read_reply(&buffer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
