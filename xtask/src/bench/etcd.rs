//! etcd as a peer: a server on loopback with its data where ours is, and the one call that is measured.
//!
//! The client speaks gRPC over one HTTP/2 connection, as etcd's own clients do; `Put` needs so little of protobuf that
//! it is written out here.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;

use super::process::free_address;

/// How often a connection is tried before etcd counts as not starting.
const TRIES: usize = 5000;

/// A running etcd. Killed when dropped.
pub struct Etcd {
    process: Child,
    address: String,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Etcd {
    /// Starts one; `Err`: why there is none.
    pub fn start(directory: &Path) -> Result<Self, String> {
        let (client, peer) = (free_address()?, free_address()?);
        let process = Command::new("etcd")
            .arg("--data-dir")
            .arg(directory.join("etcd"))
            .args(["--log-level", "error", "--logger", "zap"])
            .args(["--listen-client-urls", &format!("http://{client}")])
            .args(["--advertise-client-urls", &format!("http://{client}")])
            .args(["--listen-peer-urls", &format!("http://{peer}")])
            .args(["--initial-advertise-peer-urls", &format!("http://{peer}")])
            .args(["--initial-cluster", &format!("default=http://{peer}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("etcd cannot be started ({error}); Debian has it as etcd-server"))?;
        Ok(Self { process, address: client })
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// A client that has done its first write.
    pub async fn connect(&self) -> Result<Client, String> {
        let mut reason = String::new();
        for _ in 0..TRIES {
            match self.try_connect().await {
                Ok(client) => return Ok(client),
                Err(error) => reason = error,
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Err(format!("etcd does not answer: {reason}"))
    }

    async fn try_connect(&self) -> Result<Client, String> {
        let stream =
            tokio::net::TcpStream::connect(&self.address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, connection) = h2::client::handshake(stream).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let client = Client { sender, uri: format!("http://{}/etcdserverpb.KV/Put", self.address) };
        client.put(b"first", b"write").await?;
        Ok(client)
    }
}

/// One HTTP/2 connection; clones share it.
#[derive(Clone)]
pub struct Client {
    sender: SendRequest<Bytes>,
    uri: String,
}

impl Client {
    /// Writes a key, and returns when etcd has acknowledged it.
    pub async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let text = |error: h2::Error| error.to_string();
        let request = http::Request::post(&self.uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(|error| error.to_string())?;
        let mut sender = self.sender.clone().ready().await.map_err(text)?;
        let (response, mut body) = sender.send_request(request, false).map_err(text)?;
        body.send_data(put_request(key, value), true).map_err(text)?;
        let mut answer = response.await.map_err(text)?.into_body();
        while let Some(data) = answer.data().await {
            let length = data.map_err(text)?.len();
            let _ = answer.flow_control().release_capacity(length);
        }
        let trailers = answer.trailers().await.map_err(text)?;
        match trailers.as_ref().and_then(|trailers| trailers.get("grpc-status")) {
            Some(status) if status == "0" => Ok(()),
            status => Err(format!("etcd answers with the gRPC status {status:?}")),
        }
    }
}

/// A gRPC message (uncompressed, with its length) of an `etcdserverpb.PutRequest`: key is field 1, value field 2.
fn put_request(key: &[u8], value: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(key.len() + value.len() + 16);
    for (field, bytes) in [(1_u8, key), (2, value)] {
        message.put_u8(field << 3 | 2);
        let mut length = bytes.len();
        while length >= 0x80 {
            message.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(bytes);
    }
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put(message);
    framed.freeze()
}
