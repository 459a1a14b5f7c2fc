//! [`ClientError`]: why a call has no answer.

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The service answered with an error.
    #[error("{code}: {message}")]
    Fault {
        /// Such as `ClusterNotFoundException`.
        code: String,
        /// In words.
        message: String,
        /// HTTP status.
        status: u16,
        /// `x-amzn-RequestId`, where there is one.
        request_id: Option<String>,
    },
    /// The service could not be reached, or the connection broke. The call may or may not have had its effect.
    #[error("the service cannot be reached")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer within the time limit. The call may or may not have had its effect.
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
    /// The answer cannot be read.
    #[error("the answer cannot be read: {0}")]
    Answer(String),
    /// The request cannot be made, such as an endpoint without a host.
    #[error("the request cannot be made: {0}")]
    Request(String),
}

/// Codes that say "later": AWS SDKs retry them.
const THROTTLING_CODES: [&str; 9] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "RequestThrottled",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "SlowDown",
];

impl ClientError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Fault { code, status, .. } => *status >= 500 || THROTTLING_CODES.contains(&code.as_str()),
            Self::Transport(_) | Self::Timeout(_) => true,
            Self::Answer(_) | Self::Request(_) => false,
        }
    }

    /// The fault's code, if it is one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Fault { code, .. } => Some(code),
            _ => None,
        }
    }
}
