//! The API's HTTP listener: bounded in connections, bytes and time, whoever calls.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::limits::REQUEST_BODY_BYTES;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

/// Connections served at once; one more waits in the kernel's queue.
const CONNECTIONS_MAXIMUM: usize = 2048;
/// How long a client may take to send a request's head, and how long a kept connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to send a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// A body above this size needs one of [`LARGE_BODIES_MAXIMUM`] places, so that bodies in memory stay below
/// 2,048 × 64 KiB + 64 × 4 MiB.
const LARGE_BODY_BYTES: usize = 64 * 1024;
/// Large bodies that may be in memory at once.
const LARGE_BODIES_MAXIMUM: usize = 64;
/// Bytes that a request's head may have.
const HEAD_BYTES: usize = 32 * 1024;

/// What a client may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connections: usize,
    head_timeout: Duration,
    body_timeout: Duration,
}

const LIMITS: Limits =
    Limits { connections: CONNECTIONS_MAXIMUM, head_timeout: HEAD_TIMEOUT, body_timeout: BODY_TIMEOUT };

/// What a request is answered with.
pub type Answer = Response<Full<Bytes>>;

/// What stands behind the listener.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request whose body has been read.
    fn call(
        self: Arc<Self>,
        request: Request<Bytes>,
        peer: SocketAddr,
    ) -> impl Future<Output = Answer> + Send;

    /// Whether the request asks for a web socket of ours, which [`Handler::upgrade`] answers.
    fn is_web_socket(&self, path: &str) -> bool;

    /// Answers a web socket's handshake. On 101 it takes the connection over.
    fn upgrade(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Answer> + Send;
}

/// Serves `listener` until `stop` turns true; connections at work get a moment to finish.
pub async fn serve<H: Handler>(listener: TcpListener, handler: Arc<H>, stop: watch::Receiver<bool>) {
    serve_within(LIMITS, listener, handler, stop).await;
}

async fn serve_within<H: Handler>(
    limits: Limits,
    listener: TcpListener,
    handler: Arc<H>,
    mut stop: watch::Receiver<bool>,
) {
    let connections = Arc::new(Semaphore::new(limits.connections));
    let large_bodies = Arc::new(Semaphore::new(LARGE_BODIES_MAXIMUM));
    loop {
        let Ok(place) = Arc::clone(&connections).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = turned_true(&mut stop) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: let some close before trying again.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (handler, large_bodies, stop) = (Arc::clone(&handler), Arc::clone(&large_bodies), stop.clone());
        tokio::spawn(async move {
            connection(limits, stream, peer, handler, large_bodies, stop).await;
            drop(place);
        });
    }
}

/// Waits until the flag is true, or its owner gone.
async fn turned_true(flag: &mut watch::Receiver<bool>) {
    // What `wait_for` gives holds a lock: it must not live across another await.
    drop(flag.wait_for(|flag| *flag).await);
}

async fn connection<H: Handler>(
    limits: Limits,
    stream: TcpStream,
    peer: SocketAddr,
    handler: Arc<H>,
    large_bodies: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let (handler, large_bodies) = (Arc::clone(&handler), Arc::clone(&large_bodies));
        async move { Ok::<_, Infallible>(respond(limits, request, peer, handler, large_bodies).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = turned_true(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(Duration::from_secs(2), connection).await;
        }
    }
}

async fn respond<H: Handler>(
    limits: Limits,
    request: Request<Incoming>,
    peer: SocketAddr,
    handler: Arc<H>,
    large_bodies: Arc<Semaphore>,
) -> Answer {
    if request.method() == Method::GET && handler.is_web_socket(request.uri().path()) {
        return handler.upgrade(request, peer).await;
    }
    let (parts, body) = request.into_parts();
    let deadline = Instant::now() + limits.body_timeout;
    let announced = body.size_hint().upper().unwrap_or(u64::MAX);
    let place = if announced > LARGE_BODY_BYTES as u64 {
        match timeout_at(deadline, large_bodies.acquire()).await {
            Ok(place) => place.ok(),
            Err(_) => return plain(StatusCode::SERVICE_UNAVAILABLE, "too many large requests at once"),
        }
    } else {
        None
    };
    match read_body(&parts.headers, body, deadline).await {
        Ok(body) => {
            let answer = handler.call(Request::from_parts(parts, body), peer).await;
            drop(place);
            answer
        }
        Err((status, message)) => {
            let mut answer = plain(status, message);
            // What is left of the body is not read: the connection cannot carry another request.
            answer.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
            answer
        }
    }
}

async fn read_body(
    headers: &HeaderMap,
    mut body: Incoming,
    deadline: Instant,
) -> Result<Bytes, (StatusCode, &'static str)> {
    const TOO_LARGE: (StatusCode, &str) = (StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large");
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > REQUEST_BODY_BYTES as u64) {
        return Err(TOO_LARGE);
    }
    let mut read = BytesMut::new();
    loop {
        let frame = timeout_at(deadline, body.frame())
            .await
            .map_err(|_| (StatusCode::REQUEST_TIMEOUT, "the request's body took too long"))?;
        let Some(frame) = frame else { return Ok(read.freeze()) };
        let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, "the request's body broke off"))?;
        if let Ok(data) = frame.into_data() {
            if read.len() + data.len() > REQUEST_BODY_BYTES {
                return Err(TOO_LARGE);
            }
            read.extend_from_slice(&data);
        }
    }
}

