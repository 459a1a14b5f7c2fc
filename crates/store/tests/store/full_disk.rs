//! A disk that is really full.

use std::path::Path;
use std::process::Command;

use store::{Options, Store, TransactError};

use crate::{Boat, boat, get, put};

/// A small file system in memory, unmounted at the end.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(bytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "roadstead-store-test"])
            .arg(directory.path())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn f06_a_full_disk_refuses_writes_serves_reads_and_recovers() {
    let Some(mount) = Mount::new(6 * 1024 * 1024) else {
        eprintln!(
            "skipped f06_a_full_disk_refuses_writes_serves_reads_and_recovers: no tmpfs can be mounted here"
        );
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let path = mount.path().join("store");
    let open = || Store::open(&path, Options::durable().row::<Boat>().checkpoint_after(1024 * 1024)).unwrap();
    let store = open();
    let write =
        |store: &Store, n: u64| runtime.block_on(store.transact(put(boat("a", &"x".repeat(50_000), n))));
    write(&store, 1).unwrap();

    // Someone else fills the disk.
    let ballast = mount.path().join("ballast");
    let _ = std::fs::write(&ballast, vec![1; 8 * 1024 * 1024]);
    let mut acked = 1;
    let mut refused = 0;
    for n in 2..200 {
        match write(&store, n) {
            Ok(_) => acked = n,
            Err(TransactError::NoSpace) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        assert_eq!(get(&store, "a").unwrap().length, acked, "reads go on");
    }
    assert!(refused > 50, "the disk was never full: {refused}");

    // A store opens on a full disk, too.
    drop(store);
    let store = open();
    assert_eq!(get(&store, "a").unwrap().length, acked);
    assert_eq!(write(&store, 999), Err(TransactError::NoSpace));

    std::fs::remove_file(&ballast).unwrap();
    for n in 1000..1100 {
        write(&store, n).unwrap();
    }
    drop(store);
    assert_eq!(get(&open(), "a").unwrap().length, 1099);
}
