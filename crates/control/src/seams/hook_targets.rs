//! Calls of the functions that lifecycle hooks name.
//!
//! Where there is no AWS Lambda, the operator maps a function's ARN to an address (`--hook-target ARN=URL`). The address
//! gets the function's event as the body of a POST and answers with the function's result.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// The longest that one call may take: AWS Lambda's own limit. What takes longer answers IN_PROGRESS and is asked again.
const CALL_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// The longest that connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of an answer. An answer has three members; `hookDetails` is handed back with every call and stored.
const ANSWER_BYTES_MAXIMUM: usize = 64 * 1024;

/// One call.
#[derive(Clone, Debug)]
pub struct HookCall {
    /// The function's ARN.
    pub target: String,
    /// The hook's identity: the same for every call of one hook, after a crash too.
    pub execution_id: String,
    /// The event, as JSON.
    pub payload: String,
}

/// Why a call brought no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It may go better next time.
    #[error("{0}")]
    Unanswered(String),
    /// The function failed, or there is nobody to call.
    #[error("{0}")]
    Impossible(String),
}

/// Who calls functions.
pub trait HookTargets: Send + Sync + 'static {
    /// Calls the function and gives back its result. A future that is dropped is a call given up.
    fn call(&self, call: HookCall) -> BoxFuture<'_, Result<Bytes, CallError>>;
}

/// A mapping that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// Not two parts.
    #[error(
        "{0:?} is not ARN=URL, such as arn:aws:lambda:us-east-1:000000000000:function:check=http://127.0.0.1:9000/"
    )]
    Form(String),
    /// Not an address that can be called.
    #[error("{0:?} is not an address of the form http://HOST[:PORT][/PATH]")]
    Address(String),
}

/// Functions by the operator's mapping.
pub struct MappedHookTargets {
    addresses: BTreeMap<String, Uri>,
    call_timeout: Duration,
    http: Client<HttpConnector, Full<Bytes>>,
}

