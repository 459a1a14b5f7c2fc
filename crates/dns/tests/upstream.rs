//! What is not ours: asked upstream, kept, and given when upstream is away.

mod common;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use store::{Options, Store, TransactError, Transaction, rows};

use common::*;

#[tokio::test]
async fn the_rest_is_asked_upstream_once_and_kept() {
    let upstream = FakeUpstream::new().await;
    upstream.says(ResponseCode::NoError, vec![a("www.elsewhere.example.", 60, [192, 0, 2, 7])]);
    let world = World::new(&[upstream.address]).await;
    for _ in 0..3 {
        let answer = world.ask("wWw.elsewhere.example.", RecordType::A).await;
        assert_eq!(shown(&answer), ["wWw.elsewhere.example. A 192.0.2.7"], "as it was asked");
        assert!(!answer.metadata.authoritative && answer.metadata.recursion_available);
    }
    assert_eq!(upstream.count(), 1);
    world.clock.advance_millis(20_000);
    let aged = world.ask("www.elsewhere.example.", RecordType::A).await;
    assert_eq!(aged.answers[0].ttl, 40);
    world.clock.advance_millis(40_000);
    world.ask("www.elsewhere.example.", RecordType::A).await;
    assert_eq!(upstream.count(), 2, "past its time");
}

#[tokio::test]
async fn a_name_that_leads_back_to_ours_is_followed() {
    let upstream = FakeUpstream::new().await;
    upstream.says(ResponseCode::NoError, vec![cname("www.elsewhere.example.", "db.corp.example.")]);
    let world = World::new(&[upstream.address]).await;
    world.vpc("vpc-1", "127.31.0.0/16").await;
    let zone = world.zone("corp.example", Some("vpc-1")).await;
    world.record(&zone, "db.corp.example", "A", &["10.0.0.1"]).await;
    world.record(&zone, "out.corp.example", "CNAME", &["www.elsewhere.example"]).await;
    let answer = world.ask("out.corp.example.", RecordType::A).await;
    assert_eq!(
        shown(&answer),
        [
            "db.corp.example. A 10.0.0.1",
            "out.corp.example. CNAME www.elsewhere.example.",
            "www.elsewhere.example. CNAME db.corp.example."
        ]
    );
}

#[tokio::test]
async fn a_cut_reply_is_asked_for_again_over_tcp() {
    let upstream = FakeUpstream::new().await;
    let records = (0..100).map(|n| a("big.elsewhere.example.", 60, [192, 0, 2, n])).collect();
    upstream.says(ResponseCode::NoError, records);
    let world = World::new(&[upstream.address]).await;
    assert_eq!(world.ask_over_tcp("big.elsewhere.example.", RecordType::A).await.answers.len(), 100);
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn without_upstream_the_answer_is_an_honest_servfail_and_the_next_server_is_tried() {
    let (bad, good) = (FakeUpstream::new().await, FakeUpstream::new().await);
    bad.says(ResponseCode::ServFail, Vec::new());
    good.says(ResponseCode::NXDomain, Vec::new());
    let world = World::new(&[bad.address, good.address]).await;
    assert_eq!(code(&world.ask("x.elsewhere.example.", RecordType::A).await), ResponseCode::NXDomain);
    let alone = World::new(&[]).await;
    assert_eq!(code(&alone.ask("x.elsewhere.example.", RecordType::A).await), ResponseCode::ServFail);
}

#[tokio::test]
async fn a_server_that_asks_itself_ends() {
    // An address of its own: other tests take any port of 127.0.0.1, also the one that was free a moment ago.
    let socket = std::net::UdpSocket::bind("127.77.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let store = Store::ephemeral(rows::register(Options::ephemeral()));
    let world = World::at(address, store, &[address]).await;
    assert_eq!(code(&world.ask("x.elsewhere.example.", RecordType::A).await), ResponseCode::ServFail);
}

/// A file system in memory, unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "roadstead-dns-test"])
            .arg(directory.path())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").args(["-l"]).arg(self.0.path()).status();
    }
}

/// F40: what was known stays known, upstream away or not, and our own names are answered from memory when the store can
/// write no more.
#[tokio::test]
async fn f40_last_good_answers_are_kept() {
    let upstream = FakeUpstream::new().await;
    upstream.says(ResponseCode::NoError, vec![a("www.elsewhere.example.", 60, [192, 0, 2, 7])]);
    let Some(disk) = SmallDisk::new() else {
        eprintln!("skipped f40_last_good_answers_are_kept: no tmpfs can be mounted here");
        return;
    };
    let store = Store::open(&disk.0.path().join("store"), rows::register(Options::durable())).unwrap();
    let world = World::over(store, &[upstream.address]).await;
    world.vpc("vpc-1", "127.31.0.0/16").await;
    let zone = world.zone("corp.example", Some("vpc-1")).await;
    world.record(&zone, "db.corp.example", "A", &["10.0.0.1"]).await;
    world.ask("www.elsewhere.example.", RecordType::A).await;

    upstream.is_silent();
    world.clock.advance_millis(3_600_000);
    let stale = world.ask("www.elsewhere.example.", RecordType::A).await;
    assert_eq!(shown(&stale), ["www.elsewhere.example. A 192.0.2.7"]);
    assert_eq!(stale.answers[0].ttl, 30, "not for long");
    assert_eq!(code(&world.ask("new.elsewhere.example.", RecordType::A).await), ResponseCode::ServFail);
    world.clock.advance_millis(2 * 86_400_000);
    let too_old = world.ask("www.elsewhere.example.", RecordType::A).await;
    assert_eq!(code(&too_old), ResponseCode::ServFail, "a day, not for ever");

    // The disk fills up: the store refuses, and what it has said stands.
    let _ = std::fs::write(disk.0.path().join("ballast"), vec![1; 8 << 20]);
    let mut refused = Ok(store::Version::default());
    for n in 0..200 {
        let mut transaction = Transaction::new();
        let long = format!("\"{}\"", "x".repeat(200));
        let values = vec![long.as_str(); 100];
        transaction.put(record_set(&zone, &format!("n{n}.corp.example"), "TXT", &values));
        refused = world.store.transact(transaction).await;
        if refused.is_err() {
            break;
        }
    }
    assert_eq!(refused, Err(TransactError::NoSpace));
    let kept = world.ask("db.corp.example.", RecordType::A).await;
    assert_eq!(shown(&kept), ["db.corp.example. A 10.0.0.1"]);
}
