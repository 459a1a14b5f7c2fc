//! Writer and reader together: order, bounds, crashes.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use log_spool::{Appended, Mode, Options, Position, Reader, Record, Stream, Watcher, Writer};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proptest::prelude::*;

fn small(mode: Mode, capacity_bytes: u64) -> Options {
    Options { capacity_bytes, mode, segment_bytes: 1024 }
}

fn append(writer: &mut Writer, text: &str) -> Appended {
    writer.append(Stream::Stdout, false, 7, text.as_bytes()).unwrap()
}

fn all(reader: &mut Reader) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        let batch = reader.next_batch(4096).unwrap();
        if batch.is_empty() {
            return records;
        }
        records.extend(batch);
    }
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.bytes).into_owned()).collect()
}

fn readable(fd: impl AsFd, milliseconds: u16) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(milliseconds)).unwrap() > 0
}

#[test]
fn records_come_back_as_written_across_segments_and_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let mut reader = Reader::open(directory.path()).unwrap();
    assert!(!reader.finished().unwrap(), "no writer yet");
    let mut written = Vec::new();
    for part in 0..3 {
        let mut writer = Writer::open(directory.path(), small(Mode::Blocking, 1 << 20)).unwrap();
        for index in 0..200 {
            let text = format!("part {part} line {index} {}", "x".repeat(index));
            assert_eq!(append(&mut writer, &text), Appended::Written);
            written.push(text);
            if index % 5 == 0 {
                writer.flush().unwrap();
            }
        }
        assert!(!reader.finished().unwrap(), "the writer lives");
    }
    assert!(!reader.finished().unwrap(), "nothing was read");
    assert_eq!(texts(&all(&mut reader)), written);
    assert!(reader.finished().unwrap());
}

#[test]
fn a_spool_has_one_writer() {
    let directory = tempfile::tempdir().unwrap();
    let writer = Writer::open(directory.path(), Options::default()).unwrap();
    assert!(Writer::open(directory.path(), Options::default()).is_err());
    drop(writer);
    Writer::open(directory.path(), Options::default()).unwrap();
}

#[test]
fn acknowledged_records_are_not_read_again_and_their_segments_go() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(directory.path(), small(Mode::Blocking, 1 << 20)).unwrap();
    for index in 0..100 {
        let _ = append(&mut writer, &format!("{index:0100}"));
        writer.flush().unwrap();
    }
    let mut reader = Reader::open(directory.path()).unwrap();
    let records = all(&mut reader);
    reader.acknowledge(records[59].end).unwrap();
    reader.acknowledge(records[10].end).unwrap();
    let segments = fs::read_dir(directory.path().join("records")).unwrap().count();
    assert!(segments < 8, "{segments} files");
    let mut again = Reader::open(directory.path()).unwrap();
    assert_eq!(texts(&all(&mut again)), texts(&records[60..]));
}

#[test]
fn a_full_blocking_spool_takes_nothing_until_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(directory.path(), small(Mode::Blocking, 4096)).unwrap();
    let mut count = 0;
    while append(&mut writer, &format!("{count:082}")) == Appended::Written {
        count += 1;
    }
    assert_eq!(count, 40);
    assert!(!writer.room(82).unwrap());
    assert!(!readable(writer.room_fd().unwrap(), 0));
    let mut reader = Reader::open(directory.path()).unwrap();
    let records = all(&mut reader);
    assert_eq!(records.len(), 40, "a full spool is flushed, or the reader could never make room");
    reader.acknowledge(records[0].end).unwrap();
    assert!(readable(writer.room_fd().unwrap(), 1000));
    assert!(writer.room(82).unwrap());
    assert_eq!(append(&mut writer, &format!("{count:082}")), Appended::Written);
    assert!(writer.room_fd().is_none());
    assert_eq!(append(&mut writer, &format!("{count:082}")), Appended::Full);
}

