//! HTTP: each request to an endpoint of its own, and again to another one where that does no harm.
//!
//! What has not reached an endpoint is tried with up to two others, whatever it is. What an endpoint answered with 503 is, where
//! its body was small enough to be kept; where the connection broke, only methods that may be repeated are. Source: Envoy,
//! `x-envoy-retry-on` (connect-failure, retriable status 503); the failures' texts are Envoy's.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::header::{CONTENT_TYPE, HOST, UPGRADE};
use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use balancer::Place;
use balancer::application::headers::strip_hop_by_hop;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::configuration::{AppProtocol, Split};
use crate::endpoints::{Endpoints, Lot, Target};
use crate::log::{Outcome, Story, flags};
use crate::pool::{Http1, Lent};
use crate::upgrade::{self, Tunnel};

/// Endpoints that one request or connection is tried with: two retries, as AWS documents.
pub(crate) const TRIES_MAXIMUM: usize = 3;
/// Bodies of requests that are kept, so that the request can be sent again.
const KEPT_BODY_BYTES: usize = 64 * 1024;
/// Time for a request's head, once its first byte is there.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A failure as clients and the log hear of it. The words are Envoy's.
struct Why {
    status: StatusCode,
    message: &'static str,
    flags: &'static str,
}

const EARLY_END: Why = Why {
    status: StatusCode::BAD_REQUEST,
    message: "the request's body ended early",
    flags: flags::DOWNSTREAM_PROTOCOL_ERROR,
};
const NO_ENDPOINT: Why = Why {
    status: StatusCode::SERVICE_UNAVAILABLE,
    message: "no healthy upstream",
    flags: flags::NO_HEALTHY_UPSTREAM,
};
const NO_CONNECTION: Why = Why {
    status: StatusCode::SERVICE_UNAVAILABLE,
    message: "upstream connect error or disconnect/reset before headers",
    flags: flags::CONNECTION_FAILURE,
};
const BROKEN: Why = Why { flags: flags::CONNECTION_TERMINATION, ..NO_CONNECTION };
const LATE: Why = Why {
    status: StatusCode::GATEWAY_TIMEOUT,
    message: "upstream request timeout",
    flags: flags::REQUEST_TIMEOUT,
};

type Error = Box<dyn std::error::Error + Send + Sync>;
/// A request's body on its way to an endpoint.
pub(crate) type RequestBody = BoxBody<Bytes, Error>;
type Answer = Response<BoxBody<Bytes, Error>>;

/// Serves a connection until its client ends it, or it has carried nothing for too long.
pub(crate) async fn serve(endpoints: Arc<Endpoints>, place: Place, client: TcpStream) {
    let _connection = endpoints.counters().connection();
    let service = endpoints.service();
    let activity = Arc::new(AtomicU64::new(0));
    let under_way = Arc::new(AtomicU64::new(0));
    let tunnel = Arc::<Tunnel>::default();
    let exchange = {
        let (endpoints, activity, under_way, tunnel) =
            (Arc::clone(&endpoints), Arc::clone(&activity), Arc::clone(&under_way), Arc::clone(&tunnel));
        service_fn(move |request| {
            activity.fetch_add(1, Ordering::Relaxed);
            let busy = Busy::new(&under_way);
            let (endpoints, place, tunnel) = (Arc::clone(&endpoints), place.clone(), Arc::clone(&tunnel));
            async move {
                let mut story = Story::begin(endpoints.log(), &request);
                let received = story.as_ref().map(Story::received);
                let answer =
                    exchange(&endpoints, &place, &tunnel, request.map(|body| Received { body, received }))
                        .await;
                if let Some(story) = &mut story {
                    story.answered(&answer);
                }
                let counted = |body| BoxBody::new(Counted { body, endpoints, story, bytes: 0, _busy: busy });
                Ok::<_, Infallible>(answer.map(counted))
            }
        })
    };
    let _ = client.set_nodelay(true);
    let io = TokioIo::new(client);
    let idle = idle(&activity, &under_way, service.idle_timeout);
    // Failures of single connections are the clients' matter.
    if service.protocol == AppProtocol::Http {
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).half_close(true);
        let connection = builder.serve_connection(io, exchange).with_upgrades();
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => {}
            () = idle => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
        tunnel.run(&endpoints).await;
    } else {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        let connection = builder.serve_connection(io, exchange);
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => {}
            () = idle => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}

