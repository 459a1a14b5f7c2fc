//! A store with a VPC in 127.31.0.0/16, so that tests can ask from a VPC's address without a network of its own; a server over
//! it on loopback; a name server to stand for upstream.
#![allow(dead_code)] // each test file uses some of it

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::{ManualClock, RandomIds, Scope, SeededIds, Timestamp};
use dns::{Resolver, ResolverConfig, Server, UpstreamServers};
use domain::DnsName;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use serde_json::{Value, json};
use store::{Options, Row, Store, Transaction, rows};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

/// How long an answer is waited for: far longer than one takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn scope() -> Scope {
    Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap())
}

pub fn name(text: &str) -> DnsName {
    DnsName::parse(text).unwrap()
}

/// A row, from its stored form: what has a default need not be said.
pub fn row<R: Row>(mut value: Value) -> R {
    value["scope"] = serde_json::to_value(scope()).unwrap();
    serde_json::from_value(value).unwrap()
}

pub struct World {
    pub store: Store,
    pub clock: Arc<ManualClock>,
    pub server: Server,
}

impl World {
    /// A server over an empty store, and these for upstream.
    pub async fn new(upstream: &[SocketAddr]) -> Self {
        Self::over(Store::ephemeral(rows::register(Options::ephemeral())), upstream).await
    }

    pub async fn over(store: Store, upstream: &[SocketAddr]) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), store, upstream).await
    }

    pub async fn at(address: SocketAddr, store: Store, upstream: &[SocketAddr]) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        let resolver = Resolver::new(ResolverConfig {
            store: store.clone(),
            scope: scope(),
            upstream: UpstreamServers::Fixed(upstream.to_vec()),
            ids: Arc::new(SeededIds::new(7)),
            clock: Arc::clone(&clock) as Arc<_>,
        });
        let server = Server::start(resolver, address).await.unwrap();
        Self { store, clock, server }
    }

    pub async fn put<R: Row>(&self, row: R) {
        let mut transaction = Transaction::new();
        transaction.put(row);
        self.store.transact(transaction).await.unwrap();
    }

    /// Makes a VPC of these addresses.
    pub async fn vpc(&self, id: &str, cidr: &str) {
        self.put(row::<store::rows_vpc::VpcCidrUse>(json!({"cidr": cidr, "vpc": id}))).await;
    }

    /// A private zone in a VPC, or a public one.
    pub async fn zone(&self, zone: &str, vpc: Option<&str>) -> domain::HostedZone {
        let mut transaction = Transaction::new();
        let account = scope().account;
        let new = store::rows_dns::NewHostedZone {
            account: &account,
            name: name(zone),
            caller_reference: None,
            comment: None,
            vpc: vpc.map(|vpc| domain::HostedZoneVpc { region: scope().region, vpc: vpc.to_owned() }),
            linked_service: None,
            negative_ttl_seconds: 30,
            now: Timestamp::from_millis(0),
        };
        let made = new.make(&RandomIds, &mut transaction);
        self.store.transact(transaction).await.unwrap();
        made
    }

    /// A record set of simple routing.
    pub async fn record(&self, zone: &domain::HostedZone, of: &str, record_type: &str, values: &[&str]) {
        self.put(record_set(zone, of, record_type, values)).await;
    }

    /// Asks over UDP from an address.
    pub async fn ask_from(&self, source: Ipv4Addr, of: &str, record_type: RecordType) -> Message {
        let socket = UdpSocket::bind((source, 0)).await.unwrap();
        socket.connect(self.server.address()).await.unwrap();
        socket.send(&question(of, record_type).to_vec().unwrap()).await.unwrap();
        let mut bytes = [0; 4096];
        let length = tokio::time::timeout(PATIENCE, socket.recv(&mut bytes)).await.unwrap().unwrap();
        Message::from_vec(&bytes[..length]).unwrap()
    }

    /// As an interface of the VPC 127.31.0.0/16.
    pub async fn ask(&self, of: &str, record_type: RecordType) -> Message {
        self.ask_from(Ipv4Addr::new(127, 31, 0, 10), of, record_type).await
    }

    /// As the host.
    pub async fn ask_as_host(&self, of: &str, record_type: RecordType) -> Message {
        self.ask_from(Ipv4Addr::LOCALHOST, of, record_type).await
    }

    /// Over TCP, as the host.
    pub async fn ask_over_tcp(&self, of: &str, record_type: RecordType) -> Message {
        let mut stream = TcpStream::connect(self.server.address()).await.unwrap();
        let bytes = question(of, record_type).to_vec().unwrap();
        stream.write_u16(bytes.len() as u16).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).await.unwrap();
        Message::from_vec(&bytes).unwrap()
    }
}

