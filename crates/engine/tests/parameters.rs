//! Every parameter of a container does what it says.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use engine::{
    Device, ExecSpec, IpcNamespace, LogOutput, Mount, NetworkNamespace, Propagation, Resources,
    RootFilesystem, SharedNamespace, TaskGroup, Tmpfs, Ulimit,
};
use support::{Bench, id, image, skip, within};

macro_rules! engine_test {
    ($name:ident, $bench:ident, $body:block) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            if skip(stringify!($name)) {
                return;
            }
            let $bench = Bench::new();
            $body
            $bench.finish().await;
        }
    };
}

engine_test!(names_and_environment, bench, {
    let output = bench
        .output_of(
            |spec| {
                spec.hostname = Some("box".to_owned());
                spec.domainname = Some("example.test".to_owned());
                spec.environment = vec![("A".to_owned(), "1 2".to_owned()), ("A".to_owned(), "3".to_owned())];
            },
            "hostname; cat /proc/sys/kernel/domainname; echo $A; echo $HOSTNAME $HOME; echo $PATH; cat /etc/hostname",
        )
        .await;
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(output, format!("box\nexample.test\n3\nbox /root\n{path}\nbox\n"));
});

engine_test!(users, bench, {
    for (user, expected) in [
        ("", "uid=0(root) gid=0(root)"),
        ("app", "uid=1000(app) gid=1001(app) groups=2000(extra)"),
        ("1000:2000", "uid=1000(app) gid=2000(extra)"),
        ("4242", "uid=4242 gid=0(root)"),
    ] {
        let output = bench.output_of(|spec| spec.user = user.to_owned(), "id").await;
        assert_eq!(output.trim(), expected, "user {user:?}");
    }
    for terminal in [false, true] {
        let reopened = |spec: &mut engine::ContainerSpec| {
            spec.user = "app".to_owned();
            spec.terminal = terminal;
        };
        let output = bench.output_of(reopened, "echo one > /dev/stdout; echo two > /proc/self/fd/2").await;
        assert_eq!(output.replace('\r', ""), "one\ntwo\n", "terminal {terminal}");
    }
    let home = bench.output_of(|spec| spec.user = "app".to_owned(), "echo $HOME").await;
    assert_eq!(home, "/home/app\n");
    let mut spec = bench.shell("nobody", "id");
    spec.user = "missing".to_owned();
    let error = bench.engine.create(spec).await.unwrap_err().to_string();
    assert!(error.contains("unable to find user missing"), "{error}");
});

engine_test!(working_directory_is_made, bench, {
    let output =
        bench.output_of(|spec| spec.working_directory = "/srv/a/b".into(), "pwd; stat -c %U:%a .").await;
    assert_eq!(output, "/srv/a/b\nroot:755\n");
    // In a volume it is made in the volume.
    let volume = bench.directory.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let output = bench
        .output_of(
            |spec| {
                spec.mounts.push(mount(&volume, "/data", false));
                spec.working_directory = "/data/x/y".into();
            },
            "pwd",
        )
        .await;
    assert_eq!(output, "/data/x/y\n");
    assert!(volume.join("x/y").is_dir());
});

engine_test!(volumes, bench, {
    let volume = bench.directory.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "content").unwrap();
    let output = bench
        .output_of(
            |spec| {
                spec.mounts.push(mount(&volume, "/new/place", false));
                spec.mounts.push(mount(&volume, "/readonly", true));
                spec.mounts.push(mount(&volume.join("file"), "/etc/one-file", true));
            },
            "cat /new/place/file /etc/one-file; echo; echo more > /new/place/written; echo x 2>/dev/null > /readonly/no || echo refused; \
             echo x 2>/dev/null > /etc/one-file || echo refused",
        )
        .await;
    assert_eq!(output, "contentcontent\nrefused\nrefused\n");
    assert_eq!(fs::read_to_string(volume.join("written")).unwrap(), "more\n");
    let mut spec = bench.shell("missing", "true");
    spec.mounts.push(mount(&volume.join("none"), "/x", false));
    assert!(bench.engine.create(spec).await.is_err());
});

