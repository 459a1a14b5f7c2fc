//! An HTTP server that ends in order: on SIGTERM it takes no new connection, finishes what it is asked, and returns.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The longest that requests under way may take once SIGTERM has come: less than ECS's stop timeout of 30 seconds.
const FINISH_WITHIN: Duration = Duration::from_secs(20);
/// The longest that a client may take for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// An answer with this status, type and text.
pub fn answer(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    answer
}

/// JSON.
pub fn json(status: StatusCode, value: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => answer(status, "application/json", body),
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
    }
}

/// Serves port `PORT` (8080 where it is not set) until SIGTERM or SIGINT.
pub async fn serve<H, F>(name: &str, handle: H) -> std::io::Result<()>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let port = std::env::var("PORT").ok().and_then(|text| text.parse().ok()).unwrap_or(8080);
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await?;
    log(&format!("{name}: listening on port {port}"));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (ending, ended) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    log(&format!("{name}: {error}"));
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(stream, handle.clone(), ended.clone()));
    }
    drop(listener);
    log(&format!("{name}: SIGTERM; finishing what is under way"));
    ending.send_replace(true);
    let finished =
        tokio::time::timeout(FINISH_WITHIN, async { while connections.join_next().await.is_some() {} }).await;
    log(&format!("{name}: {}", if finished.is_ok() { "done" } else { "some requests took too long" }));
    Ok(())
}

/// Serves one client until it goes away; once `ended` turns true, until its request is answered.
async fn connection<H, F>(stream: TcpStream, handle: H, mut ended: watch::Receiver<bool>)
where
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answered = handle(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // That a client went away in the middle is no matter for the log.
    tokio::select! {
        _ = serving.as_mut() => return,
        _ = ended.wait_for(|ended| *ended) => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// A line of the container's log, which is what it prints.
#[allow(clippy::print_stdout)]
pub fn log(line: &str) {
    println!("{line}");
}
