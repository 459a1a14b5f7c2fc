//! A target that keeps the very bytes it is sent, and reads them as strictly as can be.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use balancer::configuration::Target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    /// From the request line to the empty line.
    pub head: String,
    pub body: Vec<u8>,
}

pub struct RawTarget {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl RawTarget {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept)));
            }
        });
        Self { address, seen }
    }

    pub fn target(&self) -> Target {
        super::target(self.address)
    }

    /// What came since the last call.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn serve(mut stream: TcpStream, kept: Arc<Mutex<Vec<Seen>>>) {
    let mut pending = Vec::new();
    loop {
        let Some(head) = read_until(&mut stream, &mut pending, b"\r\n\r\n").await else { return };
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut seen =
            Seen { method: method.to_owned(), path: path.to_owned(), head: head.clone(), body: Vec::new() };
        // Noted before the body: one that never comes must not hide it.
        kept.lock().unwrap().push(seen.clone());
        let lower = head.to_ascii_lowercase();
        let length = lower
            .split("\r\ncontent-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next().and_then(|text| text.parse::<usize>().ok()));
        if lower.contains("\r\ntransfer-encoding: chunked\r\n") {
            loop {
                let Some(line) = read_until(&mut stream, &mut pending, b"\r\n").await else { return };
                let text = String::from_utf8_lossy(&line).into_owned();
                let Ok(size) = usize::from_str_radix(text.trim_end(), 16) else { return };
                let Some(chunk) = read_exactly(&mut stream, &mut pending, size + 2).await else { return };
                if size == 0 {
                    break;
                }
                seen.body.extend(&chunk[..size]);
            }
        } else if let Some(length) = length {
            let Some(body) = read_exactly(&mut stream, &mut pending, length).await else { return };
            seen.body = body;
        }
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.is_err() {
            return;
        }
    }
}

async fn read_until(stream: &mut TcpStream, pending: &mut Vec<u8>, end: &[u8]) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = pending.windows(end.len()).position(|window| window == end) {
            return Some(pending.drain(..at + end.len()).collect());
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => pending.extend(&bytes[..count]),
        }
    }
}

async fn read_exactly(stream: &mut TcpStream, pending: &mut Vec<u8>, count: usize) -> Option<Vec<u8>> {
    while pending.len() < count {
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => pending.extend(&bytes[..read]),
        }
    }
    Some(pending.drain(..count).collect())
}

impl Seen {
    /// That no parser can read this in two ways: lines end in CR LF, names are tokens with the colon behind them, nothing
    /// is folded, and one header at most says how long the body is.
    pub fn assert_canonical(&self, context: &str) {
        let head = self.head.strip_suffix("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words.len(), 3, "{context}");
        assert!(words[0].bytes().all(|byte| byte.is_ascii_alphanumeric()), "{context}");
        assert!(words[1].starts_with('/') || words[1] == "*", "{context}");
        assert_eq!(words[2], "HTTP/1.1", "{context}");
        let mut framing = 0;
        let mut hosts = 0;
        for line in lines {
            let (name, value) =
                line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?}: {context}"));
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert!(!name.is_empty() && name.bytes().all(is_token), "{name:?}: {context}");
            assert!(!value.contains(['\r', '\n', '\0']), "{value:?}: {context}");
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    framing += 1;
                    assert!(value.trim().bytes().all(|byte| byte.is_ascii_digit()), "{context}");
                }
                "transfer-encoding" => {
                    framing += 1;
                    assert_eq!(value.trim(), "chunked", "{context}");
                }
                "host" => hosts += 1,
                _ => {}
            }
        }
        assert!(framing <= 1 && hosts == 1, "{context}");
    }
}