#[test]
fn a_full_non_blocking_spool_drops_counts_and_tells() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(directory.path(), small(Mode::NonBlocking, 4096)).unwrap();
    let mut outcomes = [0_usize; 2];
    for index in 0..100 {
        match append(&mut writer, &format!("{index:082}")) {
            Appended::Written => outcomes[0] += 1,
            Appended::Dropped => outcomes[1] += 1,
            Appended::Full => panic!("non-blocking"),
        }
    }
    assert_eq!(outcomes, [40, 60]);
    let mut reader = Reader::open(directory.path()).unwrap();
    let records = all(&mut reader);
    reader.acknowledge(records[39].end).unwrap();
    assert_eq!(append(&mut writer, "after"), Appended::Written);
    writer.flush().unwrap();
    let records = all(&mut reader);
    assert_eq!(records.len(), 2);
    assert_eq!((records[0].lost, records[0].stream), (60, Stream::Stderr));
    assert_eq!(
        texts(&records),
        ["[60 log records (4920 bytes) were dropped here: the log buffer was full]", "after"]
    );
    assert_eq!(records[1].lost, 0);
}

#[test]
fn a_loss_at_the_very_end_is_told_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(directory.path(), small(Mode::NonBlocking, 4096)).unwrap();
    while append(&mut writer, &"x".repeat(100)) == Appended::Written {}
    drop(writer);
    let records = all(&mut Reader::open(directory.path()).unwrap());
    assert_eq!(records.last().unwrap().lost, 1);
}

#[test]
fn the_rest_of_a_line_whose_piece_was_lost_is_lost_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(directory.path(), small(Mode::NonBlocking, 4096)).unwrap();
    let mut piece = |stream, partial, size: usize| {
        writer.append(stream, partial, 0, "x".repeat(size).as_bytes()).unwrap()
    };
    assert_eq!(piece(Stream::Stdout, true, 4000), Appended::Written);
    assert_eq!(piece(Stream::Stdout, true, 200), Appended::Dropped);
    let mut reader = Reader::open(directory.path()).unwrap();
    let end = all(&mut reader)[0].end;
    reader.acknowledge(end).unwrap();
    assert_eq!(piece(Stream::Stdout, true, 5), Appended::Dropped);
    assert_eq!(piece(Stream::Stdout, false, 5), Appended::Dropped);
    assert_eq!(piece(Stream::Stderr, false, 6), Appended::Written);
    assert_eq!(piece(Stream::Stdout, false, 7), Appended::Written);
    drop(writer);
    let records = all(&mut reader);
    assert_eq!(records[0].lost, 3);
    assert_eq!(texts(&records[1..]), ["xxxxxx", "xxxxxxx"]);
}

#[test]
fn a_record_larger_than_the_capacity_fits_an_empty_spool() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(directory.path(), small(Mode::Blocking, 4096)).unwrap();
    assert_eq!(append(&mut writer, &"x".repeat(16 * 1024)), Appended::Written);
    assert_eq!(append(&mut writer, "y"), Appended::Full);
    let too_long = vec![0; log_spool::RECORD_BYTES_MAXIMUM + 1];
    assert!(writer.append(Stream::Stdout, false, 0, &too_long).is_err());
}

fn newest_segment(directory: &Path) -> std::path::PathBuf {
    let entries = fs::read_dir(directory.join("records")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains("segment-")).max().unwrap()
}

#[test]
fn a_torn_tail_at_every_byte_loses_only_the_torn_record() {
    for cut in 1..=30 {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(directory.path(), Options::default()).unwrap();
        let _ = append(&mut writer, "first");
        let _ = append(&mut writer, "the second");
        drop(writer);
        let segment = newest_segment(directory.path());
        let length = fs::metadata(&segment).unwrap().len();
        OpenOptions::new().write(true).open(&segment).unwrap().set_len(length - cut).unwrap();
        let mut early = Reader::open(directory.path()).unwrap();
        let expected: &[&str] = if cut <= 28 { &["first"] } else { &[] };
        assert_eq!(texts(&all(&mut early)), expected, "cut {cut}");
        assert!(early.finished().unwrap());
        let mut writer = Writer::open(directory.path(), Options::default()).unwrap();
        let _ = append(&mut writer, "third");
        writer.flush().unwrap();
        assert_eq!(texts(&all(&mut early)), ["third"], "the reader that was there, cut {cut}");
        let late = all(&mut Reader::open(directory.path()).unwrap());
        assert_eq!(texts(&late), [expected, &["third"]].concat(), "cut {cut}");
    }
}