pub fn record_set(
    zone: &domain::HostedZone,
    of: &str,
    record_type: &str,
    values: &[&str],
) -> domain::ResourceRecordSet {
    serde_json::from_value(json!({
        "hosted_zone": zone.id, "name": name(of).as_str(), "record_type": record_type, "routing": "Simple",
        "content": {"Records": {"ttl_seconds": 60, "values": values}},
    }))
    .unwrap()
}

pub fn question(of: &str, record_type: RecordType) -> Message {
    let mut message = Message::new(99, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(of).unwrap(), record_type));
    message
}

/// The answers as text, in order: `NAME TYPE DATA`.
pub fn shown(message: &Message) -> Vec<String> {
    let mut texts: Vec<String> = message
        .answers
        .iter()
        .map(|record| format!("{} {} {}", record.name, record.record_type(), record.data))
        .collect();
    texts.sort();
    texts
}

pub fn code(message: &Message) -> ResponseCode {
    message.metadata.response_code
}

/// Code, answers and authorities.
pub type Said = (ResponseCode, Vec<Record>, Vec<Record>);

/// A name server that says what a test tells it to, and counts.
pub struct FakeUpstream {
    pub address: SocketAddr,
    pub asked: Arc<AtomicUsize>,
    /// What it does: code and answers, or silence.
    pub says: Arc<Mutex<Option<Said>>>,
}

impl FakeUpstream {
    pub async fn new() -> Self {
        // A port that is free of UDP may be in use by TCP, by connections of others too.
        let (socket, address, listener) = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            if let Ok(listener) = tokio::net::TcpListener::bind(address).await {
                break (socket, address, listener);
            }
        };
        let asked = Arc::new(AtomicUsize::new(0));
        let says = Arc::new(Mutex::new(None));
        let reply = {
            let (asked, says) = (Arc::clone(&asked), Arc::clone(&says));
            move |bytes: &[u8]| {
                asked.fetch_add(1, Ordering::SeqCst);
                let question = Message::from_vec(bytes).unwrap();
                let (code, answers, authorities) = says.lock().unwrap().clone()?;
                let mut message = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
                message.metadata.response_code = code;
                message.queries = question.queries;
                message.answers = answers;
                message.authorities = authorities;
                Some(message)
            }
        };
        let by_stream = reply.clone();
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut bytes).await {
                let Some(message) = reply(&bytes[..length]) else { continue };
                let whole = message.to_vec().unwrap();
                let bytes = if whole.len() > 1232 { message.truncate().to_vec().unwrap() } else { whole };
                // First what someone forges: another number, another name.
                let mut forged = bytes.clone();
                forged[0] ^= 0xff;
                let _ = socket.send_to(&forged, peer).await;
                let _ = socket.send_to(&bytes, peer).await;
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Ok(length) = stream.read_u16().await else { continue };
                let mut bytes = vec![0; usize::from(length)];
                let _ = stream.read_exact(&mut bytes).await;
                let Some(message) = by_stream(&bytes) else { continue };
                let bytes = message.to_vec().unwrap();
                let _ = stream.write_u16(bytes.len() as u16).await;
                let _ = stream.write_all(&bytes).await;
            }
        });
        Self { address, asked, says }
    }

    pub fn says(&self, code: ResponseCode, answers: Vec<Record>) {
        *self.says.lock().unwrap() = Some((code, answers, Vec::new()));
    }

    pub fn is_silent(&self) {
        *self.says.lock().unwrap() = None;
    }

    pub fn count(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

pub fn a(of: &str, ttl: u32, address: [u8; 4]) -> Record {
    Record::from_rdata(
        Name::from_ascii(of).unwrap(),
        ttl,
        RData::A(hickory_proto::rr::rdata::A(address.into())),
    )
}

pub fn cname(of: &str, target: &str) -> Record {
    let target = hickory_proto::rr::rdata::CNAME(Name::from_ascii(target).unwrap());
    Record::from_rdata(Name::from_ascii(of).unwrap(), 60, RData::CNAME(target))
}
