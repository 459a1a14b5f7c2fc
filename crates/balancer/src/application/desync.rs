//! What a client sends, seen before the HTTP parser: every request head is classified, and withheld where the load
//! balancer's desync mitigation mode says so.
//!
//! The classification is that of AWS's own library; the modes are those of "Desync mitigation mode" (Application Load
//! Balancers). Where one head ends and the next begins is worked out here by the same rules as the parser behind: an empty
//! line ends a head, whether its lines end in CR LF or in LF alone; `Transfer-Encoding` outweighs `Content-Length`.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http_desync_guardian::RequestSafetyTier;
use http_desync_guardian::request_analyzer::HttpRequestData;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::configuration::DesyncMitigationMode;

/// Bytes of a request line, and of one header. Source: "Application Load Balancer quotas" (HTTP headers).
pub const LINE_BYTES_MAXIMUM: usize = 16 * 1024;
/// Bytes of a whole request head.
pub const HEAD_BYTES_MAXIMUM: usize = 64 * 1024;
const READ_BYTES: usize = 16 * 1024;
/// What the parser is given in place of a head that is refused: its answer is the refusal.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// What came of one head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Goes through.
    Allowed,
    /// Goes through; connections of client and target are closed after it.
    AllowedOnce,
    /// Answered with this status; the connection is closed.
    Refused(u16),
}

/// What the reading half and the serving half of a connection tell each other.
#[derive(Default)]
pub struct Verdicts(Mutex<Shared>);

#[derive(Default)]
struct Shared {
    verdicts: VecDeque<Verdict>,
    upgrade: Option<bool>,
    waker: Option<Waker>,
}

impl Verdicts {
    fn push(&self, verdict: Verdict) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).verdicts.push_back(verdict);
    }

    /// The verdict of the request now served.
    pub fn next(&self) -> Verdict {
        // The parser saw a request where this reader saw none: they disagree, which must not be.
        self.waiting().unwrap_or(Verdict::Refused(400))
    }

    /// The same, where there is one.
    pub fn waiting(&self) -> Option<Verdict> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).verdicts.pop_front()
    }

    /// Says whether the connection changes its protocol, which a request asked for.
    pub fn decide_upgrade(&self, upgraded: bool) {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade = Some(upgraded);
        if let Some(waker) = shared.waker.take() {
            waker.wake();
        }
    }

    fn take_decision(&self, context: &Context<'_>) -> Option<bool> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let decision = shared.upgrade.take();
        if decision.is_none() {
            shared.waker = Some(context.waker().clone());
        }
        decision
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Gathering a head; so many of its bytes were searched for its end.
    Head { searched: usize },
    /// A body of so many more bytes.
    Body(u64),
    /// The line with a chunk's size; so many of its bytes were seen, with this size so far.
    ChunkSize { seen: usize, size: u64, in_extension: bool },
    /// A chunk's bytes, and the line end behind them.
    Chunk(u64),
    /// Trailers, up to an empty line; so many bytes on this line, so many in all.
    Trailers { on_line: usize, seen: usize },
    /// A change of protocol was asked for: nothing more is let through before it is decided.
    Undecided,
    /// Whatever comes is not looked at: the protocol was changed, or the parser is about to refuse.
    Opaque,
    /// Refused: nothing more is read.
    Closed,
}

/// A connection whose request heads are looked at.
pub struct Inspected<T> {
    inner: T,
    mode: DesyncMitigationMode,
    verdicts: Arc<Verdicts>,
    state: State,
    raw: Vec<u8>,
    /// Bytes of `raw` that are done with.
    taken: usize,
    cleared: Vec<u8>,
    given: usize,
    /// How long a head may take from its first byte to its last, and when the one that is being gathered is overdue. Set
    /// only for heads that do not come at once.
    head_timeout: Duration,
    overdue: Option<Pin<Box<Sleep>>>,
}

impl<T> Inspected<T> {
    /// Looks at what comes from `inner`.
    pub fn new(
        inner: T,
        mode: DesyncMitigationMode,
        head_timeout: Duration,
        verdicts: Arc<Verdicts>,
    ) -> Self {
        Self {
            inner,
            mode,
            head_timeout,
            overdue: None,
            verdicts,
            state: State::Head { searched: 0 },
            raw: Vec::new(),
            taken: 0,
            cleared: Vec::new(),
            given: 0,
        }
    }