/// An answer in plain text.
pub fn plain(status: StatusCode, message: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{message}\n"))));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    struct Echo;

    impl Handler for Echo {
        async fn call(self: Arc<Self>, request: Request<Bytes>, _peer: SocketAddr) -> Answer {
            Response::new(Full::new(request.into_body()))
        }
        fn is_web_socket(&self, _path: &str) -> bool {
            false
        }
        async fn upgrade(self: Arc<Self>, _request: Request<Incoming>, _peer: SocketAddr) -> Answer {
            plain(StatusCode::NOT_FOUND, "no")
        }
    }

    async fn ask(bytes: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(serve(listener, Arc::new(Echo), stopped));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await.unwrap();
        stop.send(true).unwrap();
        server.await.unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }

    #[tokio::test]
    async fn a_small_body_is_answered() {
        let answer = ask(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hi"), "{answer}");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_before_it_is_read() {
        let head =
            format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", REQUEST_BODY_BYTES + 1);
        let answer = ask(head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("connection: close"), "{answer}");
    }

    #[tokio::test]
    async fn a_chunked_body_over_the_limit_is_refused() {
        let chunk = 1024 * 1024;
        let mut bytes = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..=REQUEST_BODY_BYTES / chunk {
            bytes.extend_from_slice(format!("{chunk:x}\r\n").as_bytes());
            bytes.extend(std::iter::repeat_n(b'a', chunk));
            bytes.extend_from_slice(b"\r\n");
        }
        let answer = ask(&bytes).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }

    #[tokio::test]
    async fn a_head_over_the_limit_is_refused() {
        let mut bytes = b"GET / HTTP/1.1\r\nhost: x\r\nx: ".to_vec();
        bytes.extend(std::iter::repeat_n(b'a', HEAD_BYTES * 2));
        bytes.extend_from_slice(b"\r\n\r\n");
        let answer = ask(&bytes).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    const TIGHT: Limits = Limits {
        connections: 4,
        head_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(300),
    };

    /// Has 16 connections do something that never ends, where 4 are served at a time; a request is answered all the same.
    async fn others_are_served(begin: &'static [u8], go_on: &'static [u8]) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(serve_within(TIGHT, listener, Arc::new(Echo), stopped));
        let attackers: Vec<_> = (0..16)
            .map(|_| {
                tokio::spawn(async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    stream.write_all(begin).await.unwrap();
                    while go_on.is_empty() || stream.write_all(go_on).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let served = tokio::time::timeout(Duration::from_secs(30), async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
            let mut answer = vec![0; 4096];
            let read = stream.read(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer[..read]).into_owned()
        });
        assert!(served.await.expect("others are served").starts_with("HTTP/1.1 200"));
        attackers.iter().for_each(tokio::task::JoinHandle::abort);
        stop.send(true).unwrap();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a18_idle_connections_give_way() {
        others_are_served(b"", b"").await;
    }

    #[tokio::test]
    async fn a18_heads_that_trickle_are_cut_off() {
        others_are_served(b"GET / HTTP/1.1\r\nhost: x\r\nx: ", b"a").await;
    }

    #[tokio::test]
    async fn a18_bodies_that_trickle_are_cut_off() {
        others_are_served(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n", b"a").await;
    }

    /// The API speaks HTTP/1.1 alone: floods of frames meet a closed connection.
    #[tokio::test]
    async fn a18_frames_of_http2_are_refused_at_the_preface() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for _ in 0..10_000 {
            bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(serve(listener, Arc::new(Echo), stopped));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer))
            .await
            .expect("the connection is ended");
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    }
}
