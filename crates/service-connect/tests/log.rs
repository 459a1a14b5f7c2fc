//! What is written of a task's traffic, and the listener of a task that is called at another port.

mod common;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use base::Timestamp;
use common::{ADDRESS, free_port, may_enter_namespaces, nobody, open, service};
use service_connect::{AccessLog, AppProtocol, Group, Ingress, Listener, Log, LogSink, Proxy, Split};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl LogSink for Lines {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_780_000_000_123)
    }

    fn write(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Lines {
    /// The next line that was written.
    async fn next(&self) -> String {
        loop {
            {
                let mut lines = self.0.lock().unwrap();
                if !lines.is_empty() {
                    return lines.remove(0);
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

/// A server that answers each connection's request with these words, whatever it is.
async fn says(words: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{words}",
                words.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

async fn ask(address: SocketAddr, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /a?token=b HTTP/1.1\r\nhost: backend\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn logged(
    protocol: AppProtocol,
    access: AccessLog,
    endpoint: SocketAddr,
) -> (Proxy, SocketAddr, Arc<Lines>) {
    let proxy = Proxy::default();
    proxy.set_service("srv-1", Some(service(protocol, &[endpoint])));
    let address: IpAddr = ADDRESS.parse().unwrap();
    let port = free_port().await;
    let listener = Listener { service: "srv-1".to_owned(), host_name: "backend".to_owned(), address, port };
    let lines = Arc::<Lines>::default();
    let log = Log { sink: Arc::clone(&lines) as Arc<dyn LogSink>, access: Some(access) };
    open(&proxy, &[listener], &[], Some(log));
    (proxy, SocketAddr::new(address, port), lines)
}

#[tokio::test]
async fn requests_have_a_line_each_in_text_or_json() {
    if !may_enter_namespaces() {
        return;
    }
    let there = says("hello").await;
    let text = AccessLog { json: false, query: false };
    let (_proxy, address, lines) = logged(AppProtocol::Http, text, there).await;
    ask(address, "user-agent: me\r\nx-request-id: 7\r\n").await;
    let line = lines.next().await;
    let (head, tail) = line.split_once(" 200 - 0 5 ").unwrap_or_else(|| panic!("{line}"));
    assert_eq!(head, "[2026-05-28T20:26:40.123Z] \"GET /a HTTP/1.1\"");
    assert!(tail.ends_with(&format!(" \"-\" \"me\" \"7\" \"backend\" \"{there}\"")), "{line}");

    let json = AccessLog { json: true, query: true };
    let (_proxy, address, lines) = logged(AppProtocol::Http, json, there).await;
    ask(address, "").await;
    let line: serde_json::Value = serde_json::from_str(&lines.next().await).unwrap();
    assert_eq!((&line["path"], &line["response_code"]), (&"/a?token=b".into(), &200.into()));
    assert_eq!((&line["bytes_sent"], &line["user_agent"]), (&5.into(), &serde_json::Value::Null));
}

#[tokio::test]
async fn failures_are_told_with_envoys_flags() {
    if !may_enter_namespaces() {
        return;
    }
    let gone = nobody().await;
    let text = AccessLog { json: false, query: true };
    let (proxy, address, lines) = logged(AppProtocol::Http, text, gone).await;
    ask(address, "").await;
    let told = lines.next().await;
    assert!(told.ends_with(&format!(
        "[warning][service-connect] backend:{}: {gone} cannot be connected to",
        address.port()
    )));
    assert!(lines.next().await.contains(" 503 UF "));
    proxy.set_service("srv-1", Some(service(AppProtocol::Http, &[])));
    ask(address, "").await;
    assert!(lines.next().await.contains(" 503 UH "));
}

#[tokio::test]
async fn a_connection_of_tcp_has_a_line_when_it_has_ended() {
    if !may_enter_namespaces() {
        return;
    }
    let there = says("hello").await;
    let text = AccessLog { json: false, query: true };
    let (_proxy, address, lines) = logged(AppProtocol::Tcp, text, there).await;
    let answer = ask(address, "").await;
    let line = lines.next().await;
    assert!(line.contains(&format!(" - 61 {} ", answer.len())), "{line}");
    assert!(line.ends_with(&format!("\"{there}\"")), "{line}");
}

#[tokio::test]
async fn a_task_is_called_at_another_port_than_its_containers() {
    if !may_enter_namespaces() {
        return;
    }
    let container = says("hello").await;
    let port = free_port().await;
    let proxy = Proxy::default();
    open(&proxy, &[], &[Ingress { port, container_port: container.port() }], None);
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let Ok(address) = address.parse::<SocketAddr>() else { unreachable!() };
        if address.is_ipv6() && TcpListener::bind("[::1]:0").await.is_err() {
            eprintln!("skipped in part: there is no IPv6");
            continue;
        }
        assert!(ask(address, "").await.ends_with("hello"));
    }
    proxy.close("task");
    while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn test_traffic_goes_to_what_is_being_deployed() {
    if !may_enter_namespaces() {
        return;
    }
    let (blue, green) = (says("blue").await, says("green").await);
    let (proxy, address, _) = logged(AppProtocol::Http, AccessLog { json: false, query: false }, blue).await;
    let group = |address: SocketAddr, production_weight, test_weight| Group {
        name: address.port().to_string(),
        production_weight,
        test_weight,
    };
    let mut service = service(AppProtocol::Http, &[blue, green]);
    service.split = Some(Split {
        groups: vec![group(blue, 1000, 0), group(green, 0, 1000)],
        test_header: ("x-test".to_owned(), Some("1".to_owned())),
    });
    proxy.set_service("srv-1", Some(service.clone()));
    for _ in 0..4 {
        assert!(ask(address, "").await.ends_with("blue"));
        assert!(ask(address, "x-test: 2\r\n").await.ends_with("blue"));
        assert!(ask(address, "X-Test: 1\r\n").await.ends_with("green"));
    }
    service.split.as_mut().unwrap().test_header.1 = None;
    proxy.set_service("srv-1", Some(service));
    assert!(ask(address, "x-test: whatever\r\n").await.ends_with("green"));
}
