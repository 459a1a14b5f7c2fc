//! Application Load Balancers with real clients and real targets.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use balancer::TargetState;
use balancer::configuration::{
    Action, Condition, Forward, LoadBalancerAttributes, Protocol, Redirect, Rule, Stickiness,
};
use balancer::pattern::Pattern;
use bytes::Bytes;
use common::{
    Server, apply, balancer, configuration, default_rule, forward, free_port, get, group, listener, send,
    target, wait_for, with_attributes,
};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn requests_take_turns_and_carry_where_they_come_from() {
    let (one, two) = (Server::start("one").await, Server::start("two").await);
    let (balancer, port) = (balancer(), free_port());
    let groups = vec![group("g", vec![one.target(), two.target()])];
    let listeners = vec![listener(port, Protocol::Http, vec![default_rule(forward(&[("g", 1)]))])];
    apply(&balancer, configuration(listeners, groups)).await;
    for _ in 0..6 {
        let (status, _, text) = get(port, "/path?x=1", &[("x-forwarded-for", "1.2.3.4")]).await;
        assert_eq!(status, 200);
        assert!(text.contains("GET /path?x=1\n"), "{text}");
        assert!(text.contains("host: example.com\n"), "{text}");
        assert!(text.contains("x-forwarded-for: 1.2.3.4, 127.0.0.1\n"), "{text}");
        assert!(text.contains("x-forwarded-proto: http\n"), "{text}");
        assert!(text.contains(&format!("x-forwarded-port: {port}\n")), "{text}");
        assert!(text.contains("x-amzn-trace-id: Root=1-"), "{text}");
        assert!(!text.contains("connection:"), "{text}");
    }
    assert_eq!((one.requests.load(Ordering::SeqCst), two.requests.load(Ordering::SeqCst)), (3, 3));
}

#[tokio::test]
async fn bodies_pass_in_both_directions_on_one_kept_connection() {
    let server = Server::start("one").await;
    let (balancer, port) = (balancer(), free_port());
    let listeners = vec![listener(port, Protocol::Http, vec![default_rule(forward(&[("g", 1)]))])];
    apply(&balancer, configuration(listeners, vec![group("g", vec![server.target()])])).await;
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for size in [0, 1, 1000, 300_000] {
        sender.ready().await.unwrap();
        let body = Bytes::from(vec![b'x'; size]);
        let request = Request::post("/").header("host", "h").body(Full::new(body)).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        assert!(text.len() > size && text.ends_with(b"\n"), "{size}");
        assert!(text.windows(size.max(1)).any(|window| window == &vec![b'x'; size][..]) || size == 0);
    }
}

#[tokio::test]
async fn rules_redirects_and_fixed_responses() {
    let server = Server::start("one").await;
    let (balancer, port) = (balancer(), free_port());
    let rule = |arn: &str, path: &str, action| Rule {
        arn: arn.into(),
        priority: Some(1),
        conditions: vec![Condition::PathPattern(vec![Pattern::new(path)])],
        action,
    };
    let redirect = Redirect {
        protocol: "HTTPS".into(),
        host: "#{host}".into(),
        port: "443".into(),
        path: "/#{path}".into(),
        query: "#{query}".into(),
        status: 302,
    };
    let fixed =
        Action::FixedResponse { status: 418, content_type: Some("text/plain".into()), body: "tea".into() };
    let rules = vec![
        rule("api", "/api/*", forward(&[("g", 1)])),
        rule("old", "/old*", Action::Redirect(redirect)),
        rule("empty", "/empty", forward(&[("nothing", 1)])),
        default_rule(fixed),
    ];
    let groups = vec![group("g", vec![server.target()]), group("nothing", Vec::new())];
    apply(&balancer, configuration(vec![listener(port, Protocol::Http, rules)], groups)).await;
    assert_eq!(get(port, "/api/x", &[]).await.0, 200);
    let (status, headers, _) = get(port, "/old/page?a=b", &[]).await;
    assert_eq!(
        (status, headers["location"].to_str().unwrap()),
        (302, "https://example.com:443/old/page?a=b")
    );
    let (status, headers, text) = get(port, "/else", &[]).await;
    assert_eq!(
        (status, headers["content-type"].to_str().unwrap(), text.as_str()),
        (418, "text/plain", "tea")
    );
    let (status, _, text) = get(port, "/empty", &[]).await;
    assert_eq!(status, 503);
    assert!(text.contains("503 Service Temporarily Unavailable"), "{text}");
}

