//! The last steps of a container's first process, after libcontainer has put it into its namespaces, root and capabilities:
//! the small init, if it is wanted, and the execution of the program.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::env;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::exit;

use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use oci_spec::runtime::Spec;

use super::conceal::conceal;
use super::confine::Confinement;
use super::loopback;
use super::report::{self, Kind};

/// What the shell answers when a program is there but cannot be run, and when it is not there.
const CANNOT_EXECUTE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// Runs the program in libcontainer's place.
#[derive(Clone)]
pub(super) struct Payload {
    /// Put our init before it (`initProcessEnabled`).
    pub(super) init: bool,
    pub(super) uid: u32,
    /// Its network namespace is new, so its loopback interface is down.
    pub(super) new_network: bool,
    pub(super) confinement: Confinement,
}

impl Executor for Payload {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let arguments =
            spec.process().as_ref().and_then(|process| process.args().clone()).unwrap_or_default();
        // When the shim is killed, the container must not run on with nobody to see its end. The kernel clears this for
        // programs that gain privileges; the engine finds those by their cgroup.
        // SAFETY: no pointers.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        if self.init {
            be_init(&arguments);
        }
        let code = execute(&arguments);
        exit(code);
    }

    /// libcontainer's last step before the container waits for its start: the user is set, all capabilities are still there.
    fn setup_envs(&self, environment: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        set_environment(environment);
        conceal();
        if self.new_network {
            let failed = |error| ExecutorSetEnvsError::Other(format!("the loopback interface: {error}"));
            loopback::bring_up().map_err(failed)?;
        }
        self.confinement.apply(self.uid).map_err(ExecutorSetEnvsError::Other)
    }

    /// The program is looked for when it is run: mounts and links may change until then, and its lack is a failure to start.
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }
}

/// Replaces the environment, which is the shim's.
pub(super) fn set_environment(environment: impl IntoIterator<Item = (String, String)>) {
    for (name, _) in env::vars_os() {
        // SAFETY: this process has one thread.
        unsafe { env::remove_var(name) };
    }
    for (name, value) in environment {
        if crate::verbs::is_environment_name(&name) && !value.contains('\0') {
            // SAFETY: as above.
            unsafe { env::set_var(name, value) };
        }
    }
}

/// Replaces this process by the program. Comes back only with an exit code for a failure that it has reported.
pub(super) fn execute(arguments: &[String]) -> i32 {
    let Some(name) = arguments.first() else {
        report::send(Kind::Error, "no command specified");
        return NOT_FOUND;
    };
    let (program, code) = match find(name) {
        Ok(program) => (program, CANNOT_EXECUTE),
        Err((code, what)) => {
            report::send(Kind::Error, &format!("exec: {name:?}: {what}"));
            return code;
        }
    };
    restore_signals();
    let c_string = |bytes: &[u8]| CString::new(bytes).unwrap_or_default();
    let arguments: Vec<CString> = arguments.iter().map(|argument| c_string(argument.as_bytes())).collect();
    let environment: Vec<CString> = env::vars_os()
        .map(|(name, value)| {
            let mut entry = name.as_bytes().to_vec();
            entry.push(b'=');
            entry.extend_from_slice(value.as_bytes());
            c_string(&entry)
        })
        .collect();
    let Err(error) = nix::unistd::execve(&c_string(program.as_os_str().as_bytes()), &arguments, &environment);
    let what = match error {
        Errno::ENOENT => "no such file or directory (or its interpreter)".to_owned(),
        Errno::EACCES => "permission denied".to_owned(),
        Errno::ENOEXEC => "exec format error".to_owned(),
        error => error.desc().to_owned(),
    };
    report::send(Kind::Error, &format!("exec: {name:?}: {what}"));
    code
}

/// The file that a command's first word means, by the rules of the shell and Docker's words for failures.
fn find(name: &str) -> Result<PathBuf, (i32, String)> {
    if name.contains('/') {
        return match executable(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err((CANNOT_EXECUTE, "permission denied".to_owned()))
            }
            Err(_) => Err((NOT_FOUND, format!("stat {name}: no such file or directory"))),
        };
    }
    let path = env::var_os("PATH").unwrap_or_else(|| crate::oci::DEFAULT_PATH.into());
    let mut denied = false;
    for directory in env::split_paths::<OsStr>(&path) {
        let candidate = directory.join(name);
        match executable(&candidate) {
            Ok(()) if candidate.is_absolute() => return Ok(candidate),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied = true,
            _ => {}
        }
    }
    if denied {
        return Err((CANNOT_EXECUTE, "permission denied".to_owned()));
    }
    Err((NOT_FOUND, "executable file not found in $PATH".to_owned()))
}

fn executable(path: &Path) -> io::Result<()> {
    let metadata = path.metadata()?;
    if metadata.is_dir() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
    }
    Ok(())
}

/// Signals as a program expects them: the shim blocks some, and Rust ignores SIGPIPE.
fn restore_signals() {
    // SAFETY: SIG_DFL is a valid disposition for every signal; those that cannot be changed fail with no effect.
    for signal in 1..=64 {
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Process 1 of the container: starts the program, passes signals on, collects orphans, and ends as the program does.
/// Comes back in the child, which is to execute the program.
fn be_init(arguments: &[String]) {
    let all = SigSet::all();
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None);
    // SAFETY: this process has one thread.
    let child = match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => child,
        Ok(ForkResult::Child) => {
            // A group of its own, in the foreground of the terminal if there is one, so that Ctrl-C reaches the program once.
            let _ = nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0));
            // SAFETY: no pointers; without a terminal it fails with ENOTTY.
            unsafe { libc::tcsetpgrp(0, libc::getpid()) };
            return;
        }
        Err(error) => {
            report::send(Kind::Error, &format!("cannot start {:?}: {}", arguments.first(), error.desc()));
            exit(CANNOT_EXECUTE);
        }
    };
    report::end();
    // All but the program's own stdio.
    // SAFETY: no pointers; this process uses no descriptor from here on.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    loop {
        let signal = all.wait().unwrap_or(Signal::SIGCHLD);
        if signal != Signal::SIGCHLD {
            let _ = nix::sys::signal::kill(child, signal);
            continue;
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == child => exit(code),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => exit(128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }
}
