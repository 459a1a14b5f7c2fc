//! The proxy with real sockets, in the namespace of the test itself.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{count, may_enter_namespaces, nobody, proxy, service};
use service_connect::AppProtocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// An endpoint that reads requests whole, and answers each with this status and its own port.
async fn endpoint(status: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                while let Some(body) = request(&mut stream).await {
                    count.fetch_add(1, Ordering::SeqCst);
                    let text = format!("{} {body}", address.port());
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (address, served)
}

/// Reads a request; gives the bytes of its body.
async fn request(stream: &mut TcpStream) -> Option<usize> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.trim().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(length)
}

/// The whole answer to one request.
async fn ask(address: SocketAddr, body: usize) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let method = if body == 0 { "GET" } else { "POST" };
    let head = format!(
        "{method} /x HTTP/1.1\r\nhost: backend\r\nconnection: close\r\ncontent-length: {body}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; body]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn requests_take_turns_and_what_fails_is_tried_elsewhere_and_left_alone() {
    if !may_enter_namespaces() {
        return;
    }
    let ((good, good_served), (bad, bad_served)) = (endpoint("200 OK").await, endpoint("503 Ill").await);
    let (proxy, address) = proxy(Some(service(AppProtocol::Http, &[good, bad]))).await;
    for _ in 0..20 {
        let answer = ask(address, 0).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.contains(&good.port().to_string()),
            "{answer}"
        );
    }
    assert_eq!(good_served.load(Ordering::SeqCst), 20);
    assert_eq!(bad_served.load(Ordering::SeqCst), 5, "after five failures it is left alone");
    assert_eq!((count(&proxy, "RetryCount"), count(&proxy, "EjectionCount")), (5, 1));
    assert_eq!(count(&proxy, "HTTPCode_Target_2XX_Count"), 20);
    assert_eq!(count(&proxy, "HTTPCode_Target_5XX_Count"), 5);
    assert_eq!(count(&proxy, "NewConnectionCount"), 20);
}

#[tokio::test]
async fn a_large_request_survives_an_endpoint_that_is_not_there() {
    if !may_enter_namespaces() {
        return;
    }
    let (good, _) = endpoint("200 OK").await;
    let (proxy, address) = proxy(Some(service(AppProtocol::Http, &[nobody().await, good]))).await;
    for _ in 0..4 {
        let answer = ask(address, 200_000).await;
        assert!(answer.ends_with(&format!("{} 200000", good.port())), "{answer}");
    }
    assert!(count(&proxy, "TargetConnectionErrorCount") >= 2);
}

#[tokio::test]
async fn services_come_change_and_go_under_a_listener() {
    if !may_enter_namespaces() {
        return;
    }
    let ((one, _), (other, _)) = (endpoint("200 OK").await, endpoint("200 OK").await);
    let (proxy, address) = proxy(Some(service(AppProtocol::Http, &[]))).await;
    let answer = ask(address, 0).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("no healthy upstream"), "{answer}");
    for there in [one, other] {
        proxy.set_service("srv-1", Some(service(AppProtocol::Http, &[there])));
        let answer = ask(address, 0).await;
        assert!(answer.contains(&there.port().to_string()), "{answer}");
    }
    proxy.close("task");
    // The listener is aborted, not awaited.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_timeout() {
    if !may_enter_namespaces() {
        return;
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut impatient = service(AppProtocol::Http, &[silent.local_addr().unwrap()]);
    impatient.request_timeout = Duration::from_millis(50);
    let (_proxy, address) = proxy(Some(impatient)).await;
    let answer = ask(address, 0).await;
    assert!(answer.starts_with("HTTP/1.1 504") && answer.ends_with("upstream request timeout"), "{answer}");
}

#[tokio::test]
async fn bytes_go_both_ways_and_connections_find_who_is_there() {
    if !may_enter_namespaces() {
        return;
    }
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = echo.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = echo.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let (proxy, address) = proxy(Some(service(AppProtocol::Tcp, &[nobody().await, there]))).await;
    for _ in 0..4 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "hello");
    }
    assert_eq!(count(&proxy, "NewConnectionCount"), 4);
    assert!(count(&proxy, "RetryCount") >= 2);
}
