//! The shim's life once the container is made: one loop over its signals, its socket and the container's output.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base::{Clock, SystemClock};
use log_spool::Stream;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::create::{self, Output, Report};
use super::exec::Execution;
use super::output::{Lines, Progress, Sink};
use super::prepare::Prepared;
use super::protocol::{self, Command, Event, Record, Reply, Request};
use crate::layout;
use crate::specification::{ContainerSpec, SharedNamespace};
use crate::status::Exit;

/// Most engines connected at once: the agent, and a successor while the old one ends.
const CONNECTIONS_MAXIMUM: usize = 8;
/// Most commands executed in the container at once.
const EXECUTIONS_MAXIMUM: usize = 32;
/// Pieces read from one output before the others have their turn.
const PIECES_PER_TURN: usize = 16;
/// After the end, how long output that is still held open (by a process that outlived the first) or a full log is waited for.
const LAST_OUTPUT: Duration = Duration::from_secs(2);
/// How long whatever outlived the container's first process is killed.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// One connected engine.
struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
}

/// All that the loop works on.
pub(super) struct Shim {
    pub(super) directory: PathBuf,
    pub(super) spec: ContainerSpec,
    pub(super) prepared: Prepared,
    pub(super) record: Record,
    pub(super) sink: Sink,
    listener: UnixListener,
    signals: SignalFd,
    connections: Vec<Connection>,
    outputs: Vec<Lines<File>>,
    /// Kept open for the container.
    _stdin: Option<std::os::fd::OwnedFd>,
    /// There until the container is started.
    report: Option<Report>,
    executions: Vec<Execution>,
    log_is_full: bool,
}