    /// Whether the head that is being gathered takes too long.
    fn is_overdue(&mut self, context: &mut Context<'_>) -> bool {
        let timeout = self.head_timeout;
        let timer = self.overdue.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        timer.as_mut().poll(context).is_ready()
    }

    fn refuse(&mut self, status: u16) {
        self.verdicts.push(Verdict::Refused(status));
        self.cleared.extend_from_slice(STAND_IN);
        self.raw.clear();
        self.taken = 0;
        self.state = State::Closed;
    }

    /// Moves bytes from `raw` to `cleared` as far as they are understood.
    fn work(&mut self) {
        while self.taken < self.raw.len() {
            match self.state {
                State::Head { searched } => {
                    if !self.head(searched) {
                        return;
                    }
                }
                State::Body(left) => {
                    let moved = self.pass(left);
                    self.state = next_body(left - moved);
                }
                State::Chunk(left) => {
                    let moved = self.pass(left);
                    self.state = match left - moved {
                        0 => State::ChunkSize { seen: 0, size: 0, in_extension: false },
                        left => State::Chunk(left),
                    };
                }
                State::ChunkSize { .. } | State::Trailers { .. } => {
                    let byte = self.raw[self.taken];
                    self.taken += 1;
                    self.cleared.push(byte);
                    self.state = after_byte(self.state, byte);
                }
                State::Opaque => {
                    self.pass(u64::MAX);
                }
                State::Undecided | State::Closed => return,
            }
        }
        self.raw.clear();
        self.taken = 0;
    }

    fn pass(&mut self, most: u64) -> u64 {
        let there = (self.raw.len() - self.taken) as u64;
        let moved = there.min(most);
        let end = self.taken + moved as usize;
        self.cleared.extend_from_slice(&self.raw[self.taken..end]);
        self.taken = end;
        moved
    }

    /// One head, where all of it is there. False where more is needed.
    fn head(&mut self, searched: usize) -> bool {
        if searched == 0 {
            // Parsers skip empty lines before a request.
            let empty =
                self.raw[self.taken..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.taken += empty;
            if self.taken == self.raw.len() {
                self.raw.clear();
                self.taken = 0;
                return false;
            }
        }
        let pending = &self.raw[self.taken..];
        let Some(end) = head_end(pending, searched) else {
            if pending.len() > HEAD_BYTES_MAXIMUM {
                self.refuse(400);
                return false;
            }
            self.state = State::Head { searched: pending.len().saturating_sub(3).max(1) };
            self.raw.drain(..self.taken);
            self.taken = 0;
            return false;
        };
        let head = &pending[..end];
        let (verdict, next) = judge(head, self.mode);
        if let Verdict::Refused(status) = verdict {
            self.refuse(status);
            return false;
        }
        self.verdicts.push(verdict);
        self.cleared.extend_from_slice(head);
        self.taken += end;
        self.state = next;
        true
    }
}

const fn next_body(left: u64) -> State {
    if left == 0 { State::Head { searched: 0 } } else { State::Body(left) }
}

fn after_byte(state: State, byte: u8) -> State {
    match state {
        State::ChunkSize { seen, size, in_extension } => match byte {
            b'\n' if seen == 0 => State::Opaque,
            b'\n' if size == 0 => State::Trailers { on_line: 0, seen: 0 },
            // The chunk's bytes, and CR LF behind them.
            b'\n' => size.checked_add(2).map_or(State::Opaque, State::Chunk),
            b'\r' => state,
            b';' | b' ' | b'\t' => State::ChunkSize { seen: seen + 1, size, in_extension: true },
            _ if in_extension => {
                // Extensions without end are the parser's to refuse; it has a bound of its own.
                State::ChunkSize { seen: seen + 1, size, in_extension }
            }
            digit => match (digit as char).to_digit(16) {
                Some(value) if size < 1 << 58 => {
                    State::ChunkSize { seen: seen + 1, size: size * 16 + u64::from(value), in_extension }
                }
                _ => State::Opaque,
            },
        },
        State::Trailers { on_line, seen } => match byte {
            b'\n' if on_line == 0 => State::Head { searched: 0 },
            b'\n' => State::Trailers { on_line: 0, seen: seen + 1 },
            b'\r' => State::Trailers { on_line, seen: seen + 1 },
            _ => State::Trailers { on_line: on_line + 1, seen: seen + 1 },
        },
        other => other,
    }
}

/// Where the head ends: behind the first empty line.
fn head_end(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    let mut at = from;
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let next = at + found + 1;
        match (bytes.get(next), bytes.get(next + 1)) {
            (Some(b'\n'), _) => return Some(next + 1),
            (Some(b'\r'), Some(b'\n')) => return Some(next + 2),
            _ => at = next,
        }
    }
    None
}

