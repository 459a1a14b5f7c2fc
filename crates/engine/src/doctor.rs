//! What the kernel and the machine offer for running containers, and how to mend what is missing.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::path::Path;

use crate::cgroup::{Cgroup, Hierarchy};
use crate::{oci, overlay, storage};

/// Of the file system that is tried.
const STORAGE_TRIAL_BYTES: u64 = 16 << 20;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What: `root`, `overlayfs`, `seccomp` …
    pub name: &'static str,
    /// It is as it should be.
    pub ok: bool,
    /// The lack keeps containers from running at all.
    pub required: bool,
    /// What was seen.
    pub detail: String,
    /// How to mend it; empty when `ok`.
    pub mend: String,
}

impl Finding {
    fn new(name: &'static str, required: bool, result: Result<String, String>, mend: &str) -> Self {
        match result {
            Ok(detail) => Self { name, ok: true, required, detail, mend: String::new() },
            Err(detail) => Self { name, ok: false, required, detail, mend: mend.to_owned() },
        }
    }
}

/// Looks at everything; `directory` is where the engine's state would be (overlayfs is tried there). Nothing is left behind.
pub fn check(directory: &Path) -> Vec<Finding> {
    let mut findings = vec![
        Finding::new("root", true, root(), "run it as root (sudo)"),
        Finding::new("kernel", true, kernel(), "use Linux 5.10 or newer"),
        Finding::new(
            "overlayfs",
            true,
            overlayfs(directory),
            "load the module (modprobe overlay), and keep the data directory on ext4, xfs (ftype=1) or btrfs, not on another overlay",
        ),
        Finding::new("seccomp", true, seccomp(), "use a kernel with CONFIG_SECCOMP_FILTER"),
        Finding::new(
            "namespaces",
            true,
            namespaces(),
            "use a kernel with CONFIG_NAMESPACES and all kinds of them",
        ),
        Finding::new(
            "pidfd",
            true,
            call_exists(libc::SYS_pidfd_open, "pidfd_open"),
            "use Linux 5.10 or newer",
        ),
        Finding::new("openat2", true, call_exists(libc::SYS_openat2, "openat2"), "use Linux 5.10 or newer"),
        Finding::new(
            "mount-api",
            true,
            call_exists(libc::SYS_fsopen, "fsopen")
                .and_then(|_| call_exists(libc::SYS_mount_setattr, "mount_setattr")),
            "use Linux 5.12 or newer",
        ),
    ];
    findings.extend(cgroups());
    findings.push(Finding::new(
        "task-storage",
        false,
        task_storage(directory),
        "without it Fargate tasks that ask for ephemeralStorage are refused, and those that do not are not bounded: install e2fsprogs, load the module (modprobe loop), and keep the data directory on a file system that knows O_TMPFILE (ext4, xfs, btrfs)",
    ));
    findings
}

fn root() -> Result<String, String> {
    let uid = nix::unistd::geteuid();
    if uid.is_root() { Ok("running as root".to_owned()) } else { Err(format!("running as user {uid}")) }
}

fn kernel() -> Result<String, String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").map_err(|error| error.to_string())?;
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 10) {
        Ok(format!("Linux {release}"))
    } else {
        Err(format!("Linux {release} is too old"))
    }
}

/// A real mount, in a mount namespace of a thread of its own, so that nothing can be left on the host.
fn overlayfs(directory: &Path) -> Result<String, String> {
    let trial = directory.join(format!("overlay-trial-{}", std::process::id()));
    let result = std::thread::scope(|scope| {
        let work = || -> io::Result<()> {
            for name in ["lower", "upper", "work", "root"] {
                fs::create_dir_all(trial.join(name))?;
            }
            fs::write(trial.join("lower/file"), "lower")?;
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS | nix::sched::CloneFlags::CLONE_NEWNS)?;
            let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
            nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
            let root = trial.join("root");
            overlay::mount(&[trial.join("lower")], &trial.join("upper"), &trial.join("work"), &root)?;
            fs::write(root.join("file"), "upper")?;
            nix::mount::umount2(&root, nix::mount::MntFlags::MNT_DETACH)?;
            Ok(())
        };
        scope.spawn(work).join().unwrap_or_else(|_| Err(io::Error::other("the trial ended early")))
    });
    let result = result.and_then(|()| {
        let upper = fs::read_to_string(trial.join("upper/file"))?;
        if upper == "upper" {
            Ok(())
        } else {
            Err(io::Error::other("a written file did not reach the upper directory"))
        }
    });
    let _ = fs::remove_dir_all(&trial);
    match result {
        Ok(()) => Ok(format!("a trial mount in {} worked", directory.display())),
        Err(error) => Err(format!("a trial mount in {} failed: {error}", directory.display())),
    }
}

