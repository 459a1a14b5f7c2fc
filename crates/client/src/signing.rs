//! Puts a signature on a request.

use http::Request;

use crate::http_client::ClientConfig;

/// Signs `request` for `aws_service` in the client's region, over `body`.
pub(crate) fn sign<B>(
    request: Request<B>,
    body: &[u8],
    aws_service: &str,
    config: &ClientConfig,
) -> Request<B> {
    let (mut parts, content) = request.into_parts();
    wire::sigv4::sign(&mut parts, body, &config.credentials, aws_service, &config.region, config.clock.now());
    Request::from_parts(parts, content)
}