engine_test!(readonly_root_and_tmpfs, bench, {
    let output = bench
        .output_of(
            |spec| {
                spec.root.readonly = true;
                spec.tmpfs.push(Tmpfs {
                    path: "/scratch".into(),
                    size_bytes: Some(1 << 20),
                    options: vec!["mode=700".to_owned(), "exec".to_owned()],
                });
            },
            "echo x 2>/dev/null > /file || echo refused; echo y > /scratch/file && cat /scratch/file; stat -c %a /scratch; \
             grep ' /scratch ' /proc/mounts | grep -c nosuid; grep ' /scratch ' /proc/mounts | grep -c noexec; \
             dd if=/dev/zero of=/scratch/big bs=1M count=2 2>&1 | grep -c 'No space'",
        )
        .await;
    assert_eq!(output, "refused\ny\n700\n1\n0\n1\n");
});

engine_test!(shared_memory_size, bench, {
    let script = "df -k /dev/shm | tail -1 | awk '{print $2}'";
    assert_eq!(bench.output_of(|_| (), script).await, "65536\n");
    assert_eq!(bench.output_of(|spec| spec.shared_memory_bytes = Some(8 << 20), script).await, "8192\n");
    let without = bench
        .output_of(
            |spec| spec.namespaces.ipc = IpcNamespace::WithoutSharedMemory,
            "grep -c ' /dev/shm ' /proc/mounts || true",
        )
        .await;
    assert_eq!(without, "0\n");
});

engine_test!(ulimits_and_sysctls, bench, {
    let output = bench
        .output_of(
            |spec| {
                spec.ulimits = vec![
                    Ulimit { name: "nofile".to_owned(), soft: 100, hard: 200 },
                    Ulimit { name: "core".to_owned(), soft: 0, hard: -1 },
                ];
                spec.sysctls.insert("net.ipv4.ip_forward".to_owned(), "1".to_owned());
                spec.sysctls.insert("kernel.msgmax".to_owned(), "4096".to_owned());
            },
            "ulimit -n; ulimit -H -n; ulimit -H -c; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax \
             /proc/sys/net/ipv4/ip_unprivileged_port_start",
        )
        .await;
    assert_eq!(output, "100\n200\nunlimited\n1\n4096\n0\n");
    for (name, host_network) in
        [("kernel.hostname", false), ("vm.swappiness", false), ("net.ipv4.ip_forward", true)]
    {
        let mut spec = bench.shell("sysctl", "true");
        spec.sysctls.insert(name.to_owned(), "1".to_owned());
        if host_network {
            spec.namespaces.network = NetworkNamespace::Host;
        }
        assert!(bench.engine.create(spec).await.is_err(), "{name}");
    }
    let mut spec = bench.shell("ulimit", "true");
    spec.ulimits = vec![Ulimit { name: "coffee".to_owned(), soft: 1, hard: 1 }];
    assert!(bench.engine.create(spec).await.unwrap_err().to_string().contains("coffee"));
});

engine_test!(hosts_and_resolv_conf, bench, {
    let output = bench
        .output_of(
            |spec| {
                spec.hostname = Some("web".to_owned());
                spec.extra_hosts = vec![("db".to_owned(), "10.9.8.7".to_owned())];
                spec.addresses = vec!["10.9.8.1".to_owned()];
                spec.dns.servers = vec!["10.0.0.2".to_owned()];
                spec.dns.search = vec!["a.test".to_owned()];
                spec.dns.options = vec!["ndots:3".to_owned()];
            },
            "tail -2 /etc/hosts; cat /etc/resolv.conf",
        )
        .await;
    assert_eq!(output, "10.9.8.7\tdb\n10.9.8.1\tweb\nnameserver 10.0.0.2\nsearch a.test\noptions ndots:3\n");
    let mut spec = bench.shell("hosts", "true");
    spec.extra_hosts = vec![("evil\n1.2.3.4 bank".to_owned(), "10.0.0.1".to_owned())];
    assert!(bench.engine.create(spec).await.is_err());
});