/// Counts a request under way.
struct Busy(Arc<AtomicU64>);

impl Busy {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Ends when no request was under way, and none has come, for so long.
async fn idle(activity: &AtomicU64, under_way: &AtomicU64, timeout: Duration) {
    if timeout.is_zero() {
        std::future::pending::<()>().await;
    }
    let mut before = activity.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(timeout).await;
        let now = activity.load(Ordering::Relaxed);
        if now == before && under_way.load(Ordering::Acquire) == 0 {
            return;
        }
        before = now;
    }
}

/// What goes to endpoints: the request's head, and its body, kept whole where it is small.
enum Kept {
    Whole(Bytes),
    Once(Option<RequestBody>),
}

impl Kept {
    async fn of(body: Received) -> Result<Self, Error> {
        if body.size_hint().upper().is_some_and(|upper| upper <= KEPT_BODY_BYTES as u64) {
            return Ok(Self::Whole(Limited::new(body, KEPT_BODY_BYTES).collect().await?.to_bytes()));
        }
        Ok(Self::Once(Some(BoxBody::new(body.map_err(Into::into)))))
    }

    fn take(&mut self) -> Option<RequestBody> {
        match self {
            Self::Whole(bytes) => {
                Some(BoxBody::new(Full::new(bytes.clone()).map_err(|never| match never {})))
            }
            Self::Once(body) => body.take(),
        }
    }

    const fn can_be_sent(&self) -> bool {
        matches!(self, Self::Whole(_) | Self::Once(Some(_)))
    }
}

/// Why there is no answer.
enum Failed {
    /// Nothing of the request has gone out: it comes back.
    Unsent(Box<Request<RequestBody>>),
    Connect,
    Broken,
    Late,
}

/// Whether a request is a test of what is being deployed.
fn is_test(split: &Split, headers: &HeaderMap) -> bool {
    let (name, wanted) = &split.test_header;
    let mut given = headers.get_all(name.as_str()).iter();
    given.any(|value| wanted.as_ref().is_none_or(|wanted| value.as_bytes() == wanted.as_bytes()))
}

async fn exchange(
    endpoints: &Arc<Endpoints>,
    place: &Place,
    tunnel: &Tunnel,
    mut request: Request<Received>,
) -> Answer {
    let service = endpoints.service();
    let began = Instant::now();
    let deadline = (!service.request_timeout.is_zero()).then(|| began + service.request_timeout);
    let is_grpc = service.protocol == AppProtocol::Grpc;
    let mut client = (service.protocol == AppProtocol::Http).then(|| upgrade::client(&mut request)).flatten();
    let (head, body) = request.into_parts();
    let Ok(mut body) = Kept::of(body).await else {
        return failure(is_grpc, &EARLY_END, None);
    };
    let is_test = |split: &Split| is_test(split, &head.headers);
    let mut lot = Lot::default();
    let may_repeat =
        matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE);
    let mut tried: Vec<Arc<Target>> = Vec::new();
    loop {
        let Some(target) = endpoints.choose(&tried, &mut lot, is_test) else {
            let why = if tried.is_empty() { &NO_ENDPOINT } else { &NO_CONNECTION };
            return failure(is_grpc, why, tried.last());
        };
        let last = tried.len() + 1 >= TRIES_MAXIMUM;
        let Some(sent) = body.take() else { return failure(is_grpc, &NO_CONNECTION, tried.last()) };
        let request = outgoing(&head, sent, &target, service.protocol);
        let sending = send(place, &target, request, service.protocol);
        let outcome = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, sending).await.unwrap_or(Err(Failed::Late)),
            None => sending.await,
        };
        let (why, repeats) = match outcome {
            Ok(mut answer) => {
                if upgrade::is_granted(&answer) {
                    tunnel.prepare(client.take(), &mut answer);
                }
                note_answer(endpoints, &target, answer.status(), began);
                let is_ill = answer.status() == StatusCode::SERVICE_UNAVAILABLE;
                let again = is_ill && body.can_be_sent() && !last;
                if !again || endpoints.choose(&with(&tried, &target), &mut lot, is_test).is_none() {
                    let upstream_milliseconds = Some(began.elapsed().as_millis());
                    let upstream = Some(target.endpoint.address);
                    answer.extensions_mut().insert(Outcome { upstream, upstream_milliseconds, flags: None });
                    return answer.map(|body| BoxBody::new(Timed::new(body, deadline)));
                }
                (&NO_CONNECTION, true)
            }
            Err(failed) => {
                endpoints.failed(&target);
                note_failure(endpoints, &target, failed, &mut body, may_repeat)
            }
        };
        if !repeats || last || !body.can_be_sent() {
            return failure(is_grpc, why, Some(&target));
        }
        endpoints.counters().retried();
        tried.push(target);
    }
}

