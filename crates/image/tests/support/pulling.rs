//! A store that pulls from a registry of the test's own.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use image::{
    Digest, Image, ImageStore, Limits, NoProgress, Platform, PullError, PullErrorKind, Reference,
    RegistryAuth,
};
use tempfile::TempDir;

use super::registry::{Asked, Reply, Served, Server};
use super::scratch;
use super::tarball::{archive, directory, file};

/// Two layers; the second is large enough to break in the middle.
pub fn sample() -> Served {
    // Not compressible, so that a truncated download is a truncated archive.
    let noise: Vec<u8> =
        (0..20_000u32).flat_map(|number| Digest::of(&number.to_le_bytes()).hex().into_bytes()).collect();
    let below = archive(&[directory("./"), directory("tmp").mode(0o1777), file("etc/os-release", "x")]);
    let above =
        archive(&[file("tmp/noise", noise).owner(1000, 20).mode(0o4755), file("etc/.wh.os-release", "")]);
    Served::new(&[below, above])
}

/// Quick tries, so that tests of failures are quick.
pub fn limits() -> Limits {
    Limits {
        backoff: Duration::from_millis(10),
        backoff_maximum: Duration::from_millis(50),
        inactivity_timeout: Duration::from_millis(400),
        inactivity_bytes: 1 << 10,
        attempts: 3,
        ..Limits::default()
    }
}

pub struct Bench {
    pub scratch: TempDir,
    pub store: ImageStore,
}

impl Bench {
    pub fn new() -> Self {
        let scratch = scratch();
        let store = ImageStore::open_with(&scratch.path().join("store"), limits()).unwrap();
        Self { scratch, store }
    }

    pub async fn pull(&self, server: &Server) -> Result<Image, PullError> {
        self.pull_as(server, &RegistryAuth::Anonymous).await
    }

    pub async fn pull_as(&self, server: &Server, auth: &RegistryAuth) -> Result<Image, PullError> {
        let reference = Reference::parse(&format!("{}/team/app:1", server.address)).unwrap();
        self.store.pull(&reference, auth, &Platform::host(), &NoProgress).await
    }

    /// Nothing is left of a failed pull: no layer, no image, nothing half unpacked.
    pub fn assert_empty(&self) {
        for directory in ["layers", "images", "names", "blobs/sha256"] {
            let names = names(&self.scratch.path().join("store").join(directory));
            assert!(names.is_empty(), "{directory}: {names:?}");
        }
        for session in names(&self.scratch.path().join("store/tmp")) {
            let path = self.scratch.path().join("store/tmp").join(&session);
            if path.is_dir() {
                assert_eq!(names(&path), Vec::<String>::new());
            }
        }
        assert_eq!(self.store.list(), []);
    }
}

pub fn names(directory: &Path) -> Vec<String> {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

pub async fn honest(served: &Served) -> Server {
    let served = served.clone();
    Server::start("127.0.0.1", move |asked| served.answer(asked)).await
}

/// Answers the first `times` requests that `fits` says with `bad`, all others honestly.
pub async fn failing(
    served: &Served,
    times: usize,
    fits: impl Fn(&Asked) -> bool + Send + Sync + 'static,
    bad: impl Fn(&Asked, Reply) -> Reply + Send + Sync + 'static,
) -> Server {
    let (served, count) = (served.clone(), AtomicUsize::new(0));
    Server::start("127.0.0.1", move |asked| {
        let good = served.answer(asked);
        if fits(asked) && count.fetch_add(1, Ordering::SeqCst) < times { bad(asked, good) } else { good }
    })
    .await
}

pub fn layer_path(served: &Served, index: usize) -> String {
    format!("/blobs/{}", Digest::of(&served.layers[index]))
}

pub fn kind(result: Result<Image, PullError>) -> PullErrorKind {
    result.expect_err("the pull should have failed").kind()
}
