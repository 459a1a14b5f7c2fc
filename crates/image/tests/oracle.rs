//! GNU tar as the oracle: what it extracts from an archive of its own, our unpacker must make too, to the byte.

mod support;

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::Command;

use image::{ImageStore, NoProgress};
use proptest::prelude::*;
use support::tarball::docker_archive;
use support::{describe, scratch, tree};

#[derive(Clone, Debug)]
enum Node {
    File {
        bytes: Vec<u8>,
        mode: u32,
    },
    /// Data at some of eight places 16 KiB apart.
    Sparse {
        places: u8,
    },
    Link {
        target: Vec<u8>,
    },
    HardLink {
        of: usize,
    },
    Directory {
        mode: u32,
    },
    Fifo,
    Device {
        minor: u32,
    },
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        4 => (proptest::collection::vec(any::<u8>(), 0..2000), 0u32..0o10000).prop_map(|(bytes, mode)| Node::File { bytes, mode }),
        1 => any::<u8>().prop_map(|places| Node::Sparse { places }),
        2 => proptest::collection::vec(1u8..=255, 1..150).prop_map(|target| Node::Link { target }),
        2 => any::<usize>().prop_map(|of| Node::HardLink { of }),
        3 => (0u32..0o10000).prop_map(|mode| Node::Directory { mode }),
        1 => Just(Node::Fifo),
        1 => (1u32..200).prop_map(|minor| Node::Device { minor }),
    ]
}

/// A name of any bytes but NUL and slash, sometimes too long for a header. The index keeps names apart.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec((1u8..=255).prop_filter("no slash", |byte| *byte != b'/'), 1..12),
        1 => proptest::collection::vec(b'a'..=b'z', 90..200),
    ]
}

type Planned = (Node, Vec<u8>, usize, u32, u32, i64);

fn plan() -> impl Strategy<Value = Vec<Planned>> {
    let one = (node(), name(), any::<usize>(), 0u32..3_000_000, 0u32..70_000, 0i64..4_000_000_000);
    proptest::collection::vec(one, 1..40)
}

/// Makes the planned tree. Every node stands in one of the directories made before it.
fn build(root: &Path, plan: &[Planned]) {
    let mut directories = vec![root.to_owned()];
    let mut files = Vec::new();
    for (index, (node, name, parent, uid, gid, seconds)) in plan.iter().enumerate() {
        let name = [index.to_string().as_bytes(), b"-", name].concat();
        let path = directories[parent % directories.len()].join(OsStr::from_bytes(&name));
        // Below PATH_MAX, and not one of the names that mean something else in a layer.
        if path.as_os_str().len() > 2000 {
            continue;
        }
        let mut mode = None;
        match node {
            Node::File { bytes, mode: wanted } => {
                fs::write(&path, bytes).unwrap();
                rustix::fs::lsetxattr(
                    &path,
                    "user.number",
                    index.to_string().as_bytes(),
                    rustix::fs::XattrFlags::empty(),
                )
                .unwrap();
                files.push(path.clone());
                mode = Some(*wanted);
            }
            Node::Sparse { places } => {
                let file = File::create(&path).unwrap();
                for place in (0..8u64).filter(|place| places >> place & 1 == 1) {
                    file.write_all_at(b"data", place << 14).unwrap();
                }
                file.set_len(9 << 14).unwrap();
            }
            Node::Link { target } => symlink(OsStr::from_bytes(target), &path).unwrap(),
            Node::HardLink { of } => {
                if !files.is_empty() {
                    fs::hard_link(&files[of % files.len()], &path).unwrap();
                }
                continue;
            }
            Node::Directory { mode: wanted } => {
                fs::create_dir(&path).unwrap();
                directories.push(path.clone());
                mode = Some(*wanted);
            }
            Node::Fifo => rustix::fs::mknodat(
                rustix::fs::CWD,
                &path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RWXU,
                0,
            )
            .unwrap(),
            Node::Device { minor } => {
                let device = rustix::fs::makedev(1, *minor);
                rustix::fs::mknodat(
                    rustix::fs::CWD,
                    &path,
                    rustix::fs::FileType::CharacterDevice,
                    rustix::fs::Mode::RWXU,
                    device,
                )
                .unwrap();
            }
        }
        lchown(&path, Some(*uid), Some(*gid)).unwrap();
        if let Some(mode) = mode {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        let time = rustix::fs::Timespec { tv_sec: *seconds, tv_nsec: i64::from(*uid) };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn tar(arguments: &[&str], directory: &Path, archive: &Path) {
    let output =
        Command::new("tar").args(arguments).arg("-C").arg(directory).arg("-f").arg(archive).output().unwrap();
    assert!(output.status.success(), "tar {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn whole_tree(root: &Path) -> Vec<String> {
    let mut lines = tree(root);
    lines.push(describe(root, Path::new("/")));
    lines
}

fn same_as_gnu_tar(plan: &[Planned], format: &[&str]) {
    let scratch = scratch();
    let [source, extracted] = ["source", "extracted"].map(|name| scratch.path().join(name));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&extracted).unwrap();
    build(&source, plan);
    let archive = scratch.path().join("layer.tar");
    let create: Vec<&str> = [&["--create", "--numeric-owner", "--sort=none"], format].concat();
    let output = Command::new("tar")
        .args(&create)
        .arg("-C")
        .arg(&source)
        .arg("-f")
        .arg(&archive)
        .arg(".")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let extract = [
        "--extract",
        "--numeric-owner",
        "--same-owner",
        "--same-permissions",
        "--xattrs",
        "--xattrs-include=user.*",
        "--delay-directory-restore",
    ];
    tar(&extract, &extracted, &archive);

    let image = scratch.path().join("image.tar");
    fs::write(&image, docker_archive("oracle:1", &[fs::read(&archive).unwrap()])).unwrap();
    let store = ImageStore::open(&scratch.path().join("store")).unwrap();
    let image = store.load(&image, None, &NoProgress).unwrap().remove(0);
    let ours = store.lower_directories(&image).unwrap().remove(0);
    let (ours, theirs) = (whole_tree(&ours), whole_tree(&extracted));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "{format:?}");
    }
    assert_eq!(ours.len(), theirs.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pax_archives_unpack_as_gnu_tar_unpacks_them(plan in plan()) {
        same_as_gnu_tar(&plan, &["--format=pax", "--xattrs", "--xattrs-include=user.*"]);
    }

    #[test]
    fn pax_archives_with_sparse_files_too(plan in plan(), version in prop_oneof![Just("0.1"), Just("1.0")]) {
        same_as_gnu_tar(&plan, &["--format=pax", "--sparse", &format!("--sparse-version={version}")]);
    }

    #[test]
    fn gnu_archives_too(plan in plan()) {
        same_as_gnu_tar(&plan, &["--format=gnu", "--sparse"]);
    }
}
