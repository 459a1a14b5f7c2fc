//! Connections that become WebSockets on their way through the proxy.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{count, may_enter_namespaces, nobody, proxy, service};
use service_connect::AppProtocol;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Reads a head, in small letters.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap().to_ascii_lowercase()
}

/// An endpoint that changes the protocol when it is asked to, and echoes from then on; it refuses paths that end with `no`.
async fn endpoint() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let asked = head(&mut stream).await;
                let refuses = asked.starts_with("get /no ") || !asked.contains("\r\nupgrade: websocket\r\n");
                if refuses {
                    let body = format!("asked with upgrade: {}", asked.contains("upgrade"));
                    let answer = format!("HTTP/1.1 400 No\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    return;
                }
                assert!(asked.contains("\r\nconnection: upgrade\r\n"), "{asked}");
                assert!(asked.contains("\r\nsec-websocket-key: k\r\n"), "{asked}");
                // The first bytes come with the answer.
                let granted = "HTTP/1.1 101 Yes\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: a\r\n\r\nhello";
                stream.write_all(granted.as_bytes()).await.unwrap();
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn ask(address: SocketAddr, path: &str, protocol: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let asked = format!(
        "GET {path} HTTP/1.1\r\nhost: backend\r\nconnection: keep-alive, Upgrade\r\nupgrade: {protocol}\r\nsec-websocket-key: k\r\n\r\n"
    );
    stream.write_all(asked.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn bytes_go_both_ways_once_the_endpoint_has_agreed() {
    if !may_enter_namespaces() {
        return;
    }
    let mut settings = service(AppProtocol::Http, &[nobody().await, endpoint().await]);
    // A WebSocket outlives the time for an answer.
    settings.request_timeout = Duration::from_millis(200);
    let (proxy, address) = proxy(Some(settings)).await;
    for _ in 0..2 {
        let mut stream = ask(address, "/", "websocket").await;
        let answer = head(&mut stream).await;
        assert!(answer.starts_with("http/1.1 101 "), "{answer}");
        assert!(
            answer.contains("\r\nupgrade: websocket\r\n") && answer.contains("\r\nconnection: upgrade\r\n")
        );
        assert!(answer.contains("\r\nsec-websocket-accept: a\r\n"), "{answer}");
        assert_eq!(count(&proxy, "ActiveConnectionCount"), 1);
        tokio::time::sleep(Duration::from_millis(250)).await;
        stream.write_all(b" you").await.unwrap();
        let mut heard = [0; 9];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello you");
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut heard).await.unwrap(), 0, "its end goes through too");
        drop(stream);
        while count(&proxy, "ActiveConnectionCount") != 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(count(&proxy, "ProcessedBytes"), 2 * (9 + 4));
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_other_protocols_are_not_offered() {
    if !may_enter_namespaces() {
        return;
    }
    let (_proxy, address) = proxy(Some(service(AppProtocol::Http, &[endpoint().await]))).await;
    for (path, protocol, offered) in [("/no", "websocket", true), ("/", "h2c", false)] {
        let mut stream = ask(address, path, protocol).await;
        let answer = head(&mut stream).await;
        assert!(answer.starts_with("http/1.1 400 "), "{answer}");
        let expected = format!("asked with upgrade: {offered}");
        let mut body = vec![0; expected.len()];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }
}

#[tokio::test]
async fn one_that_carries_nothing_is_ended() {
    if !may_enter_namespaces() {
        return;
    }
    let mut settings = service(AppProtocol::Http, &[endpoint().await]);
    settings.idle_timeout = Duration::from_millis(100);
    let (_proxy, address) = proxy(Some(settings)).await;
    let mut stream = ask(address, "/", "websocket").await;
    head(&mut stream).await;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"hello");
}

#[tokio::test]
async fn an_endpoint_that_changes_the_protocol_unasked_has_failed() {
    if !may_enter_namespaces() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            head(&mut stream).await;
            let unasked = "HTTP/1.1 101 Yes\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
            let _ = stream.write_all(unasked.as_bytes()).await;
        }
    });
    let (_proxy, address) = proxy(Some(service(AppProtocol::Http, &[there]))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: backend\r\n\r\n").await.unwrap();
    let answer = head(&mut stream).await;
    assert!(answer.starts_with("http/1.1 503 "), "{answer}");
}