fn judge(head: &[u8], mode: DesyncMitigationMode) -> (Verdict, State) {
    let mut lines = head.split(|byte| *byte == b'\n');
    if lines.next().is_some_and(|line| line.len() > LINE_BYTES_MAXIMUM) {
        return (Verdict::Refused(414), State::Closed);
    }
    if head.len() > HEAD_BYTES_MAXIMUM || lines.any(|line| line.len() > LINE_BYTES_MAXIMUM) {
        return (Verdict::Refused(400), State::Closed);
    }
    let tier = HttpRequestData::analyze_raw_request(head).tier;
    let verdict = match (mode, tier) {
        (_, RequestSafetyTier::Compliant)
        | (DesyncMitigationMode::Defensive | DesyncMitigationMode::Monitor, RequestSafetyTier::Acceptable) => {
            Verdict::Allowed
        }
        (DesyncMitigationMode::Monitor, _)
        | (DesyncMitigationMode::Defensive, RequestSafetyTier::Ambiguous) => Verdict::AllowedOnce,
        (DesyncMitigationMode::Defensive | DesyncMitigationMode::Strictest, _) => Verdict::Refused(400),
    };
    match framing(head) {
        // Where the body's end cannot be known, nothing behind it can be trusted.
        State::Opaque => (Verdict::Refused(400), State::Closed),
        next => (verdict, next),
    }
}