impl Shim {
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a different thing that `run` has made, and this is the one caller"
    )]
    pub(super) fn new(
        directory: PathBuf,
        spec: ContainerSpec,
        prepared: Prepared,
        record: Record,
        sink: Sink,
        listener: UnixListener,
        signals: SignalFd,
        container: create::Container,
    ) -> nix::Result<Self> {
        let (outputs, stdin) = match container.output {
            Output::Pipes { stdout, stderr, stdin } => {
                (vec![Lines::new(stdout, Stream::Stdout), Lines::new(stderr, Stream::Stderr)], stdin)
            }
            Output::Terminal(master) => (vec![Lines::new(master, Stream::Stdout)], None),
        };
        for output in &outputs {
            set_nonblocking(output.source())?;
        }
        Ok(Self {
            directory,
            spec,
            prepared,
            record,
            sink,
            listener,
            signals,
            connections: Vec::new(),
            outputs,
            _stdin: stdin,
            report: Some(container.report),
            executions: Vec::new(),
            log_is_full: false,
        })
    }

    /// Takes a connection on, and greets it with the container's state.
    pub(super) fn connect(&mut self, stream: UnixStream) {
        if self.connections.len() >= CONNECTIONS_MAXIMUM || stream.set_nonblocking(true).is_err() {
            return;
        }
        self.connections.push(Connection { stream, received: Vec::new() });
        let hello = Event::Hello(self.record.clone());
        self.send(self.connections.len() - 1, &hello);
    }

    /// Serves until the container has ended and its output is logged.
    pub(super) fn run(&mut self) {
        let exit = loop {
            self.wait_for_something();
            self.pump_outputs();
            self.accept();
            self.serve_connections();
            if let Some(exit) = self.reap() {
                break exit;
            }
            self.finish_executions();
        };
        self.end(exit);
    }

    /// Blocks until a descriptor is ready or an execution's time is up.
    fn wait_for_something(&mut self) {
        let now = Instant::now();
        let timeout = self.executions.iter().map(|execution| execution.deadline()).min().map_or(
            PollTimeout::NONE,
            |deadline| {
                let milliseconds = deadline.saturating_duration_since(now).as_millis() + 1;
                PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
            },
        );
        let mut files: Vec<BorrowedFd<'_>> = vec![self.signals.as_fd(), self.listener.as_fd()];
        files.extend(self.connections.iter().map(|connection| connection.stream.as_fd()));
        files.extend(self.executions.iter().filter_map(Execution::output_fd));
        // A full log: not read from the pipes until it has room, so that the container waits in its write.
        match self.sink.room_fd() {
            Some(room) if self.log_is_full => files.push(room),
            _ => files.extend(self.outputs.iter().map(|output| output.source().as_fd())),
        }
        let mut polled: Vec<PollFd<'_>> =
            files.into_iter().map(|file| PollFd::new(file, PollFlags::POLLIN)).collect();
        // EINTR cannot come from the signals we block; any other error shows itself again at the reads below.
        let _ = poll(&mut polled, timeout);
    }

    fn pump_outputs(&mut self) {
        if self.log_is_full {
            if !self.sink.has_room() {
                return;
            }
            self.log_is_full = false;
        }
        let sink = &mut self.sink;
        let full = &mut self.log_is_full;
        self.outputs.retain_mut(|output| {
            if *full {
                return true;
            }
            match output.pump(sink, PIECES_PER_TURN) {
                Progress::Ended => false,
                Progress::Drained => true,
                Progress::Full => {
                    *full = true;
                    true
                }
            }
        });
        self.sink.flush();
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            self.connect(stream);
        }
    }

    fn serve_connections(&mut self) {
        let mut index = 0;
        while index < self.connections.len() {
            let (requests, open) = read_requests(&mut self.connections[index]);
            let stream = self.connections[index].stream.try_clone().ok();
            for request in requests {
                let reply = self.obey(request.command, request.number, stream.as_ref());
                if let Some(result) = reply {
                    self.send(index, &Event::Reply { number: request.number, result });
                }
            }
            if open {
                index += 1;
            } else {
                self.connections.swap_remove(index);
            }
        }
    }

    /// Does what is asked. None: the reply comes later.
    fn obey(
        &mut self,
        command: Command,
        number: u64,
        stream: Option<&UnixStream>,
    ) -> Option<Result<Reply, String>> {
        match command {
            Command::Start => Some(self.start()),
            Command::Signal(signal) => {
                // Not reaped yet, so that the number cannot be another process's.
                // SAFETY: no pointers.
                let sent = unsafe { libc::kill(self.record.pid, signal) };
                Some(if sent == 0 { Ok(Reply::Signalled) } else { Err(Errno::last().desc().to_owned()) })
            }
            Command::Exec(spec) => {
                if self.record.started_at.is_none() {
                    return Some(Err("the container is not running".to_owned()));
                }
                if self.executions.len() >= EXECUTIONS_MAXIMUM {
                    return Some(Err(format!("{EXECUTIONS_MAXIMUM} commands run in the container already")));
                }
                let stream = stream?.try_clone().ok()?;
                match Execution::begin(&self.spec, &self.prepared, self.record.pid, spec, number, stream) {
                    Ok(execution) => {
                        self.executions.push(execution);
                        None
                    }
                    Err(error) => Some(Err(error)),
                }
            }
        }
    }

    fn start(&mut self) -> Result<Reply, String> {
        let Some(mut report) = self.report.take() else {
            return Err("the container was started already".to_owned());
        };
        let started_at = SystemClock.now();
        let outcome = create::release(&self.directory).and_then(|()| report.next());
        self.record.started_at = Some(started_at);
        match outcome {
            Ok(_) => {
                self.save(false);
                Ok(Reply::Started { pid: self.record.pid, started_at })
            }
            // Its first process ends by itself now (127 or 126), and is reaped like any other.
            Err(error) => Err(error),
        }
    }

    /// Collects ended processes. Gives the container's end.
    fn reap(&mut self) -> Option<Exit> {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        loop {
            let (pid, code, signal) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code, None),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32, Some(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(_) => return None,
                Ok(_) => continue,
            };
            if pid == Pid::from_raw(self.record.pid) {
                return Some(Exit {
                    code,
                    signal,
                    out_of_memory: self.prepared.cgroup.out_of_memory_kills() > 0,
                    finished_at: SystemClock.now(),
                    reason: None,
                });
            }
            // The others are executed commands, and orphans of the container's (host or shared pid namespace).
            for execution in &mut self.executions {
                execution.ended(pid, code);
            }
        }
    }

    fn finish_executions(&mut self) {
        let now = Instant::now();
        let mut index = 0;
        while index < self.executions.len() {
            self.executions[index].pump();
            self.executions[index].enforce_deadline(now);
            if self.executions[index].is_over() {
                let execution = self.executions.swap_remove(index);
                execution.reply();
            } else {
                index += 1;
            }
        }
    }

    /// The container has ended: kill what outlived it, log its last output, write its end down, tell everybody.
    fn end(&mut self, exit: Exit) {
        if self.spec.namespaces.pid != SharedNamespace::Private {
            // With a pid namespace of its own the kernel has done this.
            self.prepared.cgroup.kill_all(KILL_PATIENCE);
        }
        for execution in self.executions.drain(..) {
            execution.reply();
        }
        let deadline = Instant::now() + LAST_OUTPUT;
        self.pump_outputs();
        while !self.outputs.is_empty() && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let mut files: Vec<BorrowedFd<'_>> = Vec::new();
            match self.sink.room_fd() {
                Some(room) if self.log_is_full => files.push(room),
                _ => files.extend(self.outputs.iter().map(|output| output.source().as_fd())),
            }
            let mut polled: Vec<PollFd<'_>> =
                files.into_iter().map(|file| PollFd::new(file, PollFlags::POLLIN)).collect();
            let _ = poll(&mut polled, timeout);
            self.pump_outputs();
        }
        self.record.exit = Some(exit.clone());
        self.save(true);
        for index in 0..self.connections.len() {
            self.send(index, &Event::Exited(exit.clone()));
        }
    }

    fn save(&self, durable: bool) {
        if let Err(error) = layout::write_json(&self.directory.join(layout::STATE), &self.record, durable) {
            // The engine hears of the end over the socket too; only a restart would lose it.
            complain(&format!("cannot write the state: {error}"));
        }
    }

    /// Sends to one connection. An engine that does not read is let go: it can connect again.
    fn send(&mut self, index: usize, event: &Event) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let sent = protocol::encode(event).and_then(|bytes| connection.stream.write_all(&bytes));
        if sent.is_err() {
            let _ = connection.stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Reads what has come. False: the connection is closed.
fn read_requests(connection: &mut Connection) -> (Vec<Request>, bool) {
    let mut open = true;
    let mut piece = [0; 16 * 1024];
    loop {
        match connection.stream.read(&mut piece) {
            Ok(0) => {
                open = false;
                break;
            }
            Ok(length) => {
                connection.received.extend_from_slice(piece.get(..length).unwrap_or_default());
                if connection.received.len() > protocol::MESSAGE_MAXIMUM_BYTES {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                open = error.kind() == ErrorKind::WouldBlock;
                break;
            }
        }
    }
    let mut requests = Vec::new();
    loop {
        match protocol::decode(&mut connection.received) {
            Ok(Some(request)) => requests.push(request),
            Ok(None) => return (requests, open),
            Err(_) => return (requests, false),
        }
    }
}

/// Writes into the shim's own log (its stderr).
pub(super) fn complain(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

pub(super) fn set_nonblocking(file: &File) -> nix::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_truncate(fcntl(file.as_raw_fd(), FcntlArg::F_GETFL)?);
    fcntl(file.as_raw_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}
