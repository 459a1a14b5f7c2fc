//! Holding the namespaces that the containers of a task share (`pidMode` and `ipcMode` `task`).
//!
//! A pid namespace lives as long as its first process. That process is ours and is visible to the task's containers as process 1, so it
//! has nothing to look at: an empty root, no capabilities, nobody's user.
#![allow(unsafe_code)]

use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{ExitCode, exit};

use libcontainer::capabilities::drop_privileges;
use libcontainer::syscall::syscall::create_syscall;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Uid, chdir, fork, pivot_root, setresgid, setresuid};
use oci_spec::runtime::LinuxCapabilities;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cgroup::Cgroup;
use crate::layout;
use crate::shim;
use crate::status::TaskGroup;

/// User and group "nobody".
const NOBODY: u32 = 65534;

/// The living holder of a task group, as its directory records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// Tells a holder of before a reboot from one of now.
    pub(crate) boot_id: String,
    /// The namespaces' first process.
    pub(crate) pid: i32,
}

/// `hold DIRECTORY CGROUP HIERARCHY`, with a socket to the engine as stdin: makes the namespaces that `group.json` asks for, leaves a process in them,
/// and answers with a line: its number, or `error` and why.
pub(crate) fn run(directory: &Path, engine_cgroup: &Cgroup) -> ExitCode {
    let answer = match hold(directory, engine_cgroup) {
        Ok(pid) => format!("{pid}\n"),
        Err(error) => format!("error {error}\n"),
    };
    // SAFETY: the engine gives a socket as stdin, and this is its only use.
    let mut engine = UnixStream::from(unsafe { OwnedFd::from_raw_fd(0) });
    if engine.write_all(answer.as_bytes()).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn hold(directory: &Path, engine_cgroup: &Cgroup) -> Result<i32, String> {
    let words = |what: &'static str| move |error: nix::Error| format!("{what}: {error}");
    shim::detach()?;
    shim::join_shims(engine_cgroup)?;
    let group: TaskGroup =
        layout::read_json(&directory.join(layout::GROUP)).map_err(|error| format!("group.json: {error}"))?;
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS;
    for (wanted, flag) in [
        (group.share_pid_namespace, CloneFlags::CLONE_NEWPID),
        (group.share_ipc_namespace, CloneFlags::CLONE_NEWIPC),
    ] {
        if wanted {
            flags |= flag;
        }
    }
    unshare(flags).map_err(words("cannot make the task's namespaces"))?;
    let (ready, ready_write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(words("pipe"))?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }.map_err(words("fork"))? {
        ForkResult::Child => {
            drop(ready);
            if let Err(error) = become_holder(directory) {
                let _ = std::fs::File::from(ready_write).write_all(error.as_bytes());
                exit(1);
            }
            let _ = std::fs::File::from(ready_write).write_all(b"ready");
            // Everything open is the host's. SAFETY: no descriptor is used after this.
            unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
            collect_orphans()
        }
        ForkResult::Parent { child } => {
            drop(ready_write);
            let mut answer = String::new();
            let _ = std::io::Read::read_to_string(&mut std::fs::File::from(ready), &mut answer);
            if answer == "ready" { Ok(child.as_raw()) } else { Err(answer) }
        }
    }
}

/// Leaves the host behind: file system, user, capabilities.
fn become_holder(directory: &Path) -> Result<(), String> {
    let words = |what: &'static str| move |error: nix::Error| format!("{what}: {error}");
    shim::conceal();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(words("mount"))?;
    let options = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), directory, Some("tmpfs"), options, Some("size=4k,mode=555"))
        .map_err(words("tmpfs"))?;
    chdir(directory).map_err(words("chdir"))?;
    // The old root ends up on top of the new one, and is taken away.
    pivot_root(".", ".").map_err(words("pivot_root"))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(words("umount"))?;
    chdir("/").map_err(words("chdir"))?;
    mount(none, "/", none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | options, none)
        .map_err(words("remount"))?;
    let empty = json!({"bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": []});
    let empty: LinuxCapabilities = serde_json::from_value(empty).map_err(|error| error.to_string())?;
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setresgid(gid, gid, gid).map_err(words("setresgid"))?;
    // SAFETY: no pointers. The capabilities are needed once more, to drop the bounding set.
    unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) };
    setresuid(uid, uid, uid).map_err(words("setresuid"))?;
    let syscall = create_syscall();
    libcontainer::capabilities::reset_effective(syscall.as_ref()).map_err(|error| error.to_string())?;
    drop_privileges(&empty, syscall.as_ref()).map_err(|error| error.to_string())?;
    // SAFETY: no pointers.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
    Ok(())
}

/// Process 1's one duty.
fn collect_orphans() -> ! {
    let all = SigSet::all();
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None);
    loop {
        let _ = all.wait();
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status != WaitStatus::StillAlive) {
        }
    }
}