engine_test!(devices, bench, {
    let script = "stat -c '%F %t:%T' /dev/extra; head -c 2 /dev/extra | wc -c; echo x 2>/dev/null > /dev/extra || echo refused";
    let device = |permissions: &str| Device {
        host: "/dev/zero".into(),
        container: "/dev/extra".into(),
        permissions: permissions.to_owned(),
    };
    // /dev/zero is allowed anyway; what counts for it is that the node is made.
    let output = bench.output_of(|spec| spec.devices.push(device("rwm")), script).await;
    assert_eq!(output, "character special file 1:5\n2\n");
    // One that is not, until it is asked for.
    let candidates = ["/dev/fuse", "/dev/loop-control", "/dev/autofs", "/dev/kvm"];
    let Some(host) = candidates.into_iter().find(|path| Path::new(path).exists()) else {
        eprintln!("SKIPPED devices, second part: none of {candidates:?}");
        return;
    };
    let number = fs::metadata(host).unwrap().rdev();
    let (major, minor) = (libc::major(number), libc::minor(number));
    let open = "dd if=/tmp/d bs=1 count=0 2>/dev/null && echo opened || echo refused; rm /tmp/d";
    let own = format!("mknod /tmp/d c {major} {minor}; {open}");
    assert_eq!(bench.output_of(|_| (), &own).await, "refused\n");
    let given = Device { host: host.into(), container: "/dev/given".into(), permissions: "r".to_owned() };
    let output = bench
        .output_of(
            |spec| spec.devices.push(given),
            "dd if=/dev/given bs=1 count=0 2>/dev/null && echo opened; (: > /dev/given) 2>/dev/null || echo refused",
        )
        .await;
    assert_eq!(output, "opened\nrefused\n");
});

engine_test!(privileged, bench, {
    let output = bench
        .output_of(
            |spec| spec.privileged = true,
            "grep CapEff /proc/self/status | awk '{print $2}'; grep Seccomp: /proc/self/status | awk '{print $2}'; \
             test -e /dev/kmsg && echo kmsg; mkdir /m && mount -t tmpfs none /m && echo mounted; \
             touch /sys/fs/cgroup/x 2>/dev/null; grep ' /sys ' /proc/mounts | grep -c rw,",
        )
        .await;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let all = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    assert_eq!(output, format!("{all}\n0\nkmsg\nmounted\n1\n"));
});

engine_test!(terminal, bench, {
    let output = bench
        .output_of(
            |spec| spec.terminal = true,
            "tty; test -t 1 && echo yes; test -c /dev/console && echo console; echo $TERM",
        )
        .await;
    assert_eq!(output.replace('\r', ""), "/dev/pts/0\nyes\nconsole\nxterm\n");
});

engine_test!(standard_input, bench, {
    assert_eq!(bench.output_of(|_| (), "cat; echo ended").await, "ended\n");
    let mut spec = bench.shell("open", "read line; echo ended");
    spec.open_stdin = true;
    bench.start(spec).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.output("open"), "");
});

engine_test!(init_passes_signals_and_reaps, bench, {
    // Without it, the shell is process 1 and the orphan stays a zombie; with it, the shell is not process 1.
    let script = "test $$ -ne 1 && echo not-one; (sh -c 'sleep 0.05 & exit 0'); sleep 0.3; ps | grep -c '\\[sleep\\]' || true";
    assert_eq!(bench.output_of(|spec| spec.init = true, script).await, "not-one\n0\n");
    let mut spec = bench.shell("init", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done");
    spec.init = true;
    bench.start(spec).await;
    while !bench.output("init").contains("ready") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bench.engine.stop(&id("init"), None, Duration::from_secs(20)).await.unwrap().code, 5);
    let mut spec = bench.command("absent", &["/no/such/program"]);
    spec.init = true;
    bench.engine.create(spec).await.unwrap();
    let error = bench.engine.start(&id("absent")).await.unwrap_err().to_string();
    assert!(error.contains("no such file"), "{error}");
    assert_eq!(bench.engine.wait(&id("absent")).await.unwrap().code, 127);
});

