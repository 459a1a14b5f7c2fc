//! Connections that change their protocol: WebSocket (RFC 6455).

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::idle::Idle;
use crate::group::Member;
use crate::request_body::RequestBody;

/// The protocol that a request asks to change to: WebSocket is the one that is let through.
pub fn asked(head: &Parts) -> Option<HeaderValue> {
    let connection = head.headers.get(CONNECTION)?.to_str().ok()?;
    let names_upgrade = connection.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    let protocol = head.headers.get(UPGRADE)?;
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
