//! Making the container: a child process calls libcontainer, so that the shim itself stays small and its settings its own.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::exit;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::OFlag;
use nix::unistd::{ForkResult, Pid, fork};

use super::payload::Payload;
use super::prepare::Prepared;
use super::report::{self, Kind};
use crate::layout;
use crate::specification::{ContainerSpec, NetworkNamespace};

/// libcontainer's name for the one container below its root path.
const RUNTIME_NAME: &str = "c";
/// The most that a creator may report.
const REPORT_MAXIMUM_BYTES: usize = 256 * 1024;

/// A container whose first process waits for its start.
pub(super) struct Container {
    /// The first process; its parent is the shim.
    pub(super) pid: Pid,
    /// Says what happens at the start; ends when the program runs.
    pub(super) report: Report,
    pub(super) output: Output,
}

/// The shim's ends of the container's stdio.
pub(super) enum Output {
    Pipes {
        stdout: File,
        stderr: File,
        /// Kept open, so that the container's stdin does not end.
        stdin: Option<OwnedFd>,
    },
    Terminal(File),
}

/// The reading end of a report.
pub(super) struct Report {
    pipe: File,
    buffer: Vec<u8>,
    details: Vec<String>,
}

impl Report {
    pub(super) fn new(pipe: File) -> Self {
        Self { pipe, buffer: Vec::new(), details: Vec::new() }
    }

    /// Waits for the next line that is no detail: `Ok(Some(text))` for [`Kind::Created`], an error for [`Kind::Error`],
    /// `Ok(None)` at the end.
    pub(super) fn next(&mut self) -> Result<Option<String>, String> {
        loop {
            while let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                let line = String::from_utf8_lossy(&line);
                match report::parse(line.trim_end()) {
                    Some((Kind::Created, text)) => return Ok(Some(text.to_owned())),
                    Some((Kind::Error, text)) => return Err(self.with_details(text)),
                    Some((Kind::Detail, text)) => self.details.push(text.to_owned()),
                    None => {}
                }
            }
            let mut piece = [0; 4096];
            match self.pipe.read(&mut piece) {
                Ok(0) => return Ok(None),
                Ok(length) if self.buffer.len() < REPORT_MAXIMUM_BYTES => {
                    self.buffer.extend_from_slice(piece.get(..length).unwrap_or_default());
                }
                Ok(_) => return Err("the report is too long".to_owned()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot read the report: {error}")),
            }
        }
    }

    /// The first detail is the innermost: where it began.
    fn with_details(&self, text: &str) -> String {
        match self.details.first() {
            Some(detail) if !text.contains(detail.as_str()) => format!("{text}: {detail}"),
            _ => text.to_owned(),
        }
    }

    pub(super) fn details(&self) -> String {
        self.details.join("; ")
    }
}

/// Makes the container that `prepare` prepared.
pub(super) fn create(
    directory: &Path,
    spec: &ContainerSpec,
    prepared: &Prepared,
) -> Result<Container, String> {
    let words = |what: &'static str| move |error: nix::Error| format!("{what}: {error}");
    let (report_read, report_write) = pipe().map_err(words("pipe"))?;
    let console = spec.terminal.then(|| console_listener(directory)).transpose()?;
    let mut child_ends = None;
    let mut output = None;
    if !spec.terminal {
        let (stdout_read, stdout_write) = pipe().map_err(words("pipe"))?;
        let (stderr_read, stderr_write) = pipe().map_err(words("pipe"))?;
        let (stdin, stdin_keep) = if spec.open_stdin {
            let (read, write) = pipe().map_err(words("pipe"))?;
            (read, Some(write))
        } else {
            (File::open("/dev/null").map_err(|error| format!("/dev/null: {error}"))?.into(), None)
        };
        child_ends = Some([stdin, stdout_write, stderr_write]);
        output =
            Some(Output::Pipes { stdout: stdout_read.into(), stderr: stderr_read.into(), stdin: stdin_keep });
    }
    // SAFETY: the shim has one thread (the log's compressing thread, if any, starts later).
    match unsafe { fork() }.map_err(words("fork"))? {
        ForkResult::Child => {
            // What else is open is the shim's: held on to by a container that waits for its start (or by our init, which never
            // executes anything), it would keep the shim's sockets open after its death.
            let ends = child_ends.iter().flatten().map(AsRawFd::as_raw_fd);
            close_all_but(&ends.chain([report_write.as_raw_fd()]).collect::<Vec<_>>());
            std::mem::forget((report_read, output, console));
            report::begin(report_write.into_raw_fd());
            exit(be_creator(directory, spec, prepared, child_ends));
        }
        ForkResult::Parent { child } => {
            drop((report_write, child_ends));
            let mut report = Report::new(report_read.into());
            let outcome = report.next();
            // It exits right after its report; the container's first process becomes ours then (we are a subreaper).
            let _ = nix::sys::wait::waitpid(child, None);
            let pid = match outcome? {
                Some(text) => text.parse::<i32>().map_err(|_| format!("not a process id: {text:?}"))?,
                None => return Err(format!("the runtime ended early: {}", report.details())),
            };
            let output = match (output, console) {
                (Some(output), _) => output,
                (None, Some(listener)) => Output::Terminal(receive_terminal(&listener)?),
                (None, None) => return Err("neither pipes nor terminal".to_owned()),
            };
            Ok(Container { pid: Pid::from_raw(pid), report, output })
        }
    }
}