#[tokio::test]
async fn weights_are_kept_and_changed_under_way() {
    let (blue, green) = (Server::start("blue").await, Server::start("green").await);
    let (balancer, port) = (balancer(), free_port());
    let with = |weights: [u32; 2]| {
        let action = forward(&[("blue", weights[0]), ("green", weights[1])]);
        let groups = vec![group("blue", vec![blue.target()]), group("green", vec![green.target()])];
        configuration(vec![listener(port, Protocol::Http, vec![default_rule(action)])], groups)
    };
    apply(&balancer, with([1, 0])).await;
    for _ in 0..20 {
        assert!(get(port, "/", &[]).await.2.starts_with("blue"));
    }
    apply(&balancer, with([1, 1])).await;
    let mut seen = BTreeMap::new();
    for _ in 0..60 {
        *seen.entry(get(port, "/", &[]).await.2.split(' ').next().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert!(seen["blue"] > 5 && seen["green"] > 5, "{seen:?}");
    apply(&balancer, with([0, 1])).await;
    for _ in 0..20 {
        assert!(get(port, "/", &[]).await.2.starts_with("green"));
    }
}

#[tokio::test]
async fn a_client_stays_with_its_target_and_its_group() {
    let (one, two) = (Server::start("one").await, Server::start("two").await);
    let (balancer, port) = (balancer(), free_port());
    let mut sticky = group("g", vec![one.target(), two.target()]);
    sticky.stickiness = Some(Stickiness::LoadBalancerCookie(Duration::from_secs(60)));
    let mut by_application = group("a", vec![one.target(), two.target()]);
    by_application.stickiness =
        Some(Stickiness::ApplicationCookie("session".into(), Duration::from_secs(60)));
    let app_rule = Rule {
        arn: "app".into(),
        priority: Some(1),
        conditions: vec![Condition::PathPattern(vec![Pattern::new("/app")])],
        action: forward(&[("a", 1)]),
    };
    let both = Action::Forward(Forward {
        target_groups: vec![("g".into(), 1), ("a".into(), 1)],
        stickiness: Some(Duration::from_secs(60)),
    });
    let split = Rule {
        arn: "split".into(),
        priority: Some(1),
        conditions: vec![Condition::PathPattern(vec![Pattern::new("/split")])],
        action: both,
    };
    let rules = vec![app_rule, split, default_rule(forward(&[("g", 1)]))];
    let listeners = vec![listener(port, Protocol::Http, rules)];
    apply(&balancer, configuration(listeners, vec![sticky, by_application])).await;
    let cookies = |headers: &http::HeaderMap| {
        let values = headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
        values.map(|value| value.split(';').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (path, names) in [("/", ["AWSALB", "AWSALBCORS"]), ("/app", ["session", "AWSALBAPP-0"])] {
        let (_, headers, text) = get(port, path, &[]).await;
        let set = cookies(&headers);
        assert_eq!(set.iter().map(|cookie| cookie.split('=').next().unwrap()).collect::<Vec<_>>(), names);
        let who = text.split(' ').next().unwrap().to_owned();
        for _ in 0..6 {
            let (_, _, text) = get(port, path, &[("cookie", &set.join("; "))]).await;
            assert!(text.starts_with(&who), "{path}: {who} then {text}");
        }
    }
    let (_, headers, _) = get(port, "/split", &[]).await;
    let group_cookie = cookies(&headers).into_iter().find(|cookie| cookie.starts_with("AWSALBTG=")).unwrap();
    let again: Vec<bool> = {
        let mut sticky = Vec::new();
        for _ in 0..8 {
            let (_, headers, _) = get(port, "/split", &[("cookie", &group_cookie)]).await;
            sticky.push(cookies(&headers).iter().any(|cookie| cookie.starts_with("AWSALB=")));
        }
        sticky
    };
    assert!(again.iter().all(|first| *first == again[0]), "one group all the time: {again:?}");
    // A cookie that somebody made is no cookie.
    assert_eq!(get(port, "/", &[("cookie", "AWSALB=AAAA")]).await.0, 200);
}

#[tokio::test]
async fn f28_when_all_targets_are_unhealthy_all_are_used() {
    let (one, two) = (Server::start("one").await, Server::start("two").await);
    let (balancer, port) = (balancer(), free_port());
    let listeners = vec![listener(port, Protocol::Http, vec![default_rule(forward(&[("g", 1)]))])];
    apply(&balancer, configuration(listeners, vec![group("g", vec![one.target(), two.target()])])).await;
    let (first, second) = if one.target() < two.target() { (&one, &two) } else { (&two, &one) };
    first.healthy.store(false, Ordering::SeqCst);
    wait_for(&balancer, "g", &[TargetState::Unhealthy, TargetState::Healthy]).await;
    let reason = balancer.target_health("g").unwrap().remove(0);
    assert_eq!(reason.reason, Some("Target.ResponseCodeMismatch"));
    assert_eq!(reason.description.as_deref(), Some("Health checks failed with these codes: [500]"));
    let before = first.requests.load(Ordering::SeqCst);
    for _ in 0..6 {
        assert_eq!(get(port, "/", &[]).await.0, 200);
    }
    assert_eq!(first.requests.load(Ordering::SeqCst), before, "an unhealthy target gets nothing");
    second.healthy.store(false, Ordering::SeqCst);
    wait_for(&balancer, "g", &[TargetState::Unhealthy, TargetState::Unhealthy]).await;
    for _ in 0..6 {
        assert_eq!(get(port, "/", &[]).await.0, 200);
    }
    assert!(first.requests.load(Ordering::SeqCst) > before, "fail open");
    first.healthy.store(true, Ordering::SeqCst);
    wait_for(&balancer, "g", &[TargetState::Healthy, TargetState::Unhealthy]).await;
}

#[tokio::test]
async fn a_deregistered_target_ends_what_it_has_and_gets_nothing_new() {
    let (one, two) = (Server::start("one").await, Server::start("two").await);
    let (balancer, port) = (balancer(), free_port());
    let with = |targets| {
        configuration(
            vec![listener(port, Protocol::Http, vec![default_rule(forward(&[("g", 1)]))])],
            vec![group("g", targets)],
        )
    };
    apply(&balancer, with(vec![one.target()])).await;
    let slow = tokio::spawn(get(port, "/slow/800", &[]));
    while one.requests.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    balancer.apply(with(vec![two.target()])).await;
    let states: Vec<TargetState> =
        balancer.target_health("g").unwrap().into_iter().map(|health| health.state).collect();
    assert!(states.contains(&TargetState::Draining), "{states:?}");
    for _ in 0..4 {
        assert!(get(port, "/", &[]).await.2.starts_with("two"));
    }
    let (status, _, text) = slow.await.unwrap();
    assert_eq!(status, 200);
    assert!(text.starts_with("one"));
    wait_for(&balancer, "g", &[TargetState::Healthy]).await;
}

#[tokio::test]
async fn f27_a_new_configuration_drops_no_connection() {
    let server = Server::start("one").await;
    let (balancer, port) = (balancer(), free_port());
    let with = |body: &str| {
        let rule = Rule {
            arn: "r".into(),
            priority: Some(1),
            conditions: vec![Condition::PathPattern(vec![Pattern::new("/fixed")])],
            action: Action::FixedResponse { status: 200, content_type: None, body: body.into() },
        };
        configuration(
            vec![listener(port, Protocol::Http, vec![rule, default_rule(forward(&[("g", 1)]))])],
            vec![group("g", vec![server.target()])],
        )
    };
    apply(&balancer, with("first")).await;
    let mut kept = Vec::new();
    for _ in 0..50 {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        kept.push(sender);
    }
    for round in 0..5 {
        let body = format!("round {round}");
        balancer.apply(with(&body)).await;
        for sender in &mut kept {
            sender.ready().await.unwrap();
            let request = Request::get("/fixed").header("host", "h").body(Full::<Bytes>::default()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
        }
    }
}

#[tokio::test]
async fn a_target_that_cannot_answer() {
    let (balancer, port) = (balancer(), free_port());
    let closed = target(format!("127.0.0.1:{}", free_port()).parse().unwrap());
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut mute = group("mute", vec![target(silent.local_addr().unwrap())]);
    mute.health_check.protocol = balancer::configuration::GroupProtocol::Tcp;
    let rule = Rule {
        arn: "mute".into(),
        priority: Some(1),
        conditions: vec![Condition::PathPattern(vec![Pattern::new("/mute")])],
        action: forward(&[("mute", 1)]),
    };
    let attributes = LoadBalancerAttributes {
        idle_timeout: Duration::from_millis(300),
        ..LoadBalancerAttributes::default()
    };
    let listeners = vec![listener(port, Protocol::Http, vec![rule, default_rule(forward(&[("g", 1)]))])];
    apply(&balancer, with_attributes(listeners, vec![group("g", vec![closed]), mute], attributes)).await;
    assert_eq!(get(port, "/", &[]).await.0, 502);
    let (status, _, text) = get(port, "/mute", &[]).await;
    assert_eq!(status, 504);
    assert!(text.contains("504 Gateway Time-out"), "{text}");
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_connection_closed() {
    let server = Server::start("one").await;
    let (balancer, port) = (balancer(), free_port());
    let listeners = vec![listener(port, Protocol::Http, vec![default_rule(forward(&[("g", 1)]))])];
    apply(&balancer, configuration(listeners, vec![group("g", vec![server.target()])])).await;
    let before = server.requests.load(Ordering::SeqCst);
    for bad in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\nContent-Length : 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c: d\r\n\r\n",
        "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\0\0\0\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(bad.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), async {
            let mut bytes = [0; 4096];
            while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
                match stream.read(&mut bytes).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => answer.extend_from_slice(&bytes[..count]),
                }
            }
        });
        read.await.unwrap_or_else(|_| panic!("no answer to {bad:?}"));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{bad:?} was answered with {answer:?}"
        );
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), before, "none of them reached the target");
}

