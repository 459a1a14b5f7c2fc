//! Names, leases and garbage; several processes at once; processes that are killed.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use image::{Image, ImageError, ImageStore, NoProgress, Phase, Progress};
use support::tarball::{archive, docker_archive, file};
use support::{merged_tree, scratch, tree};

/// A docker-save archive of layers that each hold one file.
fn image_file(directory: &Path, tag: &str, layers: &[&str]) -> PathBuf {
    let layers: Vec<Vec<u8>> = layers.iter().map(|name| archive(&[file(name, name.repeat(1000))])).collect();
    let path = directory.join(format!("{}.tar", tag.replace([':', '/'], "-")));
    fs::write(&path, docker_archive(tag, &layers)).unwrap();
    path
}

fn load(store: &ImageStore, directory: &Path, tag: &str, layers: &[&str]) -> Image {
    store.load(&image_file(directory, tag, layers), None, &NoProgress).unwrap().remove(0)
}

fn count(store: &ImageStore, directory: &str) -> usize {
    fs::read_dir(store.root().join(directory)).unwrap().count()
}

#[test]
fn layers_are_shared_and_go_with_the_last_image_that_uses_them() {
    let scratch = scratch();
    let store = ImageStore::open(&scratch.path().join("store")).unwrap();
    let one = load(&store, scratch.path(), "one:1", &["base", "a"]);
    let two = load(&store, scratch.path(), "two:1", &["base", "b"]);
    assert_eq!(one.layers[0], two.layers[0]);
    assert_eq!(count(&store, "layers"), 3);
    // The same file above another base is another layer: what it unpacks to may depend on the base.
    let other = load(&store, scratch.path(), "other:1", &["x", "a"]);
    assert_ne!(one.layers[1], other.layers[1]);

    let removed = store.remove("one:1").unwrap();
    assert_eq!((removed.untagged, removed.deleted), (vec!["one:1".to_owned()], vec![one.image_id.clone()]));
    assert_eq!((removed.freed.layers, removed.freed.bytes), (1, 1000));
    assert!(store.lower_directories(&two).is_ok());
    assert!(matches!(store.lower_directories(&one), Err(ImageError::Damaged { .. })));
    assert!(matches!(store.remove("one:1"), Err(ImageError::NoSuchImage(_))));
    assert_eq!(store.get("one:1"), None);
    store.remove(&other.image_id).unwrap();
    store.remove("two:1").unwrap();
    for directory in ["layers", "images", "names", "blobs/sha256"] {
        assert_eq!(count(&store, directory), 0, "{directory}");
    }
}

#[test]
fn a_moved_name_leaves_the_old_image_to_the_garbage() {
    let scratch = scratch();
    let store = ImageStore::open(&scratch.path().join("store")).unwrap();
    let old = load(&store, scratch.path(), "app:1", &["base", "old"]);
    store.load(&image_file(scratch.path(), "app:1", &["base", "old"]), Some("kept:1"), &NoProgress).unwrap();
    let new = load(&store, scratch.path(), "app:1", &["base", "new"]);
    assert_eq!(store.get("app:1").unwrap(), new);
    assert_eq!(store.get("kept:1").unwrap().image_id, old.image_id);
    assert_eq!(store.collect_garbage().unwrap(), image::Collected::default());
    let removed = store.remove("kept:1").unwrap();
    assert_eq!(removed.deleted, [old.image_id.as_str()]);
    let newer = load(&store, scratch.path(), "app:1", &["base", "newer"]);
    let collected = store.collect_garbage().unwrap();
    assert_eq!((collected.images, collected.layers, collected.bytes), (1, 1, 3000));
    assert_eq!(store.list(), [newer]);
}

