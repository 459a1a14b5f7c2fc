//! botocore's source distribution, which carries the AWS SDKs' protocol and signature test cases.
#![allow(dead_code)] // each test takes what it needs

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The unpacked `tests/unit` of botocore, or why it cannot be had.
///
/// `BOTOCORE_SDIST` names an archive that is there; else pip fetches the version that `models/VERSION` says, once.
pub fn botocore_tests() -> Result<PathBuf, String> {
    static TESTS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    TESTS.get_or_init(fetch).clone()
}

fn fetch() -> Result<PathBuf, String> {
    let version = include_str!("../../../../models/VERSION").trim();
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("botocore-{version}"));
    let tests = cache.join("tests/unit");
    if tests.is_dir() {
        return Ok(tests);
    }
    // Test processes may come here at once: each works in a folder of its own, and the first rename wins.
    let scratch = cache.with_extension(format!("{}", std::process::id()));
    std::fs::create_dir_all(&scratch).map_err(|error| error.to_string())?;
    let result = archive(version, &scratch).and_then(|archive| unpack(&archive, version, &scratch));
    let unpacked = scratch.join(format!("botocore-{version}"));
    if result.is_ok() {
        // It fails when another process was first, which is as good.
        let _ = std::fs::rename(&unpacked, &cache);
    }
    let _ = std::fs::remove_dir_all(&scratch);
    result?;
    if tests.is_dir() { Ok(tests) } else { Err("the archive has no tests/unit".to_owned()) }
}

fn archive(version: &str, scratch: &Path) -> Result<PathBuf, String> {
    if let Some(archive) = std::env::var_os("BOTOCORE_SDIST") {
        return Ok(archive.into());
    }
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest"])
        .arg(scratch)
        .arg(format!("botocore=={version}")))?;
    Ok(scratch.join(format!("botocore-{version}.tar.gz")))
}

fn unpack(archive: &Path, version: &str, scratch: &Path) -> Result<(), String> {
    run(Command::new("tar")
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(scratch)
        .arg(format!("botocore-{version}/tests/unit/protocols"))
        .arg(format!("botocore-{version}/tests/unit/auth/aws4_testsuite")))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Runs a future that waits for nothing.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
