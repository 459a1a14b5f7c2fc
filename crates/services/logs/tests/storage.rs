//! The event store against a plain sorted list, and against kill -9.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use logs::storage::{
    AppendError, Direction, Event, EventKey, EventStore, Page, Query, StoredEvent, StreamId, Sync,
};
use proptest::prelude::*;

fn id(stream: u64) -> StreamId {
    StreamId { group: 7, stream }
}

fn open(directory: &Path) -> EventStore {
    EventStore::open(directory, Sync::default()).unwrap()
}

fn put(store: &EventStore, stream: u64, events: &[(i64, &str)]) -> EventKey {
    let events: Vec<_> =
        events.iter().map(|(timestamp, message)| Event { timestamp: *timestamp, message }).collect();
    store.append(id(stream), 1000, &events).unwrap()
}

fn query(streams: &[StreamId], direction: Direction, limit: usize) -> Query<'_> {
    Query {
        streams,
        from: EventKey::default(),
        to: EventKey::MAXIMUM,
        direction,
        limit,
        bytes: 1 << 20,
        search_bytes: u64::MAX,
        accept: &|_| true,
    }
}

fn messages(events: &[StoredEvent]) -> Vec<&str> {
    events.iter().map(|event| event.message.as_str()).collect()
}

fn all(store: &EventStore, stream: u64) -> Vec<String> {
    let page = store.read(&query(&[id(stream)], Direction::Forward, usize::MAX)).unwrap();
    messages(&page.events).into_iter().map(str::to_owned).collect()
}

/// Reads every page, checking that each keeps its limits.
fn pages(store: &EventStore, mut query: Query<'_>) -> Vec<StoredEvent> {
    let mut found: Vec<StoredEvent> = Vec::new();
    loop {
        let Page { events, more } = store.read(&query).unwrap();
        let bytes: usize = events.iter().map(|event| event.message.len() + 26).sum();
        assert!(events.len() <= query.limit && (bytes <= query.bytes || events.len() == 1));
        assert!(events.is_sorted_by_key(|event| event.key));
        match query.direction {
            Direction::Forward => found.extend(events),
            Direction::Backward => found = [events, found].concat(),
        }
        let Some(more) = more else { return found };
        match query.direction {
            Direction::Forward => {
                assert!(more > query.from, "no progress");
                query.from = more;
            }
            Direction::Backward => {
                assert!(more < query.to, "no progress");
                query.to = more;
            }
        }
    }
}

#[test]
fn events_come_back_in_order_of_time_and_put() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    put(&store, 1, &[(10, "a"), (20, "d")]);
    put(&store, 1, &[(15, "b"), (15, "c"), (20, "e")]);
    put(&store, 2, &[(5, "other")]);
    assert_eq!(all(&store, 1), ["a", "b", "c", "d", "e"]);
    let page = store.read(&query(&[id(1)], Direction::Backward, 2)).unwrap();
    assert_eq!(messages(&page.events), ["d", "e"]);
    assert_eq!(page.more, Some(page.events[0].key));
    let both = [id(2), id(1)];
    let page = store.read(&query(&both, Direction::Forward, 2)).unwrap();
    assert_eq!(messages(&page.events), ["other", "a"]);
    assert_eq!((page.events[0].stream, page.events[1].stream), (0, 1));
    assert_eq!(page.events[0].ingestion_time, 1000);
    let stats = store.stats(id(1)).unwrap();
    assert_eq!((stats.first_timestamp, stats.last_timestamp), (Some(10), Some(20)));
    assert_eq!(stats.last_ingestion_time, Some(1000));
    assert!(store.group_bytes(7).unwrap() > 0);
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.stats(id(1)).unwrap(), stats);
    assert_eq!(all(&store, 1), ["a", "b", "c", "d", "e"]);
    assert!(put(&store, 1, &[(20, "f")]).put > 3, "numbers of puts are not used twice");
    assert_eq!(all(&store, 1).last().unwrap(), "f");
}

#[test]
fn a_single_event_larger_than_the_page_is_given_out() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let large = "x".repeat(1 << 20);
    put(&store, 1, &[(1, &large)]);
    put(&store, 1, &[(2, "small")]);
    for direction in [Direction::Forward, Direction::Backward] {
        let found = pages(&store, Query { bytes: 1000, ..query(&[id(1)], direction, 10) });
        assert_eq!(found.len(), 2);
    }
}

#[test]
fn a_torn_or_damaged_tail_loses_nothing_else_and_is_written_behind() {
    for damage in ["cut", "garbage", "flip"] {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        put(&store, 1, &[(1, "first")]);
        put(&store, 1, &[(2, "second")]);
        drop(store);
        let file = directory.path().join("0000000000000007/0000000000000001/00000000.events");
        let mut bytes = fs::read(&file).unwrap();
        let expected: &[&str] = match damage {
            "cut" => {
                bytes.pop();
                &["first", "third"]
            }
            "garbage" => {
                bytes.extend_from_slice(&[7; 100]);
                &["first", "second", "third"]
            }
            _ => {
                *bytes.last_mut().unwrap() ^= 1;
                &["first", "third"]
            }
        };
        fs::write(&file, bytes).unwrap();
        for _ in 0..2 {
            let store = open(directory.path());
            if all(&store, 1).last().unwrap() != "third" {
                put(&store, 1, &[(3, "third")]);
            }
            assert_eq!(all(&store, 1), expected, "{damage}");
        }
    }
}