#[test]
fn leases_keep_images_and_outlive_the_process() {
    let scratch = scratch();
    let store = ImageStore::open(&scratch.path().join("store")).unwrap();
    let image = load(&store, scratch.path(), "app:1", &["base", "a"]);
    store.lease(&image, "container-1").unwrap();
    store.lease(&image, "container-1").unwrap();
    store.lease(&image, "container-2").unwrap();
    let removed = store.remove("app:1").unwrap();
    assert_eq!((removed.deleted.len(), removed.freed.layers), (0, 0));
    assert_eq!(store.get("app:1"), None);
    drop(store);

    let store = ImageStore::open(&scratch.path().join("store")).unwrap();
    assert_eq!(store.leases().unwrap().len(), 2);
    assert_eq!(store.collect_garbage().unwrap().images, 0);
    assert_eq!(store.lower_directories(&image).unwrap().len(), 2);
    assert_eq!(store.get(&image.image_id).unwrap().references, Vec::<String>::new());
    store.release("container-1").unwrap();
    store.release("never-there").unwrap();
    assert_eq!(store.collect_garbage().unwrap().images, 0);
    store.release("container-2").unwrap();
    assert_eq!(store.collect_garbage().unwrap().images, 1);
    assert!(matches!(store.lease(&image, "container-3"), Err(ImageError::NoSuchImage(_))));
}