fn note_answer(endpoints: &Endpoints, target: &Target, status: StatusCode, began: Instant) {
    endpoints.counters().answered(status.as_u16(), began.elapsed());
    if status.is_server_error() {
        endpoints.failed(target);
    } else {
        target.succeeded();
    }
}

/// What the client is told, should this have been the last try, and whether there may be another one.
fn note_failure(
    endpoints: &Endpoints,
    target: &Target,
    failed: Failed,
    body: &mut Kept,
    may_repeat: bool,
) -> (&'static Why, bool) {
    match failed {
        Failed::Unsent(request) => {
            endpoints.connection_failed(target);
            if let Kept::Once(place) = body {
                *place = Some(request.into_body());
            }
            (&NO_CONNECTION, true)
        }
        Failed::Connect => {
            endpoints.connection_failed(target);
            (&NO_CONNECTION, true)
        }
        Failed::Broken => (&BROKEN, may_repeat),
        Failed::Late => (&LATE, false),
    }
}

fn with(tried: &[Arc<Target>], target: &Arc<Target>) -> Vec<Arc<Target>> {
    tried.iter().chain([target]).cloned().collect()
}

/// The request as an endpoint gets it.
fn outgoing(
    head: &::http::request::Parts,
    body: RequestBody,
    target: &Target,
    protocol: AppProtocol,
) -> Request<RequestBody> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = head.headers.clone();
    strip_hop_by_hop(&mut headers);
    if protocol == AppProtocol::Http {
        *request.version_mut() = Version::HTTP_11;
        *request.uri_mut() = path.parse().unwrap_or_default();
        if !headers.contains_key(HOST)
            && let Some(value) =
                head.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
        {
            headers.insert(HOST, value);
        }
        if let Some(protocol) = upgrade::asked(&head.headers) {
            upgrade::put(&mut headers, protocol);
        }
    } else {
        *request.version_mut() = Version::HTTP_2;
        let named = headers.remove(HOST).and_then(|host| host.to_str().ok().map(str::to_owned));
        let authority = head.uri.authority().map(ToString::to_string).or(named);
        let authority = authority.unwrap_or_else(|| target.endpoint.address.to_string());
        let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path).build();
        *request.uri_mut() = uri.unwrap_or_default();
    }
    *request.headers_mut() = headers;
    request
}

async fn send(
    place: &Place,
    target: &Arc<Target>,
    mut request: Request<RequestBody>,
    protocol: AppProtocol,
) -> Result<Response<Leased>, Failed> {
    let asks_for_change = request.headers().contains_key(UPGRADE);
    loop {
        let lent = target.pool.lend(place, target.endpoint.address, protocol).await;
        let Ok(lent) = lent else { return Err(Failed::Unsent(Box::new(request))) };
        match lent {
            Lent::Http1(mut sender, kept) => match sender.try_send_request(request).await {
                // Nobody asked for it: the connection is no longer one of HTTP.
                Ok(answer) if upgrade::is_granted(&answer) && !asks_for_change => return Err(Failed::Broken),
                Ok(answer) => return Ok(leased(answer, Some(sender), target)),
                Err(mut error) => match error.take_message() {
                    // A kept connection was closed meanwhile: another one, or a new one.
                    Some(unsent) if kept => request = unsent,
                    Some(unsent) => return Err(Failed::Unsent(Box::new(unsent))),
                    None => return Err(Failed::Broken),
                },
            },
            Lent::Http2(mut sender, kept) => {
                let sent = match sender.ready().await {
                    Ok(()) => sender.try_send_request(request).await.map_err(|mut error| {
                        let unsent = error.take_message();
                        (unsent, is_unprocessed(error.error()))
                    }),
                    Err(_) => Err((Some(request), true)),
                };
                match sent {
                    Ok(answer) => return Ok(leased(answer, None, target)),
                    // As above: its endpoint has ended it, such as when it was started again.
                    Err((Some(unsent), _)) if kept => {
                        target.pool.clear();
                        request = unsent;
                    }
                    Err((Some(unsent), _)) => return Err(Failed::Unsent(Box::new(unsent))),
                    Err((None, true)) => return Err(Failed::Connect),
                    Err((None, false)) => return Err(Failed::Broken),
                }
            }
        }
    }
}

