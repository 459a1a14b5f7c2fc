//! The log against crashes, damage and failing disks.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::Tuning;
use super::disk::{Hook, Op};
use super::format::{SECTOR, UNIT};
use crate::store::OpenError;
use crate::{Key, Options, Prefix, Row, Store, Table, TransactError, Transaction};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    id: u32,
    text: String,
}

impl Row for Note {
    const TABLE: Table = Table::new("notes");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::global(&[&self.id.to_string()])
    }
}

/// All notes: what a store should hold.
type Notes = BTreeMap<u32, String>;

/// An empty directory, in memory where there is such a file system: thousands of images are opened here.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn options(tuning: Tuning) -> Options {
    let mut options = Options::durable().row::<Note>();
    options.tuning = tuning;
    options
}

/// Small steps, so that a short run has every kind of file operation.
fn small(hook: Option<Hook>) -> Tuning {
    Tuning {
        hook,
        checkpoint_after_bytes: 6000,
        reserve_bytes: 2048,
        reserve_step: 1024,
        checkpoint_inline: false,
    }
}

fn open(directory: &Path) -> Result<Store, OpenError> {
    Store::open(directory, options(small(None)))
}

fn notes(store: &Store) -> Notes {
    let snapshot = store.snapshot();
    snapshot.scan::<Note>(Prefix::everything(), None).map(|note| (note.id, note.text.clone())).collect()
}

/// The `n`th transaction of the workload: some rows written, some removed, a clear now and then.
fn step(n: u32, notes: &mut Notes) -> Option<Transaction> {
    if n % 23 == 22 {
        notes.clear();
        return None;
    }
    let mut transaction = Transaction::new();
    for id in [n % 7, n % 5 + 10] {
        let note = Note { id, text: format!("{n} {}", "x".repeat((n as usize * 97) % 700)) };
        notes.insert(id, note.text.clone());
        transaction.put(note);
    }
    if n.is_multiple_of(3) {
        notes.remove(&(n % 4));
        transaction.delete::<Note>(&Key::global(&[&(n % 4).to_string()]));
    }
    Some(transaction)
}

fn run_step(store: &Store, n: u32, notes: &mut Notes) -> Result<(), TransactError> {
    let mut after = notes.clone();
    let done = match step(n, &mut after) {
        Some(transaction) => wait(store.transact(transaction)),
        None => wait(store.clear()),
    };
    done.map(|_| *notes = after)
}

/// A closed store with `count` transactions, its directory, and what it held after each.
fn store_with(count: u32, tuning: Tuning) -> (TempDir, Vec<Notes>) {
    let directory = scratch();
    // A checkpoint that is still under way when the store is closed would be given up.
    let tuning = Tuning { checkpoint_inline: true, ..tuning };
    let store = Store::open(directory.path(), options(tuning)).unwrap();
    let mut history = vec![Notes::new()];
    for n in 0..count {
        let mut notes = history.last().unwrap().clone();
        run_step(&store, n, &mut notes).unwrap();
        history.push(notes);
    }
    (directory, history)
}

fn file_starting(directory: &Path, prefix: &str) -> PathBuf {
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let found =
        names.into_iter().rfind(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix));
    found.unwrap_or_else(|| panic!("no file {prefix}"))
}