#[test]
fn deleted_streams_stay_away_and_groups_go_with_their_directory() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    put(&store, 1, &[(1, "a")]);
    put(&store, 2, &[(1, "b")]);
    assert_eq!(store.stored_streams().unwrap().len(), 2);
    store.delete_stream(id(1)).unwrap();
    assert!(all(&store, 1).is_empty());
    let again = store.append(id(1), 0, &[Event { timestamp: 1, message: "x" }]);
    assert!(matches!(again, Err(AppendError::Deleted)));
    assert_eq!(store.stored_streams().unwrap(), [id(2)]);
    store.delete_stream(id(99)).unwrap();
    store.delete_group(7, [2]).unwrap();
    assert_eq!(store.group_bytes(7).unwrap(), 0);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "only the sequence");
    put(&store, 3, &[(1, "c")]);
    store.clear().unwrap();
    assert!(store.stored_streams().unwrap().is_empty());
}

#[test]
fn expired_segments_go_and_the_rest_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let day = 24 * 3600 * 1000;
    for at in 0..5_i64 {
        let time = at * (day + 1);
        store.append(id(1), time, &[Event { timestamp: time, message: &at.to_string() }]).unwrap();
    }
    let files = || fs::read_dir(directory.path().join("0000000000000007/0000000000000001")).unwrap().count();
    assert_eq!(files(), 5 + 4, "one segment a day, all but the last with an index");
    let before = store.group_bytes(7).unwrap();
    store.expire(id(1), 3 * (day + 1)).unwrap();
    assert_eq!(all(&store, 1), ["3", "4"]);
    assert!(store.group_bytes(7).unwrap() < before);
    store.expire(id(1), i64::MAX).unwrap();
    assert!(all(&store, 1).is_empty());
    let stats = store.stats(id(1)).unwrap();
    assert_eq!((stats.first_timestamp, stats.last_ingestion_time), (None, Some(4 * (day + 1))));
    put(&store, 1, &[(9, "new")]);
    assert_eq!(all(&store, 1), ["new"]);
}

#[test]
fn many_streams_need_few_files() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for round in 0..3 {
        for stream in 0..700 {
            put(&store, stream, &[(round, &format!("{stream} {round}"))]);
        }
        // The thread that syncs holds some more, until it has.
        store.flush().unwrap();
        let open_files = fs::read_dir("/proc/self/fd").unwrap();
        let links = open_files.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        let ours = links.filter(|path| path.starts_with(directory.path())).count();
        assert!(ours < 1400, "{ours}");
    }
    for stream in 0..700 {
        assert_eq!(all(&store, stream), [0, 1, 2].map(|round| format!("{stream} {round}")));
    }
}

#[test]
fn a_broken_off_search_goes_on_where_it_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let filler = "x".repeat(60_000);
    for at in 0..100 {
        put(&store, at % 3, &[(at as i64 * 10, &filler), (at as i64 * 10 + 7, &format!("mark {at}"))]);
    }
    let streams = [id(0), id(1), id(2)];
    for direction in [Direction::Forward, Direction::Backward] {
        let query = Query {
            search_bytes: 200_000,
            accept: &|message| message.starts_with("mark"),
            ..query(&streams, direction, 7)
        };
        let first = store.read(&Query { ..query }).unwrap();
        assert!(first.more.is_some());
        let found = pages(&store, query);
        let expected: Vec<_> = (0..100).map(|at| format!("mark {at}")).collect();
        assert_eq!(messages(&found), expected, "{direction:?}");
    }
}

#[test]
fn on_disk_before_the_acknowledgement_works_too() {
    let directory = tempfile::tempdir().unwrap();
    let store = EventStore::open(directory.path(), Sync::BeforeAcknowledging).unwrap();
    put(&store, 1, &[(1, "a")]);
    assert_eq!(all(&store, 1), ["a"]);
    fs::write(directory.path().join("sequence"), "x").unwrap();
    drop(store);
    let error = EventStore::open(directory.path(), Sync::default()).unwrap_err();
    assert!(error.to_string().contains("sequence"), "{error}");
}

#[test]
fn puts_and_reads_run_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    std::thread::scope(|scope| {
        for stream in 0..3 {
            let store = &store;
            scope.spawn(move || {
                for at in 0..500 {
                    put(store, stream, &[(at, &format!("{at} {}", "y".repeat(900)))]);
                }
            });
        }
        let streams = [id(0), id(1), id(2)];
        let mut seen = 0;
        let start = Instant::now();
        while seen < 1500 {
            let events = pages(&store, query(&streams, Direction::Forward, 400));
            assert!(events.len() >= seen, "what was seen stays");
            seen = events.len();
            assert!(start.elapsed() < Duration::from_secs(60));
        }
    });
}

const CHILD: &str = "LOGS_STORAGE_TEST_CHILD";

