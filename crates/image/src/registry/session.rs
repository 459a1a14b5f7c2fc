//! One pull's dealings with one repository: URLs, credentials, tries, and the meaning of answers.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use http::header::{ACCEPT, CONTENT_TYPE, RANGE, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use hyper::body::Incoming;

use crate::digest::Digest;
use crate::error::{ImageError, PullError};
use crate::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::RegistryAuth;
use crate::registry::challenge::Challenge;
use crate::registry::client::{Answer, Client, Failure, printable, retry_after};
use crate::registry::connect::is_loopback;

/// Where Docker Hub's registry really is.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// See the module.
pub(super) struct Session<'a> {
    pub(super) client: Arc<Client>,
    reference: &'a Reference,
    auth: &'a RegistryAuth,
    pub(super) progress: &'a dyn Progress,
    /// What the registry accepted: a token or the password itself.
    authorization: tokio::sync::Mutex<Option<HeaderValue>>,
}

/// What a try came to.
enum Step {
    Done(Response<Incoming>),
    /// Worth another try, after a pause that the server may have named; the error if there is no other.
    Again(PullError, Option<Duration>),
}

impl<'a> Session<'a> {
    pub(super) fn new(
        client: Arc<Client>,
        reference: &'a Reference,
        auth: &'a RegistryAuth,
        progress: &'a dyn Progress,
    ) -> Self {
        Self { client, reference, auth, progress, authorization: tokio::sync::Mutex::default() }
    }

    /// A manifest or index by tag or digest, with its content type.
    pub(super) async fn manifest(&self, wanted: &str) -> Result<(Vec<u8>, Option<String>), PullError> {
        let uri = self.uri(&format!("manifests/{wanted}"))?;
        let mut headers = HeaderMap::new();
        for accepted in [OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST] {
            headers.append(ACCEPT, HeaderValue::from_static(accepted));
        }
        let maximum = self.client.limits().manifest_bytes;
        let (content_type, bytes) = self.whole(&uri, &headers, maximum, "bytes of a manifest").await?;
        Ok((bytes, content_type))
    }

    /// A blob of at most `size` bytes.
    pub(super) async fn small_blob(&self, digest: Digest, size: u64) -> Result<Vec<u8>, PullError> {
        let uri = self.uri(&format!("blobs/{digest}"))?;
        Ok(self.whole(&uri, &HeaderMap::new(), size, "bytes of an image configuration").await?.1)
    }

    /// Begins to read a blob at `offset`. The answer is 200 from its start, or 206.
    pub(super) async fn blob(&self, digest: Digest, offset: u64) -> Result<Response<Incoming>, PullError> {
        let uri = self.uri(&format!("blobs/{digest}"))?;
        let mut headers = HeaderMap::new();
        if offset > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-"))
        {
            headers.insert(RANGE, range);
        }
        self.get(&uri, &headers).await
    }

    /// What a broken connection means for a download that is tried again.
    pub(super) fn failed(&self, failure: Failure) -> PullError {
        let registry = self.reference.registry().to_owned();
        match failure {
            Failure::Connection(detail) => PullError::Unreachable { registry, detail },
            Failure::Timeout(what) => PullError::Timeout { registry, detail: format!("waited for {what}") },
            Failure::Protocol(detail) => PullError::Protocol { registry, detail },
        }
    }

    /// Says that a try failed, and waits. `attempt` is the number of the try to come.
    pub(super) async fn pause(&self, attempt: u32, error: &PullError, retry_after: Option<Duration>) {
        let pause = self.client.pause(attempt, retry_after);
        tracing::info!(reference = %self.reference, attempt, %error, "pull: trying again");
        self.progress.message(&format!("Trying again in {:.1} s: {error}", pause.as_secs_f64()));
        tokio::time::sleep(pause).await;
    }

