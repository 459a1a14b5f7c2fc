//! A request's body on its way to a target, and how it is had again where the target did nothing with it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::application::exchange::Exchange;

/// Bytes of a body that are kept while it is not known whether the target takes it: enough for the calls that are made often, and
/// little for as many as may be under way.
const KEPT_BYTES: usize = 64 * 1024;

/// A request's body on its way to a target.
pub struct RequestBody(Arc<Mutex<Source>>);

/// Where its frames come from.
struct Source {
    /// What the client sends; `None` once the body was taken back.
    inner: Option<Incoming>,
    exchange: Arc<Exchange>,
    /// Frames of an earlier try that are to come first.
    again: VecDeque<Frame<Bytes>>,
    /// Frames that went out; `None` where they are not kept, or were too many.
    kept: Option<Vec<Frame<Bytes>>>,
    kept_bytes: usize,
}

/// The means to take a body back.
pub struct Kept(Arc<Mutex<Source>>);

impl RequestBody {
    /// The body of a client's request; what moves is entered into the books.
    pub fn new(inner: Incoming, exchange: Arc<Exchange>) -> Self {
        Self::from(Source { inner: Some(inner), exchange, again: VecDeque::new(), kept: None, kept_bytes: 0 })
    }

    /// Keeps what goes out from now on.
    pub fn keep(&self) -> Kept {
        source(&self.0).kept = Some(Vec::new());
        Kept(Arc::clone(&self.0))
    }
}

impl From<Source> for RequestBody {
    fn from(source: Source) -> Self {
        Self(Arc::new(Mutex::new(source)))
    }
}

impl Kept {
    /// The whole body, as it was; `None` where too much of it is gone. Whoever has it still finds it at its end.
    pub fn take_back(self) -> Option<RequestBody> {
        let mut source = source(&self.0);
        let mut again: VecDeque<Frame<Bytes>> = source.kept.take()?.into();
        again.append(&mut source.again);
        let (inner, exchange) = (source.inner.take()?, Arc::clone(&source.exchange));
        Some(RequestBody::from(Source { inner: Some(inner), exchange, again, kept: None, kept_bytes: 0 }))
    }
}

fn source(of: &Mutex<Source>) -> MutexGuard<'_, Source> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        self.kept_bytes += frame.data_ref().map_or(0, Bytes::len);
        if self.kept_bytes > KEPT_BYTES {
            self.kept = None;
        }
        if let Some(kept) = &mut self.kept {
            // The bytes are shared, not copied.
            let data = frame.data_ref().map(|data| Frame::data(data.clone()));
            kept.extend(
                data.or_else(|| frame.trailers_ref().map(|trailers| Frame::trailers(trailers.clone()))),
            );
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut source = source(&self.0);
        if let Some(frame) = source.again.pop_front() {
            source.keep(&frame);
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(inner) = &mut source.inner else { return Poll::Ready(None) };
        let polled = Pin::new(inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            source.exchange.received(frame.data_ref().map_or(0, Bytes::len));
            source.keep(frame);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let source = source(&self.0);
        source.again.is_empty() && source.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let source = source(&self.0);
        let again: usize = source.again.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let mut hint = source.inner.as_ref().map_or_else(SizeHint::default, Body::size_hint);
        let upper = hint.upper().map(|upper| upper + again as u64);
        if let Some(upper) = upper {
            hint.set_upper(upper);
        }
        hint.set_lower(hint.lower() + again as u64);
        hint
    }
}