/// Run by the next test in a process of its own, which it kills.
#[test]
fn child_that_puts_until_it_is_killed() {
    let Ok(directory) = std::env::var(CHILD) else { return };
    let store = open(&Path::new(&directory).join("events"));
    let mut acknowledged = OpenOptions::new();
    let mut acknowledged =
        acknowledged.append(true).create(true).open(Path::new(&directory).join("acknowledged")).unwrap();
    let already = all(&store, 1).len() as i64;
    for at in already.. {
        put(&store, 1, &[(at, &format!("{at}"))]);
        acknowledged.write_all(format!("{at}\n").as_bytes()).unwrap();
    }
}

#[test]
fn nothing_acknowledged_is_lost_at_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let acknowledged = directory.path().join("acknowledged");
    for round in 1..=5_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_puts_until_it_is_killed"])
            .env(CHILD, directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while fs::metadata(&acknowledged).map_or(0, |data| data.len()) < round * 3000 {
            assert!(start.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(round));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let said = fs::read_to_string(&acknowledged).unwrap();
        let last: usize = said.lines().last().unwrap().parse().unwrap();
        let stored = all(&open(&directory.path().join("events")), 1);
        assert!(stored.len() > last, "{} of {last}", stored.len());
        assert!(stored.iter().enumerate().all(|(at, message)| *message == at.to_string()));
    }
}

type Put = (u64, Vec<(i64, usize)>);

fn puts() -> impl Strategy<Value = Vec<Put>> {
    let size = prop_oneof![3 => 0_usize..30, 1 => 20_000_usize..90_000];
    proptest::collection::vec((0_u64..3, proptest::collection::vec((0_i64..200, size), 1..6)), 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn reading_is_sorting(
        puts in puts(),
        limit in 1_usize..12,
        bytes in 30_usize..200_000,
        search_bytes in 0_u64..300_000,
        start in 0_i64..200,
        length in 0_i64..200,
        reopen in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let mut model: BTreeMap<EventKey, (usize, String)> = BTreeMap::new();
        let streams = [id(0), id(1), id(2)];
        for (number, (stream, mut events)) in puts.into_iter().enumerate() {
            events.sort_unstable();
            let texts: Vec<_> = events.iter().enumerate().map(|(at, (_, size))| format!("{number}.{at}{}", "z".repeat(*size))).collect();
            let borrowed: Vec<_> = events.iter().zip(&texts).map(|((time, _), text)| (*time, text.as_str())).collect();
            let last = put(&store, stream, &borrowed);
            for (at, ((time, _), text)) in events.iter().zip(&texts).enumerate() {
                let key = EventKey { timestamp: *time, put: last.put, index: at as u16 };
                model.insert(key, (stream as usize, text.clone()));
            }
        }
        if reopen {
            drop(store);
            store = open(directory.path());
        }
        let (from, to) = (EventKey::first_at(start), EventKey::first_at(start + length));
        let accept = |message: &str| !message.contains(".3");
        let expected: Vec<_> = model
            .range(from..to)
            .filter(|(_, (_, text))| accept(text))
            .map(|(key, (stream, text))| (*key, *stream, text.clone()))
            .collect();
        for direction in [Direction::Forward, Direction::Backward] {
            let query = Query { streams: &streams, from, to, direction, limit, bytes, search_bytes, accept: &accept };
            let found: Vec<_> = pages(&store, query)
                .into_iter()
                .map(|event| (event.key, event.stream, event.message))
                .collect();
            prop_assert_eq!(&found, &expected, "{:?}", direction);
        }
    }
}

#[test]
fn a_full_disk_refuses_puts_and_keeps_what_was_acknowledged() {
    const TEST: &str = "a_full_disk_refuses_puts_and_keeps_what_was_acknowledged";
    let disk = tempfile::tempdir().unwrap();
    let (none, flags) = (None::<&str>, nix::mount::MsFlags::empty());
    if let Err(errno) = nix::mount::mount(none, disk.path(), Some("tmpfs"), flags, Some("size=1m")) {
        eprintln!("SKIPPED {TEST}: a tmpfs cannot be mounted: {errno}");
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        let store = open(disk.path());
        let large = "x".repeat(100_000);
        let mut acknowledged = 0;
        let refused = loop {
            match store.append(id(1), 0, &[Event { timestamp: acknowledged, message: &large }]) {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, AppendError::Io(_)), "{refused}");
        assert!((5..12).contains(&acknowledged), "{acknowledged}");
        assert_eq!(all(&store, 1).len() as i64, acknowledged);
        store.delete_stream(id(2)).unwrap();
        let small = store.append(id(1), 0, &[Event { timestamp: 99, message: "small" }]);
        assert_eq!(all(&store, 1).len() as i64, acknowledged + i64::from(small.is_ok()));
        drop(store);
        let store = open(disk.path());
        assert_eq!(all(&store, 1).len() as i64, acknowledged + i64::from(small.is_ok()));
    });
    let _ = nix::mount::umount2(disk.path(), nix::mount::MntFlags::MNT_DETACH);
    outcome.unwrap();
}
