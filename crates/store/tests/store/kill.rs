//! A process that is killed loses nothing that it acknowledged.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use store::{Options, Store, Transaction};

use crate::{Boat, boat, boat_key};

const DIRECTORY: &str = "ROADSTEAD_TEST_KILLED_STORE";
const WRITERS: u64 = 8;

fn open(directory: &Path) -> Store {
    // Checkpoints often, so that kills fall into them too.
    Store::open(directory, Options::durable().row::<Boat>().checkpoint_after(100_000)).unwrap()
}

/// Not a test of its own: what the killed process runs.
#[test]
fn f01_child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = open(Path::new(&directory));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            runtime.spawn(async move {
                let (left, right) = (format!("left-{writer}"), format!("right-{writer}"));
                let start = store.snapshot().get::<Boat>(&boat_key(&left)).map_or(0, |boat| boat.length);
                for length in start + 1.. {
                    let mut transaction = Transaction::new();
                    let padding = "x".repeat((length as usize * 31) % 3000);
                    transaction.put(boat(&left, &padding, length)).put(boat(&right, &padding, length));
                    store.transact(transaction).await.unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "acked {writer} {length}").unwrap();
                    out.flush().unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        runtime.block_on(writer).unwrap();
    }
}

#[test]
fn f01_a_killed_process_loses_nothing_acknowledged_and_leaves_nothing_by_halves() {
    let directory = tempfile::tempdir().unwrap();
    let mut acked = [0_u64; WRITERS as usize];
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::f01_child", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (started, has_started) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut seen = Vec::new();
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let mut words = line.split(' ').skip_while(|word| *word != "acked").skip(1);
                if let (Some(writer), Some(length)) = (words.next(), words.next()) {
                    let _ = started.send(());
                    seen.push((writer.parse::<usize>().unwrap(), length.parse::<u64>().unwrap()));
                }
            }
            seen
        });
        // Some rounds end during the start.
        if round % 4 != 0 {
            has_started.recv_timeout(Duration::from_secs(30)).unwrap();
        }
        std::thread::sleep(Duration::from_millis(round * 37 % 100));
        child.kill().unwrap();
        child.wait().unwrap();
        for (writer, length) in reader.join().unwrap() {
            acked[writer] = acked[writer].max(length);
        }

        let store = open(directory.path());
        let snapshot = store.snapshot();
        for (writer, acked) in acked.iter_mut().enumerate() {
            let length = |side: &str| {
                snapshot.get::<Boat>(&boat_key(&format!("{side}-{writer}"))).map_or(0, |boat| boat.length)
            };
            assert_eq!(length("left"), length("right"), "half a transaction in round {round}");
            let found = length("left");
            assert!(found == *acked || found == *acked + 1, "acknowledged {acked}, found {found}");
            // The next process goes on from what is there, acknowledged or not.
            *acked = found;
        }
    }
    assert!(acked.iter().sum::<u64>() > 100, "the killed processes wrote too little: {acked:?}");
}
