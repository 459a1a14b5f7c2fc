//! Answers of the balancer's own: errors, redirects, fixed responses. Source: "Troubleshoot your Application Load
//! Balancers" (codes), "Redirect actions", "Fixed-response actions".

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, SERVER};
use http::request::Parts;
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};

use super::exchange::Exchange;
use crate::configuration::Redirect;
use crate::upstream::ResponseBody;

/// The body of an answer.
pub struct Answer {
    inner: Inner,
    exchange: Option<Arc<Exchange>>,
}

enum Inner {
    Own(Option<Bytes>),
    Target(ResponseBody),
}

impl Answer {
    /// A target's answer.
    pub fn of_target(body: ResponseBody) -> Self {
        Self { inner: Inner::Target(body), exchange: None }
    }

    /// Keeps the books of the request open until the answer is through.
    pub fn with(mut self, exchange: Arc<Exchange>) -> Self {
        self.exchange = Some(exchange);
        self
    }

    fn of(bytes: Bytes) -> Self {
        Self { inner: Inner::Own(Some(bytes).filter(|bytes| !bytes.is_empty())), exchange: None }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = match &mut self.inner {
            Inner::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Target(body) => Pin::new(body).poll_frame(context),
        };
        if let (Some(exchange), Poll::Ready(Some(Ok(frame)))) = (&self.exchange, &polled) {
            exchange.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Own(bytes) => bytes.is_none(),
            Inner::Target(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Inner::Target(body) => body.size_hint(),
        }
    }
}

/// An answer with a status of the balancer's own, and a page that says so.
pub fn error(status: u16) -> Response<Answer> {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = match status {
        460 => "Client Closed Request",
        463 => "Too Many Forwarded Addresses",
        464 => "Incompatible Protocol Versions",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        _ => code.canonical_reason().unwrap_or("Error"),
    };
    page(code, reason)
}

fn page(code: StatusCode, reason: &str) -> Response<Answer> {
    let title = format!("{} {reason}", code.as_u16());
    let text = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n\
         </html>\r\n"
    );
    with_type(code, Some("text/html"), text.into())
}

fn with_type(code: StatusCode, content_type: Option<&str>, body: Bytes) -> Response<Answer> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(Answer::of(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("awselb/2.0"));
    headers.insert(CONTENT_LENGTH, length);
    if let Some(value) = content_type.and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(CONTENT_TYPE, value);
    }
    response
}

/// A fixed response.
pub fn fixed(status: u16, content_type: Option<&str>, body: &str) -> Response<Answer> {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with_type(
        code,
        content_type.or(Some("text/plain; charset=utf-8")),
        Bytes::copy_from_slice(body.as_bytes()),
    )
}

/// A redirect. The placeholders stand for parts of the request.
pub fn redirect(to: &Redirect, head: &Parts, host: &str, port: u16, is_tls: bool) -> Response<Answer> {
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let protocol = if is_tls { "https" } else { "http" };
    let filled = |text: &str| {
        text.replace("#{protocol}", protocol)
            .replace("#{host}", host)
            .replace("#{port}", &port.to_string())
            .replace("#{path}", path.trim_start_matches('/'))
            .replace("#{query}", query)
    };
    let protocol = filled(&to.protocol).to_ascii_lowercase();
    let query = filled(&to.query);
    let mut location = format!("{protocol}://{}:{}{}", filled(&to.host), filled(&to.port), filled(&to.path));
    if !query.is_empty() {
        location.push('?');
        location.push_str(&query);
    }
    let code = StatusCode::from_u16(to.status).unwrap_or(StatusCode::FOUND);
    let mut response = page(code, code.canonical_reason().unwrap_or("Found"));
    match HeaderValue::try_from(location) {
        Ok(location) => {
            response.headers_mut().insert(LOCATION, location);
            response
        }
        Err(_) => error(400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_keep_what_they_are_not_told_to_change() {
        let (head, ()) = http::Request::builder().uri("/a/b?x=1").body(()).unwrap().into_parts();
        let to = Redirect {
            protocol: "HTTPS".into(),
            host: "#{host}".into(),
            port: "443".into(),
            path: "/#{path}".into(),
            query: "#{query}".into(),
            status: 301,
        };
        let response = redirect(&to, &head, "www.example.com", 80, false);
        assert_eq!(response.status(), 301);
        assert_eq!(response.headers()[LOCATION], "https://www.example.com:443/a/b?x=1");
        let to = Redirect { path: "/new/#{host}/#{path}".into(), query: String::new(), ..to };
        let response = redirect(&to, &head, "h", 80, false);
        assert_eq!(response.headers()[LOCATION], "https://h:443/new/h/a/b");
    }
}
