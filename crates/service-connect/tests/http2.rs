//! HTTP/2 and gRPC through the proxy, with real sockets.

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use common::{count, may_enter_namespaces, nobody, proxy, service};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Channel, Empty, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use service_connect::AppProtocol;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Body = BoxBody<Bytes, hyper::Error>;

fn text(text: String) -> Body {
    BoxBody::new(Full::new(Bytes::from(text)).map_err(|never| match never {}))
}

/// What an endpoint does: says who it is, or sends back what comes and ends with gRPC's trailers.
async fn serve(port: u16, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    match request.uri().path() {
        "/who" => {
            let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
            Ok(Response::new(text(format!("{port} {} {authority}", request.method()))))
        }
        "/length" => {
            let length = request.into_body().collect().await.unwrap().to_bytes().len();
            Ok(Response::new(text(length.to_string())))
        }
        "/ill" => {
            let mut answer = Response::new(text(String::new()));
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            Ok(answer)
        }
        _ => {
            let (mut sender, body) = Channel::new(1);
            let te = request.headers().get("te").cloned().unwrap_or(HeaderValue::from_static("none"));
            let mut from = request.into_body();
            tokio::spawn(async move {
                while let Some(frame) = from.frame().await {
                    let Ok(frame) = frame else { return };
                    if let Ok(data) = frame.into_data()
                        && sender.send_data(data).await.is_err()
                    {
                        return;
                    }
                }
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("7"));
                trailers.insert("seen-te", te);
                let _ = sender.send(Frame::trailers(trailers)).await;
            });
            Ok(Response::builder()
                .header("content-type", "application/grpc")
                .body(BoxBody::new(body))
                .unwrap())
        }
    }
}

/// An endpoint of HTTP/2, at this port or at any; it ends with what this gives.
fn endpoint(port: u16) -> (SocketAddr, JoinHandle<()>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], port).into()).unwrap();
    let listener = socket.listen(16).unwrap();
    let address = listener.local_addr().unwrap();
    let running = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let serving = service_fn(move |request| serve(address.port(), request));
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            connections.spawn(builder.serve_connection(TokioIo::new(stream), serving));
        }
    });
    (address, running)
}

async fn client(address: SocketAddr) -> SendRequest<Body> {
    let stream = TcpStream::connect(address).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    let uri = format!("http://backend:8080{path}");
    Request::builder().method(method).uri(uri).header("te", "trailers").body(body).unwrap()
}

fn empty() -> Body {
    BoxBody::new(Empty::new().map_err(|never| match never {}))
}

async fn answer(sender: &mut SendRequest<Body>, request: Request<Body>) -> (StatusCode, String) {
    let answer = sender.send_request(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn requests_of_one_connection_go_to_all_endpoints() {
    if !may_enter_namespaces() {
        return;
    }
    let ((one, _one), (other, _other)) = (endpoint(0), endpoint(0));
    let (proxy, address) = proxy(Some(service(AppProtocol::Http2, &[one, other]))).await;
    let mut sender = client(address).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(answer(&mut sender, request(Method::GET, "/who", empty())).await);
    }
    for there in [one, other] {
        let expected = (StatusCode::OK, format!("{} GET backend:8080", there.port()));
        assert_eq!(answers.iter().filter(|answer| **answer == expected).count(), 5, "{answers:?}");
    }
    // Many at a time, with bodies beyond a stream's and a connection's first window.
    let sending = (0..20).map(|_| {
        let mut sender = sender.clone();
        tokio::spawn(async move {
            answer(&mut sender, request(Method::POST, "/length", text("x".repeat(300_000)))).await
        })
    });
    for sent in sending.collect::<Vec<_>>() {
        assert_eq!(sent.await.unwrap(), (StatusCode::OK, "300000".to_owned()));
    }
    assert_eq!((count(&proxy, "RequestCount"), count(&proxy, "NewConnectionCount")), (30, 1));
    assert_eq!(count(&proxy, "HTTPCode_Target_2XX_Count"), 30);
}

#[tokio::test]
async fn streams_of_grpc_go_both_ways_and_end_with_their_trailers() {
    if !may_enter_namespaces() {
        return;
    }
    let (there, _running) = endpoint(0);
    let (_proxy, address) = proxy(Some(service(AppProtocol::Grpc, &[nobody().await, there]))).await;
    let mut sender = client(address).await;
    for _ in 0..2 {
        let (mut message, body) = Channel::<Bytes, hyper::Error>::new(1);
        let sent = sender.send_request(request(Method::POST, "/echo", BoxBody::new(body)));
        let (sent, first) = tokio::join!(sent, message.send_data(Bytes::from_static(b"one")));
        first.unwrap();
        let answer = sent.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        let mut body = answer.into_body();
        // The answer to each message comes before the next one is sent: nothing waits for the end.
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        message.send_data(Bytes::from_static(b"two")).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
        drop(message);
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(
            (&trailers["grpc-status"], &trailers["seen-te"]),
            (&"7".parse().unwrap(), &"trailers".parse().unwrap())
        );
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test]
async fn an_endpoint_that_was_started_again_is_found_again() {
    if !may_enter_namespaces() {
        return;
    }
    let (there, running) = endpoint(0);
    let (proxy, address) = proxy(Some(service(AppProtocol::Http2, &[there]))).await;
    let mut sender = client(address).await;
    assert_eq!(answer(&mut sender, request(Method::GET, "/who", empty())).await.0, StatusCode::OK);
    running.abort();
    running.await.unwrap_err();
    let (_, _running) = endpoint(there.port());
    assert_eq!(answer(&mut sender, request(Method::GET, "/who", empty())).await.0, StatusCode::OK);
    assert_eq!(count(&proxy, "HTTPCode_Target_2XX_Count"), 2);
    assert_eq!(
        answer(&mut sender, request(Method::GET, "/ill", empty())).await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(count(&proxy, "HTTPCode_Target_5XX_Count"), 1);
}

#[tokio::test]
async fn clients_of_grpc_hear_of_failures_in_its_words() {
    if !may_enter_namespaces() {
        return;
    }
    let (proxy, address) = proxy(Some(service(AppProtocol::Grpc, &[]))).await;
    let mut sender = client(address).await;
    let failed = sender.send_request(request(Method::POST, "/echo", empty())).await.unwrap();
    assert_eq!(failed.status(), StatusCode::OK);
    assert_eq!(failed.headers()["content-type"], "application/grpc");
    assert_eq!(failed.headers()["grpc-status"], "14");
    assert_eq!(failed.headers()["grpc-message"], "no healthy upstream");

    // Accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut impatient = service(AppProtocol::Grpc, &[silent.local_addr().unwrap()]);
    impatient.request_timeout = Duration::from_millis(50);
    proxy.set_service("srv-1", Some(impatient));
    let late = sender.send_request(request(Method::POST, "/echo", empty())).await.unwrap();
    assert_eq!(late.headers()["grpc-status"], "4");
    assert_eq!(late.headers()["grpc-message"], "upstream request timeout");
}
