//! A test per protection: the forbidden thing is tried in a container, and fails.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use engine::{ContainerSpec, Mount, Propagation, RootFilesystem, SeccompProfile, SharedNamespace, Tmpfs};
use support::{Bench, id, image, skip, within};

/// A layer over the test image that holds the helper program with all it needs: it makes system calls that no shell can.
fn with_helper(bench: &Bench) -> RootFilesystem {
    let layer = bench.directory.path().join("helper-layer");
    if !layer.exists() {
        fs::create_dir_all(layer.join("helper")).unwrap();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_engine-test-helper"));
        fs::copy(&program, layer.join("helper/program")).unwrap();
        let libraries =
            std::process::Command::new(&program).env("LD_TRACE_LOADED_OBJECTS", "1").output().unwrap();
        for path in String::from_utf8(libraries.stdout)
            .unwrap()
            .split_ascii_whitespace()
            .filter(|word| word.starts_with('/'))
        {
            let target = layer.join(path.trim_start_matches('/'));
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(path, target).unwrap();
        }
    }
    let mut root = image();
    root.lower_directories.insert(0, layer);
    root
}

/// Makes the system calls in a container and gives their errnos (0: it succeeded).
async fn errnos_of(bench: &Bench, calls: &[&str], change: impl FnOnce(&mut ContainerSpec)) -> Vec<i32> {
    let root = with_helper(bench);
    let script = format!("exec /helper/program call {}", calls.join(" "));
    let with_root = |spec: &mut ContainerSpec| {
        spec.root = root;
        change(spec);
    };
    let output = bench.output_of(with_root, &script).await;
    let errnos: Vec<i32> = output.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(errnos.len(), calls.len(), "{output}");
    errnos
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seccomp_profile_denies() {
    if skip("the_seccomp_profile_denies") {
        return;
    }
    let bench = Bench::new();
    // All capabilities would let these through: what denies them is the filter alone (SYS_ADMIN unlocks a part of them, so not that).
    let with_capabilities = |spec: &mut ContainerSpec| {
        spec.capabilities_add = vec!["ALL".to_owned()];
        spec.capabilities_drop = ["SYS_ADMIN", "BPF", "PERFMON", "SYSLOG"].map(str::to_owned).to_vec();
    };
    let denied = [
        "mount",
        "unshare-user",
        "clone-user",
        "setns",
        "keyctl",
        "add_key",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "io_uring_setup",
        "kexec_load",
        "swapon",
        "socket-vsock",
        "personality-odd",
        "nfsservctl",
    ];
    for (call, errno) in denied.iter().zip(errnos_of(&bench, &denied, with_capabilities).await) {
        assert_eq!(errno, libc::EPERM, "{call}");
    }
    assert_eq!(errnos_of(&bench, &["clone3"], with_capabilities).await, [libc::ENOSYS]);
    // The same calls without the filter reach the kernel, which has something else to say: the test can tell the difference.
    let reach = ["keyctl", "unshare-user", "clone3", "personality-odd"];
    let unconfined = |spec: &mut ContainerSpec| spec.seccomp = SeccompProfile::Unconfined;
    for (call, errno) in reach.iter().zip(errnos_of(&bench, &reach, unconfined).await) {
        assert!(errno != libc::EPERM && errno != libc::ENOSYS, "{call} unconfined: {errno}");
    }
    for (user, no_new_privileges) in [("", false), ("app", false), ("", true), ("app", true)] {
        let output = bench
            .output_of(
                |spec| {
                    spec.user = user.to_owned();
                    spec.no_new_privileges = no_new_privileges;
                },
                "grep -E 'Seccomp:|NoNewPrivs:' /proc/self/status | awk '{print $2}'",
            )
            .await;
        assert_eq!(output, format!("{}\n2\n", u8::from(no_new_privileges)), "user {user:?}");
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_are_docker_s_default() {
    if skip("capabilities_are_docker_s_default") {
        return;
    }
    let bench = Bench::new();
    let status = "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb):' /proc/self/status | awk '{print $2}' | tr '\\n' ' '";
    let (zero, default) = ("0000000000000000", "00000000a80425fb");
    assert_eq!(
        bench.output_of(|_| (), status).await,
        format!("{zero} {default} {default} {default} {zero} \n")
    );
    let user = bench.output_of(|spec| spec.user = "app".to_owned(), status).await;
    assert_eq!(user, format!("{zero} {zero} {zero} {default} {zero} \n"));
    let none = bench.output_of(|spec| spec.capabilities_drop = vec!["ALL".to_owned()], status).await;
    assert_eq!(none, format!("{zero} {zero} {zero} {zero} {zero} \n"));
    let admin = bench
        .output_of(
            |spec| spec.capabilities_add = vec!["NET_ADMIN".to_owned()],
            "ip link set lo mtu 1400 && echo made",
        )
        .await;
    assert_eq!(admin, "made\n");
    for forbidden in [
        "ip link set lo mtu 1400",
        "mount -t tmpfs none /tmp",
        "hostname other",
        "chroot /tmp /bin/true && false; mknod /tmp/m c 1 1 && head -c 1 /tmp/m",
        "reboot -f",
        "dmesg -c",
    ] {
        let output = bench.output_of(|_| (), &format!("({forbidden}) >/dev/null 2>&1 || echo refused")).await;
        assert_eq!(output, "refused\n", "{forbidden}");
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_new_privileges_disarms_setuid_files() {
    if skip("no_new_privileges_disarms_setuid_files") {
        return;
    }
    let bench = Bench::new();
    let root = with_helper(&bench);
    let program = root.lower_directories[0].join("helper/program");
    fs::set_permissions(program, fs::Permissions::from_mode(0o4755)).unwrap();
    for (no_new_privileges, expected) in [(false, "0\n"), (true, "1000\n")] {
        let root = root.clone();
        let output = bench
            .output_of(
                |spec| {
                    spec.root = root;
                    spec.user = "app".to_owned();
                    spec.no_new_privileges = no_new_privileges;
                },
                "/helper/program effective-user",
            )
            .await;
        assert_eq!(output, expected, "no_new_privileges {no_new_privileges}");
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_out_of_sight() {
    if skip("the_host_is_out_of_sight") {
        return;
    }
    let bench = Bench::new();
    let output = bench
        .output_of(
            |_| (),
            "ps | wc -l; echo 1 2>/dev/null > /proc/sys/kernel/sysrq || echo refused; echo b 2>/dev/null > /proc/sysrq-trigger || echo refused; \
             echo x 2>/dev/null > /proc/sys/kernel/core_pattern || echo refused; \
             head -c 1 /proc/kcore 2>/dev/null | wc -c; cat /proc/keys 2>/dev/null | wc -l; ls /sys/firmware | wc -l; ls /proc/acpi 2>/dev/null | wc -l; \
             touch /sys/kernel/x 2>/dev/null || echo refused; ls /proc/self/fd | wc -l; ls /dev | tr '\\n' ' '",
        )
        .await;
    let lines: Vec<&str> = output.lines().collect();
    assert!(lines[0].parse::<u32>().unwrap() <= 4, "processes: {output}");
    assert_eq!(lines[1..9], ["refused", "refused", "refused", "0", "0", "0", "0", "refused"], "{output}");
    // 0, 1, 2 and the directory itself.
    assert_eq!(lines[9], "4", "{output}");
    // A link to the masked /proc/kcore is there or not, as the kernel is built.
    let devices = lines[10].replace("kcore ", "");
    assert_eq!(
        devices, "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ",
        "{output}"
    );
    // Mounts of the host, and its cgroups, do not show.
    let mounts = bench.output_of(|_| (), "cat /proc/self/mountinfo; ls /sys/fs/cgroup/*").await;
    let state = bench.directory.path().to_str().unwrap();
    assert!(!mounts.lines().any(|line| line.contains("ext4") && line.contains(" / / ")), "{mounts}");
    assert!(!mounts.contains("containers\n") && !mounts.contains("shims"), "{mounts}");
    assert!(!mounts.contains(&format!("{state}/engine/containers\n")));
    // release_agent (CVE-2022-0492) cannot be written, nor a hierarchy mounted.
    let output = bench
        .output_of(
            |_| (),
            "for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/notify_on_release /sys/fs/cgroup/*/tasks /sys/fs/cgroup/cgroup.procs; do \
             test -e $f && (echo x > $f) 2>/dev/null && echo \"wrote $f\"; done; mkdir /tmp/c; mount -t cgroup -o memory c /tmp/c 2>/dev/null && echo mounted; \
             mkdir /sys/fs/cgroup/memory/x 2>/dev/null && echo made; echo end",
        )
        .await;
    assert_eq!(output, "end\n");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_directory_outside_the_root_fails() {
    if skip("a_working_directory_outside_the_root_fails") {
        return;
    }
    let bench = Bench::new();
    // CVE-2024-21626: a descriptor of the host's file system, left open, as working directory; directly and through a link.
    let layer = bench.directory.path().join("links");
    fs::create_dir_all(&layer).unwrap();
    for number in 3..=30 {
        symlink(format!("/proc/self/fd/{number}"), layer.join(format!("cwd{number}"))).unwrap();
    }
    for number in 3..=30 {
        for directory in [format!("/proc/self/fd/{number}"), format!("/cwd{number}")] {
            let mut spec = bench.shell("escape", "pwd; ls");
            spec.root.lower_directories.insert(0, layer.clone());
            spec.working_directory = PathBuf::from(&directory);
            match bench.engine.create(spec).await {
                Err(_) => {}
                // A link to a directory that could be made inside the root is no way out: it must be inside.
                Ok(_) => {
                    bench.engine.start(&id("escape")).await.unwrap();
                    within(10, bench.engine.wait(&id("escape"))).await.unwrap();
                    let output = bench.output("escape");
                    assert_eq!(output.trim(), format!("/proc/self/fd/{number}"), "{directory}: {output}");
                    bench.engine.delete(&id("escape")).await.unwrap();
                }
            }
        }
    }
    for directory in ["relative", "/a/../../b", "/etc/passwd"] {
        let mut spec = bench.shell("escape", "pwd");
        spec.working_directory = directory.into();
        assert!(bench.engine.create(spec).await.is_err(), "{directory}");
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_at_mount_targets_stay_inside() {
    if skip("links_at_mount_targets_stay_inside") {
        return;
    }
    let bench = Bench::new();
    let outside = bench.directory.path().join("outside");
    let volume = bench.directory.path().join("volume");
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(&volume).unwrap();
    fs::write(volume.join("mark"), "inside").unwrap();
    let layer = bench.directory.path().join("links");
    fs::create_dir_all(layer.join("etc-files")).unwrap();
    symlink(&outside, layer.join("absolute")).unwrap();
    symlink("../../../../../../../../../../..", layer.join("up")).unwrap();
    symlink(outside.join("made-by-docker"), layer.join("dangling")).unwrap();
    let run = |destination: String| {
        let bench = &bench;
        let (layer, volume) = (layer.clone(), volume.clone());
        async move {
            bench
                .output_of(
                    |spec| {
                        spec.root.lower_directories.insert(0, layer);
                        spec.mounts.push(Mount {
                            source: volume,
                            destination: destination.into(),
                            readonly: false,
                            propagation: Propagation::Private,
                        });
                        spec.tmpfs.push(Tmpfs { path: "/absolute/tmp".into(), size_bytes: None, options: Vec::new() });
                    },
                    "find / -xdev -name mark 2>/dev/null | head -1; cat $(grep -o '[^ ]*here' /proc/mounts | head -1)/mark",
                )
                .await
        }
    };
    for destination in ["/absolute/here", "/up/here", "/dangling/here"] {
        let output = run(destination.to_owned()).await;
        assert!(output.contains("inside"), "{destination}: {output}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was made outside");
    assert!(!PathBuf::from("/here").exists());
    // The files that the engine itself mounts: /etc is a link to the host's root.
    let evil = bench.directory.path().join("evil");
    fs::create_dir_all(evil.join("bin")).unwrap();
    fs::copy("/bin/busybox", evil.join("bin/busybox")).unwrap();
    symlink("busybox", evil.join("bin/sh")).unwrap();
    symlink(&outside, evil.join("etc")).unwrap();
    symlink(&outside, evil.join("proc")).unwrap();
    let mut spec = bench.shell("evil", "true");
    spec.root = RootFilesystem { lower_directories: vec![evil], readonly: false, writable: None };
    // A link at /proc is refused (CVE-2023-28642); what matters is that nothing is made outside.
    let _ = bench.engine.create(spec).await;
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was made outside");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runtime_s_program_cannot_be_overwritten() {
    if skip("the_runtime_s_program_cannot_be_overwritten") {
        return;
    }
    let bench = Bench::new();
    // CVE-2019-5736: with our init, process 1 is our own program. Even a container that may trace can only read it.
    let script =
        "(echo x > /proc/1/exe) 2>&1 | head -1; head -c 4 /proc/1/exe >/dev/null 2>&1 || echo unreadable";
    let output = bench.output_of(|spec| spec.init = true, script).await;
    assert!(output.contains("unreadable") && output.lines().count() == 2, "{output}");
    // Nothing of the shim's is open in it but the container's stdio.
    let mut spec = bench.shell("descriptors", "sleep 1000");
    spec.init = true;
    let pid = bench.start(spec).await.pid;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut open: Vec<_> =
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);
    let before = fs::metadata(env!("CARGO_BIN_EXE_engine-test-helper")).unwrap().modified().unwrap();
    let script = "ls -l /proc/1/exe >/dev/null; (cat /proc/version > /proc/1/exe) 2>&1 | head -1; \
                  ls /proc/1/root >/dev/null 2>&1; echo end";
    let output = bench
        .output_of(
            |spec| {
                spec.init = true;
                spec.privileged = true;
            },
            script,
        )
        .await;
    assert!(output.lines().count() == 2 && output.ends_with("end\n"), "{output}");
    assert_eq!(fs::metadata(env!("CARGO_BIN_EXE_engine-test-helper")).unwrap().modified().unwrap(), before);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_groups_and_environment_are_not_inherited() {
    if skip("host_groups_and_environment_are_not_inherited") {
        return;
    }
    let bench = Bench::new();
    let output = bench
        .output_of(
            |spec| spec.user = "4242:4242".to_owned(),
            "id -G; env | sort | cut -d= -f1 | tr '\\n' ' '; umask",
        )
        .await;
    assert_eq!(output, "4242\nHOME HOSTNAME PATH PWD SHLVL 0022\n");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_parameters_are_refused() {
    if skip("hostile_parameters_are_refused") {
        return;
    }
    let bench = Bench::new();
    type Change = Box<dyn Fn(&mut ContainerSpec)>;
    let changes: Vec<(&str, Change)> = vec![
        ("no command", Box::new(|spec| spec.arguments.clear())),
        ("NUL in command", Box::new(|spec| spec.arguments.push("a\0b".to_owned()))),
        ("NUL in environment", Box::new(|spec| spec.environment.push(("A".to_owned(), "\0".to_owned())))),
        ("= in a name", Box::new(|spec| spec.environment.push(("A=B".to_owned(), String::new())))),
        ("empty name", Box::new(|spec| spec.environment.push((String::new(), "x".to_owned())))),
        ("huge command", Box::new(|spec| spec.arguments.push("x".repeat(3_000_000)))),
        ("many arguments", Box::new(|spec| spec.arguments = vec![String::new(); 20_000])),
        ("no layers", Box::new(|spec| spec.root.lower_directories.clear())),
        (
            "a layer that is not there",
            Box::new(|spec| spec.root.lower_directories = vec!["/no/such/layer".into()]),
        ),
        ("too many layers", Box::new(|spec| spec.root.lower_directories = vec!["/tmp".into(); 501])),
        ("host name", Box::new(|spec| spec.hostname = Some("a b".to_owned()))),
        ("long host name", Box::new(|spec| spec.hostname = Some("a".repeat(65)))),
        ("SELinux", Box::new(|spec| spec.selinux_label = Some("type:x".to_owned()))),
        ("capability", Box::new(|spec| spec.capabilities_add = vec!["FLY".to_owned()])),
        ("DNS server", Box::new(|spec| spec.dns.servers = vec!["example.com".to_owned()])),
        (
            "relative mount",
            Box::new(|spec| {
                spec.mounts.push(Mount {
                    source: "tmp".into(),
                    destination: "/x".into(),
                    readonly: true,
                    propagation: Propagation::Private,
                });
            }),
        ),
        (
            "mount at /proc",
            Box::new(|spec| {
                spec.mounts.push(Mount {
                    source: "/tmp".into(),
                    destination: "/proc/sys".into(),
                    readonly: true,
                    propagation: Propagation::Private,
                });
            }),
        ),
        (
            "namespace that is not there",
            Box::new(|spec| spec.namespaces.pid = SharedNamespace::Path("/no/such".into())),
        ),
    ];
    for (what, change) in changes {
        let mut spec = bench.shell("bad", "true");
        change(&mut spec);
        let error = within(30, bench.engine.create(spec)).await.expect_err(what);
        assert!(!error.to_string().is_empty());
    }
    assert!(bench.engine.list().await.unwrap().is_empty());
    // Nothing of the failed ones is left, and the name is free.
    assert_eq!(bench.output_of(|spec| spec.id = id("bad"), "echo fine").await, "");
    bench.finish().await;
}