#[test]
fn damage_is_named() {
    let scratch = scratch();
    let store = ImageStore::open(&scratch.path().join("store")).unwrap();
    let image = load(&store, scratch.path(), "app:1", &["base"]);
    let config = store.root().join("blobs/sha256").join(&image.image_id[7..]);
    let mut bytes = fs::read(&config).unwrap();
    bytes[5] ^= 1;
    fs::write(&config, bytes).unwrap();
    let error = store.find("app:1").unwrap_err().to_string();
    assert!(error.contains(&image.image_id[7..]), "{error}");
    assert_eq!(store.get("app:1"), None);
    fs::write(store.root().join("format"), r#"{"format":2}"#).unwrap();
    let error = ImageStore::open(store.root()).unwrap_err().to_string();
    assert!(error.contains("format 2"), "{error}");
}

/// Runs one of the `child_…` tests below in a process of its own.
fn child(name: &str, store: &Path, archive: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--nocapture"])
        .env("IMAGE_TEST_STORE", store)
        .env("IMAGE_TEST_ARCHIVE", archive)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn child_paths() -> Option<(PathBuf, PathBuf)> {
    Some((std::env::var_os("IMAGE_TEST_STORE")?.into(), std::env::var_os("IMAGE_TEST_ARCHIVE")?.into()))
}

/// Says on standard output how far the load is.
struct Aloud;

impl Progress for Aloud {
    #[allow(clippy::print_stdout, reason = "the parent process reads it")]
    fn layer(&self, digest: &str, done: u64, _total: Option<u64>, phase: Phase) {
        println!("PROGRESS {digest} {done} {phase:?}");
    }
    fn message(&self, _text: &str) {}
}

#[test]
#[ignore = "a child of another test"]
fn child_loads() {
    if let Some((store, archive)) = child_paths() {
        ImageStore::open(&store).unwrap().load(&archive, None, &Aloud).unwrap();
    }
}

#[test]
fn an_image_that_another_process_loads_is_seen_at_once() {
    let scratch = scratch();
    let store = ImageStore::open(&scratch.path().join("store")).unwrap();
    load(&store, scratch.path(), "mine:1", &["base", "a"]);
    let children: Vec<Child> = (0..4)
        .map(|number| {
            let archive = image_file(scratch.path(), &format!("theirs:{number}"), &["base", "a", "b"]);
            child("child_loads", store.root(), &archive)
        })
        .collect();
    // At the same time this process loads and collects: nobody's layers are taken away.
    for round in 0..10 {
        load(&store, scratch.path(), "mine:1", &["base", &format!("round-{round}")]);
        store.collect_garbage().unwrap();
    }
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    store.collect_garbage().unwrap();
    let fresh = ImageStore::open(&scratch.path().join("fresh")).unwrap();
    for number in 0..4 {
        let image = store.get(&format!("theirs:{number}")).unwrap();
        assert_eq!(image.references.len(), 4);
        let expected = load(&fresh, scratch.path(), "theirs:0", &["base", "a", "b"]);
        assert_eq!(merged_tree(&store, &image), merged_tree(&fresh, &expected));
    }
    assert_eq!(count(&store, "layers"), 4);
}

#[test]
fn a_process_killed_at_any_moment_leaves_a_store_that_opens_and_loads() {
    let scratch = scratch();
    let root = scratch.path().join("store");
    // Large enough that a kill at a reported byte is in the middle.
    let big: Vec<u8> = (0..4 << 20).map(|byte: u32| (byte.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let layers: Vec<Vec<u8>> =
        (0..4).map(|n| archive(&[file(format!("big-{n}"), &big), file("same", n.to_string())])).collect();
    let path = scratch.path().join("big.tar");
    fs::write(&path, docker_archive("big:1", &layers)).unwrap();
    let whole = ImageStore::open(&scratch.path().join("whole")).unwrap();
    let expected = whole.load(&path, None, &NoProgress).unwrap().remove(0);
    let expected_tree = merged_tree(&whole, &expected);

    let mut killed = 0;
    for lines in [1, 2, 5, 9, 17, 30, 60, 64] {
        let mut child = child("child_loads", &root, &path);
        let output = BufReader::new(child.stdout.take().unwrap());
        let heard = output
            .lines()
            .map_while(Result::ok)
            .filter(|line| line.starts_with("PROGRESS"))
            .take(lines)
            .count();
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().signal() == Some(9));
        assert!(heard > 0);

        let store = ImageStore::open(&root).unwrap();
        // Nothing unpacked half is left: every layer that is there is whole.
        for entry in fs::read_dir(root.join("layers")).unwrap() {
            let layer = entry.unwrap();
            let twin = whole.root().join("layers").join(layer.file_name());
            assert_eq!(tree(&layer.path().join("diff")), tree(&twin.join("diff")));
        }
        let leftovers: Vec<_> =
            fs::read_dir(root.join("tmp")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(leftovers.iter().all(|name| name == "next"), "{leftovers:?}");
        if let Some(image) = store.get("big:1") {
            assert_eq!(merged_tree(&store, &image), expected_tree);
            store.remove("big:1").unwrap();
        }
        store.collect_garbage().unwrap();
        assert_eq!(count(&store, "layers"), 0);
    }
    assert!(killed >= 4, "only {killed} of 8 were killed in time");
    let store = ImageStore::open(&root).unwrap();
    let image = store.load(&path, None, &NoProgress).unwrap().remove(0);
    assert_eq!(merged_tree(&store, &image), expected_tree);
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let scratch = scratch();
    let small = scratch.path().join("small");
    fs::create_dir(&small).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&small).status().unwrap();
    if !mounted.success() {
        eprintln!("skipped a_full_disk_is_said_and_leaves_nothing: tmpfs cannot be mounted");
        return;
    }
    let path = scratch.path().join("image.tar");
    fs::write(&path, docker_archive("big:1", &[archive(&[file("big", vec![1; 4 << 20])])])).unwrap();
    let store = ImageStore::open(&small.join("store")).unwrap();
    let result = store.load(&path, None, &NoProgress);
    let left = count(&store, "layers");
    // Room again: the same store goes on.
    let after = load(&store, scratch.path(), "little:1", &["base"]);
    drop(store);
    let unmounted = Command::new("umount").arg(&small).status().unwrap();
    assert!(matches!(result, Err(ImageError::DiskFull { .. })), "{result:?}");
    assert_eq!((left, after.layers.len()), (0, 1));
    assert!(unmounted.success());
}

#[test]
fn finding_an_image_is_quick() {
    let scratch = scratch();
    let store = ImageStore::open(&scratch.path().join("store")).unwrap();
    for number in 0..50 {
        load(&store, scratch.path(), &format!("app:{number}"), &["base", &number.to_string()]);
    }
    let start = Instant::now();
    for _ in 0..20 {
        let image = store.get("app:7").unwrap();
        store.lease(&image, "container").unwrap();
        assert_eq!(store.lower_directories(&image).unwrap().len(), 2);
        store.release("container").unwrap();
    }
    let each = start.elapsed() / 20;
    // About 2 ms here; every task's start pays it.
    assert!(each < Duration::from_millis(50), "{each:?}");
}