engine_test!(programs_that_cannot_run, bench, {
    for (program, code, words) in [
        ("no-such-program", 127, "executable file not found in $PATH"),
        ("/no/such", 127, "no such file or directory"),
        ("/etc/passwd", 126, "permission denied"),
        ("/tmp", 126, "permission denied"),
    ] {
        let spec = bench.command("bad", &[program]);
        bench.engine.create(spec).await.unwrap();
        let error = bench.engine.start(&id("bad")).await.unwrap_err().to_string();
        assert!(error.contains(words), "{program}: {error}");
        assert_eq!(within(10, bench.engine.wait(&id("bad"))).await.unwrap().code, code, "{program}");
        bench.engine.delete(&id("bad")).await.unwrap();
    }
});

engine_test!(network_namespaces, bench, {
    assert_eq!(bench.output_of(|_| (), "ls /sys/class/net").await, "lo\n");
    let host = fs::read_link("/proc/self/ns/net").unwrap();
    let output = bench
        .output_of(
            |spec| spec.namespaces.network = NetworkNamespace::Host,
            "readlink /proc/self/ns/net; hostname",
        )
        .await;
    assert_eq!(output.lines().next().unwrap(), host.to_str().unwrap());
    let hostname = nix::unistd::gethostname().unwrap();
    assert_eq!(output.lines().nth(1).unwrap(), hostname.to_str().unwrap());
    // A namespace by path: another container's.
    let pid = bench.start(bench.shell("other", "sleep 1000")).await.pid;
    let path = format!("/proc/{pid}/ns/net");
    let theirs = fs::read_link(&path).unwrap();
    let output = bench
        .output_of(
            |spec| spec.namespaces.network = NetworkNamespace::Path(path.into()),
            "readlink /proc/self/ns/net",
        )
        .await;
    assert_eq!(output.trim(), theirs.to_str().unwrap());
});

engine_test!(host_pid_and_ipc_namespaces, bench, {
    let (pid, ipc) =
        (fs::read_link("/proc/self/ns/pid").unwrap(), fs::read_link("/proc/self/ns/ipc").unwrap());
    let output = bench
        .output_of(
            |spec| {
                spec.namespaces.pid = SharedNamespace::Host;
                spec.namespaces.ipc = IpcNamespace::Host;
            },
            "readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc; (sleep 1000 & ) ; echo left",
        )
        .await;
    assert_eq!(output, format!("{}\n{}\nleft\n", pid.display(), ipc.display()));
});

