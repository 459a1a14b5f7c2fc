//! Connections to targets: made, kept, lent.
//!
//! An HTTP/1.1 connection is lent to one request at a time and comes back when the answer was read to its end. An HTTP/2
//! connection is shared. What was lent stale is found out when it is used: the request is then sent anew where nothing of
//! it had gone out, or where it may be done twice.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::configuration::{GroupProtocol, ProtocolVersion, TargetGroup};
use crate::group::{Group, Member, Outstanding};
use crate::request_body::RequestBody;
use crate::{place, tls};

/// Time for a connection to a target, as documented for Application Load Balancers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/1.1 connections kept for one target.
const IDLE_MAXIMUM: usize = 512;
/// HTTP/2 connections that a request is tried on: the kept one, which may be on its way to its end, and new ones.
const HTTP2_TRIES: usize = 3;
/// How long one is kept unused.
const IDLE_LIFE: Duration = Duration::from_secs(55);

type Http1 = http1::SendRequest<RequestBody>;
type Http2 = http2::SendRequest<RequestBody>;

/// Connections to one target that wait for use.
#[derive(Default)]
pub struct Pool {
    http1: Mutex<Vec<(Http1, Instant)>>,
    http2: Mutex<Option<Http2>>,
}

impl Pool {
    /// Closes what waits.
    pub fn clear(&self) {
        self.http1.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.http2.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Lets go of an HTTP/2 connection that has ended.
    fn forget_closed(&self) {
        let mut http2 = self.http2.lock().unwrap_or_else(PoisonError::into_inner);
        if http2.as_ref().is_some_and(Http2::is_closed) {
            *http2 = None;
        }
    }

    fn take(&self) -> Option<Http1> {
        let mut idle = self.http1.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while let Some((sender, since)) = idle.pop() {
            if now.saturating_duration_since(since) < IDLE_LIFE && !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    fn give_back(&self, sender: Http1) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.http1.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAXIMUM {
            idle.push((sender, Instant::now()));
        }
    }
}

/// Why there is no answer of a target.
#[derive(Debug)]
pub enum UpstreamError {
    /// No connection in time.
    ConnectTimeout,
    /// No connection.
    Connect,
    /// The connection ended, or what came was no HTTP.
    Broken,
}

/// An answer's body; gives the connection back when it ends, and counts the request out when dropped.
pub struct ResponseBody {
    inner: Incoming,
    lease: Option<(Http1, Arc<Member>)>,
    reusable: bool,
    _outstanding: Outstanding,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        let ended = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => self.inner.is_end_stream(),
            Poll::Ready(Some(Err(_))) => {
                self.lease = None;
                false
            }
            Poll::Pending => false,
        };
        if ended {
            self.give_back();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl ResponseBody {
    fn give_back(&mut self) {
        if let Some((sender, member)) = self.lease.take()
            && self.reusable
            && !member.is_draining()
        {
            member.pool.give_back(sender);
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // An empty answer is never polled.
        if self.inner.is_end_stream() {
            self.give_back();
        }
    }
}

/// Sends a request to a member and gives back the head of its answer. `reusable` says whether the connection may serve
/// others after.
pub async fn send(
    group: &Group,
    settings: &TargetGroup,
    mut request: Request<RequestBody>,
    outstanding: Outstanding,
    reusable: bool,
) -> Result<Response<ResponseBody>, UpstreamError> {
    let member = &Arc::clone(outstanding.member());
    if settings.protocol_version != ProtocolVersion::Http1 {
        return send_http2(group, settings, request, outstanding).await;
    }
    if reusable {
        while let Some(mut sender) = member.pool.take() {
            if sender.ready().await.is_err() {
                continue;
            }
            match on_kept(sender, request).await {
                Tried::Answered(response, sender) => {
                    return Ok(lent(response, sender, member, outstanding, true));
                }
                Tried::Unsent(unsent) => request = unsent,
                // Whatever else is kept may be as old: it is tried once more, where nobody was before.
                Tried::Unanswered(unanswered) => {
                    request = unanswered;
                    break;
                }
                Tried::Broken => return Err(UpstreamError::Broken),
            }
        }
    }
    // A new connection is rare, and its future is large.
    let mut sender = Box::pin(connect_http1(group, settings, member)).await?;
    match sender.send_request(request).await {
        Ok(response) => Ok(lent(response, Some(sender), member, outstanding, reusable)),
        Err(_) => Err(UpstreamError::Broken),
    }
}

/// What became of a request on a connection that was kept.
enum Tried {
    /// The answer, and the connection where it can be used again.
    Answered(Response<Incoming>, Option<Http1>),
    /// The connection had ended: the request is whole.
    Unsent(Request<RequestBody>),
    /// The connection ended without an answer. The request is whole again, and may be done twice.
    Unanswered(Request<RequestBody>),
    /// Neither an answer nor a request that may be done twice.
    Broken,
}

async fn on_kept(mut sender: Http1, request: Request<RequestBody>) -> Tried {
    let (head, body) = request.into_parts();
    let again = head.method.is_idempotent().then(|| (head.clone(), body.keep()));
    let sending = sender.try_send_request(Request::from_parts(head, body));
    tokio::pin!(sending);
    let answered = tokio::select! {
        biased;
        answered = &mut sending => answered.map(|response| (response, Some(sender))),
        _ = sender.ready() => {
            // The connection ended. A request that slipped into its queue at this moment is given back when nobody can add
            // to the queue any more: who waits must not hold the sender.
            drop(sender);
            sending.await.map(|response| (response, None))
        }
    };
    let mut error = match answered {
        Ok((response, sender)) => return Tried::Answered(response, sender),
        Err(error) => error,
    };
    if let Some(unsent) = error.take_message() {
        return Tried::Unsent(unsent);
    }
    let again = again.filter(|_| was_cut_off(error.error()));
    match again.and_then(|(head, kept)| Some(Request::from_parts(head, kept.take_back()?))) {
        Some(unanswered) => Tried::Unanswered(unanswered),
        None => Tried::Broken,
    }
}

/// Whether the target ended the connection in place of an answer, as targets do with connections that were idle for as long as
/// they keep them. What may be done twice is sent anew then. Source: RFC 9110, "Idempotent Methods".
fn was_cut_off(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    error.is_incomplete_message() || source.is_some_and(|source| source.is::<std::io::Error>())
}

fn lent(
    response: Response<Incoming>,
    sender: Option<Http1>,
    member: &Arc<Member>,
    outstanding: Outstanding,
    reusable: bool,
) -> Response<ResponseBody> {
    let lease = sender.map(|sender| (sender, Arc::clone(member)));
    response.map(|inner| ResponseBody { inner, lease, reusable, _outstanding: outstanding })
}

async fn send_http2(
    group: &Group,
    settings: &TargetGroup,
    mut request: Request<RequestBody>,
    outstanding: Outstanding,
) -> Result<Response<ResponseBody>, UpstreamError> {
    let member = &Arc::clone(outstanding.member());
    for number in 0..HTTP2_TRIES {
        let kept = member.pool.http2.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut sender = match kept.filter(|sender| number == 0 && !sender.is_closed()) {
            Some(sender) => sender,
            None => Box::pin(connect_http2(group, settings, member)).await?,
        };
        if sender.ready().await.is_err() {
            sender = Box::pin(connect_http2(group, settings, member)).await?;
        }
        let (head, body) = request.into_parts();
        // What must not be done twice, and is whole without a body, may have been done when its head went out.
        let may_go_again = head.method.is_idempotent() || !body.is_end_stream();
        let again = may_go_again.then(|| (head.clone(), body.keep()));
        let sending = sender.try_send_request(Request::from_parts(head, body));
        // A request that slips into the queue of a connection which closes at this moment is given back when nobody can add to the
        // queue any more: who waits must not hold a sender.
        drop(sender);
        let mut error = match sending.await {
            Ok(response) => return Ok(lent(response, None, member, outstanding, true)),
            Err(error) => error,
        };
        let unsent = error.take_message().or_else(|| {
            let (head, kept) = again.filter(|_| was_left_undone(error.error()))?;
            Some(Request::from_parts(head, kept.take_back()?))
        });
        request = unsent.ok_or(UpstreamError::Broken)?;
    }
    Err(UpstreamError::Broken)
}

/// Whether the target says that it did nothing with the request: it closes the connection (GOAWAY), as gRPC servers do with old
/// ones, or refused the stream. Source: RFC 9113, "Request Reliability".
fn was_left_undone(error: &hyper::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            return error.is_remote() && (error.is_go_away() || is_refused);
        }
        next = error.source();
    }
    false
}

async fn tcp(group: &Group, member: &Member) -> Result<TcpStream, UpstreamError> {
    let origin = group.origin();
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, place::connect(origin.as_ref(), member.address))
        .await
        .map_err(|_| UpstreamError::ConnectTimeout)?
        .map_err(|_| UpstreamError::Connect)?;
    // Small writes must not wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn tls_stream(
    group: &Group,
    member: &Member,
    alpn: &[&str],
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, UpstreamError> {
    let stream = tcp(group, member).await?;
    let connector = tokio_rustls::TlsConnector::from(tls::target_config(alpn));
    let name = rustls::pki_types::ServerName::IpAddress(member.address.ip().into());
    tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(name, stream))
        .await
        .map_err(|_| UpstreamError::ConnectTimeout)?
        .map_err(|_| UpstreamError::Connect)
}

async fn connect_http1(
    group: &Group,
    settings: &TargetGroup,
    member: &Member,
) -> Result<Http1, UpstreamError> {
    let mut builder = http1::Builder::new();
    // Targets may write header names as they like; clients see them as they were written.
    builder.preserve_header_case(true);
    if settings.protocol == GroupProtocol::Https {
        let io = TokioIo::new(Box::pin(tls_stream(group, member, &["http/1.1"])).await?);
        let (sender, connection) = builder.handshake(io).await.map_err(|_| UpstreamError::Connect)?;
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    } else {
        let io = TokioIo::new(tcp(group, member).await?);
        let (sender, connection) = builder.handshake(io).await.map_err(|_| UpstreamError::Connect)?;
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }
}

async fn connect_http2(
    group: &Group,
    settings: &TargetGroup,
    member: &Arc<Member>,
) -> Result<Http2, UpstreamError> {
    let builder = http2::Builder::new(TokioExecutor::new());
    let sender = if settings.protocol == GroupProtocol::Https {
        let io = TokioIo::new(Box::pin(tls_stream(group, member, &["h2"])).await?);
        let (sender, connection) = builder.handshake(io).await.map_err(|_| UpstreamError::Connect)?;
        tokio::spawn(drive(connection, Arc::downgrade(member)));
        sender
    } else {
        let io = TokioIo::new(tcp(group, member).await?);
        let (sender, connection) = builder.handshake(io).await.map_err(|_| UpstreamError::Connect)?;
        tokio::spawn(drive(connection, Arc::downgrade(member)));
        sender
    };
    *member.pool.http2.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender.clone());
    Ok(sender)
}

/// Keeps a connection going until it ends, and lets go of it then.
async fn drive(connection: impl Future<Output = hyper::Result<()>>, member: Weak<Member>) {
    // Why it ended is told to who waits for answers.
    drop(connection.await);
    if let Some(member) = member.upgrade() {
        member.pool.forget_closed();
    }
}