/// What follows a head.
fn framing(head: &[u8]) -> State {
    let (mut length, mut chunked, mut upgrade) = (None, None, false);
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
            match (number, length) {
                (Some(number), None) => length = Some(number),
                (Some(number), Some(before)) if number == before => {}
                _ => return State::Opaque,
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
            chunked = Some(last.eq_ignore_ascii_case(b"chunked"));
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            upgrade = true;
        }
    }
    match (chunked, length) {
        (Some(true), _) => State::ChunkSize { seen: 0, size: 0, in_extension: false },
        (Some(false), _) => State::Opaque,
        (None, Some(length)) => next_body(length),
        (None, None) if upgrade => State::Undecided,
        (None, None) => State::Head { searched: 0 },
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Inspected<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.given < this.cleared.len() {
                let most = (this.cleared.len() - this.given).min(buffer.remaining());
                buffer.put_slice(&this.cleared[this.given..this.given + most]);
                this.given += most;
                if this.given == this.cleared.len() {
                    this.cleared.clear();
                    this.given = 0;
                }
                return Poll::Ready(Ok(()));
            }
            if this.state == State::Closed {
                return Poll::Ready(Ok(()));
            }
            if this.state == State::Undecided {
                match this.verdicts.take_decision(context) {
                    None => return Poll::Pending,
                    Some(true) => this.state = State::Opaque,
                    Some(false) => this.state = State::Head { searched: 0 },
                }
            }
            let gathering = matches!(this.state, State::Head { searched } if searched > 0);
            if this.taken < this.raw.len() && !gathering {
                this.work();
                continue;
            }
            if this.state == State::Opaque {
                return Pin::new(&mut this.inner).poll_read(context, buffer);
            }
            let mut space = [0_u8; READ_BYTES];
            let mut read = ReadBuf::new(&mut space);
            match Pin::new(&mut this.inner).poll_read(context, &mut read) {
                Poll::Pending if gathering && this.is_overdue(context) => this.refuse(408),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) if gathering && error.kind() == io::ErrorKind::TimedOut => {
                    this.refuse(408);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if read.filled().is_empty() => {
                    this.state = State::Closed;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) => {
                    this.raw.extend_from_slice(read.filled());
                    this.work();
                    if !matches!(this.state, State::Head { searched } if searched > 0) {
                        this.overdue = None;
                    } else if this.is_overdue(context) {
                        this.refuse(408);
                    }
                }
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Inspected<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    async fn through(mode: DesyncMitigationMode, sent: &[u8], step: usize) -> (Vec<u8>, Vec<Verdict>) {
        let chunks: Vec<io::Result<Vec<u8>>> = sent.chunks(step).map(|chunk| Ok(chunk.to_vec())).collect();
        let verdicts = Arc::new(Verdicts::default());
        let source = Chunks(chunks.into());
        let mut inspected = Inspected::new(source, mode, Duration::from_secs(60), Arc::clone(&verdicts));
        let mut seen = Vec::new();
        inspected.read_to_end(&mut seen).await.unwrap();
        let all = verdicts.0.lock().unwrap().verdicts.iter().copied().collect();
        (seen, all)
    }

    struct Chunks(VecDeque<io::Result<Vec<u8>>>);

    impl AsyncRead for Chunks {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(Ok(chunk)) = self.0.pop_front() {
                buffer.put_slice(&chunk);
            }
            Poll::Ready(Ok(()))
        }
    }

    const DEFENSIVE: DesyncMitigationMode = DesyncMitigationMode::Defensive;

    #[tokio::test]
    async fn requests_in_a_row_are_told_apart_however_they_arrive() {
        let sent = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /GET /b HTTP/1.1\r\nHost: x\r\n\r\n\
            POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nGET /\r\n0\r\nt: v\r\n\r\n\
            GET /d HTTP/1.1\r\nHost: x\r\n\r\n";
        for step in [1, 2, 3, 7, 1000] {
            let (seen, verdicts) = through(DEFENSIVE, sent, step).await;
            assert_eq!(seen, sent, "in steps of {step}");
            assert_eq!(verdicts, [Verdict::Allowed; 4], "in steps of {step}");
        }
    }

    #[tokio::test]
    async fn a19_lines_that_end_in_lf_alone_do_not_hide_a_second_request() {
        let sent = b"GET / HTTP/1.1\nHost: x\n\nGET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
        let (_, verdicts) = through(DesyncMitigationMode::Monitor, sent, 1000).await;
        assert_eq!(verdicts.len(), 2, "{verdicts:?}");
    }

    #[tokio::test]
    async fn a19_framing_in_doubt() {
        let with =
            |header: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n0\r\n\r\n").into_bytes();
        for (header, defensive, strictest) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", false, false),
            ("Content-Length: 5\r\nContent-Length: 6", false, false),
            ("Content-Length: -5", false, false),
            ("Content-Length : 5", false, false),
            ("Transfer-Encoding: xchunked", false, false),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", false, false),
            ("X: a\0b", false, false),
            ("Content-Length: 5", true, true),
        ] {
            let strict = through(DesyncMitigationMode::Strictest, &with(header), 1000).await.1;
            assert_eq!(strict.first() == Some(&Verdict::Allowed), strictest, "{header}: {strict:?}");
            let lenient = through(DEFENSIVE, &with(header), 1000).await.1;
            assert_eq!(lenient.first() == Some(&Verdict::Allowed), defensive, "{header}: {lenient:?}");
        }
    }

    #[tokio::test]
    async fn heads_have_a_bound() {
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(LINE_BYTES_MAXIMUM));
        assert_eq!(through(DEFENSIVE, long.as_bytes(), 1000).await.1, [Verdict::Refused(400)]);
        let line = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(LINE_BYTES_MAXIMUM));
        assert_eq!(through(DEFENSIVE, line.as_bytes(), 1000).await.1, [Verdict::Refused(414)]);
        let endless = vec![b'a'; 10 * HEAD_BYTES_MAXIMUM];
        assert_eq!(through(DEFENSIVE, &endless, 1000).await.1, [Verdict::Refused(400)]);
    }
}
