//! Web sockets whose handshake is signed, as ACS and TCS want it.

use std::time::Duration;

use http::{HeaderValue, Uri};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, protocol::WebSocketConfig};

use crate::http_client::ClientConfig;
use crate::signing;

/// Time limit of connecting and handshake together. The stock agent's.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of one message. Ours; the agent protocol's own limit.
pub const MESSAGE_BYTES_MAXIMUM: usize = 4 * 1024 * 1024;

/// An open web socket.
pub type Socket = WebSocketStream<TcpStream>;

/// Why a web socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server answered, but not with 101.
    #[error("the server refused the connection with {status}: {code}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Such as `InactiveInstanceException`; empty when it named none.
        code: String,
        /// In words.
        message: String,
    },
    /// The server could not be reached, or did not speak the protocol.
    #[error("the server cannot be reached")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Not within the time limit.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// The address cannot be used.
    #[error("the address cannot be used: {0}")]
    Address(String),
}

/// Opens a web socket at `url` (`http://` or `ws://`, path and query included). The handshake is a GET signed for the
/// service `aws_service` with an empty body.
pub async fn connect(url: &Uri, aws_service: &str, config: &ClientConfig) -> Result<Socket, ConnectError> {
    tokio::time::timeout(HANDSHAKE_TIMEOUT, open(url, aws_service, config))
        .await
        .map_err(|_| ConnectError::Timeout(HANDSHAKE_TIMEOUT))?
}

async fn open(url: &Uri, aws_service: &str, config: &ClientConfig) -> Result<Socket, ConnectError> {
    let address = |why: &str| ConnectError::Address(why.to_owned());
    if !matches!(url.scheme_str(), Some("http" | "ws")) {
        return Err(address("only http and ws are supported"));
    }
    let host = url.host().ok_or_else(|| address("no host"))?;
    let port = url.port_u16().unwrap_or(80);
    let mut parts = url.clone().into_parts();
    parts.scheme = Some("ws".parse().map_err(|_| address("no scheme"))?);
    let ws = Uri::from_parts(parts).map_err(|error| ConnectError::Address(error.to_string()))?;
    let mut request = ws.into_client_request().map_err(|error| ConnectError::Address(error.to_string()))?;
    request.headers_mut().insert(
        http::header::USER_AGENT,
        HeaderValue::from_static(concat!("roadstead/", env!("CARGO_PKG_VERSION"))),
    );
    let request = signing::sign(request, b"", aws_service, config);

    let stream = TcpStream::connect((host.trim_start_matches('[').trim_end_matches(']'), port))
        .await
        .map_err(|error| ConnectError::Transport(Box::new(error)))?;
    let _ = stream.set_nodelay(true);
    let limits = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MESSAGE_BYTES_MAXIMUM)
        .max_message_size(Some(MESSAGE_BYTES_MAXIMUM))
        .max_frame_size(Some(MESSAGE_BYTES_MAXIMUM));
    match tokio_tungstenite::client_async_with_config(request, stream, Some(limits)).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            let (code, message) = refusal(body);
            Err(ConnectError::Refused { status: response.status().as_u16(), code, message })
        }
        Err(error) => Err(ConnectError::Transport(Box::new(error))),
    }
}

/// A refusal's exception and words: `{"type": X, "message": {"message": …}}` or `{X: …}`.
fn refusal(body: &[u8]) -> (String, String) {
    let Ok(serde_json::Value::Object(members)) = serde_json::from_slice(body) else {
        return (String::new(), String::from_utf8_lossy(body).chars().take(256).collect());
    };
    let words = |value: &serde_json::Value| {
        value
            .as_str()
            .or_else(|| value.get("message").and_then(|inner| inner.as_str()))
            .unwrap_or_default()
            .to_owned()
    };
    if let Some(kind) = members.get("type").or_else(|| members.get("__type")).and_then(|kind| kind.as_str()) {
        return (kind.to_owned(), members.get("message").map(words).unwrap_or_default());
    }
    members.iter().next().map(|(kind, value)| (kind.clone(), words(value))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read_in_both_forms() {
        for (body, code, message) in [
            (
                r#"{"type":"InactiveInstanceException","message":{"message":"gone"}}"#,
                "InactiveInstanceException",
                "gone",
            ),
            (r#"{"InvalidClusterException":"no such"}"#, "InvalidClusterException", "no such"),
            ("nonsense", "", "nonsense"),
            ("{}", "", ""),
        ] {
            assert_eq!(refusal(body.as_bytes()), (code.to_owned(), message.to_owned()));
        }
    }
}
