//! TLS with names, HTTP/2, gRPC; and Network Load Balancers.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use balancer::configuration::{GroupProtocol, Matcher, Protocol, ProtocolVersion, Stickiness, Target};
use balancer::tls::{Certificate, CertificateError, security_policies};
use bytes::Bytes;
use common::http2::{DATA, END_STREAM, GO_AWAY, HEADERS, SETTINGS};
use common::tls::{BOTH, certificate, connect};
use common::{
    Server, apply, balancer, configuration, default_rule, forward, free_port, group, listener, target,
    wait_for,
};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

#[tokio::test]
async fn a21_each_name_gets_its_certificate_and_each_policy_its_versions() {
    let server = Server::start("one").await;
    let (plain, plain_der) = certificate(&["default.example.com"]);
    let (exact, exact_der) = certificate(&["www.example.com"]);
    let (wild, wild_der) = certificate(&["*.example.org"]);
    let (balancer, port, strict_port) = (balancer(), free_port(), free_port());
    let mut secure = listener(port, Protocol::Https, vec![default_rule(forward(&[("g", 1)]))]);
    secure.certificates = vec![plain, exact, wild];
    let mut strict = secure.clone();
    (strict.port, strict.security_policy) = (strict_port, "ELBSecurityPolicy-TLS13-1-3-2021-06".into());
    apply(&balancer, configuration(vec![secure, strict], vec![group("g", vec![server.target()])])).await;
    for (name, wanted) in [
        ("www.example.com", &exact_der),
        ("WWW.example.com", &exact_der),
        ("a.example.org", &wild_der),
        ("a.b.example.org", &plain_der),
        ("example.org", &plain_der),
        ("unknown.test", &plain_der),
    ] {
        let stream = connect(port, name, &[], BOTH).await.unwrap();
        assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0], *wanted, "{name}");
    }
    assert!(connect(port, "a", &[], &[&rustls::version::TLS12]).await.is_ok());
    assert!(
        connect(strict_port, "a", &[], &[&rustls::version::TLS12]).await.is_err(),
        "TLS 1.2 under a 1.3 policy"
    );
    assert!(connect(strict_port, "a", &[], &[&rustls::version::TLS13]).await.is_ok());
    assert!(connect(port, "a", &["spdy/1"], BOTH).await.is_err(), "no protocol in common");
    assert!(security_policies().iter().all(|policy| !policy.suites.is_empty()));
}

#[test]
fn keys_that_are_none() {
    let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["b".to_owned()]).unwrap();
    let read = |certificate: &str, key: &str| {
        Certificate::from_pem("arn", Vec::new(), certificate.as_bytes(), b"", key.as_bytes()).err()
    };
    let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    assert!(matches!(read("", &key), Some(CertificateError::Certificate)));
    assert!(matches!(read(&pem, "nonsense"), Some(CertificateError::PrivateKey)));
    assert!(matches!(read(&pem, &other.signing_key.serialize_pem()), Some(CertificateError::Mismatch(_))));
    assert!(read(&pem, &key).is_none());
}

#[tokio::test]
async fn http2_in_tls_to_targets_of_http1() {
    let server = Server::start("one").await;
    let (certificate, _) = certificate(&["a.test"]);
    let (balancer, port) = (balancer(), free_port());
    let mut secure = listener(port, Protocol::Https, vec![default_rule(forward(&[("g", 1)]))]);
    secure.certificates = vec![certificate];
    apply(&balancer, configuration(vec![secure], vec![group("g", vec![server.target()])])).await;
    let stream = connect(port, "a.test", &["h2", "http/1.1"], BOTH).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let requests = (0..20).map(|number| {
        let mut sender = sender.clone();
        async move {
            let uri = format!("https://a.test/item/{number}");
            let request = Request::post(uri).body(Full::new(Bytes::from(format!("n{number}")))).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            let text = response.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(text.contains(&format!("POST /item/{number}\n")), "{text}");
            assert!(text.contains("host: a.test\n") && text.contains(&format!("body: n{number}")), "{text}");
            assert!(text.contains("x-forwarded-proto: https\n"), "{text}");
        }
    });
    futures_util::future::join_all(requests).await;
}

