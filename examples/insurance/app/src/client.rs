//! An HTTP client that asks again: the name of the backend leads to several tasks, and one may be going away.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAXIMUM: usize = 256 * 1024;
/// How often a question is asked before the answer is an error.
const TRIES: usize = 3;
/// The longest that connecting to one address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A client.
#[derive(Clone)]
pub struct Client {
    http: HyperClient<HttpConnector, Empty<Bytes>>,
}

impl Default for Client {
    /// A client that looks its names up anew for each request, so that what has gone from DNS is not asked again.
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        Self { http: HyperClient::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector) }
    }
}

impl Client {
    /// The body of the answer with status 200; other statuses are errors.
    pub async fn get(&self, url: &str, timeout: Duration) -> Result<Bytes, String> {
        let mut last = String::new();
        for _ in 0..TRIES {
            match tokio::time::timeout(timeout, self.once(url)).await {
                Ok(Ok((StatusCode::OK, body))) => return Ok(body),
                Ok(Ok((status, body))) => {
                    last = format!("{url} answered {status}: {}", String::from_utf8_lossy(&body));
                    if status.is_client_error() {
                        break;
                    }
                }
                Ok(Err(error)) => last = format!("{url}: {error}"),
                Err(_) => last = format!("{url} did not answer within {timeout:?}"),
            }
        }
        Err(last)
    }

    async fn once(&self, url: &str) -> Result<(StatusCode, Bytes), String> {
        let request = Request::get(url).body(Empty::new()).map_err(|error| error.to_string())?;
        let response = self.http.request(request).await.map_err(|error| causes(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAXIMUM).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