/// Lets the container's first process go on to its program.
pub(super) fn release(directory: &Path) -> Result<(), String> {
    let socket = directory
        .join(layout::PRIVATE)
        .join("runtime")
        .join(RUNTIME_NAME)
        .join(libcontainer::notify_socket::NOTIFY_FILE);
    libcontainer::notify_socket::NotifySocket::new(socket)
        .notify_container_start()
        .map_err(|error| format!("cannot start: {}", chain(&error)))
}

/// The creator: calls libcontainer. It stays out of the container's cgroup, which libcontainer empties by force when something
/// fails, and which need not pay for our memory.
fn be_creator(
    directory: &Path,
    spec: &ContainerSpec,
    prepared: &Prepared,
    child_ends: Option<[OwnedFd; 3]>,
) -> i32 {
    match build(directory, spec, prepared, child_ends) {
        Ok(pid) => {
            report::send(Kind::Created, &pid.to_string());
            0
        }
        Err(error) => {
            report::send(Kind::Error, &error);
            1
        }
    }
}

fn build(
    directory: &Path,
    spec: &ContainerSpec,
    prepared: &Prepared,
    child_ends: Option<[OwnedFd; 3]>,
) -> Result<i32, String> {
    let payload = Payload {
        init: spec.init,
        uid: prepared.user.uid,
        new_network: spec.namespaces.network == NetworkNamespace::None,
        confinement: prepared.confinement.clone(),
    };
    let runtime = directory.join(layout::PRIVATE).join("runtime");
    std::fs::create_dir(&runtime).map_err(|error| format!("{}: {error}", runtime.display()))?;
    let mut builder = ContainerBuilder::new(RUNTIME_NAME.to_owned(), SyscallType::Linux)
        .with_root_path(runtime)
        .map_err(|error| chain(&error))?
        .with_executor(payload);
    match child_ends {
        Some([stdin, stdout, stderr]) => {
            builder = builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr);
        }
        None => {
            builder = builder.with_console_socket(Some(directory.join(layout::PRIVATE).join("console.sock")));
        }
    }
    let container = builder
        .as_init(directory.join(layout::PRIVATE).join("bundle"))
        .with_systemd(false)
        .with_detach(true)
        .build()
        .map_err(|error| chain(&error))?;
    container.pid().map(Pid::as_raw).ok_or_else(|| "the container has no process".to_owned())
}

/// An error with its causes, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

/// Closes every descriptor from 3 on except `keep`. Only in a process that ends without dropping what it has inherited.
fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<u32> = keep.iter().filter_map(|file| u32::try_from(*file).ok()).collect();
    keep.sort_unstable();
    let mut first = 3;
    for file in keep.into_iter().chain([u32::MAX]) {
        if file > first {
            // SAFETY: no pointers; the values that own these descriptors are never used or dropped in this process.
            unsafe { libc::syscall(libc::SYS_close_range, first, file - 1, 0) };
        }
        first = file.saturating_add(1);
    }
}

/// A pipe whose ends no program inherits.
pub(super) fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC)
}

fn console_listener(directory: &Path) -> Result<UnixListener, String> {
    super::socket::bind(&directory.join(layout::PRIVATE), "console.sock")
        .map_err(|error| format!("console socket: {error}"))
}

/// Takes the pseudo terminal's master from the container's first process.
fn receive_terminal(listener: &UnixListener) -> Result<File, String> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    let (stream, _) = listener.accept().map_err(|error| format!("console socket: {error}"))?;
    let mut name = [0_u8; 256];
    let mut parts = [std::io::IoSliceMut::new(&mut name)];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
        .map_err(|error| format!("console socket: {error}"))?;
    for control in message.cmsgs().map_err(|error| format!("console socket: {error}"))? {
        if let ControlMessageOwned::ScmRights(files) = control
            && let Some(file) = files.first()
        {
            // SAFETY: the kernel has just given us this descriptor.
            return Ok(unsafe { File::from_raw_fd(*file) });
        }
    }
    Err("no terminal was passed".to_owned())
}
