//! The shim: one small process per container, of our own binary, single-threaded. It makes the container through
//! libcontainer, is the parent of its first process, logs its output, and puts its exit code on disk. It outlives the agent.
#![allow(unsafe_code)]

mod conceal;
mod confine;
mod create;
mod exec;
mod loopback;
mod output;
mod payload;
mod prepare;
pub(crate) mod protocol;
mod report;
mod serve;
pub(crate) mod socket;
mod volumes;

pub(crate) use conceal::conceal;

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base::{Clock, SystemClock};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use self::protocol::{Event, Record};
use crate::cgroup::Cgroup;
use crate::layout;
use crate::specification::ContainerSpec;

/// The score of the shim itself when the machine runs out of memory: the container goes first (containerd's value).
const OUT_OF_MEMORY_SCORE: &str = "-998";

/// What a program does when it is run as an `EngineConfig::shim`. `arguments` are those after `ShimCommand::arguments`. Call it first thing in
/// `main`, before any thread exists.
pub fn shim_main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    match arguments.iter().map(|argument| argument.to_str()).collect::<Vec<_>>().as_slice() {
        [Some(verb), Some(directory), Some(cgroup), Some(hierarchy)] => {
            let Ok(hierarchy) = serde_json::from_str(hierarchy) else { return ExitCode::FAILURE };
            let engine_cgroup = Cgroup::new(hierarchy, *cgroup);
            match *verb {
                "run" => run(Path::new(directory), &engine_cgroup),
                "hold" => crate::holder::run(Path::new(directory), &engine_cgroup),
                _ => ExitCode::FAILURE,
            }
        }
        _ => {
            serve::complain("the shim is started by the engine, not by hand");
            ExitCode::FAILURE
        }
    }
}

/// `run DIRECTORY CGROUP HIERARCHY`, with a socket to the engine as stdin.
fn run(directory: &Path, engine_cgroup: &Cgroup) -> ExitCode {
    // The socket moves away from descriptor 0, so that the container's stdin is never mistaken for it.
    let Ok(number) = nix::fcntl::fcntl(0, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(3)) else {
        return ExitCode::FAILURE;
    };
    // SAFETY: `fcntl` has just given us this descriptor.
    let engine = UnixStream::from(unsafe { OwnedFd::from_raw_fd(number) });
    let null = std::fs::File::open("/dev/null").map(|null| nix::unistd::dup2(null.as_raw_fd(), 0));
    if !matches!(null, Ok(Ok(_))) {
        return ExitCode::FAILURE;
    }
    match make(directory, engine_cgroup) {
        Ok(mut shim) => {
            shim.connect(engine);
            shim.run();
            ExitCode::SUCCESS
        }
        Err(error) => {
            let mut engine = engine;
            if let Ok(bytes) = protocol::encode(&Event::Failed(error.clone())) {
                let _ = engine.write_all(&bytes);
            }
            serve::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn make(directory: &Path, engine_cgroup: &Cgroup) -> Result<serve::Shim, String> {
    let words = |what: &'static str| move |error: nix::Error| format!("{what}: {error}");
    let io_words = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    detach()?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    // Ended by the engine's word or the container's end, never by a signal to its group.
    for ignored in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE] {
        signals.add(ignored);
    }
    signals.thread_block().map_err(words("signals"))?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .map_err(words("signals"))?;
    let spec: ContainerSpec = layout::read_json(&directory.join(layout::SPEC))
        .map_err(io_words("cannot read the container's parameters"))?;
    let sink = output::Sink::open(&spec.log).map_err(io_words("cannot open the log"))?;
    let listener =
        socket::bind(directory, layout::SOCKET).map_err(io_words("cannot make the shim's socket"))?;
    listener.set_nonblocking(true).map_err(io_words("socket"))?;
    let parent = layout::container_cgroup(engine_cgroup.path(), &spec.id, spec.task_group.as_ref());
    let cgroup = Cgroup::new(engine_cgroup.hierarchy().clone(), parent);
    let made = prepare::prepare(directory, &spec, cgroup.clone()).and_then(|prepared| {
        // Late, and the creator's own joining right behind: the first of a burst waits for an RCU grace period (some 10 ms),
        // which the engine began when it started us.
        join_shims(engine_cgroup)?;
        let container = create::create(directory, &spec, &prepared)?;
        Ok((prepared, container))
    });
    let (prepared, container) = match made {
        Ok(made) => made,
        Err(error) => {
            undo(&cgroup);
            return Err(error);
        }
    };
    let record = Record {
        boot_id: layout::boot_id(),
        shim_pid: std::process::id() as i32,
        pid: container.pid.as_raw(),
        created_at: SystemClock.now(),
        started_at: None,
        exit: None,
    };
    layout::write_json(&directory.join(layout::STATE), &record, false)
        .map_err(io_words("cannot write the state"))?;
    serve::Shim::new(PathBuf::from(directory), spec, prepared, record, sink, listener, signals, container)
        .map_err(words("pipe"))
}

/// Leaves whatever the engine's process was part of.
pub(crate) fn detach() -> Result<(), String> {
    let words = |what: &'static str| move |error: nix::Error| format!("{what}: {error}");
    nix::unistd::setsid().map_err(words("setsid"))?;
    nix::unistd::setgroups(&[]).map_err(words("setgroups"))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    std::env::set_current_dir("/").map_err(|error| format!("/: {error}"))?;
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    // A machine may forbid it (a nested one): then the shim is as exposed as any process.
    let _ = std::fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_SCORE);
    Ok(())
}

/// Moves into the engine's cgroup of shims, where a later engine finds us even without any record.
pub(crate) fn join_shims(engine_cgroup: &Cgroup) -> Result<(), String> {
    let shims = engine_cgroup.child(layout::SHIMS);
    // It is there but for the first after `Engine::destroy_all`.
    shims
        .join_one(0)
        .or_else(|_| shims.create().and_then(|()| shims.join_one(0)))
        .map_err(|error| format!("cannot join the shims' cgroup: {error}"))
}

/// Removes what a failed creation left: its processes and its cgroup.
fn undo(cgroup: &Cgroup) {
    cgroup.kill_all(std::time::Duration::from_secs(1));
    while nix::sys::wait::waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG))
        .is_ok_and(|status| status != nix::sys::wait::WaitStatus::StillAlive)
    {}
    let _ = cgroup.remove();
}
