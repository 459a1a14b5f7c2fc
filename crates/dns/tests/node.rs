//! The resolver of a node that has no rows: the control plane says what is ours, upstream the rest.

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::{ManualClock, SeededIds, Timestamp};
use dns::{ControlPlaneNames, NodeAnswer, Resolver, Server, UpstreamServers};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use store::{Options, Store, rows};

use common::*;

const SILENT: usize = usize::MAX;

/// A control plane over a store; each VPC here is a /16.
struct ControlPlane {
    store: Store,
    asked: AtomicUsize,
    /// Answers that it has left before it is away; `SILENT` is for ever without a word.
    left: AtomicUsize,
}

impl ControlPlaneNames for ControlPlane {
    fn represented_by(&self, source: IpAddr) -> IpAddr {
        let IpAddr::V4(source) = source.to_canonical() else { return source };
        Ipv4Addr::new(source.octets()[0], source.octets()[1], 0, 0).into()
    }

    fn ask(
        &self,
        asker: IpAddr,
        question: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Option<NodeAnswer>> + Send + '_>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            match self.left.load(Ordering::SeqCst) {
                0 => return None,
                SILENT => std::future::pending().await,
                _ => {}
            }
            let snapshot = self.store.snapshot();
            let asker = dns::asker_of(&snapshot, &scope(), asker);
            dns::answer_node(&snapshot, &asker, 0, &question)
        })
    }
}

struct Node {
    world: World,
    control_plane: Arc<ControlPlane>,
    upstream: FakeUpstream,
}

impl Node {
    async fn new() -> Self {
        let store = Store::ephemeral(rows::register(Options::ephemeral()));
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        let control_plane = Arc::new(ControlPlane {
            store: store.clone(),
            asked: AtomicUsize::new(0),
            left: AtomicUsize::new(99),
        });
        let upstream = FakeUpstream::new().await;
        let resolver = Resolver::of_node(
            Arc::clone(&control_plane) as Arc<_>,
            UpstreamServers::Fixed(vec![upstream.address]),
            Arc::new(SeededIds::new(7)),
            Arc::clone(&clock) as Arc<_>,
        );
        let server = Server::start(resolver, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let world = World { store, clock, server };
        world.vpc("vpc-1", "127.31.0.0/16").await;
        world.vpc("vpc-2", "127.32.0.0/16").await;
        let zone = world.zone("corp.example", Some("vpc-1")).await;
        world.record(&zone, "db.corp.example", "A", &["10.0.0.1"]).await;
        world.record(&zone, "out.corp.example", "CNAME", &["www.elsewhere.example"]).await;
        Self { world, control_plane, upstream }
    }

    fn left(&self, left: usize) {
        self.control_plane.left.store(left, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.control_plane.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn our_names_are_told_by_the_control_plane_and_kept_for_seconds() {
    let node = Node::new().await;
    let world = &node.world;
    for _ in 0..3 {
        let answer = world.ask("dB.corp.example.", RecordType::A).await;
        assert_eq!(shown(&answer), ["dB.corp.example. A 10.0.0.1"], "as it was asked");
        assert!(answer.metadata.authoritative);
    }
    let neighbour = world.ask_from(Ipv4Addr::new(127, 31, 9, 9), "db.corp.example.", RecordType::A).await;
    assert_eq!(shown(&neighbour), ["db.corp.example. A 10.0.0.1"]);
    assert_eq!(node.asked(), 1, "one answer for a whole VPC");
    let none = world.ask("nothing.corp.example.", RecordType::A).await;
    assert_eq!((code(&none), none.authorities.len()), (ResponseCode::NXDomain, 1));
    node.upstream.says(ResponseCode::NXDomain, Vec::new());
    let stranger = world.ask_from(Ipv4Addr::new(127, 32, 0, 9), "db.corp.example.", RecordType::A).await;
    assert_eq!(code(&stranger), ResponseCode::NXDomain, "another VPC has no such zone: {stranger:?}");
    assert_eq!(node.upstream.count(), 1);
    let zone = world.zone("new.example", Some("vpc-1")).await;
    world.record(&zone, "db.new.example", "A", &["10.0.0.2"]).await;
    world.clock.advance_millis(5000);
    assert_eq!(shown(&world.ask("db.new.example.", RecordType::A).await), ["db.new.example. A 10.0.0.2"]);
}

#[tokio::test]
async fn names_outside_are_asked_by_the_node_and_lead_back_to_ours() {
    let node = Node::new().await;
    node.upstream.says(ResponseCode::NoError, vec![a("www.elsewhere.example.", 60, [192, 0, 2, 7])]);
    for _ in 0..2 {
        let answer = node.world.ask("out.corp.example.", RecordType::A).await;
        assert_eq!(
            shown(&answer),
            ["out.corp.example. CNAME www.elsewhere.example.", "www.elsewhere.example. A 192.0.2.7"]
        );
    }
    assert_eq!((node.asked(), node.upstream.count()), (1, 1));
    node.upstream.says(ResponseCode::NoError, vec![cname("www.other.example.", "db.corp.example.")]);
    let answer = node.world.ask("www.other.example.", RecordType::A).await;
    assert_eq!(shown(&answer), ["db.corp.example. A 10.0.0.1", "www.other.example. CNAME db.corp.example."]);
}

#[tokio::test]
async fn without_the_control_plane_names_outside_resolve_and_ours_as_they_were() {
    let node = Node::new().await;
    let world = &node.world;
    world.ask("db.corp.example.", RecordType::A).await;
    node.left(0);
    world.clock.advance_millis(3_600_000);
    let old = world.ask("db.corp.example.", RecordType::A).await;
    assert_eq!((shown(&old), old.answers[0].ttl), (vec!["db.corp.example. A 10.0.0.1".to_owned()], 30));
    node.upstream.says(ResponseCode::NoError, vec![a("www.elsewhere.example.", 60, [192, 0, 2, 7])]);
    let outside = world.ask("www.elsewhere.example.", RecordType::A).await;
    assert_eq!(shown(&outside), ["www.elsewhere.example. A 192.0.2.7"]);
    node.upstream.says(ResponseCode::NoError, Vec::new());
    assert_eq!(code(&world.ask("www.elsewhere.example.", RecordType::AAAA).await), ResponseCode::NoError);
    node.upstream.says(ResponseCode::NXDomain, Vec::new());
    let unknown = world.ask("other.corp.example.", RecordType::A).await;
    assert_eq!(code(&unknown), ResponseCode::ServFail, "it may be ours: nobody can say that there is none");
    node.left(99);
    let known = world.ask("other.corp.example.", RecordType::A).await;
    assert_eq!(code(&known), ResponseCode::NXDomain);
}

#[tokio::test]
async fn a_control_plane_that_says_nothing_is_not_waited_for_each_time() {
    let node = Node::new().await;
    node.left(SILENT);
    node.upstream.says(ResponseCode::NoError, vec![a("www.elsewhere.example.", 60, [192, 0, 2, 7])]);
    for of in ["www.elsewhere.example.", "www.elsewhere.example.", "wWw.elsewhere.example."] {
        let asking = node.world.ask(of, RecordType::A);
        let answer = tokio::time::timeout(Duration::from_secs(10), asking).await.unwrap();
        assert_eq!(answer.answers.len(), 1);
    }
    assert_eq!(node.asked(), 1);
    node.left(99);
    node.world.clock.advance_millis(5000);
    assert_eq!(node.world.ask("db.corp.example.", RecordType::A).await.answers.len(), 1, "it is asked again");
}
