//! Attacks on a listener (A18, A19, A20, A21): what the attacker gets is bounded, and others are served meanwhile.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use balancer::configuration::{DesyncMitigationMode, LoadBalancerAttributes, Protocol};
use common::http2::{self, Frame, Http2};
use common::raw::{RawTarget, Seen};
use common::tls::{BOTH, certificate, connect};
use common::{
    Server, apply, balancer, configuration, default_rule, forward, free_port, get, group, limited_balancer,
    listener, with_attributes,
};
use http_desync_guardian::RequestSafetyTier;
use http_desync_guardian::request_analyzer::HttpRequestData;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Far above what anything here takes: a test that would hang fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A balancer with an HTTP and an HTTPS listener in front of one server.
async fn both(server: &Server, attributes: LoadBalancerAttributes) -> (balancer::Balancer, u16, u16) {
    let (balancer, plain, secure) = (balancer(), free_port(), free_port());
    let rules = || vec![default_rule(forward(&[("g", 1)]))];
    let mut https = listener(secure, Protocol::Https, rules());
    https.certificates = vec![certificate(&["example.com"]).0];
    let listeners = vec![listener(plain, Protocol::Http, rules()), https];
    let wanted = with_attributes(listeners, vec![group("g", vec![server.target()])], attributes);
    apply(&balancer, wanted).await;
    (balancer, plain, secure)
}

