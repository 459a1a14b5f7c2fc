//! [`Client`]: calls of AWS operations over HTTP.

use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Ids};
use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use wire::OperationType;
use wire::schema::{OperationSchema, Protocol};
use wire::sigv4::SigningKey;

use crate::backoff::Backoff;
use crate::error::ClientError;
use crate::signing;

/// Time limit of one attempt, from connecting to the last byte. The stock agent's.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(42);
/// The most bytes of an answer that are read. Ours: the server's own pages stay below 2 MiB.
pub const RESPONSE_BYTES_MAXIMUM: usize = 16 * 1024 * 1024;
/// Idle connections kept per host. Ours: one agent has about as many calls under way at once.
const IDLE_CONNECTIONS_MAXIMUM: usize = 16;
/// How long an idle connection is kept. Below the server's own limit, so that it is not closed under a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// What a [`Client`] needs.
#[derive(Clone)]
pub struct ClientConfig {
    /// `http://host:port`, a path prefix allowed.
    pub endpoint: Uri,
    /// The region signed for.
    pub region: String,
    /// The key signed with.
    pub credentials: Arc<SigningKey>,
    /// Moments of signatures.
    pub clock: Arc<dyn Clock>,
    /// Jitter of waits.
    pub ids: Arc<dyn Ids>,
}

/// How often a call is tried.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Attempts at most, the first one included.
    pub attempts: u32,
    /// The first wait.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// How much longer each wait is than the one before.
    pub factor: f64,
}

impl Default for RetryPolicy {
    /// Three attempts, as the AWS SDKs.
    fn default() -> Self {
        Self {
            attempts: 3,
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(5),
            factor: 2.0,
        }
    }
}

/// Calls operations of AWS services at one endpoint. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    config: ClientConfig,
    headers: Vec<(HeaderName, HeaderValue)>,
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// A client; nothing is connected yet.
    pub fn new(config: ClientConfig) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(30)));
        connector.set_nodelay(true);
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAXIMUM)
            .build(connector);
        Self { config, headers: Vec::new(), http }
    }

    /// The same client (and connections) signing for another region.
    pub fn with_region(&self, region: impl Into<String>) -> Self {
        let mut client = self.clone();
        client.config.region = region.into();
        client
    }

    /// The same client (and connections) calling another endpoint.
    pub fn with_endpoint(&self, endpoint: Uri) -> Self {
        let mut client = self.clone();
        client.config.endpoint = endpoint;
        client
    }

    /// The same client (and connections) sending one more header with each call, such as `x-amzn-logs-format`.
    pub fn with_header(&self, name: HeaderName, value: HeaderValue) -> Self {
        let mut client = self.clone();
        client.headers.push((name, value));
        client
    }

    /// What it was made with.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Calls operation `O` once.
    pub async fn call<O: OperationType>(&self, input: &O::Input) -> Result<O::Output, ClientError> {
        let request = self.request(O::SCHEMA, wire::protocol::json::write(input))?;
        let exchange = async {
            let response =
                self.http.request(request).await.map_err(|error| ClientError::Transport(Box::new(error)))?;
            let status = response.status();
            let headers = response.headers().clone();
            Ok::<_, ClientError>((status, headers, read_body(response).await?))
        };
        let (status, headers, body) = tokio::time::timeout(CALL_TIMEOUT, exchange)
            .await
            .map_err(|_| ClientError::Timeout(CALL_TIMEOUT))??;
        if !status.is_success() {
            return Err(fault(status, &headers, &body));
        }
        let mut output = O::Output::default();
        if !body.is_empty() {
            wire::protocol::json::read(&body, &mut output)
                .map_err(|error| ClientError::Answer(error.to_string()))?;
        }
        Ok(output)
    }

    /// Calls operation `O` until it is answered with something other than "later", at most as often as `policy` says.
    pub async fn call_with_retry<O: OperationType>(
        &self,
        input: &O::Input,
        policy: RetryPolicy,
    ) -> Result<O::Output, ClientError> {
        let mut backoff = Backoff::new(policy.first_wait, policy.longest_wait, policy.factor);
        let mut attempt = 1;
        loop {
            match self.call::<O>(input).await {
                Err(error) if error.is_retryable() && attempt < policy.attempts => {
                    tracing::debug!(operation = O::SCHEMA.name, attempt, %error, "trying again");
                    attempt += 1;
                    tokio::time::sleep(backoff.next(&*self.config.ids)).await;
                }
                answer => return answer,
            }
        }
    }

    /// Sends a signed POST without a body to `path` (with its query) of the endpoint: status and text of the answer.
    pub async fn post(&self, path: &str, aws_service: &str) -> Result<(u16, String), ClientError> {
        let refused = |error: http::Error| ClientError::Request(error.to_string());
        let endpoint = &self.config.endpoint;
        let authority = endpoint
            .authority()
            .ok_or_else(|| ClientError::Request("the endpoint has no host".to_owned()))?;
        let uri = Uri::builder()
            .scheme(endpoint.scheme_str().unwrap_or("http"))
            .authority(authority.clone())
            .path_and_query(path)
            .build()
            .map_err(refused)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(header::HOST, authority.as_str())
            .header(header::USER_AGENT, concat!("roadstead/", env!("CARGO_PKG_VERSION")))
            .body(())
            .map_err(refused)?;
        let request =
            signing::sign(request, b"", aws_service, &self.config).map(|()| Full::new(Bytes::new()));
        let exchange = async {
            let answer =
                self.http.request(request).await.map_err(|error| ClientError::Transport(Box::new(error)))?;
            let status = answer.status().as_u16();
            Ok((status, String::from_utf8_lossy(&read_body(answer).await?).into_owned()))
        };
        tokio::time::timeout(CALL_TIMEOUT, exchange).await.map_err(|_| ClientError::Timeout(CALL_TIMEOUT))?
    }

    /// The signed request of one awsJson call.
    fn request(&self, schema: &OperationSchema, body: String) -> Result<Request<Full<Bytes>>, ClientError> {
        let content_type = match schema
            .service
            .protocols
            .iter()
            .find(|protocol| matches!(protocol, Protocol::AwsJson10 | Protocol::AwsJson11))
        {
            Some(Protocol::AwsJson10) => "application/x-amz-json-1.0",
            Some(_) => "application/x-amz-json-1.1",
            None => {
                return Err(ClientError::Request(format!("{} does not speak awsJson", schema.service.name)));
            }
        };
        let authority = self
            .config
            .endpoint
            .authority()
            .ok_or_else(|| ClientError::Request("the endpoint has no host".to_owned()))?
            .clone();
        let target = format!("{}.{}", schema.service.target_prefix, schema.name);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.config.endpoint.clone())
            .header(header::HOST, authority.as_str())
            .header(header::CONTENT_TYPE, content_type)
            .header(header::USER_AGENT, concat!("roadstead/", env!("CARGO_PKG_VERSION")))
            .header("x-amz-target", target)
            .body(())
            .map_err(|error| ClientError::Request(error.to_string()))?;
        request.headers_mut().extend(self.headers.iter().cloned());
        let request = signing::sign(request, body.as_bytes(), schema.service.name, &self.config);
        Ok(request.map(|()| Full::new(Bytes::from(body))))
    }
}