fn copy(from: &Path) -> TempDir {
    let to = scratch();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

/// Where the frames of a log file start, and where the last one ends.
fn frame_starts(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![UNIT];
    while let Some(header) = bytes.get(starts[starts.len() - 1]..).and_then(|rest| rest.first_chunk()) {
        let Ok(header) = super::format::FrameHeader::read(header) else { break };
        starts.push(starts[starts.len() - 1] + UNIT + header.body_length());
    }
    starts
}

#[test]
fn f03_a_log_cut_at_every_byte_of_its_last_record_loses_only_that_record() {
    let (directory, history) = store_with(6, Tuning { checkpoint_after_bytes: u64::MAX, ..small(None) });
    let path = file_starting(directory.path(), "log-");
    let bytes = std::fs::read(&path).unwrap();
    let starts = frame_starts(&bytes);
    let (last, end) = (starts[starts.len() - 2], starts[starts.len() - 1]);
    assert_eq!(starts.len(), 7);
    for cut in last..=end {
        // The file ends there; or it has its length, and zeros from there on.
        for zeros in [false, true] {
            let mut damaged = bytes[..cut].to_vec();
            if zeros {
                damaged.resize(bytes.len(), 0);
            }
            std::fs::write(&path, &damaged).unwrap();
            let store = open(directory.path()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            // The padding after the record holds nothing, but the checksum covers it.
            // What is written next is shorter than what was cut, so that leftovers would be seen.
            let kept = if cut == end { 6 } else { 5 };
            assert_eq!(notes(&store), history[kept], "cut at {cut}");
            let mut after = history[kept].clone();
            run_step(&store, 8, &mut after).unwrap();
            drop(store);
            assert_eq!(notes(&open(directory.path()).unwrap()), after, "cut at {cut}, written again");
        }
    }
}

#[test]
fn f03_a_record_of_many_sectors_torn_in_any_of_them_is_left_out() {
    let directory = scratch();
    let tuning = Tuning { checkpoint_after_bytes: u64::MAX, ..small(None) };
    let store = Store::open(directory.path(), options(tuning)).unwrap();
    for id in 0..2 {
        let mut transaction = Transaction::new();
        transaction.put(Note { id, text: "y".repeat(5000) });
        wait(store.transact(transaction)).unwrap();
    }
    drop(store);
    let path = file_starting(directory.path(), "log-");
    let bytes = std::fs::read(&path).unwrap();
    let starts = frame_starts(&bytes);
    for sector in (starts[1].next_multiple_of(SECTOR)..starts[2]).step_by(SECTOR) {
        let mut damaged = bytes.clone();
        damaged[sector..(sector + SECTOR).min(starts[2])].fill(0);
        std::fs::write(&path, &damaged).unwrap();
        let store = open(directory.path()).unwrap_or_else(|error| panic!("sector at {sector}: {error}"));
        assert_eq!(notes(&store).into_keys().collect::<Vec<_>>(), [0]);
    }
}

#[test]
fn f04_every_flipped_bit_is_refused_or_harmless() {
    // Long enough for a checkpoint, and for a log with several records after it.
    let (directory, history) = store_with(21, small(None));
    let expected = history.last().unwrap();
    let mut harmless = 0;
    for prefix in ["log-", "checkpoint-"] {
        let path = file_starting(directory.path(), prefix);
        let bytes = std::fs::read(&path).unwrap();
        assert!(prefix != "log-" || frame_starts(&bytes).len() > 3, "the log has few records");
        let written = if prefix == "log-" { *frame_starts(&bytes).last().unwrap() } else { bytes.len() };
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            std::fs::write(&path, &damaged).unwrap();
            match open(directory.path()) {
                Err(OpenError::Damaged { file, offset, .. }) => {
                    assert_eq!(file, path);
                    assert!(offset <= at as u64, "{offset} is named, {at} is damaged");
                }
                Err(error) => panic!("byte {at} of {prefix}: {error}"),
                Ok(store) => {
                    assert!(at >= written, "byte {at} of {prefix} was flipped, and nobody noticed");
                    assert_eq!(&notes(&store), expected);
                    harmless += 1;
                }
            }
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    assert!(harmless > 0, "the space ahead of the log was tried too");
}

#[test]
fn f04_missing_files_are_named() {
    let (directory, _) = store_with(21, small(None));
    for prefix in ["log-", "checkpoint-"] {
        let copy = copy(directory.path());
        std::fs::remove_file(file_starting(copy.path(), prefix)).unwrap();
        assert!(matches!(open(copy.path()), Err(OpenError::Missing { .. })), "{prefix}");
    }
}

#[test]
fn f05_after_one_failed_fsync_nothing_is_acknowledged() {
    let armed = Arc::new(AtomicUsize::new(0));
    let hook: Hook = {
        let armed = Arc::clone(&armed);
        Arc::new(move |op| match op {
            Op::Sync(_) if armed.swap(0, Ordering::SeqCst) == 1 => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(()),
        })
    };
    let directory = scratch();
    let store = Store::open(directory.path(), options(small(Some(hook)))).unwrap();
    let mut acked = Notes::new();
    run_step(&store, 0, &mut acked).unwrap();
    armed.store(1, Ordering::SeqCst);
    for n in 1..4 {
        let error = run_step(&store, n, &mut acked).unwrap_err();
        assert!(matches!(&error, TransactError::Unavailable(reason) if reason.contains("log-")), "{error:?}");
    }
    assert!(wait(store.failed()).contains("bring to disk"));
    assert_eq!(notes(&store), acked, "reads go on, and show nothing that is not acknowledged");
    drop(store);
    // The next start finds the unacknowledged record (here the page cache kept it) or not, but never half of it.
    let mut maybe = acked.clone();
    step(1, &mut maybe);
    let found = notes(&open(directory.path()).unwrap());
    assert!(found == acked || found == maybe);
}

/// Runs the workload with an operation failing, and checks what a start after it finds.
fn fail_at(nth: usize, code: i32) -> bool {
    let count = Arc::new(AtomicUsize::new(0));
    let hook: Hook = {
        let count = Arc::clone(&count);
        Arc::new(move |_| {
            let fails = count.fetch_add(1, Ordering::SeqCst) == nth;
            if fails { Err(io::Error::from_raw_os_error(code)) } else { Ok(()) }
        })
    };
    let directory = scratch();
    let (mut acked, mut maybe) = (Notes::new(), None);
    // On one thread, so that the same operations come in every run.
    let tuning = Tuning { checkpoint_inline: true, ..small(Some(hook)) };
    if let Ok(store) = Store::open(directory.path(), options(tuning)) {
        for n in 0..30 {
            match run_step(&store, n, &mut acked) {
                Ok(()) => assert!(maybe.is_none(), "it acknowledged after it had failed"),
                Err(TransactError::NoSpace) => assert_eq!(code, 28),
                Err(TransactError::Unavailable(_)) => {
                    let mut after = acked.clone();
                    step(n, &mut after);
                    maybe.get_or_insert(after);
                }
                Err(error) => panic!("{error}"),
            }
            assert_eq!(notes(&store), acked);
        }
    }
    let store =
        open(directory.path()).unwrap_or_else(|error| panic!("operation {nth} failed with {code}: {error}"));
    let found = notes(&store);
    assert!(found == acked || Some(found) == maybe, "operation {nth} failed with {code}");
    count.load(Ordering::SeqCst) > nth
}

#[test]
fn f02_any_one_operation_may_fail() {
    let reached = (0..1000).take_while(|&nth| fail_at(nth, 5)).count();
    assert!(reached > 100, "{reached}");
}

#[test]
fn f39_files_that_cannot_be_opened_cost_no_write() {
    // EMFILE: every attempt to make a file fails for a while, as when sockets have taken all descriptors.
    let lacking = Arc::new(AtomicUsize::new(0));
    let hook: Hook = {
        let lacking = Arc::clone(&lacking);
        Arc::new(move |op| match op {
            Op::Create(_) if lacking.load(Ordering::SeqCst) == 1 => Err(io::Error::from_raw_os_error(24)),
            _ => Ok(()),
        })
    };
    let directory = scratch();
    let tuning = Tuning { checkpoint_inline: true, ..small(Some(hook)) };
    let store = Store::open(directory.path(), options(tuning)).unwrap();
    let mut acked = Notes::new();
    for n in 0..120 {
        lacking.store(usize::from((20..90).contains(&n)), Ordering::SeqCst);
        run_step(&store, n, &mut acked).unwrap();
    }
    drop(store);
    assert_eq!(notes(&open(directory.path()).unwrap()), acked);
    assert!(file_starting(directory.path(), "log-").metadata().unwrap().len() < 20_000, "checkpoints go on");
}

#[test]
fn f06_any_one_operation_may_find_no_room() {
    let reached = (0..1000).take_while(|&nth| fail_at(nth, 28)).count();
    assert!(reached > 100, "{reached}");
}

#[test]
fn f06_writes_are_refused_while_there_is_no_room_and_go_on_by_themselves() {
    let full = Arc::new(AtomicUsize::new(0));
    let hook: Hook = {
        let full = Arc::clone(&full);
        Arc::new(move |op| match op {
            Op::Write { .. } if full.load(Ordering::SeqCst) == 1 => Err(io::Error::from_raw_os_error(28)),
            _ => Ok(()),
        })
    };
    let directory = scratch();
    let store = Store::open(directory.path(), options(small(Some(hook)))).unwrap();
    let mut acked = Notes::new();
    run_step(&store, 0, &mut acked).unwrap();
    full.store(1, Ordering::SeqCst);
    let large = || {
        let mut transaction = Transaction::new();
        transaction.put(Note { id: 99, text: "z".repeat(20_000) });
        transaction
    };
    for _ in 0..3 {
        assert_eq!(wait(store.transact(large())), Err(TransactError::NoSpace));
        assert_eq!(notes(&store), acked);
    }
    full.store(0, Ordering::SeqCst);
    wait(store.transact(large())).unwrap();
    acked.insert(99, "z".repeat(20_000));
    drop(store);
    assert_eq!(notes(&open(directory.path()).unwrap()), acked);
}

/// A disk as it may be after a power cut: what was synced, and any part of what was not.
#[derive(Clone, Default)]
struct CrashDisk {
    /// By inode.
    files: Vec<CrashFile>,
    names: HashMap<PathBuf, usize>,
    durable_names: HashMap<PathBuf, usize>,
    /// Changes of names since the directory was synced, in order.
    pending_names: Vec<HashMap<PathBuf, usize>>,
}

#[derive(Clone, Default)]
struct CrashFile {
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone)]
enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl CrashDisk {
    /// What stands in a directory, all of it durable.
    fn of(directory: &Path) -> Self {
        let mut disk = Self::default();
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let durable = std::fs::read(&path).unwrap();
            disk.names.insert(path, disk.files.len());
            disk.files.push(CrashFile { durable, pending: Vec::new() });
        }
        disk.durable_names = disk.names.clone();
        disk
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create(path) => {
                self.files.push(CrashFile::default());
                self.names.insert(path.clone(), self.files.len() - 1);
                self.pending_names.push(self.names.clone());
            }
            Op::Write { file, offset, bytes } => {
                self.file(file).pending.push(Pending::Write(*offset, bytes.clone()));
            }
            Op::SetLength { file, length } => self.file(file).pending.push(Pending::Length(*length)),
            Op::Sync(path) => {
                let file = self.file(path);
                file.durable = file.image(&mut |_| true);
                file.pending.clear();
            }
            Op::Rename { from, to } => {
                let inode = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), inode);
                self.pending_names.push(self.names.clone());
            }
            Op::Remove(path) => {
                self.names.remove(path);
                self.pending_names.push(self.names.clone());
            }
            Op::SyncDirectory(_) => {
                self.durable_names = self.names.clone();
                self.pending_names.clear();
            }
        }
    }

    fn file(&mut self, path: &Path) -> &mut CrashFile {
        let inode = self.names.get(path).copied();
        &mut self.files[inode.unwrap_or_else(|| panic!("{} is not there", path.display()))]
    }

    /// Writes what is left after a crash; `keep` says whether a sector or a name got to the disk.
    fn leave(&self, directory: &Path, mut keep: impl FnMut(u64) -> bool) {
        let mut names = &self.durable_names;
        for pending in &self.pending_names {
            if !keep(u64::MAX) {
                break;
            }
            names = pending;
        }
        for (path, inode) in names {
            let bytes = self.files[*inode].image(&mut keep);
            std::fs::write(directory.join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
}

impl CrashFile {
    fn image(&self, keep: &mut dyn FnMut(u64) -> bool) -> Vec<u8> {
        let mut image = self.durable.clone();
        for pending in &self.pending {
            match pending {
                Pending::Length(length) if keep(*length) => image.resize(*length as usize, 0),
                Pending::Length(_) => {}
                Pending::Write(offset, bytes) => {
                    let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                    let mut at = start;
                    while at < end {
                        let sector_end = (at / SECTOR + 1) * SECTOR;
                        let to = sector_end.min(end);
                        if keep(at as u64) {
                            image.resize(image.len().max(to), 0);
                            image[at..to].copy_from_slice(&bytes[at - start..to - start]);
                        }
                        at = to;
                    }
                }
            }
        }
        image
    }
}

/// What happened, in order.
enum Event {
    Op(Op),
    /// Transactions up to this one are under way.
    Begun(usize),
    Acked(usize),
}

fn recording(events: &Arc<Mutex<Vec<Event>>>) -> Hook {
    let events = Arc::clone(events);
    Arc::new(move |op| {
        events.lock().unwrap().push(Event::Op(op.clone()));
        Ok(())
    })
}

/// Opens a store, does `steps` with it, and writes down all that happens.
fn record(directory: &Path, steps: std::ops::Range<u32>, history: &mut Vec<Notes>) -> Vec<Event> {
    let events = Arc::new(Mutex::new(Vec::new()));
    let store = Store::open(directory, options(small(Some(recording(&events))))).unwrap();
    for n in steps {
        let mut notes = history.last().unwrap().clone();
        events.lock().unwrap().push(Event::Begun(history.len()));
        run_step(&store, n, &mut notes).unwrap();
        events.lock().unwrap().push(Event::Acked(history.len()));
        history.push(notes);
    }
    drop(store);
    std::mem::take(&mut *events.lock().unwrap())
}

/// Cuts the power before and after every operation, in several ways, and opens what is left.
fn crash_everywhere(mut disk: CrashDisk, events: &[Event], history: &[Notes]) -> usize {
    let (mut begun, mut acked, mut images) = (0, 0, 0);
    for (index, event) in events.iter().enumerate() {
        match event {
            Event::Begun(n) => begun = *n,
            Event::Acked(n) => acked = *n,
            Event::Op(op) => disk.apply(op),
        }
        for seed in 0..4_u64 {
            let mut random = ((seed << 32) | (index as u64 + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let keep = |_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                match seed {
                    0 => false,
                    1 => true,
                    _ => random.is_multiple_of(2),
                }
            };
            let left = scratch();
            disk.leave(left.path(), keep);
            let store =
                open(left.path()).unwrap_or_else(|error| panic!("event {index}, seed {seed}: {error}"));
            let found = notes(&store);
            assert!(
                history[acked..=begun.min(history.len() - 1)].contains(&found),
                "event {index}, seed {seed}: neither transaction {acked} nor {begun} is the last"
            );
            images += 1;
        }
    }
    images
}

#[test]
fn f02_a_power_cut_before_any_operation_loses_nothing_acknowledged() {
    let directory = scratch();
    let mut history = vec![Notes::new()];
    let events = record(directory.path(), 0..60, &mut history);
    let images = crash_everywhere(CrashDisk::default(), &events, &history);
    assert!(images > 1000, "{images}");
}

#[test]
fn f02_a_power_cut_during_the_start_after_one_loses_nothing_either() {
    // Torn at the end, with a leftover of everything: a checkpoint under way, and files that one replaced.
    let (directory, mut history) = store_with(30, small(None));
    let path = file_starting(directory.path(), "log-");
    let mut bytes = std::fs::read(&path).unwrap();
    let starts = frame_starts(&bytes);
    let (last, end) = (starts[starts.len() - 2], starts[starts.len() - 1]);
    assert!(starts.len() > 2, "the last log has no two records");
    bytes[last.midpoint(end)..end].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    history.truncate(30);
    for leftover in ["log-00000000000000000099.tmp", "checkpoint-00000000000000000099.tmp"] {
        std::fs::write(directory.path().join(leftover), b"begun").unwrap();
    }
    std::fs::copy(&path, directory.path().join("log-00000000000000000001")).unwrap();

    let disk = CrashDisk::of(directory.path());
    let events = record(directory.path(), 100..112, &mut history);
    let history: Vec<Notes> = history.split_off(29);
    let events: Vec<Event> = events
        .into_iter()
        .map(|event| match event {
            Event::Begun(n) => Event::Begun(n - 29),
            Event::Acked(n) => Event::Acked(n - 29),
            op @ Event::Op(_) => op,
        })
        .collect();
    assert!(crash_everywhere(disk, &events, &history) > 200);
}

#[test]
fn f05_a_start_writes_the_last_record_once_more() {
    let (directory, _) = store_with(3, Tuning { checkpoint_after_bytes: u64::MAX, ..small(None) });
    let bytes = std::fs::read(file_starting(directory.path(), "log-")).unwrap();
    let starts = frame_starts(&bytes);
    let events = record(directory.path(), 0..0, &mut vec![Notes::new()]);
    let ops: Vec<Op> =
        events.into_iter().filter_map(|e| if let Event::Op(op) = e { Some(op) } else { None }).collect();
    let file = file_starting(directory.path(), "log-");
    let last = bytes[starts[2]..starts[3]].to_vec();
    let write = Op::Write { file: file.clone(), offset: starts[2] as u64, bytes: last };
    assert_eq!(ops[ops.len() - 2..], [write, Op::Sync(file)]);
}
