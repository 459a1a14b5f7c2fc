//! A small client of AWS APIs: awsJson over HTTP, signed with SigV4, and signed web sockets.
//!
//! It speaks the same codecs as the server (`wire`), so that what one writes the other reads. Connections are kept alive and
//! shared; every call has a time limit, every answer a size limit.

mod backoff;
mod error;
mod http_client;
mod signing;
pub mod websocket;

pub use backoff::Backoff;
pub use error::ClientError;
pub use http_client::{CALL_TIMEOUT, Client, ClientConfig, RESPONSE_BYTES_MAXIMUM, RetryPolicy};
pub use wire::sigv4::{SecretKey, SigningKey};
