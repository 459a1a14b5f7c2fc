//! Connections that change their protocol: WebSocket (RFC 6455).

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::idle::Idle;
use crate::group::Member;
use crate::request_body::RequestBody;

/// The protocol that a request asks to change to: WebSocket is the one that is let through.
pub fn asked(headers: &HeaderMap) -> Option<HeaderValue> {
    let connection = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = connection.flat_map(|value| value.split(','));
    let names_upgrade = tokens.any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    let protocol = headers.get(UPGRADE)?;
    (names_upgrade && protocol.as_bytes().eq_ignore_ascii_case(b"websocket")).then(|| protocol.clone())
}

/// The request with the headers that ask for the change.
pub fn ask(mut head: Parts, body: RequestBody, protocol: &HeaderValue) -> Request<RequestBody> {
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(UPGRADE, protocol.clone());
    Request::from_parts(head, body)
}

/// Joins the two connections until one ends, nothing moves for too long, or the target's time is over.
pub fn join(client: OnUpgrade, target: OnUpgrade, member: Arc<Member>, timeout: Duration) {
    let outstanding = member.go_on();
    tokio::spawn(async move {
        let _outstanding = outstanding;
        let (Ok(client), Ok(target)) = tokio::join!(client, target) else { return };
        let mut client = TokioIo::new(client);
        let mut target = Idle::new(TokioIo::new(target), timeout);
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut target) => {}
            () = member.cut_off() => {}
        }
    });
}
