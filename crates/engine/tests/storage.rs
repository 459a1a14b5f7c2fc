//! What a container has written: kept when it is made again, bounded when its task has storage of its own.

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use engine::{ContainerSpec, Engine, EngineError, Resources, State, TaskGroup, TaskStorage};
use support::{Bench, config, id, skip, within};

const MIB: u64 = 1 << 20;

fn group(name: &str, storage_bytes: Option<u64>) -> TaskGroup {
    TaskGroup {
        id: id(name),
        resources: Resources::default(),
        share_pid_namespace: false,
        share_ipc_namespace: false,
        shared_memory_bytes: None,
        storage: storage_bytes.map(|bytes| TaskStorage { bytes, required: true }),
    }
}

/// Loop devices whose file is below `directory`, as the kernel tells it.
fn loop_devices(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").unwrap().flatten() {
        let file = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if file.starts_with(directory.to_str().unwrap()) {
            found.push(format!("{} {}", entry.file_name().display(), file.trim()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_made_again_keeps_its_files() {
    if skip("a_container_that_is_made_again_keeps_its_files") {
        return;
    }
    let bench = Bench::new();
    let name = id("again");
    let script = "echo life >> /root/lives; chown 1000 /root/lives; rm -f /etc/group; echo x > /dev/shm/x; \
                  cat /root/lives; ls /etc/group 2>/dev/null; ls /run-before 2>/dev/null; mkdir -p /run-before/sub; exit 3";
    bench.start(bench.shell("again", script)).await;
    for life in 1..=3 {
        let exit = within(20, bench.engine.wait(&name)).await.unwrap();
        assert_eq!(exit.code, 3, "life {life}: {}", bench.output("again"));
        let made = bench.engine.recreate(bench.shell("again", script)).await.unwrap();
        assert_eq!(bench.engine.status(&name).await.unwrap().state, State::Created);
        assert_eq!(bench.engine.start(&name).await.unwrap().pid, made.pid);
    }
    within(20, bench.engine.wait(&name)).await.unwrap();
    // The first life saw no directory of an earlier one.
    let expected: String =
        (1..=4).map(|life| "life\n".repeat(life) + if life == 1 { "" } else { "sub\n" }).collect();
    assert_eq!(bench.output("again"), expected);

    // One that cannot be made stays what it was, and can be made once more.
    let mut wrong = bench.shell("again", script);
    wrong.user = "nobody-here".to_owned();
    assert!(matches!(bench.engine.recreate(wrong).await, Err(EngineError::Runtime(_))));
    assert!(matches!(bench.engine.status(&name).await.unwrap().state, State::Exited(_)));
    bench.engine.recreate(bench.shell("again", "cat /root/lives | wc -l")).await.unwrap();
    bench.engine.start(&name).await.unwrap();
    within(20, bench.engine.wait(&name)).await.unwrap();
    assert!(bench.output("again").ends_with("\n4\n"), "{}", bench.output("again"));
    let unknown = bench.engine.recreate(bench.shell("unknown", "true")).await;
    assert!(matches!(unknown, Err(EngineError::NotFound(_))), "{unknown:?}");
    bench.finish().await;
}

fn member(bench: &Bench, group: &engine::TaskGroupHandle, name: &str, script: &str) -> ContainerSpec {
    let mut spec = bench.shell(name, script);
    spec.task_group = Some(group.id.clone());
    spec.root.writable = group.storage.as_ref().map(|storage| storage.join("layers"));
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_task_storage_is_the_tasks_own_trouble() {
    if skip("a_full_task_storage_is_the_tasks_own_trouble") {
        return;
    }
    let bench = Bench::new();
    let small = bench.engine.create_task_group(group("small", Some(64 * MIB))).await.unwrap();
    let storage = small.storage.clone().unwrap();
    let volume = storage.join("volumes/data");
    fs::create_dir_all(&volume).unwrap();
    assert_eq!(loop_devices(bench.directory.path()).len(), 1);

    // Two containers and a volume draw on the same bytes.
    let fill = "dd if=/dev/zero of=/a bs=1M count=20 2>/dev/null && echo wrote; df -m / | tail -1 | awk '{print ($2 < 70)}'";
    let (exit, output) = bench.run(member(&bench, &small, "first", fill)).await;
    assert_eq!((exit.code, output.as_str()), (0, "wrote\n1\n"));
    let mut first =
        member(&bench, &small, "keeps", "dd if=/dev/zero of=/a bs=1M count=20 2>/dev/null && echo wrote");
    first.mounts = vec![];
    bench.start(first).await;
    within(20, bench.engine.wait(&id("keeps"))).await.unwrap();
    let mut second = member(
        &bench,
        &small,
        "second",
        "dd if=/dev/zero of=/data/b bs=1M count=64 2>&1; echo code $?; ls /data",
    );
    second.mounts = vec![engine::Mount {
        source: volume.clone(),
        destination: "/data".into(),
        readonly: false,
        propagation: engine::Propagation::default(),
    }];
    let (_, output) = bench.run(second).await;
    assert!(output.contains("No space left on device") && output.contains("code 1"), "{output}");
    let volume_bytes = fs::metadata(volume.join("b")).unwrap().len();
    assert!((20 * MIB..46 * MIB).contains(&volume_bytes), "{volume_bytes}");

    // Nobody else notices; what is deleted can be written again.
    let free = bench.engine.create_task_group(group("free", None)).await.unwrap();
    assert_eq!(free.storage, None);
    let other = "dd if=/dev/zero of=/a bs=1M count=100 2>/dev/null && echo wrote";
    assert_eq!(bench.run(member(&bench, &free, "other", other)).await.1, "wrote\n");
    fs::remove_file(volume.join("b")).unwrap();
    let again =
        member(&bench, &small, "third", "dd if=/dev/zero of=/c bs=1M count=20 2>/dev/null && echo wrote");
    assert_eq!(bench.run(again).await.1, "wrote\n");

    bench.engine.delete(&id("keeps")).await.unwrap();
    assert_eq!(fs::read_dir(storage.join("layers")).unwrap().count(), 0, "its writable layer went with it");
    bench.engine.delete_task_group(&small.id).await.unwrap();
    // The kernel gives a device back a moment after its last use.
    for _ in 0..100 {
        if loop_devices(bench.directory.path()).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(loop_devices(bench.directory.path()).is_empty());
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_survives_its_engine_and_goes_with_destroy_all() {
    if skip("storage_survives_its_engine_and_goes_with_destroy_all") {
        return;
    }
    let Bench { directory, engine, cgroup } = Bench::new();
    let made = engine.create_task_group(group("lasting", Some(64 * MIB))).await.unwrap();
    let storage = made.storage.clone().unwrap();
    fs::write(storage.join("file"), "kept").unwrap();
    drop(engine);
    let engine = Engine::open(config(directory.path(), &cgroup)).unwrap();
    let bench = Bench { directory, engine, cgroup };
    let again = bench.engine.create_task_group(group("lasting", Some(64 * MIB))).await.unwrap();
    assert_eq!(again.storage, Some(storage.clone()));
    assert_eq!(fs::read_to_string(storage.join("file")).unwrap(), "kept");
    assert_eq!(loop_devices(bench.directory.path()).len(), 1, "not mounted twice");
    // A container that runs in it does not keep it.
    bench.start(member(&bench, &again, "runs", "echo > /here; while :; do sleep 1; done")).await;
    let path = bench.directory.path().to_owned();
    bench.engine.destroy_all().await.unwrap();
    for _ in 0..100 {
        if loop_devices(&path).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(loop_devices(&path).is_empty());
    bench.finish().await;
}