/// Everything that comes until the other side ends the connection.
async fn to_the_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    let mut bytes = [0; 4096];
    let reading = async {
        loop {
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(count) => all.extend_from_slice(&bytes[..count]),
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the connection is ended");
    all
}

#[tokio::test]
async fn a18_a_head_that_trickles_is_cut_off() {
    let server = Server::start("one").await;
    let attributes = LoadBalancerAttributes {
        idle_timeout: Duration::from_millis(400),
        ..LoadBalancerAttributes::default()
    };
    let (_balancer, port, _) = both(&server, attributes).await;
    let slow = (0..20).map(|_| async move {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let trickling = tokio::spawn(async move {
            writer.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ").await.unwrap();
            // Never idle, never done.
            while writer.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let answer = to_the_end(&mut reader).await;
        trickling.abort();
        String::from_utf8_lossy(&answer).into_owned()
    });
    let slow: Vec<_> = slow.map(tokio::spawn).collect();
    for _ in 0..5 {
        assert_eq!(get(port, "/", &[]).await.0, 200);
    }
    for answer in slow {
        let answer = answer.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer:?}");
    }
}

#[tokio::test]
async fn a18_idle_connections_are_bounded_and_give_way() {
    let server = Server::start("one").await;
    let (balancer, port) = (limited_balancer(16), free_port());
    let listeners = vec![listener(port, Protocol::Http, vec![default_rule(forward(&[("g", 1)]))])];
    let attributes = LoadBalancerAttributes {
        idle_timeout: Duration::from_millis(300),
        ..LoadBalancerAttributes::default()
    };
    let wanted = with_attributes(listeners, vec![group("g", vec![server.target()])], attributes);
    apply(&balancer, wanted).await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let served = tokio::time::timeout(PATIENCE, get(port, "/", &[])).await.expect("others are served");
    assert_eq!(served.0, 200);
}

#[tokio::test]
async fn a18_one_listener_does_not_take_all_connections() {
    let server = Server::start("one").await;
    let (balancer, port, other) = (limited_balancer(16), free_port(), free_port());
    let rules = || vec![default_rule(forward(&[("g", 1)]))];
    let listeners = vec![listener(port, Protocol::Http, rules()), listener(other, Protocol::Http, rules())];
    apply(&balancer, configuration(listeners, vec![group("g", vec![server.target()])])).await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let served = tokio::time::timeout(PATIENCE, get(other, "/", &[])).await.expect("the other is served");
    assert_eq!(served.0, 200);
}

/// Has an HTTP/2 client do something bad again and again; the connection must end, and others be served.
async fn http2_attack(attack: impl AsyncFnOnce(&mut Http2)) -> Vec<Frame> {
    let server = Server::start("one").await;
    let (_balancer, plain, secure) = both(&server, LoadBalancerAttributes::default()).await;
    let stream = connect(secure, "example.com", &["h2"], BOTH).await.unwrap();
    let mut connection = Http2::start(stream).await;
    attack(&mut connection).await;
    let frames = tokio::time::timeout(PATIENCE, connection.rest()).await.expect("the connection is ended");
    assert_eq!(get(plain, "/", &[]).await.0, 200);
    assert!(server.requests.load(Ordering::SeqCst) < 1000, "few of them reach the target");
    frames
}

#[tokio::test]
async fn a18_h2_rapid_reset() {
    let frames = http2_attack(async |connection| {
        for stream in (1..20_001).step_by(2) {
            let block = http2::request("GET", "/slow/2000");
            let sent =
                connection.send(http2::HEADERS, http2::END_HEADERS | http2::END_STREAM, stream, &block);
            if sent.await.is_err() || connection.send(http2::RESET, 0, stream, &[0, 0, 0, 8]).await.is_err() {
                return;
            }
        }
    })
    .await;
    assert!(frames.iter().any(|frame| frame.kind == http2::GO_AWAY) || frames.is_empty(), "{frames:?}");
}

#[tokio::test]
async fn a18_continuation_flood() {
    http2_attack(async |connection| {
        let block = http2::request("GET", "/");
        let _ = connection.send(http2::HEADERS, http2::END_STREAM, 1, &block).await;
        let more = http2::literal("x-more", &"y".repeat(8000));
        for _ in 0..20_000 {
            if connection.send(http2::CONTINUATION, 0, 1, &more).await.is_err() {
                return;
            }
        }
        panic!("160 MB of one head were taken");
    })
    .await;
}

#[tokio::test]
async fn a18_hpack_bomb() {
    let server = Server::start("one").await;
    let (_balancer, plain, secure) = both(&server, LoadBalancerAttributes::default()).await;
    let stream = connect(secure, "example.com", &["h2"], BOTH).await.unwrap();
    let mut connection = Http2::start(stream).await;
    // One entry of nearly the whole table, then a byte for each copy of it: 4 KB of frame, 16 MB of headers.
    let mut block = http2::request("GET", "/");
    block.extend(http2::indexed_literal("x-bomb", &"b".repeat(4000)));
    block.extend(std::iter::repeat_n(0xbe, 4000));
    connection.send(http2::HEADERS, http2::END_HEADERS | http2::END_STREAM, 1, &block).await.unwrap();
    let refused = async {
        loop {
            let Some(frame) = connection.read().await else { return };
            match frame.kind {
                http2::RESET | http2::GO_AWAY => return,
                http2::HEADERS => {
                    // 431 is in HPACK's literal form.
                    assert!(frame.payload.windows(3).any(|window| window == b"431"), "{frame:?}");
                    return;
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("the request is refused");
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
    assert_eq!(get(plain, "/", &[]).await.0, 200);
}

#[tokio::test]
async fn a18_made_you_reset() {
    let frames = http2_attack(async |connection| {
        for stream in (1..20_001).step_by(2) {
            let block = http2::request("GET", "/slow/2000");
            let sent =
                connection.send(http2::HEADERS, http2::END_HEADERS | http2::END_STREAM, stream, &block);
            // A window that grows by nothing is an error of the stream: the server must reset it.
            if sent.await.is_err() || connection.send(http2::WINDOW, 0, stream, &[0; 4]).await.is_err() {
                return;
            }
        }
    })
    .await;
    assert!(frames.iter().filter(|frame| frame.kind == http2::RESET).count() <= 200, "{}", frames.len());
}

/// Requests that two parsers may read differently. `SMUGGLED` is what must not reach a target as a request of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn corpus() -> Vec<(&'static str, String)> {
    let post = |headers: &str, body: &str| format!("POST /x HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}");
    let get = |line: &str, headers: &str| format!("{line}\r\n{headers}\r\n");
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let zero_then = format!("0\r\n\r\n{SMUGGLED}");
    let te = |value: &str| post(&format!("Transfer-Encoding: {value}\r\nContent-Length: 4\r\n"), &zero_then);
    vec![
        ("plain", get("GET /x HTTP/1.1", "Host: a\r\n")),
        ("plain body", post("Content-Length: 3\r\n", "abc")),
        ("chunked", chunked("3\r\nabc\r\n0\r\n\r\n")),
        (
            "CL.TE",
            post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{SMUGGLED}")),
        ),
        (
            "TE.CL",
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                &format!("26\r\n{SMUGGLED}\r\n0\r\n\r\n"),
            ),
        ),
        ("TE.TE", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", &zero_then)),
        ("TE identity", te("identity")),
        ("TE tab", te("\tchunked")),
        ("TE vertical tab", te("\x0bchunked")),
        ("TE quoted", te("\"chunked\"")),
        ("TE list", te("x, chunked")),
        ("TE list turned", te("chunked, x")),
        ("TE case", te("cHuNkEd")),
        ("TE space before colon", post("Transfer-Encoding : chunked\r\nContent-Length: 4\r\n", &zero_then)),
        ("TE obs-fold", post("Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n", &zero_then)),
        ("TE bare LF", post("X: y\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n", &zero_then)),
        ("TE bare CR", post("X: y\rTransfer-Encoding: chunked\r\nContent-Length: 4\r\n", &zero_then)),
        ("TE underscore", post("Transfer_Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r")),
        (
            "TE of 1.0",
            format!(
                "POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{zero_then}"
            ),
        ),
        ("two CL", post("Content-Length: 3\r\nContent-Length: 8\r\n", &format!("abc{SMUGGLED}"))),
        ("two CL alike", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc")),
        ("CL list", post("Content-Length: 3, 8\r\n", &format!("abc{SMUGGLED}"))),
        ("CL negative", post("Content-Length: -1\r\n", SMUGGLED)),
        ("CL plus", post("Content-Length: +3\r\n", "abc")),
        ("CL overflow", post("Content-Length: 18446744073709551619\r\n", &format!("abc{SMUGGLED}"))),
        ("CL hexadecimal", post("Content-Length: 0x3\r\n", "abc")),
        ("CL space inside", post("Content-Length: 1 0\r\n", &format!("a{SMUGGLED}"))),
        ("CL space before colon", post("Content-Length : 3\r\n", "abc")),
        ("CL on GET", get("GET /x HTTP/1.1", "Host: a\r\nContent-Length: 35\r\n") + SMUGGLED),
        ("chunk extension", chunked("3;a=b\r\nabc\r\n0\r\n\r\n")),
        ("chunk extension LF", chunked(&format!("3;a\nabc\r\n0\r\n\r\n{SMUGGLED}"))),
        ("chunk size overflow", chunked(&format!("10000000000000003\r\nabc\r\n{zero_then}"))),
        ("chunk size sign", chunked(&format!("+3\r\nabc\r\n{zero_then}"))),
        ("chunk size 0x", chunked(&format!("0x3\r\nabc\r\n{zero_then}"))),
        ("chunk ends late", chunked(&format!("3\r\nabcXX\r\n{zero_then}"))),
        ("chunk LF only", chunked(&format!("3\nabc\n0\n\n{SMUGGLED}"))),
        ("trailer smuggles", chunked("3\r\nabc\r\n0\r\nContent-Length: 50\r\nHost: evil\r\n\r\n")),
        ("obs-fold", get("GET /x HTTP/1.1", "Host: a\r\nX: y\r\n Z: w\r\n")),
        ("no host", get("GET /x HTTP/1.1", "")),
        ("two hosts", get("GET /x HTTP/1.1", "Host: a\r\nHost: b\r\n")),
        ("host list", get("GET /x HTTP/1.1", "Host: a, b\r\n")),
        ("host space", get("GET /x HTTP/1.1", "Host: a b\r\n")),
        ("absolute form", get("GET http://b/x HTTP/1.1", "Host: a\r\n")),
        ("absolute form odd", get("GET http://b:80@c/x HTTP/1.1", "Host: a\r\n")),
        ("0.9", "GET /x\r\n".to_owned()),
        ("0.9 with host", get("GET /x", "Host: a\r\n")),
        ("1.2", get("GET /x HTTP/1.2", "Host: a\r\n")),
        ("2.0", get("GET /x HTTP/2.0", "Host: a\r\n")),
        ("path with space", get("GET /x /y HTTP/1.1", "Host: a\r\n")),
        ("path with tab", get("GET /x\t HTTP/1.1", "Host: a\r\n")),
        ("null in name", get("GET /x HTTP/1.1", "Host: a\r\nX\0: y\r\n")),
        ("null in value", get("GET /x HTTP/1.1", "Host: a\r\nX: y\0z\r\n")),
        ("empty name", get("GET /x HTTP/1.1", "Host: a\r\n: y\r\n")),
        ("no colon", get("GET /x HTTP/1.1", "Host: a\r\nXY\r\n")),
        ("method with LF", get("GE\nT /x HTTP/1.1", "Host: a\r\n")),
        ("space before line", get(" GET /x HTTP/1.1", "Host: a\r\n")),
        (
            "pipelined",
            format!("{}{}", get("GET /x HTTP/1.1", "Host: a\r\n"), get("GET /y HTTP/1.1", "Host: a\r\n")),
        ),
        ("hop by hop CL", post("Content-Length: 3\r\nConnection: content-length\r\n", "abc")),
        (
            "hop by hop TE",
            post("Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ),
        (
            "upgrade to h2c",
            get(
                "GET /x HTTP/1.1",
                "Host: a\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            ) + "GET /y HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
    ]
}

/// What AWS's library says of the head that the text begins with.
fn tier(text: &str) -> RequestSafetyTier {
    let end = text.find("\r\n\r\n").map_or(text.len(), |end| end + 4);
    HttpRequestData::analyze_raw_request(&text.as_bytes()[..end]).tier
}

#[tokio::test]
async fn a19_smuggling_what_the_target_sees_is_what_was_parsed() {
    for mode in
        [DesyncMitigationMode::Monitor, DesyncMitigationMode::Defensive, DesyncMitigationMode::Strictest]
    {
        let target = RawTarget::start().await;
        let (balancer, port) = (balancer(), free_port());
        let listeners = vec![listener(port, Protocol::Http, vec![default_rule(forward(&[("g", 1)]))])];
        let attributes = LoadBalancerAttributes {
            desync_mitigation: mode,
            idle_timeout: Duration::from_millis(500),
            ..LoadBalancerAttributes::default()
        };
        let mut targets = group("g", vec![target.target()]);
        targets.health_check.protocol = balancer::configuration::GroupProtocol::Tcp;
        apply(&balancer, with_attributes(listeners, vec![targets], attributes)).await;
        for (index, (name, sent)) in corpus().into_iter().enumerate() {
            // A request without its whole body may reach the target after its case is over.
            let path = format!("/x{index}");
            let sent = sent.replace("/x", &path);
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
            let answers = String::from_utf8_lossy(&to_the_end(&mut stream).await).into_owned();
            let requests = target.take();
            let context = format!("{name} in {mode:?}: answered {answers:?}, the target saw {requests:?}");
            // Whatever parser a target has: it reads what we read, for there is one way to read it.
            for request in &requests {
                request.assert_canonical(&context);
                assert!(!request.path.contains("smuggled"), "{context}");
            }
            let is_own = |request: &&Seen| request.path == path || request.path == "/y";
            let requests: Vec<&Seen> = requests.iter().filter(is_own).collect();
            let passed = answers.matches("HTTP/1.1 200").count();
            assert!(requests.len() >= passed, "{context}");
            assert!(requests.len() <= sent.matches(" HTTP/1.").count().max(1), "{context}");
            let tier = tier(&sent);
            let is_refused = match mode {
                DesyncMitigationMode::Monitor => false,
                DesyncMitigationMode::Defensive => tier == RequestSafetyTier::Severe,
                DesyncMitigationMode::Strictest => tier != RequestSafetyTier::Compliant,
            };
            if is_refused {
                assert!(requests.is_empty(), "{tier:?} {context}");
                assert!(answers.is_empty() || answers.starts_with("HTTP/1.1 4"), "{tier:?} {context}");
            }
            if ["plain", "plain body", "chunked", "pipelined"].contains(&name) {
                assert!(answers.starts_with("HTTP/1.1 200"), "{context}");
            }
        }
    }
}

#[tokio::test]
async fn a19_nothing_is_smuggled_from_h2_to_h1() {
    let target = RawTarget::start().await;
    let (balancer, port) = (balancer(), free_port());
    let mut https = listener(port, Protocol::Https, vec![default_rule(forward(&[("g", 1)]))]);
    https.certificates = vec![certificate(&["example.com"]).0];
    let mut targets = group("g", vec![target.target()]);
    targets.health_check.protocol = balancer::configuration::GroupProtocol::Tcp;
    apply(&balancer, configuration(vec![https], vec![targets])).await;
    let head = |path: &str, extra: &[(&str, &str)]| {
        let mut block = http2::request("POST", path);
        for (name, value) in extra {
            block.extend(http2::literal(name, value));
        }
        block
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("CR LF in a value", head("/x", &[("x", "y\r\nContent-Length: 0\r\n\r\nGET /smuggled HTTP/1.1")])),
        ("LF in a value", head("/x", &[("x", "y\nTransfer-Encoding: chunked")])),
        ("CR LF in a name", head("/x", &[("x: y\r\nz", "w")])),
        ("colon in a name", head("/x", &[("transfer-encoding: chunked", "x")])),
        ("upper case", head("/x", &[("Transfer-Encoding", "chunked")])),
        ("transfer-encoding", head("/x", &[("transfer-encoding", "chunked")])),
        ("connection", head("/x", &[("connection", "content-length")])),
        ("short content-length", head("/x", &[("content-length", "0")])),
        ("long content-length", head("/x", &[("content-length", "500")])),
        ("two content-lengths", head("/x", &[("content-length", "5"), ("content-length", "50")])),
        ("CR LF in the path", head("/x HTTP/1.1\r\nHost: b\r\n\r\nGET /smuggled", &[])),
        ("space in the path", head("/x HTTP/1.1", &[])),
        ("no path", head("", &[])),
        ("another host", head("/x", &[("host", "evil")])),
        ("late pseudo header", head("/x", &[("x", "y"), (":path", "/smuggled")])),
    ];
    for (name, block) in cases {
        let stream = connect(port, "example.com", &["h2"], BOTH).await.unwrap();
        let mut connection = Http2::start(stream).await;
        connection.send(http2::HEADERS, http2::END_HEADERS, 1, &block).await.unwrap();
        let body = SMUGGLED.as_bytes();
        let _ = connection.send(http2::DATA, http2::END_STREAM, 1, body).await;
        let answered = async {
            while let Some(frame) = connection.read().await {
                if matches!(frame.kind, http2::HEADERS | http2::RESET | http2::GO_AWAY) && frame.stream <= 1 {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("no answer to {name}"));
        for request in target.take() {
            let context = format!("{name}: the target saw {request:?}");
            request.assert_canonical(&context);
            assert_eq!((&*request.method, &*request.path), ("POST", "/x"), "{context}");
            assert!(request.head.to_ascii_lowercase().contains("\r\nhost: example.com\r\n"), "{context}");
        }
    }
}

#[tokio::test]
async fn a20_what_a_client_says_of_itself_is_overwritten_or_added_to() {
    let server = Server::start("one").await;
    let (_balancer, port, _) = both(&server, LoadBalancerAttributes::default()).await;
    let spoofed = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-amzn-trace-id", "Root=1-67891233-abcdef012345678912345678;Sampled=1"),
        ("x-amzn-tls-version", "TLSv1.3"),
        ("keep-alive", "timeout=9999"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("x-hop", "1"),
    ];
    let mut stays = spoofed.to_vec();
    stays.push(("connection", "x-hop"));
    let text = get(port, "/", &stays).await.2;
    assert!(text.contains("x-forwarded-for: 6.6.6.6, 127.0.0.1\n"), "{text}");
    assert!(
        text.contains("x-forwarded-proto: http\n") && !text.contains("x-forwarded-proto: https"),
        "{text}"
    );
    assert!(text.contains(&format!("x-forwarded-port: {port}\n")), "{text}");
    assert!(text.contains(";Root=1-67891233-abcdef012345678912345678;Sampled=1\n"), "{text}");
    for gone in ["tls-version", "keep-alive", "proxy-connection", "\nte:", "x-hop", "\nconnection"] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
    let mut named = spoofed.to_vec();
    named
        .push(("connection", "x-forwarded-for, X-Forwarded-Proto, x-amzn-trace-id, x-forwarded-port, close"));
    let text = get(port, "/", &named).await.2;
    assert!(
        text.contains("x-forwarded-for: 127.0.0.1\n"),
        "what Connection names is gone before ours is put in: {text}"
    );
    assert!(
        text.contains("x-forwarded-proto: http\n") && text.contains("x-amzn-trace-id: Root=1-"),
        "{text}"
    );
}

#[tokio::test]
async fn a21_a_policy_offers_what_it_lists_and_nothing_else() {
    let server = Server::start("one").await;
    let (key, _) = certificate(&["example.com"]);
    let names: Vec<&str> = balancer::tls::security_policies().iter().map(|policy| policy.name).collect();
    let ports: Vec<u16> = names.iter().map(|_| free_port()).collect();
    let listeners = names.iter().zip(&ports).map(|(name, port)| {
        let mut listener = listener(*port, Protocol::Https, vec![default_rule(forward(&[("g", 1)]))]);
        (listener.security_policy, listener.certificates) = ((*name).to_owned(), vec![Arc::clone(&key)]);
        listener
    });
    let balancer = balancer();
    apply(&balancer, configuration(listeners.collect(), vec![group("g", vec![server.target()])])).await;
    for (policy, port) in balancer::tls::security_policies().iter().zip(&ports) {
        let mut taken = std::collections::BTreeSet::new();
        for suite in rustls::crypto::ring::ALL_CIPHER_SUITES {
            let version: &[_] =
                if suite.tls13().is_some() { &[&rustls::version::TLS13] } else { &[&rustls::version::TLS12] };
            if common::tls::connect_with(*port, "example.com", &[], version, &[*suite]).await.is_ok() {
                taken.insert(common::tls::openssl_name(suite.suite()));
            }
        }
        // The certificate's key is of elliptic curves: suites for RSA keys are listed, and cannot be agreed on.
        let listed =
            policy.suites.iter().filter(|name| !name.contains("-RSA-")).map(|name| (*name).to_owned());
        assert_eq!(taken, listed.collect(), "{}", policy.name);
    }
}

#[tokio::test]
async fn a21_no_request_comes_early() {
    let server = Server::start("one").await;
    let (_balancer, _, secure) = both(&server, LoadBalancerAttributes::default()).await;
    let config = common::tls::client(&["http/1.1"], BOTH, rustls::crypto::ring::ALL_CIPHER_SUITES, true);
    for round in 0..3 {
        let config = Arc::clone(&config);
        let asked = tokio::task::spawn_blocking(move || {
            use std::io::{Read as _, Write as _};
            let name = rustls::pki_types::ServerName::try_from("example.com").unwrap();
            let mut connection = rustls::ClientConnection::new(config, name).unwrap();
            let is_offered = connection.early_data().is_some();
            let mut socket = std::net::TcpStream::connect(("127.0.0.1", secure)).unwrap();
            let mut stream = rustls::Stream::new(&mut connection, &mut socket);
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            (is_offered, connection.handshake_kind(), answer)
        });
        let (is_offered, kind, answer) = asked.await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "round {round}");
        assert!(!is_offered, "round {round}: the ticket allows early data");
        let is_resumed = kind == Some(rustls::HandshakeKind::Resumed);
        assert_eq!(is_resumed, round > 0, "sessions are resumed, or this test would show nothing");
    }
}