#[test]
fn garbage_in_a_segment_is_skipped_with_the_rest_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(directory.path(), Options::default()).unwrap();
    let _ = append(&mut writer, "good");
    drop(writer);
    let mut file = OpenOptions::new().append(true).open(newest_segment(directory.path())).unwrap();
    file.write_all(&vec![0xff; 70_000]).unwrap();
    let mut writer = Writer::open(directory.path(), Options::default()).unwrap();
    let _ = append(&mut writer, "better");
    drop(writer);
    let mut reader = Reader::open(directory.path()).unwrap();
    assert_eq!(texts(&all(&mut reader)), ["good", "better"]);
    assert!(reader.finished().unwrap());
}

#[test]
fn a_damaged_acknowledgement_means_seeing_twice_not_losing() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(directory.path(), Options::default()).unwrap();
    let _ = append(&mut writer, "one");
    drop(writer);
    let mut reader = Reader::open(directory.path()).unwrap();
    let end = all(&mut reader)[0].end;
    reader.acknowledge(end).unwrap();
    assert_eq!(all(&mut Reader::open(directory.path()).unwrap()), []);
    fs::write(directory.path().join("acknowledged"), [9; 12]).unwrap();
    assert_eq!(texts(&all(&mut Reader::open(directory.path()).unwrap())), ["one"]);
}

#[test]
fn a_watcher_wakes_for_records_and_for_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let watcher = Watcher::new().unwrap();
    let id = watcher.add(directory.path()).unwrap();
    let other_id = watcher.add(other.path()).unwrap();
    let mut writer = Writer::open(directory.path(), Options::default()).unwrap();
    let _ = watcher.changed().unwrap();
    assert!(!readable(&watcher, 0));
    let _ = append(&mut writer, "x");
    writer.flush().unwrap();
    assert!(readable(&watcher, 1000));
    assert_eq!(watcher.changed().unwrap(), Some(vec![id]));
    let mut reader = Reader::open(directory.path()).unwrap();
    let end = all(&mut reader)[0].end;
    reader.acknowledge(end).unwrap();
    assert!(!readable(&watcher, 0), "the reader's own acknowledgement must not wake it");
    drop(writer);
    assert!(readable(&watcher, 1000));
    assert_eq!(watcher.changed().unwrap(), Some(vec![id]));
    assert_ne!(id, other_id);
}

#[test]
fn writer_and_reader_run_at_once() {
    const RECORDS: usize = 20_000;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let writing = std::thread::spawn(move || {
        let mut writer = Writer::open(&path, small(Mode::Blocking, 16 * 1024)).unwrap();
        for index in 0..RECORDS {
            while append(&mut writer, &format!("{index} {}", "y".repeat(index % 97))) == Appended::Full {
                assert!(readable(writer.room_fd().unwrap(), 10_000), "no room for ten seconds");
                let _ = writer.room(1).unwrap();
            }
            if index % 11 == 0 {
                writer.flush().unwrap();
            }
        }
    });
    let watcher = Watcher::new().unwrap();
    watcher.add(directory.path()).unwrap();
    let mut reader = Reader::open(directory.path()).unwrap();
    let mut seen = 0;
    loop {
        let _ = watcher.changed().unwrap();
        let batch = reader.next_batch(3000).unwrap();
        for record in &batch {
            let text = String::from_utf8(record.bytes.clone()).unwrap();
            assert_eq!(text.split(' ').next().unwrap(), seen.to_string());
            seen += 1;
        }
        if let Some(last) = batch.last() {
            reader.acknowledge(last.end).unwrap();
        } else if reader.finished().unwrap() {
            break;
        } else {
            assert!(readable(&watcher, 10_000), "nothing for ten seconds at {seen}");
        }
    }
    writing.join().unwrap();
    assert_eq!(seen, RECORDS);
    assert!(fs::read_dir(directory.path().join("records")).unwrap().count() <= 3);
}

const CHILD: &str = "LOG_SPOOL_TEST_CHILD";

/// Run by the next test in a process of its own, which it kills.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(directory) = std::env::var(CHILD) else { return };
    let mut writer = Writer::open(Path::new(&directory), small(Mode::Blocking, 64 << 20)).unwrap();
    let mut said = OpenOptions::new();
    let mut said = said.append(true).create(true).open(Path::new(&directory).join("said")).unwrap();
    for index in 0_u64.. {
        let _ = append(&mut writer, &index.to_string());
        if index % 7 == 0 {
            writer.flush().unwrap();
            said.write_all(format!("{index}\n").as_bytes()).unwrap();
        }
    }
}

