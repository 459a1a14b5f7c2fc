//! The envelope `{"type": …, "message": …}`, and reading JSON leniently.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The most bytes that one frame of either web socket may have. Ours: a payload of ten tasks with definitions of 64 KiB
/// each, and their environments, stays well below it; a TCS frame is at most 1 MiB by the protocol.
pub const FRAME_BYTES_MAXIMUM: usize = 4 * 1024 * 1024;

/// Why a frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Over [`FRAME_BYTES_MAXIMUM`].
    #[error("a frame of {0} bytes: at most {FRAME_BYTES_MAXIMUM} are taken")]
    TooLong(usize),
    /// Not JSON, or not an object with `type` and `message`.
    #[error("the frame is not an envelope of type and message")]
    Envelope(#[source] serde_json::Error),
    /// The message does not have the form of its type.
    #[error("a {kind} has not the form of one")]
    Message {
        /// The type named in the envelope, shortened.
        kind: String,
        /// What did not fit.
        #[source]
        source: serde_json::Error,
    },
    /// A telemetry frame without the blank line that ends its header block, or with a malformed header.
    #[error("the telemetry frame has no header block")]
    Header,
}

/// Reads JSON where `null` counts as absent: Go writes nil slices and maps as `null`.
pub fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    let mut value: Value = serde_json::from_str(text)?;
    remove_nulls(&mut value);
    T::deserialize(value)
}

/// Writes JSON. Our message types have text keys and finite numbers only, so this cannot fail for them.
pub fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Splits the envelope. The message of a type without a body may be missing.
pub(crate) fn open(text: &str) -> Result<(String, Value), FrameError> {
    if text.len() > FRAME_BYTES_MAXIMUM {
        return Err(FrameError::TooLong(text.len()));
    }
    #[derive(serde::Deserialize)]
    struct Envelope {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        message: Value,
    }
    let mut envelope: Envelope = serde_json::from_str(text).map_err(FrameError::Envelope)?;
    if envelope.message.is_null() {
        envelope.message = Value::Object(serde_json::Map::new());
    }
    remove_nulls(&mut envelope.message);
    Ok((envelope.kind, envelope.message))
}

/// Reads the message of a known type.
pub(crate) fn body<T: DeserializeOwned>(kind: &str, message: Value) -> Result<T, FrameError> {
    T::deserialize(message)
        .map_err(|source| FrameError::Message { kind: kind.chars().take(64).collect(), source })
}

/// Writes the envelope.
pub(crate) fn seal<T: Serialize>(kind: &str, message: &T) -> String {
    #[derive(Serialize)]
    struct Envelope<'a, T> {
        #[serde(rename = "type")]
        kind: &'a str,
        message: &'a T,
    }
    to_json(&Envelope { kind, message })
}

/// Depth is bounded by the parser's own limit of 128.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(remove_nulls);
        }
        Value::Array(elements) => {
            elements.retain(|element| !element.is_null());
            elements.iter_mut().for_each(remove_nulls);
        }
        _ => {}
    }
}