impl Default for MappedHookTargets {
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl MappedHookTargets {
    /// Functions at these addresses.
    pub fn new(addresses: BTreeMap<String, Uri>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        // One call every half minute at most: a connection is not worth keeping.
        let http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { addresses, call_timeout: CALL_TIMEOUT, http }
    }

    /// The same with another limit for a call.
    pub fn with_call_timeout(mut self, call_timeout: Duration) -> Self {
        self.call_timeout = call_timeout;
        self
    }

    /// Reads `ARN=URL`.
    pub fn parse(text: &str) -> Result<(String, Uri), MappingError> {
        let (arn, address) = text.split_once('=').ok_or_else(|| MappingError::Form(text.to_owned()))?;
        if !arn.starts_with("arn:") {
            return Err(MappingError::Form(text.to_owned()));
        }
        let wrong = || MappingError::Address(address.to_owned());
        let uri: Uri = address.parse().map_err(|_| wrong())?;
        if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        Ok((arn.to_owned(), uri))
    }

    async fn post(&self, address: Uri, call: HookCall) -> Result<Bytes, CallError> {
        let request = Request::post(address)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header("x-amzn-requestid", call.execution_id)
            .body(Full::new(Bytes::from(call.payload)))
            .map_err(|error| CallError::Impossible(error.to_string()))?;
        let response = self.http.request(request).await.map_err(|error| {
            CallError::Unanswered(if error.is_connect() {
                "the connection was not made.".to_owned()
            } else {
                "the connection was lost.".to_owned()
            })
        })?;
        let status = response.status();
        if status.is_server_error() || status == http::StatusCode::TOO_MANY_REQUESTS {
            return Err(CallError::Unanswered(format!("it answered with HTTP status {}.", status.as_u16())));
        }
        if !status.is_success() {
            let target = call.target;
            let status = status.as_u16();
            return Err(CallError::Impossible(format!(
                "Lifecycle hook target {target} answered with HTTP status {status}."
            )));
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAXIMUM).collect().await;
        let body = body.map_err(|_| {
            CallError::Unanswered(format!(
                "its answer broke off, or has more than {ANSWER_BYTES_MAXIMUM} bytes."
            ))
        })?;
        Ok(body.to_bytes())
    }
}

impl HookTargets for MappedHookTargets {
    fn call(&self, call: HookCall) -> BoxFuture<'_, Result<Bytes, CallError>> {
        Box::pin(async move {
            let target = call.target.clone();
            let Some(address) = self.addresses.get(&target).cloned() else {
                return Err(CallError::Impossible(format!(
                    "Lifecycle hook target {target} is not mapped to an address. There is no AWS Lambda here: start \
                     roadstead with --hook-target {target}=http://HOST:PORT/PATH."
                )));
            };
            let seconds = self.call_timeout.as_secs();
            tokio::time::timeout(self.call_timeout, self.post(address, call)).await.unwrap_or_else(|_| {
                Err(CallError::Unanswered(format!("it did not answer within {seconds} seconds.")))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:check";

    /// Answers one request with these bytes, and gives back what was asked.
    async fn call(answer: Option<Vec<u8>>) -> (Result<Bytes, CallError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"{\"a\":1}") {
                let mut buffer = [0; 1024];
                let count = stream.read(&mut buffer).await.unwrap();
                assert!(count > 0, "the request broke off");
                request.extend_from_slice(&buffer[..count]);
            }
            match answer {
                // The client may have enough of it before its end.
                Some(answer) => drop(stream.write_all(&answer).await),
                None => std::future::pending().await,
            }
            (String::from_utf8(request).unwrap(), stream)
        });
        let mapping = format!("{ARN}=http://127.0.0.1:{port}/check?now=1");
        let targets = MappedHookTargets::new([MappedHookTargets::parse(&mapping).unwrap()].into())
            .with_call_timeout(Duration::from_millis(500));
        let one = HookCall {
            target: ARN.to_owned(),
            execution_id: "6f1c".to_owned(),
            payload: "{\"a\":1}".to_owned(),
        };
        let result = targets.call(one).await;
        serving.abort();
        let request = serving.await.map(|(request, _)| request).unwrap_or_default();
        (result, request)
    }

    fn http(status: &str, body: &str) -> Option<Vec<u8>> {
        Some(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
    }

    #[tokio::test]
    async fn a_function_is_called_and_answers() {
        let (result, request) = call(http("200 OK", "{}")).await;
        assert_eq!(result, Ok(Bytes::from("{}")));
        let request = request.to_ascii_lowercase();
        assert!(request.starts_with("post /check?now=1 http/1.1"), "{request}");
        assert!(request.contains("x-amzn-requestid: 6f1c"), "{request}");
    }

    #[tokio::test]
    async fn f26_answers_are_bounded_in_time_and_size() {
        let unanswered = |text: &str| Err(CallError::Unanswered(text.to_owned()));
        let (result, _) = call(http("503 Away", "")).await;
        assert_eq!(result, unanswered("it answered with HTTP status 503."));
        let (result, _) = call(None).await;
        assert_eq!(result, unanswered("it did not answer within 0 seconds."));
        let (result, _) = call(http("200 OK", &"x".repeat(ANSWER_BYTES_MAXIMUM + 1))).await;
        assert!(matches!(&result, Err(CallError::Unanswered(why)) if why.contains("bytes")), "{result:?}");
        let (result, _) = call(Some(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec())).await;
        assert!(matches!(result, Err(CallError::Unanswered(_))), "{result:?}");
    }

    #[tokio::test]
    async fn nobody_is_called_that_was_not_named() {
        // A redirection is not followed.
        let moved =
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec();
        let (result, _) = call(Some(moved)).await;
        assert!(matches!(&result, Err(CallError::Impossible(why)) if why.contains("302")), "{result:?}");
        let other =
            HookCall { target: "arn:other".to_owned(), execution_id: String::new(), payload: String::new() };
        let result = MappedHookTargets::default().call(other).await;
        assert!(
            matches!(&result, Err(CallError::Impossible(why)) if why.contains("--hook-target arn:other="))
        );
    }

    #[test]
    fn mappings_are_read() {
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:check:1";
        let (key, uri) = MappedHookTargets::parse(&format!("{arn}=http://127.0.0.1:9000/a?b=c")).unwrap();
        assert_eq!((key.as_str(), uri.path_and_query().unwrap().as_str()), (arn, "/a?b=c"));
        for wrong in
            ["", arn, "name=http://h/", &format!("{arn}=ftp://h/"), &format!("{arn}=h"), &format!("{arn}=")]
        {
            assert!(MappedHookTargets::parse(wrong).is_err(), "{wrong}");
        }
    }
}
