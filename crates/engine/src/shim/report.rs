//! How the process that makes a container, and the container's first process until its program runs, tell the shim what happened:
//! lines on a pipe. The pipe is closed by the program's execution, so that its end means "it runs".
#![allow(unsafe_code)]

use std::fmt::Write as _;
use std::io::Write;
use std::os::fd::{FromRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// The pipe's writing end in this process; -1: none.
static REPORT: AtomicI32 = AtomicI32::new(-1);
/// The longest text passed on: it must fit a pipe in one piece, with its tag and line end.
const LINE_MAXIMUM_BYTES: usize = 3500;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The container is made; the text is its first process's id.
    Created,
    /// It failed.
    Error,
    /// A detail that the runtime library logged on its way to an error.
    Detail,
}

impl Kind {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Created, "created "), (Self::Error, "error "), (Self::Detail, "detail ")];
}

/// From here on [`send`] writes to `file`, and the runtime library's errors are sent too.
pub(crate) fn begin(file: RawFd) {
    REPORT.store(file, Ordering::Relaxed);
    // Set once per process; the only failure is that it was set already.
    let _ = tracing::subscriber::set_global_default(Details);
}

/// Closes this process's copy of the pipe.
pub(crate) fn end() {
    let file = REPORT.swap(-1, Ordering::Relaxed);
    if file >= 0 {
        // SAFETY: the descriptor was handed to `begin`, and nobody else closes it.
        unsafe { libc::close(file) };
    }
}

/// Writes one line.
pub(crate) fn send(kind: Kind, text: &str) {
    let file = REPORT.load(Ordering::Relaxed);
    if file < 0 {
        return;
    }
    let tag = Kind::ALL.iter().find(|(known, _)| *known == kind).map_or("", |(_, tag)| tag);
    let mut end = text.len().min(LINE_MAXIMUM_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let line = format!("{tag}{}\n", text[..end].replace('\n', " "));
    // SAFETY: the descriptor is open; ManuallyDrop keeps it so.
    let mut pipe = std::mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(file) });
    // The shim is gone: nobody is left to tell.
    let _ = pipe.write_all(line.as_bytes());
}

/// Takes a line apart.
pub(crate) fn parse(line: &str) -> Option<(Kind, &str)> {
    Kind::ALL.iter().find_map(|(kind, tag)| Some((*kind, line.strip_prefix(tag)?)))
}

/// Passes on what libcontainer logs as an error: its error values alone often say only "failed to prepare rootfs".
struct Details;

impl tracing::Subscriber for Details {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR && metadata.is_event()
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                let _ = match field.name() {
                    "message" => write!(self.0, "{value:?} "),
                    name => write!(self.0, "{name}={value:?} "),
                };
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        send(Kind::Detail, text.0.trim_end());
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