async fn grpc(
    request: Request<Incoming>,
) -> Result<
    Response<http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>>,
    std::convert::Infallible,
> {
    let path = request.uri().path().to_owned();
    let sent = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut trailers = HeaderMap::new();
    let code = if path.ends_with("/Check") { "12" } else { "0" };
    trailers.insert("grpc-status", code.parse().unwrap());
    let frames = vec![Ok(Frame::data(sent)), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

#[tokio::test]
async fn grpc_with_trailers_and_health_by_grpc_code() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = server.accept().await {
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), hyper::service::service_fn(grpc)),
            );
        }
    });
    let (certificate, _) = certificate(&["a.test"]);
    let (balancer, port) = (balancer(), free_port());
    let mut secure = listener(port, Protocol::Https, vec![default_rule(forward(&[("g", 1)]))]);
    secure.certificates = vec![certificate];
    let mut group = group("g", vec![target(address)]);
    group.protocol_version = ProtocolVersion::Grpc;
    group.health_check.path = "/AWS.ALB/Check".into();
    group.health_check.matcher = Matcher::parse("12").unwrap();
    apply(&balancer, configuration(vec![secure], vec![group])).await;
    assert_eq!(balancer.target_health("g").unwrap()[0].state, balancer::TargetState::Healthy);

    let stream = connect(port, "a.test", &["h2"], BOTH).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("https://a.test/pkg.Service/Method")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(b"\0\0\0\0\x03abc")))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes(), &b"\0\0\0\0\x03abc"[..]);

    // A client of HTTP/1.1 has no way to a group that speaks gRPC.
    let stream = connect(port, "a.test", &["http/1.1"], BOTH).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "a.test").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status().as_u16(), 464);
}

/// A server that closes its first connection (GOAWAY) when a request is there, and says that it did nothing with it, as gRPC
/// servers do with old connections.
async fn closes_its_first_connection() -> SocketAddr {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.unwrap();
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        stream.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await.unwrap();
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = u64::from(u32::from_be_bytes([0, head[0], head[1], head[2]]));
            tokio::io::copy(&mut (&mut stream).take(length), &mut tokio::io::sink()).await.unwrap();
            if matches!(head[3], HEADERS | DATA) && head[4] & END_STREAM != 0 {
                break;
            }
        }
        // The last stream it looked at: none. No error.
        let nothing = [0, 0, 8, GO_AWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        stream.write_all(&nothing).await.unwrap();
        while let Ok((stream, _)) = server.accept().await {
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), hyper::service::service_fn(grpc)),
            );
        }
    });
    address
}

#[tokio::test]
async fn a_request_that_a_closing_connection_left_undone_is_sent_anew_where_it_may_be() {
    let (certificate, _) = certificate(&["a.test"]);
    // What is nothing but a head may have been done; AWS does not tell what it does then.
    for (body, wanted) in [(Bytes::from(vec![7; 40_000]), 200), (Bytes::new(), 502)] {
        let (balancer, port) = (balancer(), free_port());
        let mut secure = listener(port, Protocol::Https, vec![default_rule(forward(&[("g", 1)]))]);
        secure.certificates = vec![Arc::clone(&certificate)];
        let mut group = group("g", vec![target(closes_its_first_connection().await)]);
        group.protocol_version = ProtocolVersion::Grpc;
        group.health_check.enabled = false;
        apply(&balancer, configuration(vec![secure], vec![group])).await;
        let stream = connect(port, "a.test", &["h2"], BOTH).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request =
            Request::post("https://a.test/pkg.Service/Method").body(Full::new(body.clone())).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), wanted, "{} bytes", body.len());
        if wanted == 200 {
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body, "all of it");
        }
    }
}

