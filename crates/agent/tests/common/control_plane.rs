//! The control plane's side of the stock agent's protocol, in memory: it notes what it is told and says what it is asked to.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{
    ErrorResponse, Request as Handshake, Response as Accepted,
};

use super::{CLUSTER, INSTANCE};

const PATIENCE: Duration = Duration::from_secs(10);
/// An order that is not acknowledged is sent again after this time.
const AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct Noted {
    /// (operation, input)
    calls: Vec<(String, Value)>,
    /// (type, message) on ACS.
    acs: Vec<(String, Value)>,
    /// (type, message) on TCS.
    tcs: Vec<(String, Value)>,
    /// Query strings of ACS handshakes.
    handshakes: Vec<String>,
}

struct Inner {
    noted: Mutex<Noted>,
    changed: watch::Sender<u64>,
    orders: broadcast::Sender<String>,
    kick: broadcast::Sender<()>,
    down: AtomicBool,
    sequence: AtomicI64,
}

pub struct ControlPlane {
    inner: Arc<Inner>,
    port: u16,
    accepting: JoinHandle<()>,
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl ControlPlane {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Inner {
            noted: Mutex::default(),
            changed: watch::Sender::new(0),
            orders: broadcast::Sender::new(64),
            kick: broadcast::Sender::new(4),
            down: AtomicBool::new(false),
            sequence: AtomicI64::new(0),
        });
        let serving = Arc::clone(&inner);
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(Arc::clone(&serving), stream, port));
            }
        });
        Self { inner, port, accepting }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Goes away (connections break, calls are answered 503) or comes back.
    pub fn set_down(&self, down: bool) {
        self.inner.down.store(down, Ordering::SeqCst);
        if down {
            let _ = self.inner.kick.send(());
        }
    }

    pub fn next_sequence(&self) -> i64 {
        self.inner.sequence.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Sends a message on ACS.
    pub fn send(&self, kind: &str, message: Value) {
        self.inner
            .orders
            .send(json!({"type": kind, "message": message}).to_string())
            .expect("an agent is connected");
    }

    /// Sends a payload, and returns its message id.
    pub fn payload(&self, tasks: Vec<Value>) -> String {
        let (id, message) = self.next_payload(tasks);
        self.send("PayloadMessage", message);
        id
    }

    fn next_payload(&self, tasks: Vec<Value>) -> (String, Value) {
        let number = self.next_sequence();
        let id = format!("payload-{number}");
        let message = json!({"clusterArn": CLUSTER, "containerInstanceArn": INSTANCE, "messageId": id, "seqNum": number, "tasks": tasks});
        (id, message)
    }

    /// Sends a payload and waits until it is acknowledged. Like the real control plane it sends again what is not: the session
    /// that took it may have been that of an agent that has just ended.
    pub async fn order(&self, tasks: Vec<Value>) {
        // The telemetry session may come first: orders need the other one.
        self.handshakes(1).await;
        let (id, message) = self.next_payload(tasks);
        let acknowledged = self.acs("AckRequest", |message| message["messageId"] == id.as_str());
        let mut acknowledged = std::pin::pin!(acknowledged);
        loop {
            self.send("PayloadMessage", message.clone());
            if tokio::time::timeout(AGAIN, acknowledged.as_mut()).await.is_ok() {
                return;
            }
        }
    }

    async fn until<T>(&self, what: &str, look: impl Fn(&Noted) -> Option<T>) -> T {
        let mut changed = self.inner.changed.subscribe();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(found) = look(&self.inner.noted.lock().unwrap()) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        });
        match found.await {
            Ok(found) => found,
            Err(elapsed) => panic!("{what} did not come ({elapsed}): {:?}", self.inner.noted.lock().unwrap()),
        }
    }

    /// Waits for a message of the agent on ACS.
    pub async fn acs(&self, kind: &str, is: impl Fn(&Value) -> bool) -> Value {
        let find = |noted: &Noted| noted.acs.iter().find(|(k, m)| k == kind && is(m)).map(|(_, m)| m.clone());
        self.until(kind, find).await
    }

    /// Waits for a message of the agent on TCS.
    pub async fn tcs(&self, kind: &str, is: impl Fn(&Value) -> bool) -> Value {
        let find = |noted: &Noted| noted.tcs.iter().find(|(k, m)| k == kind && is(m)).map(|(_, m)| m.clone());
        self.until(kind, find).await
    }

    /// Waits for a call.
    pub async fn call(&self, operation: &str, is: impl Fn(&Value) -> bool) -> Value {
        let find =
            |noted: &Noted| noted.calls.iter().find(|(o, i)| o == operation && is(i)).map(|(_, i)| i.clone());
        self.until(operation, find).await
    }

    /// Waits for a task's state change.
    pub async fn state(&self, task: &str, status: &str) -> Value {
        let arn = super::task_arn(task);
        self.call("SubmitTaskStateChange", |input| input["task"] == arn.as_str() && input["status"] == status)
            .await
    }

    /// All state changes of a task so far: status and containers' statuses.
    pub fn states(&self, task: &str) -> Vec<String> {
        let arn = super::task_arn(task);
        let noted = self.inner.noted.lock().unwrap();
        let of_task =
            noted.calls.iter().filter(|(o, i)| o == "SubmitTaskStateChange" && i["task"] == arn.as_str());
        of_task
            .map(|(_, input)| {
                let mut text = input["status"].as_str().unwrap().to_owned();
                for container in input["containers"].as_array().into_iter().flatten() {
                    let code =
                        container["exitCode"].as_i64().map(|code| format!("({code})")).unwrap_or_default();
                    let (name, status) = (&container["containerName"], &container["status"]);
                    write!(text, " {}={}{code}", name.as_str().unwrap(), status.as_str().unwrap()).unwrap();
                }
                text
            })
            .collect()
    }

    pub fn count_acs(&self, kind: &str) -> usize {
        self.inner.noted.lock().unwrap().acs.iter().filter(|(k, _)| k == kind).count()
    }

    pub async fn handshakes(&self, number: usize) -> Vec<String> {
        self.until("a handshake", |noted| {
            (noted.handshakes.len() >= number).then(|| noted.handshakes.clone())
        })
        .await
    }
}

