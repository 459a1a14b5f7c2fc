//! Running a command in the living container.
//!
//! libcontainer's own way in leaves the seccomp filter out and takes no other user by name, so this is ours: join the cgroup and the namespaces of the container's first
//! process by its pidfd, and then take on its limits, user, capabilities and filter.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::exit;
use std::time::{Duration, Instant};

use libcontainer::syscall::Syscall;
use nix::sched::CloneFlags;
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork};
use oci_spec::runtime::PosixRlimit;
use serde_json::Value;

use super::create::{Report, chain, pipe};
use super::payload;
use super::prepare::Prepared;
use super::protocol::{self, Event, Reply};
use super::report::{self, Kind};
use super::serve::set_nonblocking;
use crate::beneath::Root;
use crate::oci;
use crate::specification::ContainerSpec;
use crate::status::{ExecResult, ExecSpec};

/// The longest time a command may run: a day.
const TIMEOUT_MAXIMUM: Duration = Duration::from_secs(24 * 60 * 60);

/// A command that runs in the container.
pub(super) struct Execution {
    number: u64,
    stream: UnixStream,
    pid: Pid,
    report: Report,
    output: Option<File>,
    collected: Vec<u8>,
    deadline: Instant,
    timed_out: bool,
    code: Option<i32>,
}