/// Says who connected, then echoes.
async fn tcp_target(name: &'static str) -> SocketAddr {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, peer)) = server.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(format!("{name} {peer}\n").as_bytes()).await;
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

fn network_group(
    arn: &str,
    protocol: GroupProtocol,
    targets: Vec<Target>,
) -> balancer::configuration::TargetGroup {
    let mut made = group(arn, targets);
    made.protocol = protocol;
    made.health_check.protocol = GroupProtocol::Tcp;
    made
}

async fn line(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\n") {
        let mut byte = [0];
        tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut byte)).await.unwrap().unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn tcp_passes_and_clients_on_this_machine_come_from_the_balancers_port() {
    let address = tcp_target("one").await;
    let (balancer, port, open_port) = (balancer(), free_port(), free_port());
    let mut preserving = network_group("p", GroupProtocol::Tcp, vec![target(address)]);
    preserving.preserve_client_ip = true;
    let groups = vec![network_group("g", GroupProtocol::Tcp, vec![target(address)]), preserving];
    let listeners = vec![
        listener(port, Protocol::Tcp, vec![default_rule(forward(&[("g", 1)]))]),
        listener(open_port, Protocol::Tcp, vec![default_rule(forward(&[("p", 1)]))]),
    ];
    apply(&balancer, configuration(listeners, groups)).await;
    for port in [port, open_port] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let own = stream.local_addr().unwrap();
        let seen = line(&mut stream).await;
        assert!(seen.starts_with("one 127.0.0.1:") && seen != format!("one {own}\n"), "{seen} for {own}");
        let bytes = vec![7; 200_000];
        let (mut read, mut write) = stream.split();
        let mut back = vec![0; bytes.len()];
        let (sent, received) = tokio::join!(write.write_all(&bytes), read.read_exact(&mut back));
        sent.unwrap();
        received.unwrap();
        assert_eq!(back, bytes);
    }
}

#[tokio::test]
async fn a_flow_outlives_the_deregistration_delay_unless_connections_are_to_be_terminated() {
    let address = tcp_target("one").await;
    for terminates in [false, true] {
        let (balancer, port) = (balancer(), free_port());
        let with = |targets| {
            let mut group = network_group("g", GroupProtocol::Tcp, targets);
            group.deregistration_delay = Duration::from_millis(100);
            group.connection_termination = terminates;
            let rules = vec![default_rule(forward(&[("g", 1)]))];
            configuration(vec![listener(port, Protocol::Tcp, rules)], vec![group])
        };
        apply(&balancer, with(vec![target(address)])).await;
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        line(&mut stream).await;
        balancer.apply(with(Vec::new())).await;
        wait_for(&balancer, "g", &[]).await;
        if terminates {
            let mut byte = [0];
            let ended = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut byte)).await;
            assert!(matches!(ended.expect("it is cut"), Ok(0) | Err(_)));
        } else {
            stream.write_all(b"on it goes\n").await.unwrap();
            assert_eq!(line(&mut stream).await, "on it goes\n");
        }
    }
}

#[tokio::test]
async fn a_flow_stays_and_sticky_clients_stay_longer() {
    let (one, two) = (tcp_target("one").await, tcp_target("two").await);
    let (balancer, port, sticky_port) = (balancer(), free_port(), free_port());
    let mut sticky = network_group("s", GroupProtocol::Tcp, vec![target(one), target(two)]);
    sticky.stickiness = Some(Stickiness::SourceIp);
    // Two targets of one address are told apart by port in the identity they are hashed by.
    sticky.targets[0].id = "a".into();
    sticky.targets[1].id = "b".into();
    let mut plain = sticky.clone();
    (plain.arn, plain.stickiness) = ("g".into(), None);
    let listeners = vec![
        listener(port, Protocol::Tcp, vec![default_rule(forward(&[("g", 1)]))]),
        listener(sticky_port, Protocol::Tcp, vec![default_rule(forward(&[("s", 1)]))]),
    ];
    apply(&balancer, configuration(listeners, vec![plain, sticky])).await;
    let mut seen = std::collections::BTreeMap::new();
    let mut stuck = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        *seen.entry(line(&mut stream).await[..3].to_owned()).or_insert(0) += 1;
        let mut stream = TcpStream::connect(("127.0.0.1", sticky_port)).await.unwrap();
        stuck.insert(line(&mut stream).await[..3].to_owned());
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(stuck.len(), 1, "{stuck:?}");
}