/// A target that says again what web sockets tell it.
async fn websocket_echo() -> std::net::SocketAddr {
    use futures_util::{SinkExt as _, StreamExt as _};
    let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = echo.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = echo.accept().await {
            tokio::spawn(async move {
                let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
                let (mut out, mut incoming) = socket.split();
                while let Some(Ok(message)) = incoming.next().await {
                    if out.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn websockets_pass() {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::Message;
    let address = websocket_echo().await;
    let (balancer, port) = (balancer(), free_port());
    let mut group = group("g", vec![target(address)]);
    group.health_check.protocol = balancer::configuration::GroupProtocol::Tcp;
    let listeners = vec![listener(port, Protocol::Http, vec![default_rule(forward(&[("g", 1)]))])];
    apply(&balancer, configuration(listeners, vec![group])).await;
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut socket, _) =
        tokio_tungstenite::client_async(format!("ws://127.0.0.1:{port}/chat"), stream).await.unwrap();
    for text in ["hello", "again", &"long ".repeat(20_000)] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), text);
    }
    socket.close(None).await.unwrap();
    // An upgrade that is none of WebSocket goes through as a plain request, and the connection lives on.
    let (status, _, _) = get(port, "/", &[]).await;
    assert!(status == 400 || status == 502 || status == 200, "{status}");
}

#[tokio::test]
async fn a_websocket_ends_with_the_deregistration_delay_of_its_target_and_not_before() {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::Message;
    let address = websocket_echo().await;
    let (balancer, port) = (balancer(), free_port());
    let with = |targets| {
        let mut group = group("g", targets);
        group.health_check.enabled = false;
        group.deregistration_delay = Duration::from_millis(300);
        let rules = vec![default_rule(forward(&[("g", 1)]))];
        configuration(vec![listener(port, Protocol::Http, rules)], vec![group])
    };
    apply(&balancer, with(vec![target(address)])).await;
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut socket, _) =
        tokio_tungstenite::client_async(format!("ws://127.0.0.1:{port}/"), stream).await.unwrap();
    balancer.apply(with(Vec::new())).await;
    assert_eq!(balancer.target_health("g").unwrap()[0].state, TargetState::Draining);
    socket.send(Message::text("still here")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), "still here");
    wait_for(&balancer, "g", &[]).await;
    let ended = tokio::time::timeout(Duration::from_secs(5), socket.next()).await;
    assert!(!matches!(ended.expect("it is cut"), Some(Ok(_))));
}

