//! Where events go: the agent implements [`LogSink`] over its HTTP client.

use std::future::Future;
use std::pin::Pin;

/// A boxed future, so that [`LogSink`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One log stream, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The region, from `awslogs-region` or the agent's own.
    pub region: String,
    /// The log group.
    pub group: String,
    /// The log stream.
    pub stream: String,
    /// Another endpoint than the region's, from `awslogs-endpoint`.
    pub endpoint: Option<String>,
    /// To be sent as `x-amzn-logs-format`, from `awslogs-format`.
    pub format: Option<String>,
}

/// One event. Source: InputLogEvent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The line, never empty. Bytes that were no UTF-8 are U+FFFD.
    pub message: String,
}

/// Why a call to the service failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// `ResourceNotFoundException`: the group or the stream is missing.
    #[error("ResourceNotFoundException: {0}")]
    ResourceNotFound(String),
    /// `ResourceAlreadyExistsException`.
    #[error("ResourceAlreadyExistsException: {0}")]
    ResourceAlreadyExists(String),
    /// It may work later: no connection, a timeout, throttling, HTTP 5xx, credentials that expired.
    #[error("the log service cannot be reached now: {0}")]
    Away(String),
    /// The service understood and refused; trying again is useless.
    #[error("{code}: {message}")]
    Refused {
        /// AWS's code.
        code: String,
        /// AWS's words.
        message: String,
    },
}

impl SinkError {
    /// What an error answer of the service means to the driver, by AWS's code and the HTTP status.
    pub fn of_answer(code: &str, message: &str, status: u16) -> Self {
        // Codes may come with a namespace in front.
        let code = code.rsplit('#').next().unwrap_or_default();
        // Those that are 4xx and yet may work later. Source: the SDKs' retry rules; keys that are not known any more are
        // renewed by the agent.
        const LATER: [&str; 9] = [
            "ThrottlingException",
            "Throttling",
            "TooManyRequestsException",
            "LimitExceededException",
            "OperationAbortedException",
            "RequestTimeTooSkewed",
            "ExpiredTokenException",
            "InvalidSignatureException",
            "UnrecognizedClientException",
        ];
        match code {
            "ResourceNotFoundException" => Self::ResourceNotFound(message.to_owned()),
            "ResourceAlreadyExistsException" => Self::ResourceAlreadyExists(message.to_owned()),
            _ if status >= 500 || status == 429 || LATER.contains(&code) => {
                Self::Away(format!("{code}: {message}"))
            }
            _ => Self::Refused { code: code.to_owned(), message: message.to_owned() },
        }
    }
}

/// The three calls that the driver makes.
pub trait LogSink: Send + Sync + 'static {
    /// PutLogEvents. The events are within the limits of one put and in order of time.
    fn put_log_events<'a>(
        &'a self,
        target: &'a Target,
        events: &'a [LogEvent],
    ) -> BoxFuture<'a, Result<(), SinkError>>;
    /// CreateLogGroup for the target's group.
    fn create_log_group<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SinkError>>;
    /// CreateLogStream for the target's group and stream.
    fn create_log_stream<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SinkError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let of = |code, status| SinkError::of_answer(code, "m", status);
        assert_eq!(
            of("com.amazonaws.logs#ResourceNotFoundException", 400),
            SinkError::ResourceNotFound("m".into())
        );
        assert_eq!(of("ResourceAlreadyExistsException", 400), SinkError::ResourceAlreadyExists("m".into()));
        for (code, status) in
            [("ThrottlingException", 400), ("ServiceUnavailableException", 503), ("", 502), ("X", 429)]
        {
            assert!(matches!(of(code, status), SinkError::Away(_)), "{code}");
        }
        assert!(matches!(of("InvalidParameterException", 400), SinkError::Refused { .. }));
    }
}