#[tokio::test]
async fn the_proxy_header_says_who_it_is() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (balancer, port) = (balancer(), free_port());
    let mut group = network_group("g", GroupProtocol::Tcp, vec![target(server.local_addr().unwrap())]);
    group.proxy_protocol_v2 = true;
    group.health_check.port = Some(port_of_someone().await);
    let listeners = vec![listener(port, Protocol::Tcp, vec![default_rule(forward(&[("g", 1)]))])];
    apply(&balancer, configuration(listeners, vec![group])).await;
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let (mut stream, _) = server.accept().await.unwrap();
    let mut bytes = [0; 33];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes[..12], b"\r\n\r\n\0\r\nQUIT\n");
    assert_eq!(bytes[12..16], [0x21, 0x11, 0, 12]);
    assert_eq!(bytes[16..24], [127, 0, 0, 1, 127, 0, 0, 1]);
    assert_eq!(bytes[24..26], client.local_addr().unwrap().port().to_be_bytes());
    assert_eq!(bytes[26..28], port.to_be_bytes());
    assert_eq!(&bytes[28..], b"hello");
}

async fn port_of_someone() -> u16 {
    tcp_target("checked").await.port()
}

#[tokio::test]
async fn tls_is_ended_at_the_listener() {
    let address = tcp_target("one").await;
    let (certificate, _) = certificate(&["a.test"]);
    let (balancer, port) = (balancer(), free_port());
    let mut secure = listener(port, Protocol::Tls, vec![default_rule(forward(&[("g", 1)]))]);
    secure.certificates = vec![certificate];
    secure.alpn = vec!["h2".into()];
    apply(
        &balancer,
        configuration(vec![secure], vec![network_group("g", GroupProtocol::Tcp, vec![target(address)])]),
    )
    .await;
    let mut stream = connect(port, "a.test", &["h2"], BOTH).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream.write_all(b"ping").await.unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"ping") {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        text.push(byte[0]);
    }
    assert!(text.starts_with(b"one 127.0.0.1:"), "{text:?}");
}

#[tokio::test]
async fn udp_flows() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = [0; 2048];
        while let Ok((count, peer)) = server.recv_from(&mut bytes).await {
            let answer = format!("{} from {peer}", String::from_utf8_lossy(&bytes[..count]));
            let _ = server.send_to(answer.as_bytes(), peer).await;
        }
    });
    let (balancer, port) = (balancer(), free_port());
    let mut group = network_group("g", GroupProtocol::Udp, vec![target(address)]);
    group.preserve_client_ip = true;
    group.health_check.port = Some(port_of_someone().await);
    let listeners = vec![listener(port, Protocol::Udp, vec![default_rule(forward(&[("g", 1)]))])];
    apply(&balancer, configuration(listeners, vec![group])).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(("127.0.0.1", port)).await.unwrap();
    for text in ["one", "two", "three"] {
        client.send(text.as_bytes()).await.unwrap();
        let mut bytes = [0; 2048];
        let count =
            tokio::time::timeout(Duration::from_secs(5), client.recv(&mut bytes)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&bytes[..count]).into_owned();
        assert!(answer.starts_with(&format!("{text} from 127.0.0.1:")), "{answer}");
    }
}