/// Whether the endpoint has said that it did nothing with the request. Source: RFC 9113, section 8.7.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    error.is_canceled()
        || cause.is_some_and(|cause| {
            cause.reason() == Some(h2::Reason::REFUSED_STREAM)
                || (cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR))
        })
}

fn leased(answer: Response<Incoming>, sender: Option<Http1>, target: &Arc<Target>) -> Response<Leased> {
    let (mut head, body) = answer.into_parts();
    let granted =
        head.headers.get(UPGRADE).filter(|_| head.status == StatusCode::SWITCHING_PROTOCOLS).cloned();
    strip_hop_by_hop(&mut head.headers);
    if let Some(protocol) = granted {
        upgrade::put(&mut head.headers, protocol);
    }
    Response::from_parts(head, Leased { body, lease: sender.map(|sender| (sender, Arc::clone(target))) })
}

/// An answer's body; its connection is kept when it ends.
struct Leased {
    body: Incoming,
    lease: Option<(Http1, Arc<Target>)>,
}

impl Leased {
    fn give_back(&mut self) {
        if let Some((sender, target)) = self.lease.take() {
            target.pool.give_back(sender);
        }
    }
}

impl Body for Leased {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => self.give_back(),
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.give_back(),
            Poll::Ready(Some(Err(_))) => self.lease = None,
            _ => {}
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        // An empty answer is never polled.
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}

/// A body that must end in time.
struct Timed {
    body: Leased,
    until: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Timed {
    fn new(body: Leased, deadline: Option<Instant>) -> Self {
        // Most answers are there already.
        let until = deadline.filter(|_| !body.is_end_stream());
        Self { body, until: until.map(|until| Box::pin(tokio::time::sleep_until(until))) }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_pending()
            && let Some(until) = &mut self.until
            && until.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Err("upstream request timeout".into())));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request's body whose bytes are counted where requests are logged.
struct Received {
    body: Incoming,
    received: Option<Arc<AtomicU64>>,
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some(received)) = (&polled, &self.received) {
            received.fetch_add(frame.data_ref().map_or(0, Bytes::len) as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body whose bytes are counted, and whose request is under way until it ends.
struct Counted {
    body: BoxBody<Bytes, Error>,
    endpoints: Arc<Endpoints>,
    story: Option<Story>,
    bytes: u64,
    _busy: Busy,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            self.bytes += bytes;
            self.endpoints.counters().bytes(bytes);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(story) = self.story.take() {
            story.end(self.bytes);
        }
    }
}

/// The proxy's own answer; to gRPC's clients with status 200 and gRPC's code (UNAVAILABLE, DEADLINE_EXCEEDED).
fn failure(is_grpc: bool, why: &Why, tried: Option<&Arc<Target>>) -> Answer {
    let body = if is_grpc { "" } else { why.message };
    let body = BoxBody::new(Full::new(Bytes::from_static(body.as_bytes())).map_err(|never| match never {}));
    let mut answer = Response::new(body);
    if is_grpc {
        let code = if why.status == StatusCode::GATEWAY_TIMEOUT { "4" } else { "14" };
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        answer.headers_mut().insert("grpc-status", HeaderValue::from_static(code));
        answer.headers_mut().insert("grpc-message", HeaderValue::from_static(why.message));
    } else {
        *answer.status_mut() = why.status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    let upstream = tried.map(|target| target.endpoint.address);
    answer.extensions_mut().insert(Outcome { upstream, flags: Some(why.flags), ..Outcome::default() });
    answer
}
