//! What the tests of images share.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod pulling;
pub mod registry;
pub mod tarball;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{Digest, Image, ImageStore};
use tempfile::TempDir;

/// A directory on the file system of the build, which takes every attribute that a layer may have.
pub fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The directory of the image builders.
pub fn builders() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/images")
}

/// Runs `tests/images/busybox.sh`.
pub fn busybox(out: &Path, arguments: &[&str]) {
    let output = Command::new(builders().join("busybox.sh")).arg(out).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A line for everything below a directory: path, kind, mode, owner, size, device, link target, content digest,
/// modification time, attributes. `with_time` is off for directories that no archive describes.
pub fn tree(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    walk(root, Path::new(""), &mut lines);
    lines.sort();
    lines
}

fn walk(root: &Path, below: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        lines.push(describe(&root.join(&path), &path));
        if entry.file_type().unwrap().is_dir() {
            walk(root, &path, lines);
        }
    }
}

/// One line of [`tree`].
pub fn describe(at: &Path, path: &Path) -> String {
    let found = fs::symlink_metadata(at).unwrap();
    let kind = found.file_type();
    let (name, content) = if kind.is_dir() {
        ("directory", String::new())
    } else if kind.is_symlink() {
        ("link", format!("-> {}", fs::read_link(at).unwrap().as_os_str().as_bytes().escape_ascii()))
    } else if kind.is_file() {
        ("file", format!("{} {} links={}", found.len(), Digest::of(&fs::read(at).unwrap()), found.nlink()))
    } else if kind.is_char_device() {
        ("character", format!("{:x}", found.rdev()))
    } else if kind.is_block_device() {
        ("block", format!("{:x}", found.rdev()))
    } else {
        ("fifo", String::new())
    };
    let shown: String = path.as_os_str().as_bytes().escape_ascii().to_string();
    format!(
        "{shown} {name} {:o} {}:{} {content} {}.{:09} {:?}",
        found.mode(),
        found.uid(),
        found.gid(),
        found.mtime(),
        found.mtime_nsec(),
        attributes(at)
    )
}

/// Extended attributes of a file, not of what it links to.
pub fn attributes(at: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0u8; 64 << 10];
    let count = rustix::fs::llistxattr(at, &mut names[..]).unwrap();
    names.truncate(count);
    let mut all = BTreeMap::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; 64 << 10];
        let count = rustix::fs::lgetxattr(at, OsStr::from_bytes(name), &mut value[..]).unwrap();
        value.truncate(count);
        all.insert(String::from_utf8_lossy(name).into_owned(), value);
    }
    all
}

/// [`tree`] of the image as a container sees it: through overlayfs.
pub fn merged_tree(store: &ImageStore, image: &Image) -> Vec<String> {
    let mount = Overlay::mount(store, image);
    let mut lines = tree(mount.path());
    lines.push(describe(mount.path(), Path::new("/")));
    lines
}

/// An image mounted read only; unmounted on drop.
pub struct Overlay(TempDir);

impl Overlay {
    pub fn mount(store: &ImageStore, image: &Image) -> Self {
        let at = scratch();
        let mut lowers: Vec<String> =
            store.lower_directories(image).unwrap().iter().map(|path| path.display().to_string()).collect();
        // Overlayfs wants two lower directories when there is no upper one.
        if lowers.len() == 1 {
            let below = scratch().keep();
            lowers.push(below.display().to_string());
        }
        let status = Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &format!("ro,lowerdir={}", lowers.join(":"))])
            .arg(at.path())
            .status()
            .unwrap();
        assert!(status.success());
        Self(at)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}