    /// A whole body; the connection breaking within it is one more reason to try again.
    async fn whole(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        maximum: u64,
        what: &'static str,
    ) -> Result<(Option<String>, Vec<u8>), PullError> {
        let mut attempt = 1;
        loop {
            let response = self.get(uri, headers).await?;
            let content_type =
                response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
            match self.client.body(response, maximum).await {
                Ok(Some(bytes)) => return Ok((content_type, bytes)),
                Ok(None) => return Err(ImageError::Limit { what, maximum }.into()),
                Err(failure) => {
                    let error = self.failed(failure);
                    attempt += 1;
                    if attempt > self.client.limits().attempts || !error.is_transient() {
                        return Err(error);
                    }
                    self.pause(attempt, &error, None).await;
                }
            }
        }
    }

    fn uri(&self, rest: &str) -> Result<Uri, PullError> {
        let host = match self.reference.registry() {
            "docker.io" => DOCKER_HUB,
            other => other,
        };
        let bare =
            host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
        let scheme = if is_loopback(bare) { "http" } else { "https" };
        let text = format!("{scheme}://{host}/v2/{}/{rest}", self.reference.repository());
        text.parse().map_err(|_| self.failed(Failure::Protocol("the reference makes no URL".to_owned())))
    }

    /// A GET with tries and credentials; the answer is a success.
    async fn get(&self, uri: &Uri, headers: &HeaderMap) -> Result<Response<Incoming>, PullError> {
        let mut attempt = 1;
        loop {
            let (error, retry_after) = match self.once(uri, headers).await? {
                Step::Done(response) => return Ok(response),
                Step::Again(error, retry_after) => (error, retry_after),
            };
            attempt += 1;
            if attempt > self.client.limits().attempts {
                return Err(error);
            }
            self.pause(attempt, &error, retry_after).await;
        }
    }