impl Execution {
    /// Starts the command. The error is in words.
    pub(super) fn begin(
        spec: &ContainerSpec,
        prepared: &Prepared,
        container: i32,
        exec: ExecSpec,
        number: u64,
        stream: UnixStream,
    ) -> Result<Self, String> {
        if exec.arguments.is_empty() {
            return Err("no command specified".to_owned());
        }
        if exec.terminal {
            return Err("a terminal for executed commands is not available".to_owned());
        }
        let (output, output_write) = pipe().map_err(|error| format!("pipe: {error}"))?;
        let (report_read, report_write) = pipe().map_err(|error| format!("pipe: {error}"))?;
        let deadline = Instant::now() + exec.timeout.min(TIMEOUT_MAXIMUM);
        // SAFETY: the child does only what is safe after a fork of a process whose other thread, if any, compresses a log file.
        let joiner = match unsafe { fork() }.map_err(|error| format!("fork: {error}"))? {
            ForkResult::Child => {
                drop((output, report_read));
                report::begin(report_write.into_raw_fd());
                let plan = Plan { spec, prepared, exec: &exec };
                if let Err(error) = plan.join(container, &output_write) {
                    report::send(Kind::Error, &error);
                }
                exit(0);
            }
            ForkResult::Parent { child } => child,
        };
        drop((output_write, report_write));
        let mut report = Report::new(report_read.into());
        let outcome = report.next();
        let _ = nix::sys::wait::waitpid(joiner, None);
        let pid = outcome?.and_then(|text| text.parse().ok()).ok_or("cannot enter the container")?;
        let output = File::from(output);
        set_nonblocking(&output).map_err(|error| format!("pipe: {error}"))?;
        Ok(Self {
            number,
            stream,
            pid: Pid::from_raw(pid),
            report,
            output: Some(output),
            collected: Vec::new(),
            deadline,
            timed_out: false,
            code: None,
        })
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn output_fd(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(File::as_fd)
    }

    /// Takes what output there is; keeps the first [`ExecResult::OUTPUT_LIMIT`] bytes.
    pub(super) fn pump(&mut self) {
        let Some(output) = &mut self.output else { return };
        let mut piece = [0; 4096];
        // Bounded, so that a command that prints without end does not keep the loop.
        for _ in 0..16 {
            match output.read(&mut piece) {
                Ok(0) => {
                    self.output = None;
                    return;
                }
                Ok(length) => {
                    let room = ExecResult::OUTPUT_LIMIT.saturating_sub(self.collected.len());
                    self.collected.extend_from_slice(piece.get(..length.min(room)).unwrap_or_default());
                }
                Err(_) => return,
            }
        }
    }

    pub(super) fn enforce_deadline(&mut self, now: Instant) {
        if now >= self.deadline && self.code.is_none() {
            self.timed_out = true;
            self.deadline = now + TIMEOUT_MAXIMUM;
            // Not reaped yet, so that the number is still this command's.
            let _ = nix::sys::signal::kill(self.pid, nix::sys::signal::Signal::SIGKILL);
        }
    }

    /// A process was reaped; perhaps it was this one.
    pub(super) fn ended(&mut self, pid: Pid, code: i32) {
        if pid == self.pid {
            self.code = Some(code);
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.code.is_some()
    }

    /// Tells the engine how it ended.
    pub(super) fn reply(mut self) {
        self.pump();
        let result = match self.code {
            // The end of the container ends its commands.
            None => Err("the container ended".to_owned()),
            Some(exit_code) => {
                if let Err(error) = self.report.next() {
                    self.collected.extend_from_slice(error.as_bytes());
                    self.collected.truncate(ExecResult::OUTPUT_LIMIT);
                }
                Ok(Reply::Executed(ExecResult {
                    exit_code,
                    timed_out: self.timed_out,
                    output: self.collected,
                }))
            }
        };
        if let Ok(bytes) = protocol::encode(&Event::Reply { number: self.number, result }) {
            // An engine that does not read has lost interest.
            let _ = self.stream.write_all(&bytes);
        }
    }
}

/// What the joining process works from.
struct Plan<'a> {
    spec: &'a ContainerSpec,
    prepared: &'a Prepared,
    exec: &'a ExecSpec,
}

impl Plan<'_> {
    /// Enters the container and leaves the command behind as a child of the shim.
    fn join(&self, container: i32, output: &OwnedFd) -> Result<(), String> {
        let words = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
        let stdin = File::open("/dev/null").map_err(words("/dev/null"))?;
        let syscall = libcontainer::syscall::syscall::create_syscall();
        self.prepared.cgroup.join(0).map_err(words("cannot join the cgroup"))?;
        std::fs::write("/proc/self/oom_score_adj", "0").map_err(words("oom_score_adj"))?;
        for limit in oci::rlimits(&self.spec.ulimits)? {
            let limit: PosixRlimit = from_json(limit)?;
            syscall.set_rlimit(&limit).map_err(|error| chain(&error))?;
        }
        // Until the program runs, the container's processes must not be able to look into this one.
        // SAFETY: no pointers.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
        // SAFETY: no pointers.
        let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, container, 0) };
        if pidfd < 0 {
            return Err(format!("the container ended: {}", std::io::Error::last_os_error()));
        }
        // SAFETY: the kernel has just given us this descriptor.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd as i32) };
        let all = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWCGROUP;
        nix::sched::setns(&pidfd, all).map_err(|error| format!("cannot enter the container: {error}"))?;
        drop(pidfd);
        // A sibling: the shim is to be its parent, and this process, which is not in the pid namespace itself, ends.
        // SAFETY: like fork(2) (no stack of its own); this process has one thread.
        let child = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0) };
        match child {
            -1 => Err(format!("fork: {}", std::io::Error::last_os_error())),
            0 => exit(match self.become_command(&stdin, output, syscall.as_ref()) {
                Ok(code) => code,
                Err(error) => {
                    report::send(Kind::Error, &error);
                    126
                }
            }),
            pid => {
                report::send(Kind::Created, &pid.to_string());
                Ok(())
            }
        }
    }

    /// In the container: becomes the command. Gives an exit code if it could not be executed.
    fn become_command(&self, stdin: &File, output: &OwnedFd, syscall: &dyn Syscall) -> Result<i32, String> {
        let words = |what: &'static str| move |error: nix::Error| format!("{what}: {error}");
        nix::unistd::setsid().map_err(words("setsid"))?;
        for (from, to) in [(stdin.as_raw_fd(), 0), (output.as_raw_fd(), 1), (output.as_raw_fd(), 2)] {
            nix::unistd::dup2(from, to).map_err(words("dup2"))?;
        }
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
        let user = match &self.exec.user {
            Some(user) => {
                let root = Root::open(Path::new("/")).map_err(|error| format!("/: {error}"))?;
                oci::user::resolve(&root, user)?
            }
            None => self.prepared.user.clone(),
        };
        let directory = self.exec.working_directory.as_deref().unwrap_or(oci::working_directory(self.spec));
        nix::unistd::chdir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        // Fails where the directory is not below our root (CVE-2024-21626).
        nix::unistd::getcwd().map_err(|error| format!("{}: {error}", directory.display()))?;
        if let Some(profile) = &self.spec.apparmor_profile {
            libcontainer::apparmor::apply_profile(profile).map_err(|error| chain(&error))?;
        }
        if self.spec.no_new_privileges {
            // SAFETY: no pointers.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        }
        let groups: Vec<Gid> = user.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        syscall.set_groups(&groups).map_err(|error| chain(&error))?;
        syscall.set_id(Uid::from_raw(user.uid), Gid::from_raw(user.gid)).map_err(|error| chain(&error))?;
        syscall.close_range(0).map_err(|error| chain(&error))?;
        self.prepared.confinement.apply(user.uid)?;
        let mut environment = oci::environment(self.spec, &user, &self.prepared.hostname);
        oci::merge(&mut environment, &self.exec.environment);
        payload::set_environment(environment);
        // SAFETY: no pointers.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        Ok(payload::execute(&self.exec.arguments))
    }
}

fn from_json<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}
