//! Signed calls over one kept connection, with as little work of the caller's own as can be: the machine is shared with
//! what is measured. A request is signed once and can be sent many times.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base::{Clock as _, SystemClock};
use serde_json::Value;
use wire::sigv4::{SecretKey, SigningKey, sign};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer that is read.
const ANSWER_BYTES_MAXIMUM: usize = 64 << 20;

/// Where to call, and as whom.
#[derive(Clone)]
pub struct Target {
    /// `127.0.0.1:4566`.
    pub address: String,
    /// Access key id.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: String,
}

impl Target {
    /// The bytes of a signed request of an awsJson operation.
    pub fn json_request(&self, aws_service: &str, target: &str, input: &Value) -> Result<Vec<u8>, String> {
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
        self.request(aws_service, &headers, &input.to_string())
    }

    /// The bytes of a signed request of a query operation.
    pub fn query_request(&self, aws_service: &str, body: &str) -> Result<Vec<u8>, String> {
        self.request(aws_service, &[("content-type", "application/x-www-form-urlencoded")], body)
    }

    fn request(&self, aws_service: &str, headers: &[(&str, &str)], body: &str) -> Result<Vec<u8>, String> {
        let mut request = http::Request::post(format!("http://{}/", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).map_err(|error| error.to_string())?.into_parts();
        let key = SigningKey {
            access_key_id: self.access_key_id.clone(),
            secret_access_key: SecretKey::new(self.secret_access_key.clone()),
            session_token: None,
        };
        sign(&mut parts, body.as_bytes(), &key, aws_service, "us-east-1", SystemClock.now());
        let mut bytes = b"POST / HTTP/1.1\r\n".to_vec();
        for (name, value) in &parts.headers {
            bytes.extend_from_slice(format!("{name}: ").as_bytes());
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
        Ok(bytes)
    }
}

/// One connection.
pub struct Caller {
    target: Target,
    stream: Option<BufReader<TcpStream>>,
}

impl Caller {
    /// Nothing is connected yet.
    pub fn new(target: &Target) -> Self {
        Self { target: target.clone(), stream: None }
    }

    /// An operation of ECS.
    pub fn ecs(&mut self, operation: &str, input: &Value) -> Result<Value, String> {
        let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
        self.json("ecs", &target, input)
    }

    /// An operation of CloudWatch Logs.
    pub fn logs(&mut self, operation: &str, input: &Value) -> Result<Value, String> {
        self.json("logs", &format!("Logs_20140328.{operation}"), input)
    }

    fn json(&mut self, aws_service: &str, target: &str, input: &Value) -> Result<Value, String> {
        let request = self.target.json_request(aws_service, target, input)?;
        let body = self.send(&request).map_err(|error| format!("{target}: {error}"))?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|error| format!("{target}: {error}"))
    }

    /// An operation of EC2, with the answer as XML.
    pub fn ec2(&mut self, operation: &str) -> Result<String, String> {
        let body = format!("Action={operation}&Version=2016-11-15");
        let request = self.target.query_request("ec2", &body)?;
        let answer = self.send(&request).map_err(|error| format!("{operation}: {error}"))?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// An operation of Elastic Load Balancing, with its parameters as a query has them; the answer's XML.
    pub fn load_balancing(&mut self, parameters: &str) -> Result<String, String> {
        let body = format!("Version=2015-12-01&Action={parameters}");
        let request = self.target.query_request("elasticloadbalancing", &body)?;
        let answer = self.send(&request).map_err(|error| format!("{parameters}: {error}"))?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Sends the bytes of a request, and gives the body of an answer that is 200. A connection that the server closed
    /// while it was idle is made anew.
    pub fn send(&mut self, request: &[u8]) -> Result<Vec<u8>, String> {
        let kept = self.stream.is_some();
        match self.exchange(request) {
            Err(_) if kept && self.stream.is_none() => self.exchange(request),
            done => done,
        }
    }

    fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>, String> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(&self.target.address).map_err(|error| format!("cannot connect: {error}"))?,
        };
        stream.get_mut().write_all(request).map_err(|error| error.to_string())?;
        let (status, keep, body) = read_answer(&mut stream)?;
        if keep {
            self.stream = Some(stream);
        }
        if status == 200 {
            return Ok(body);
        }
        Err(format!("{status}: {}", String::from_utf8_lossy(&body).chars().take(300).collect::<String>()))
    }
}

fn connect(address: &str) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(BufReader::with_capacity(256 << 10, stream))
}

/// Status, whether the connection stays, and the body.
fn read_answer(stream: &mut BufReader<TcpStream>) -> Result<(u16, bool, Vec<u8>), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut line = String::new();
    if stream.read_line(&mut line).map_err(text)? == 0 {
        return Err("the connection was closed".to_owned());
    }
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| format!("no HTTP answer: {line:?}"))?;
    let mut keep = line.starts_with("HTTP/1.1");
    let (mut length, mut chunked) = (None, false);
    loop {
        line.clear();
        stream.read_line(&mut line).map_err(text)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse::<usize>().ok(),
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => keep &= !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            line.clear();
            stream.read_line(&mut line).map_err(text)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(|_| "a bad chunk".to_owned())?;
            read_more(stream, &mut body, size)?;
            line.clear();
            stream.read_line(&mut line).map_err(text)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = length {
        read_more(stream, &mut body, length)?;
    } else {
        keep = false;
        stream.take(ANSWER_BYTES_MAXIMUM as u64).read_to_end(&mut body).map_err(text)?;
    }
    Ok((status, keep, body))
}

fn read_more(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>, bytes: usize) -> Result<(), String> {
    let start = body.len();
    if start + bytes > ANSWER_BYTES_MAXIMUM {
        return Err("the answer is too long".to_owned());
    }
    body.resize(start + bytes, 0);
    stream.read_exact(&mut body[start..]).map_err(|error| error.to_string())
}
