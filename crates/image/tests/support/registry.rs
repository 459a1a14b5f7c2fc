//! A registry that does what a test tells it, byte by byte.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use image::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a client asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: HashMap<String, String>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What content-length says, when not the truth.
    pub length: Option<u64>,
    /// Pause before each of this many bytes.
    pub trickle: Option<(usize, Duration)>,
    /// Never answer at all.
    pub silent: bool,
    /// Send the body over and over, up to `length`.
    pub endless: bool,
}

pub fn reply(status: u16, body: impl AsRef<[u8]>) -> Reply {
    Reply {
        status,
        headers: Vec::new(),
        body: body.as_ref().to_vec(),
        length: None,
        trickle: None,
        silent: false,
        endless: false,
    }
}

impl Reply {
    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

type Handler = dyn Fn(&Asked) -> Reply + Send + Sync;

/// A server on loopback; its tasks end with the runtime of the test.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Listens on `host`, such as 127.0.0.2 for another origin.
    pub async fn start(host: &str, handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let handler: Arc<Handler> = Arc::new(handler);
        let log = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (handler, log) = (handler.clone(), log.clone());
                tokio::spawn(async move {
                    let _ = serve(stream, &*handler, &log).await;
                });
            }
        });
        Self { address, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How many requests' paths contain the text.
    pub fn count(&self, text: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path.contains(text)).count()
    }
}

async fn serve(mut stream: TcpStream, handler: &Handler, log: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let asked = Asked { path, headers };
    log.lock().unwrap().push(asked.clone());
    let reply = handler(&asked);
    if reply.silent {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    let length = reply.length.unwrap_or(reply.body.len() as u64);
    let mut head =
        format!("HTTP/1.1 {} X\r\nconnection: close\r\ncontent-length: {length}\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.extend([name.as_str(), ": ", value.as_str(), "\r\n"]);
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    if let Some((bytes, pause)) = reply.trickle {
        for part in reply.body.chunks(bytes) {
            tokio::time::sleep(pause).await;
            stream.write_all(part).await?;
        }
    } else if reply.endless {
        let mut sent = 0;
        while sent < length {
            stream.write_all(&reply.body).await?;
            sent += reply.body.len() as u64;
        }
    } else {
        stream.write_all(&reply.body).await?;
    }
    stream.shutdown().await
}

/// An image as a registry has it: documents and blobs.
#[derive(Clone)]
pub struct Served {
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    /// As served: compressed.
    pub layers: Vec<Vec<u8>>,
}

impl Served {
    /// Of layers' archives, compressed with gzip.
    pub fn new(archives: &[Vec<u8>]) -> Self {
        Self::with_config(archives, super::tarball::config(archives))
    }

    pub fn with_config(archives: &[Vec<u8>], config: Vec<u8>) -> Self {
        let layers: Vec<Vec<u8>> = archives.iter().map(|archive| gzip(archive)).collect();
        let descriptors: Vec<_> = layers
            .iter()
            .map(|layer| {
                serde_json::json!({
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": Digest::of(layer), "size": layer.len(),
                })
            })
            .collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::of(&config), "size": config.len() },
            "layers": descriptors,
        });
        Self { manifest: manifest.to_string().into_bytes(), config, layers }
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// What an honest registry answers.
    pub fn answer(&self, asked: &Asked) -> Reply {
        let path = asked.path.split('?').next().unwrap();
        let last = path.rsplit('/').next().unwrap();
        if path.contains("/manifests/") {
            if last == "1" || last == "latest" || last == self.digest().to_string() {
                return reply(200, &self.manifest)
                    .header("content-type", "application/vnd.oci.image.manifest.v1+json");
            }
        } else if path.contains("/blobs/") {
            if last == Digest::of(&self.config).to_string() {
                return reply(200, &self.config);
            }
            if let Some(layer) = self.layers.iter().find(|layer| last == Digest::of(layer).to_string()) {
                return ranged(layer, asked);
            }
        }
        reply(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
    }
}

/// The rest that a range asks for, or all.
pub fn ranged(body: &[u8], asked: &Asked) -> Reply {
    let from = asked
        .header("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match from {
        Some(from) if from < body.len() => reply(206, &body[from..])
            .header("content-range", format!("bytes {from}-{}/{}", body.len() - 1, body.len())),
        _ => reply(200, body),
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