async fn read_body(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    Limited::new(response.into_body(), RESPONSE_BYTES_MAXIMUM)
        .collect()
        .await
        .map(|collected| collected.to_bytes())
        .map_err(ClientError::Transport)
}

/// The fault of an answer that is not 2xx: from the body, else from the header, else from the status.
fn fault(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ClientError {
    let text = |name: &str| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let parsed: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let member = |names: [&str; 2]| {
        let parsed = parsed.as_ref()?;
        names.iter().find_map(|name| parsed.get(name)?.as_str()).map(str::to_owned)
    };
    let code = member(["__type", "code"])
        .or_else(|| text("x-amzn-errortype").map(str::to_owned))
        .unwrap_or_else(|| status.canonical_reason().unwrap_or("Unknown").replace(' ', ""));
    // `com.amazonaws.ecs#ClientException:http://…` is how some services write it.
    let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
    ClientError::Fault {
        code,
        message: member(["message", "Message"]).unwrap_or_default(),
        status: status.as_u16(),
        request_id: text("x-amzn-requestid").map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_from_body_header_or_status() {
        let cases = [
            (
                400,
                None,
                r#"{"__type":"ClusterNotFoundException","message":"m"}"#,
                "ClusterNotFoundException",
                "m",
            ),
            (
                400,
                None,
                r#"{"__type":"com.amazonaws.ecs#ClientException","Message":"m"}"#,
                "ClientException",
                "m",
            ),
            (400, Some("InvalidParameterException:http://x"), "{}", "InvalidParameterException", ""),
            (503, None, "<html>", "ServiceUnavailable", ""),
        ];
        for (status, header, body, code, message) in cases {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert("x-amzn-errortype", HeaderValue::from_static(header));
            }
            let error = fault(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes());
            assert_eq!(error.to_string(), format!("{code}: {message}"));
            assert_eq!(error.is_retryable(), status >= 500);
        }
    }
}