impl Inner {
    fn note(&self, change: impl FnOnce(&mut Noted)) {
        change(&mut self.noted.lock().unwrap());
        self.changed.send_modify(|count| *count += 1);
    }
}

async fn serve(inner: Arc<Inner>, stream: TcpStream, port: u16) {
    let mut first = [0; 4];
    while stream.peek(&mut first).await.unwrap_or(0) < first.len() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if &first == b"GET " {
        web_socket(inner, stream).await;
        return;
    }
    let service = service_fn(move |request| {
        let inner = Arc::clone(&inner);
        async move { Ok::<_, Infallible>(answer(&inner, request, port).await) }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(inner: &Inner, request: Request<Incoming>, port: u16) -> Response<Full<Bytes>> {
    let target = request.headers()["x-amz-target"].to_str().unwrap().to_owned();
    let (service, operation) = target.split_once('.').unwrap();
    assert!(request.headers()["authorization"].to_str().unwrap().starts_with("AWS4-HMAC-SHA256 "));
    let (service, operation) = (service.to_owned(), operation.to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    if inner.down.load(Ordering::SeqCst) {
        return response(503, json!({"__type": "ServerException", "message": "away"}));
    }
    let input: Value = serde_json::from_slice(&body).unwrap();
    let output = match operation.as_str() {
        "RegisterContainerInstance" => {
            json!({"containerInstance": {"containerInstanceArn": INSTANCE, "attributes": input["attributes"]}})
        }
        "DiscoverPollEndpoint" => {
            let base = format!("http://127.0.0.1:{port}");
            json!({"endpoint": format!("{base}/acs"), "telemetryEndpoint": format!("{base}/tcs/")})
        }
        "GetTaskProtection" => {
            json!({"protectedTasks": [{"taskArn": input["tasks"][0], "protectionEnabled": false}]})
        }
        "UpdateTaskProtection" if input["expiresInMinutes"] == 2881 => {
            let fault = json!({"__type": "InvalidParameterException", "message": "too long"});
            return response(400, fault);
        }
        "UpdateTaskProtection" => {
            json!({"protectedTasks": [{"taskArn": input["tasks"][0], "protectionEnabled": true, "expirationDate": 1_795_348_800}]})
        }
        "ListTagsForResource" => json!({"tags": [{"key": "team", "value": "harbour"}]}),
        _ => json!({}),
    };
    assert!(service == "AmazonEC2ContainerServiceV20141113" || service.starts_with("Logs_"), "{service}");
    inner.note(|noted| noted.calls.push((operation, input)));
    response(200, output)
}

fn response(status: u16, body: Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status.try_into().unwrap();
    response
}

async fn web_socket(inner: Arc<Inner>, stream: TcpStream) {
    let (mut path, mut query) = (String::new(), String::new());
    #[allow(clippy::result_large_err)]
    let look = |request: &Handshake, response: Accepted| -> Result<Accepted, ErrorResponse> {
        request.uri().path().clone_into(&mut path);
        request.uri().query().unwrap_or_default().clone_into(&mut query);
        assert!(
            request.headers()["authorization"].to_str().unwrap().contains("SignedHeaders=host;x-amz-date,")
        );
        if inner.down.load(Ordering::SeqCst) {
            let mut refused = ErrorResponse::new(Some(json!({"ServerException": "away"}).to_string()));
            *refused.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            return Err(refused);
        }
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, look).await else { return };
    let (mut orders, mut kick) = (inner.orders.subscribe(), inner.kick.subscribe());
    let telemetry = path.starts_with("/tcs");
    assert!(path == "/tcs/ws" || path == "/acs/ws", "{path}");
    if !telemetry {
        inner.note(|noted| noted.handshakes.push(query));
    }
    loop {
        tokio::select! {
            order = orders.recv(), if !telemetry => {
                if socket.send(Message::text(order.unwrap())).await.is_err() {
                    return;
                }
            }
            _ = kick.recv() => return,
            frame = socket.next() => match frame {
                Some(Ok(Message::Text(text))) => {
                    let text = if telemetry { text.split_once("\r\n\r\n").unwrap().1.to_owned() } else { text.to_string() };
                    let mut envelope: Value = serde_json::from_str(&text).unwrap();
                    let kind = envelope["type"].as_str().unwrap().to_owned();
                    let message = envelope["message"].take();
                    inner.note(|noted| if telemetry { noted.tcs.push((kind, message)) } else { noted.acs.push((kind, message)) });
                }
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}