#[tokio::test]
async fn an_upgrade_that_is_declined_leaves_the_connection_in_use() {
    let server = Server::start("one").await;
    let (balancer, port) = (balancer(), free_port());
    let listeners = vec![listener(port, Protocol::Http, vec![default_rule(forward(&[("g", 1)]))])];
    apply(&balancer, configuration(listeners, vec![group("g", vec![server.target()])])).await;
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for upgrade in ["h2c", "websocket", "h2c"] {
        sender.ready().await.unwrap();
        let request =
            Request::get("/").header("host", "h").header("connection", "upgrade").header("upgrade", upgrade);
        let response = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
    }
}

#[tokio::test]
async fn post_with_expect_and_head() {
    let server = Server::start("one").await;
    let (balancer, port) = (balancer(), free_port());
    let listeners = vec![listener(port, Protocol::Http, vec![default_rule(forward(&[("g", 1)]))])];
    apply(&balancer, configuration(listeners, vec![group("g", vec![server.target()])])).await;
    let request = Request::post("/").header("host", "h").header("expect", "100-continue");
    let response = send(port, request.body(Full::from("abc")).unwrap()).await;
    assert!(
        String::from_utf8_lossy(&response.into_body().collect().await.unwrap().to_bytes())
            .contains("body: abc")
    );
    let response = send(port, Request::head("/").header("host", "h").body(Full::default()).unwrap()).await;
    assert_eq!(response.status(), 200);
}