    /// One try, or two when the first brings a challenge.
    async fn once(&self, uri: &Uri, headers: &HeaderMap) -> Result<Step, PullError> {
        let mut challenged = false;
        loop {
            let authorization = self.authorization.lock().await.clone();
            let answer = match self.send(uri, headers, authorization.as_ref()).await {
                Ok(answer) => answer,
                Err(Failure::Protocol(detail)) => return Err(self.failed(Failure::Protocol(detail))),
                Err(failure) => return Ok(Step::Again(self.failed(failure), None)),
            };
            let status = answer.response.status();
            if status.is_success() {
                return Ok(Step::Done(answer.response));
            }
            if status == StatusCode::UNAUTHORIZED && answer.same_origin && !challenged {
                challenged = true;
                if let Some(step) = self.meet(answer.response, authorization).await? {
                    return Ok(step);
                }
                continue;
            }
            let pause = retry_after(&answer.response);
            let error = self.refused(status, answer.response).await;
            let again = matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504);
            return if again { Ok(Step::Again(error, pause)) } else { Err(error) };
        }
    }

    async fn send(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Failure> {
        let mut headers = headers.clone();
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("roadstead/", env!("CARGO_PKG_VERSION"))));
        self.client.get(uri, &headers, authorization).await
    }

    /// What an answer that is no success means.
    async fn refused(&self, status: StatusCode, response: Response<Incoming>) -> PullError {
        let detail = self.client.explain(response).await;
        let registry = self.reference.registry().to_owned();
        match status {
            StatusCode::NOT_FOUND => PullError::NotFound { reference: self.reference.familiar(), detail },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                PullError::Unauthorized { repository: self.repository(), detail }
            }
            StatusCode::TOO_MANY_REQUESTS => PullError::TooManyRequests { registry, detail },
            _ => PullError::Registry { registry, status: status.as_u16(), detail },
        }
    }

    fn repository(&self) -> String {
        let familiar = self.reference.familiar();
        let end = familiar.find('@').or_else(|| {
            let slash = familiar.rfind('/').unwrap_or(0);
            familiar.get(slash..).and_then(|name| name.find(':')).map(|colon| slash + colon)
        });
        familiar.get(..end.unwrap_or(familiar.len())).unwrap_or_default().to_owned()
    }

    /// Gets what the registry's 401 asks for. `rejected` is what it did not accept. `Some` when the token server
    /// is to be tried again.
    async fn meet(
        &self,
        response: Response<Incoming>,
        rejected: Option<HeaderValue>,
    ) -> Result<Option<Step>, PullError> {
        let mut current = self.authorization.lock().await;
        // Another layer's request met the challenge meanwhile.
        if *current != rejected {
            return Ok(None);
        }
        let challenge = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| Challenge::parse(value.to_str().ok()?))
            .max_by_key(|challenge| matches!(challenge, Challenge::Bearer { .. }));
        let value = match (challenge, self.auth) {
            (Some(Challenge::Bearer { realm, service }), _) => {
                match self.token(&realm, service.as_deref()).await? {
                    Ok(value) => value,
                    Err(step) => return Ok(Some(step)),
                }
            }
            (Some(Challenge::Basic), RegistryAuth::Basic { .. }) if rejected.is_none() => self.basic()?,
            _ => return Err(self.refused(StatusCode::UNAUTHORIZED, response).await),
        };
        *current = Some(value);
        Ok(None)
    }

    /// Asks the token server for the right to pull from this repository.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
    ) -> Result<Result<HeaderValue, Step>, PullError> {
        let mut query =
            format!("scope={}", encode(&format!("repository:{}:pull", self.reference.repository())));
        if let Some(service) = service {
            query = format!("service={}&{query}", encode(service));
        }
        let separator = if realm.contains('?') { '&' } else { '?' };
        let malformed = || self.failed(Failure::Protocol("a malformed token server".to_owned()));
        let uri: Uri = format!("{realm}{separator}{query}").parse().map_err(|_| malformed())?;
        let authorization = match self.auth {
            RegistryAuth::Anonymous => None,
            RegistryAuth::Basic { .. } => Some(self.basic()?),
        };
        let answer = match self.send(&uri, &HeaderMap::new(), authorization.as_ref()).await {
            Ok(answer) => answer,
            Err(Failure::Protocol(detail)) => return Err(self.failed(Failure::Protocol(detail))),
            Err(failure) => return Ok(Err(Step::Again(self.failed(failure), None))),
        };
        let status = answer.response.status();
        if !status.is_success() {
            let pause = retry_after(&answer.response);
            let error = self.refused(status, answer.response).await;
            let again = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            return if again { Ok(Err(Step::Again(error, pause))) } else { Err(error) };
        }
        let maximum = self.client.limits().token_bytes;
        let body = match self.client.body(answer.response, maximum).await {
            Ok(Some(body)) => body,
            Ok(None) => return Err(ImageError::Limit { what: "bytes of a token", maximum }.into()),
            Err(failure) => return Ok(Err(Step::Again(self.failed(failure), None))),
        };
        // The parser's error would quote the token.
        let unusable =
            || self.failed(Failure::Protocol("the token server's answer holds no usable token".to_owned()));
        let token: Token = serde_json::from_slice(&body).map_err(|_| unusable())?;
        let token =
            token.token.or(token.access_token).filter(|token| !token.is_empty()).ok_or_else(unusable)?;
        sensitive(format!("Bearer {token}")).ok_or_else(unusable).map(Ok)
    }

    fn basic(&self) -> Result<HeaderValue, PullError> {
        let RegistryAuth::Basic { username, password } = self.auth else {
            return Err(PullError::Unauthorized {
                repository: self.repository(),
                detail: "no credentials".to_owned(),
            });
        };
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
        sensitive(format!("Basic {encoded}")).ok_or_else(|| PullError::Unauthorized {
            repository: self.repository(),
            detail: printable("the credentials cannot be sent"),
        })
    }
}

#[derive(serde::Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// A header's value that `Debug` does not print.
fn sensitive(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Percent-encodes all but unreserved characters (RFC 3986).
fn encode(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
