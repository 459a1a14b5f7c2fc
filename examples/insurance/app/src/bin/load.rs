//! A load generator for deployments: `insurance-load URL[,URL…] CONNECTIONS REQUESTS_PER_SECOND [SECONDS]`.
//!
//! Keeps its connections alive, as browsers do, and sends at a steady rate until the time is over or SIGTERM comes. Prints how
//! many requests there were and how each that was not answered with 2xx failed; ends with status 1 where one failed.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use insurance::server::log;
use tokio::signal::unix::{SignalKind, signal};

/// The longest that one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Count {
    sent: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
}

async fn request(client: &Client<HttpConnector, Empty<Bytes>>, url: &str) -> Result<(), String> {
    let request = Request::get(url).body(Empty::new()).map_err(|error| error.to_string())?;
    let response = client.request(request).await.map_err(|error| format!("{url}: {error}"))?;
    let status = response.status();
    response.into_body().collect().await.map_err(|error| format!("{url}: the body broke off: {error}"))?;
    if status.is_success() { Ok(()) } else { Err(format!("{url}: {status}")) }
}

async fn connection(
    urls: Arc<[String]>,
    first: usize,
    pause: Duration,
    count: Arc<Count>,
    stop: Arc<AtomicBool>,
) {
    // A client for each, with a pool of one: a connection is used again, as a browser does.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build_http();
    let mut next = Instant::now() + pause.mul_f64(first as f64 / 16.0 % 1.0);
    for url in urls.iter().cycle().skip(first) {
        tokio::time::sleep_until(next.into()).await;
        if stop.load(Ordering::Relaxed) {
            return;
        }
        next = (next + pause).max(Instant::now());
        count.sent.fetch_add(1, Ordering::Relaxed);
        let done = tokio::time::timeout(REQUEST_TIMEOUT, request(&client, url)).await;
        if let Err(error) =
            done.unwrap_or_else(|_| Err(format!("{url}: no answer within {REQUEST_TIMEOUT:?}")))
        {
            let mut failures = count.failures.lock().unwrap_or_else(PoisonError::into_inner);
            *failures.entry(error).or_default() += 1;
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize| arguments.get(at).and_then(|text| text.parse::<u32>().ok()).filter(|number| *number > 0);
    let (Some(urls), Some(connections), Some(rate)) = (arguments.first(), number(1), number(2)) else {
        log("usage: insurance-load URL[,URL…] CONNECTIONS REQUESTS_PER_SECOND [SECONDS]");
        return ExitCode::from(2);
    };
    let urls: Arc<[String]> = urls.split(',').map(str::to_owned).collect();
    let (count, stop) = (Arc::new(Count::default()), Arc::new(AtomicBool::new(false)));
    let pause = Duration::from_secs(1) * connections / rate;
    let workers: Vec<_> = (0..connections as usize)
        .map(|first| {
            tokio::spawn(connection(Arc::clone(&urls), first, pause, Arc::clone(&count), Arc::clone(&stop)))
        })
        .collect();
    let limit = number(3).map_or(Duration::from_secs(3600), |seconds| Duration::from_secs(seconds.into()));
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => tokio::select! {
            () = tokio::time::sleep(limit) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        },
        _ => tokio::time::sleep(limit).await,
    }
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        let _ = worker.await;
    }
    let failures = count.failures.lock().unwrap_or_else(PoisonError::into_inner);
    let failed: u64 = failures.values().sum();
    log(&format!("{} requests, {failed} failed", count.sent.load(Ordering::Relaxed)));
    for (failure, times) in failures.iter() {
        log(&format!("{times} x {failure}"));
    }
    ExitCode::from(u8::from(failed > 0))
}