engine_test!(task_groups_share_namespaces_and_limits, bench, {
    let group = TaskGroup {
        id: id("task"),
        resources: Resources { memory_bytes: Some(64 << 20), pids_limit: Some(50), ..Resources::default() },
        share_pid_namespace: true,
        share_ipc_namespace: true,
        shared_memory_bytes: Some(4 << 20),
        storage: None,
    };
    let handle = bench.engine.create_task_group(group.clone()).await.unwrap();
    assert_eq!(bench.engine.create_task_group(group.clone()).await.unwrap(), handle);
    let mut other = group.clone();
    other.resources.pids_limit = Some(1);
    assert!(bench.engine.create_task_group(other).await.is_err());
    let join = |spec: &mut engine::ContainerSpec| {
        spec.task_group = Some(id("task"));
        spec.namespaces.pid = SharedNamespace::Path(handle.pid_namespace.clone().unwrap());
        spec.namespaces.ipc = IpcNamespace::Path {
            namespace: handle.ipc_namespace.clone().unwrap(),
            shared_memory: handle.shared_memory.clone(),
        };
    };
    let mut first = bench.shell("first", "echo hello > /dev/shm/note; exec sleep 1000");
    join(&mut first);
    bench.start(first).await;
    // The second sees the first's processes and memory, and nothing of the host through the namespaces' first process.
    let output = bench
        .output_of(
            join,
            "while ! test -s /dev/shm/note; do sleep 0.01; done; cat /dev/shm/note; ps | grep -c '[s]leep 1000'; \
             ls /proc/1/root/ 2>&1 | grep -c denied; cat /proc/1/environ 2>&1 | grep -c denied; \
             grep -c '^CapEff:.0000000000000000$' /proc/1/status; grep Uid /proc/1/status | awk '{print $2}'; \
             kill -9 1; sleep 0.05; test -d /proc/1 && echo alive; df -k /dev/shm | tail -1 | awk '{print $2}'",
        )
        .await;
    assert_eq!(output, "hello\n1\n1\n1\n1\n65534\nalive\n4096\n");
    assert!(bench.engine.task_group_stats(&id("task")).await.unwrap().pids >= 1);
    assert_eq!(bench.engine.task_group_stats(&id("task")).await.unwrap().memory_limit_bytes, Some(64 << 20));
    bench.engine.delete(&id("first")).await.unwrap();
    bench.engine.delete_task_group(&id("task")).await.unwrap();
    bench.engine.delete_task_group(&id("task")).await.unwrap();
    // Dead at once; gone when the machine's first process has collected it.
    let gone = async {
        while fs::read_link(handle.pid_namespace.as_ref().unwrap()).is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(10, gone).await;
});

engine_test!(exec_runs_in_the_container, bench, {
    let mut spec = bench.shell("main", "cd /tmp; touch here; exec sleep 1000");
    spec.user = "app".to_owned();
    spec.environment = vec![("A".to_owned(), "one".to_owned())];
    spec.hostname = Some("inside".to_owned());
    spec.working_directory = "/tmp".into();
    bench.start(spec).await;
    let run = |script: &str| {
        ExecSpec::new(vec!["/bin/sh".into(), "-c".into(), script.into()], Duration::from_secs(20))
    };
    let id_main = id("main");
    let exec = |spec: ExecSpec| bench.engine.exec(&id_main, spec);
    let result = exec(run("id -u; id -G; hostname; pwd; echo $A; echo oops >&2; grep -c sleep /proc/1/cmdline; \
        grep Seccomp: /proc/self/status | awk '{print $2}'; grep CapEff /proc/self/status | awk '{print $2}'; exit 3")).await.unwrap();
    let output = String::from_utf8(result.output).unwrap();
    assert_eq!(output, "1000\n1001 2000\ninside\n/tmp\none\noops\n1\n2\n0000000000000000\n");
    assert_eq!((result.exit_code, result.timed_out), (3, false));
    let mut other =
        run("id -u; pwd; echo $A; mount -t tmpfs none /tmp 2>&1 | grep -c -i -E 'denied|permitted'");
    other.user = Some("root".to_owned());
    other.working_directory = Some("/etc".into());
    other.environment = vec![("A".to_owned(), "two".to_owned())];
    assert_eq!(String::from_utf8(exec(other).await.unwrap().output).unwrap(), "0\n/etc\ntwo\n1\n");
    let mut slow = run("echo begun; sleep 1000");
    slow.timeout = Duration::from_millis(300);
    let result = within(10, exec(slow)).await.unwrap();
    assert_eq!(
        (result.exit_code, result.timed_out, result.output.as_slice()),
        (137, true, b"begun\n".as_slice())
    );
    let result = exec(ExecSpec::new(vec!["nonsense".to_owned()], Duration::from_secs(5))).await.unwrap();
    assert_eq!(result.exit_code, 127);
    assert!(String::from_utf8(result.output).unwrap().contains("not found in $PATH"));
    let result = exec(run("yes | head -c 100000")).await.unwrap();
    assert_eq!(result.output.len(), engine::ExecResult::OUTPUT_LIMIT);
    let many = (0..8).map(|number| exec(run(&format!("exit {number}"))));
    let mut codes = Vec::new();
    for one in many {
        codes.push(one.await.unwrap().exit_code);
    }
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7]);
});

engine_test!(log_outputs, bench, {
    let spool = bench.directory.path().join("spool");
    let output = bench
        .output_of(
            |spec| {
                spec.log = LogOutput::Spool {
                    directory: spool.clone(),
                    capacity_bytes: 1 << 20,
                    mode: engine::SpoolMode::NonBlocking,
                };
            },
            "echo to the spool",
        )
        .await;
    assert_eq!(output, "");
    let records: Vec<u8> = fs::read_dir(spool.join("records"))
        .unwrap()
        .flatten()
        .flat_map(|entry| fs::read(entry.path()).unwrap())
        .collect();
    assert!(String::from_utf8_lossy(&records).contains("to the spool"));
    let output =
        bench.output_of(|_| (), "head -c 40000 /dev/zero | tr '\\0' x; echo; printf unfinished").await;
    assert_eq!(output.len(), 40000 + 1 + "unfinished\n".len());
    bench.output_of(|spec| spec.log = LogOutput::Discard, "yes | head -c 1000000").await;
});