#[test]
fn what_was_flushed_survives_kill_9_of_the_writer() {
    for round in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        let watcher = Watcher::new().unwrap();
        watcher.add(directory.path()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes_until_it_is_killed"])
            .env(CHILD, directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let said = directory.path().join("said");
        let start = Instant::now();
        while fs::metadata(&said).map_or(0, |data| data.len()) < 1000 {
            assert!(start.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(1 + round));
        }
        let mut reader = Reader::open(directory.path()).unwrap();
        assert!(!reader.finished().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(readable(&watcher, 1000));
        let records = texts(&all(&mut reader));
        let last_said = fs::read_to_string(&said).unwrap();
        let last_said: usize = last_said.lines().last().unwrap().parse().unwrap();
        assert!(records.len() > last_said, "{} of {last_said}", records.len());
        assert!(records.iter().enumerate().all(|(index, text)| *text == index.to_string()));
        assert!(reader.finished().unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_written_is_read(
        lines in proptest::collection::vec((any::<bool>(), any::<bool>(), any::<i64>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..60),
        batch in 1_usize..2000,
        acknowledge_every in 1_usize..9,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(directory.path(), small(Mode::Blocking, 1 << 20)).unwrap();
        let mut reader = Reader::open(directory.path()).unwrap();
        let mut read = Vec::new();
        for (index, (stderr, partial, time, bytes)) in lines.iter().enumerate() {
            let stream = if *stderr { Stream::Stderr } else { Stream::Stdout };
            prop_assert_eq!(writer.append(stream, *partial, *time, bytes).unwrap(), Appended::Written);
            if index % 3 == 0 {
                writer.flush().unwrap();
                read.extend(reader.next_batch(batch).unwrap());
            }
            if index % acknowledge_every == 0 {
                reader.acknowledge(read.last().map_or(Position(0), |record: &Record| record.end)).unwrap();
                reader = Reader::open(directory.path()).unwrap();
            }
            if index % acknowledge_every == 0 && index % 3 == 0 {
                prop_assert_eq!(reader.position(), read.last().map_or(Position(0), |record| record.end));
            }
        }
        drop(writer);
        let from = read.last().map_or(Position(0), |record| record.end);
        prop_assert_eq!(reader.position(), from);
        read.extend(all(&mut reader));
        let read: Vec<_> = read
            .into_iter()
            .map(|record| (record.stream == Stream::Stderr, record.partial, record.unix_nanoseconds, record.bytes))
            .collect();
        prop_assert_eq!(read, lines);
    }
}

/// A small file system of its own, taken away when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, with the reason printed, where this process may not mount.
    fn new(test: &str, bytes: usize) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let none = None::<&str>;
        match nix::mount::mount(
            none,
            directory.path(),
            Some("tmpfs"),
            nix::mount::MsFlags::empty(),
            Some(size.as_str()),
        ) {
            Ok(()) => Some(Self(directory)),
            Err(errno) => {
                eprintln!("SKIPPED {test}: a tmpfs cannot be mounted: {errno}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_loses_and_counts_and_stops_nobody() {
    let Some(disk) = SmallDisk::new("a_full_disk_loses_and_counts_and_stops_nobody", 256 * 1024) else {
        return;
    };
    for mode in [Mode::Blocking, Mode::NonBlocking] {
        let directory = disk.0.path().join(format!("{mode:?}"));
        let mut writer = Writer::open(&directory, small(mode, 1 << 20)).unwrap();
        let mut reader = Reader::open(&directory).unwrap();
        let mut appended = 0;
        for index in 0..6000 {
            assert_eq!(append(&mut writer, &format!("{index:080}")), Appended::Written, "{mode:?}");
            appended += 1;
        }
        writer.flush().unwrap();
        let mut records = all(&mut reader);
        assert!(records.len() > 1000 && records.len() < 6000, "{}", records.len());
        reader.acknowledge(records.last().unwrap().end).unwrap();
        while append(&mut writer, "there is room again") == Appended::Dropped {
            appended += 1;
        }
        appended += 1;
        drop(writer);
        records.extend(all(&mut reader));
        let lost: u64 = records.iter().map(|record| record.lost).sum();
        let whole = records.iter().filter(|record| record.lost == 0).count();
        assert_eq!(whole as u64 + lost, appended, "every record is there or counted");
        assert_eq!(texts(&records).last().unwrap(), "there is room again");
        assert!(reader.finished().unwrap());
        fs::remove_dir_all(&directory).unwrap();
    }
}
