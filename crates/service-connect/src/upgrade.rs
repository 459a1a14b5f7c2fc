//! Connections that change their protocol: WebSocket (RFC 6455). The change is the endpoint's to accept or refuse; after it, bytes
//! go both ways. Other protocols are not offered to endpoints, as by Envoy.

use std::sync::{Mutex, PoisonError};

use ::http::header::{CONNECTION, UPGRADE};
use ::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
pub(crate) use balancer::application::asked_upgrade as asked;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::endpoints::Endpoints;
use crate::tcp;

/// Puts in the headers that ask for the change, or that grant it.
pub(crate) fn put(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Whether an endpoint has granted the change.
pub(crate) fn is_granted<T>(answer: &Response<T>) -> bool {
    answer.status() == StatusCode::SWITCHING_PROTOCOLS
}

/// What becomes of a client's connection once its last answer has gone out.
#[derive(Default)]
pub(crate) struct Tunnel(Mutex<Option<(OnUpgrade, OnUpgrade)>>);

impl Tunnel {
    /// The client's connection and the endpoint's are to be joined.
    pub(crate) fn prepare<T>(&self, client: Option<OnUpgrade>, answer: &mut Response<T>) {
        let target = hyper::upgrade::on(answer);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = client.map(|client| (client, target));
    }

    /// Joins them, where there is something to join, until one ends or nothing moves for too long.
    pub(crate) async fn run(&self, endpoints: &Endpoints) {
        let prepared = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((client, target)) = prepared else { return };
        if let (Ok(client), Ok(target)) = tokio::join!(client, target) {
            tcp::join(endpoints, TokioIo::new(client), TokioIo::new(target)).await;
        }
    }
}

/// The client's end, where its request asks for a change.
pub(crate) fn client<T>(request: &mut Request<T>) -> Option<OnUpgrade> {
    asked(request.headers()).map(|_| hyper::upgrade::on(request))
}