engine_test!(a_blocking_log_stops_only_its_container, bench, {
    let spool = bench.directory.path().join("spool");
    let mut spec = bench.shell("blocked", "i=0; while test $i -lt 2000; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; sleep 1000");
    spec.log = LogOutput::Spool {
        directory: spool.clone(),
        capacity_bytes: 4096,
        mode: engine::SpoolMode::Blocking,
    };
    bench.start(spec).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let used: u64 = fs::read_dir(spool.join("records"))
        .unwrap()
        .flatten()
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert!(used < 16 * 1024, "{used}");
    // The shim still answers, and the container can be ended.
    let exec = ExecSpec::new(vec!["true".to_owned()], Duration::from_secs(5));
    assert_eq!(within(10, bench.engine.exec(&id("blocked"), exec)).await.unwrap().exit_code, 0);
    let exit = within(15, bench.engine.stop(&id("blocked"), None, Duration::ZERO)).await.unwrap();
    assert_eq!(exit.code, 137);
});

engine_test!(many_layers, bench, {
    let layers = bench.directory.path().join("layers,with:signs");
    let mut lower_directories = Vec::new();
    for number in 0..300 {
        let layer = layers.join(number.to_string());
        fs::create_dir_all(&layer).unwrap();
        fs::write(layer.join(format!("file-{number}")), "").unwrap();
        fs::write(layer.join("same"), format!("{number}\n")).unwrap();
        lower_directories.push(layer);
    }
    for count in [150, 300] {
        let mut lower_directories = lower_directories[..count].to_vec();
        lower_directories.push(image().lower_directories[0].clone());
        let mut spec = bench.shell("layers", "ls / | grep -c file-; cat /same");
        spec.root = RootFilesystem { lower_directories, readonly: false, writable: None };
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut version = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        if count > 200 && (version.next().unwrap(), version.next().unwrap()) < (6, 8) {
            let error = bench.engine.create(spec).await.unwrap_err().to_string();
            assert!(error.contains("6.8"), "{error}");
            continue;
        }
        assert_eq!(bench.run(spec).await.1, format!("{count}\n0\n"));
    }
});

engine_test!(fresh_volumes_hold_what_the_image_has, bench, {
    let layers = bench.directory.path().join("layers");
    for (layer, file) in [("top", "new"), ("bottom", "old")] {
        fs::create_dir_all(layers.join(layer).join("data/sub")).unwrap();
        fs::write(layers.join(layer).join("data/sub").join(file), file).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", layers.join("bottom/data/link")).unwrap();
    std::os::unix::fs::chown(layers.join("top/data"), Some(1000), Some(1001)).unwrap();
    std::os::unix::fs::chown(layers.join("bottom/data/sub/old"), Some(7), Some(8)).unwrap();
    let lower: Vec<_> = ["top", "bottom"].iter().map(|name| layers.join(name)).collect();
    let volume = bench.directory.path().join("volume");
    bench.engine.prepare_volume(volume.clone(), lower.clone(), "/data".into()).await.unwrap();
    assert_eq!(fs::read_to_string(volume.join("sub/new")).unwrap(), "new");
    assert_eq!(fs::metadata(volume.join("sub/old")).unwrap().uid(), 7);
    assert_eq!(fs::metadata(&volume).unwrap().gid(), 1001);
    assert_eq!(fs::read_link(volume.join("link")).unwrap(), Path::new("/etc/passwd"));
    fs::remove_file(volume.join("sub/new")).unwrap();
    // Only an empty volume is filled; what is not in the image is no error.
    bench.engine.prepare_volume(volume.clone(), lower.clone(), "/data".into()).await.unwrap();
    assert!(!volume.join("sub/new").exists());
    bench
        .engine
        .prepare_volume(bench.directory.path().join("other"), lower, "/nothing".into())
        .await
        .unwrap();
});

fn mount(source: &Path, destination: &str, readonly: bool) -> Mount {
    Mount {
        source: source.into(),
        destination: destination.into(),
        readonly,
        propagation: Propagation::Private,
    }
}