/// A real file system in a file, mounted in a mount namespace of a thread of its own.
fn task_storage(directory: &Path) -> Result<String, String> {
    let trial = directory.join(format!("storage-trial-{}", std::process::id()));
    let result = std::thread::scope(|scope| {
        let work = || -> io::Result<()> {
            fs::create_dir_all(trial.join("mounted"))?;
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS | nix::sched::CloneFlags::CLONE_NEWNS)?;
            let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
            nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
            let target = trial.join("mounted");
            storage::mount(&trial, STORAGE_TRIAL_BYTES, &target)?;
            fs::write(target.join("file"), "written")?;
            Ok(nix::mount::umount2(&target, nix::mount::MntFlags::MNT_DETACH)?)
        };
        scope.spawn(work).join().unwrap_or_else(|_| Err(io::Error::other("the trial ended early")))
    });
    let _ = fs::remove_dir_all(&trial);
    match result {
        Ok(()) => Ok("a file system in a file could be mounted on a loop device".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn seccomp() -> Result<String, String> {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail")
        .map_err(|error| format!("the kernel has no seccomp filters: {error}"))?;
    if !actions.split_ascii_whitespace().any(|action| action == "errno") {
        return Err(format!("seccomp cannot deny calls, only: {}", actions.trim()));
    }
    let program = oci::seccomp::compile(&[])?;
    Ok(format!("the default profile compiles to {} instructions", program.len() / 8))
}

fn namespaces() -> Result<String, String> {
    let missing: Vec<&str> = ["mnt", "uts", "ipc", "net", "pid", "cgroup"]
        .into_iter()
        .filter(|name| !Path::new("/proc/self/ns").join(name).exists())
        .collect();
    if missing.is_empty() {
        Ok("mount, uts, ipc, network, pid, cgroup".to_owned())
    } else {
        Err(format!("missing: {}", missing.join(", ")))
    }
}

/// Calls it with arguments that cannot work: ENOSYS alone says that it is not there.
fn call_exists(number: libc::c_long, name: &str) -> Result<String, String> {
    // SAFETY: a descriptor of -1 and null pointers: the kernel refuses them.
    unsafe { libc::syscall(number, -1, 0, 0, 0, 0) };
    if io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
        Err(format!("the kernel has no {name}"))
    } else {
        Ok(format!("{name} is there"))
    }
}

fn cgroups() -> Vec<Finding> {
    let hierarchy = match Hierarchy::detect() {
        Ok(hierarchy) => hierarchy,
        Err(error) => {
            let mend = "mount cgroup v2 at /sys/fs/cgroup (systemd does)";
            return vec![Finding::new("cgroups", true, Err(error.to_string()), mend)];
        }
    };
    let v2_controllers = match &hierarchy {
        Hierarchy::V2(mount_point) => {
            fs::read_to_string(mount_point.join("cgroup.controllers")).unwrap_or_default()
        }
        Hierarchy::V1(_) => String::new(),
    };
    let root = Cgroup::new(hierarchy.clone(), "");
    let has = |controller: &str| match &hierarchy {
        Hierarchy::V1(_) => root.directory(controller).is_some(),
        // Devices are decided by a BPF program there.
        Hierarchy::V2(_) => {
            controller == "devices" || v2_controllers.split_ascii_whitespace().any(|name| name == controller)
        }
    };
    let version = match &hierarchy {
        Hierarchy::V1(_) => "cgroup v1",
        Hierarchy::V2(_) => "cgroup v2",
    };
    let mut findings = vec![Finding::new("cgroups", true, Ok(version.to_owned()), "")];
    for controller in ["cpu", "memory", "pids", "devices"] {
        let result = if has(controller) {
            Ok(format!("the {controller} controller is there"))
        } else {
            Err(format!("{version} has no {controller} controller"))
        };
        let name = match controller {
            "cpu" => "cgroup-cpu",
            "memory" => "cgroup-memory",
            "pids" => "cgroup-pids",
            _ => "cgroup-devices",
        };
        let mend = "boot the kernel with the controller enabled (cgroup_enable=memory on some), or delegate it to this machine";
        findings.push(Finding::new(name, true, result, mend));
    }
    let swap = match &hierarchy {
        Hierarchy::V1(_) => root
            .directory("memory")
            .is_some_and(|directory| directory.join("memory.memsw.limit_in_bytes").exists()),
        Hierarchy::V2(_) => {
            Path::new("/sys/fs/cgroup").join("init.scope/memory.swap.max").exists()
                || !fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1)
        }
    };
    let swap = if swap {
        Ok("swap is counted".to_owned())
    } else {
        Err("the kernel does not count swap".to_owned())
    };
    findings.push(Finding::new(
        "cgroup-swap",
        false,
        swap,
        "containers' swap is not limited; boot with swapaccount=1, or run without swap",
    ));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_looked_at_and_left_alone() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED this_machine_is_looked_at_and_left_alone: not root");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let findings = check(directory.path());
        for finding in &findings {
            assert!(finding.ok || !finding.required, "{finding:?}");
            assert_eq!(finding.ok, finding.mend.is_empty(), "{finding:?}");
        }
        assert!(findings.iter().any(|finding| finding.name == "overlayfs"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        // A place where nothing can be written is named.
        let findings = check(Path::new("/proc"));
        assert!(findings.iter().any(|finding| finding.name == "overlayfs" && !finding.ok));
    }
}
