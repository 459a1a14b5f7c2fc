//! The HTTP server for tasks: small, bounded; GET, and PUT of the task's protection.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use api::ecs::ListTagsForResourceRequest;
use api::ecs::operations::ListTagsForResource;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::documents::{self, NodeFacts, Version};
use super::rate_limit::RateLimit;
use super::{statistics, task_protection};
use crate::task_engine::TaskEngine;
use crate::task_engine::plan::{ContainerPlan, NetworkPlan};
use crate::task_engine::record::ContainerRecord;
use crate::task_engine::view::TaskView;
use crate::telemetry::Telemetry;

/// Connections at one time, of all tasks.
const CONNECTIONS_MAXIMUM: usize = 512;
/// A request must have come within this. The stock agent's.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection may last so long, whatever it does.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);
/// The longest path that is looked at.
const PATH_BYTES_MAXIMUM: usize = 1024;
/// Time limit of asking the control plane for tags.
const TAGS_TIMEOUT: Duration = Duration::from_secs(4);

/// The listeners, bound before any task is taken up: a task's environment names the second.
pub struct Listeners {
    /// On the network's address for metadata, which tasks reach as 169.254.170.2.
    tasks: TcpListener,
    /// On loopback, for tasks of network mode `host`.
    host: TcpListener,
}

impl Listeners {
    /// Binds both: the first to `tasks`, the second to `host_port` of loopback, or any port where that is taken.
    pub async fn bind(tasks: SocketAddr, host_port: Option<u16>) -> io::Result<Self> {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let host = match host_port {
            Some(port) => match TcpListener::bind(loopback(port)).await {
                Ok(listener) => listener,
                Err(_) => TcpListener::bind(loopback(0)).await?,
            },
            None => TcpListener::bind(loopback(0)).await?,
        };
        Ok(Self { tasks: TcpListener::bind(tasks).await?, host })
    }

    /// Where tasks are served.
    pub fn tasks_address(&self) -> io::Result<SocketAddr> {
        self.tasks.local_addr()
    }

    /// The port for tasks of network mode `host`.
    pub fn host_port(&self) -> io::Result<u16> {
        Ok(self.host.local_addr()?.port())
    }
}

/// Answers tasks.
#[derive(Clone)]
pub struct MetadataServer {
    inner: Arc<Inner>,
}

struct Inner {
    tasks: TaskEngine,
    telemetry: Telemetry,
    limit: RateLimit,
    connections: Arc<Semaphore>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Caller {
    /// A task, by id.
    Task(String),
    /// A container of mode bridge, by the id of its task.
    Container(String),
    /// A process of the host.
    Host,
}

impl MetadataServer {
    /// A server of the tasks' documents.
    pub fn new(tasks: TaskEngine, telemetry: Telemetry) -> Self {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAXIMUM));
        Self { inner: Arc::new(Inner { tasks, telemetry, limit: RateLimit::default(), connections }) }
    }

    /// Serves for ever.
    pub async fn serve(self, listeners: Listeners) {
        let Listeners { tasks, host } = listeners;
        tokio::join!(self.accept(tasks), self.accept(host));
    }

    async fn accept(&self, listener: TcpListener) {
        loop {
            let Ok(permit) = Arc::clone(&self.inner.connections).acquire_owned().await else { return };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: a pause lets others give some back.
                    tracing::warn!(%error, "a task's connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let server = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let server = server.clone();
                    async move { Ok::<_, Infallible>(server.answer(peer.ip(), request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(READ_TIMEOUT)
                    // A client that says all it has to say and closes its side (nc) is still answered.
                    .half_close(true)
                    .max_buf_size(16 * 1024)
                    .serve_connection(TokioIo::new(stream), service);
                let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
                drop(permit);
            });
        }
    }

    async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if !self.inner.limit.admit(peer, Instant::now()) {
            return text(StatusCode::TOO_MANY_REQUESTS, "429 Too Many Requests");
        }
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if path.len() > PATH_BYTES_MAXIMUM {
            return text(StatusCode::URI_TOO_LONG, "414 URI Too Long");
        }
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let caller = self.caller(peer);
        let on_protection = matches!(segments.as_slice(), ["api", _, "task-protection", "v1", "state"]);
        if head.method != Method::GET && !(on_protection && head.method == Method::PUT) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "405 Method Not Allowed");
        }
        match (caller, segments.as_slice()) {
            (caller, ["api", endpoint, "task-protection", "v1", "state"]) => {
                let body = (head.method == Method::PUT).then_some(body);
                let (status, document) = self.task_protection(caller.as_ref(), endpoint, body).await;
                json_answer(status, &document)
            }
            (Some(caller), ["v2", "credentials", id]) => self.credentials(&caller, id),
            (Some(caller), ["v1", "credentials"]) => {
                let query = head.uri.query().unwrap_or_default();
                let id = query.split('&').find_map(|pair| pair.strip_prefix("id=")).unwrap_or_default();
                self.credentials(&caller, id)
            }
            (_, ["v2", "credentials", ..]) => credentials_refused(),
            (Some(Caller::Task(id)), ["v2", rest @ ..]) => self.version_2(&id, rest).await,
            (Some(caller), ["v3", endpoint, rest @ ..]) => {
                self.by_endpoint(&caller, endpoint, rest, Version::V3).await
            }
            (Some(caller), ["v4", endpoint, rest @ ..]) => {
                self.by_endpoint(&caller, endpoint, rest, Version::V4).await
            }
            _ => text(StatusCode::NOT_FOUND, "404 page not found"),
        }
    }

    /// Who asks, by the address alone.
    fn caller(&self, peer: IpAddr) -> Option<Caller> {
        if let Some(id) = self.inner.tasks.shared().network.attachment_of(peer) {
            if self.inner.tasks.view(&id).is_some() {
                return Some(Caller::Task(id));
            }
            let is_its = |view: &&Arc<TaskView>| {
                view.record.containers.iter().any(|container| container.runtime_id == id)
            };
            return self
                .inner
                .tasks
                .views()
                .iter()
                .find(is_its)
                .map(|view| Caller::Container(view.plan.id.clone()));
        }
        peer.is_loopback().then_some(Caller::Host)
    }

    /// Whether `caller` may see the task.
    fn may_see(caller: &Caller, view: &TaskView) -> bool {
        match caller {
            Caller::Task(id) | Caller::Container(id) => view.plan.id == *id,
            Caller::Host => view.plan.network == NetworkPlan::Host,
        }
    }

    fn credentials(&self, caller: &Caller, id: &str) -> Response<Full<Bytes>> {
        if id.is_empty() {
            return credentials_error(StatusCode::BAD_REQUEST, "NoIdInRequest", "No ID in the request");
        }
        let tasks = &self.inner.tasks;
        let role = tasks.views().iter().filter(|view| Self::may_see(caller, view)).find_map(|view| {
            let expected = &view.record.task.role_credentials.as_ref()?.credentials_id;
            if !same(expected, id) {
                return None;
            }
            tasks.role(expected).filter(|role| role.application && role.task_arn == view.record.task.arn)
        });
        let Some(role) = role else {
            tracing::warn!(?caller, "credentials were asked for with an id that is not the caller's");
            return credentials_refused();
        };
        tracing::info!(task = role.task_arn, ?caller, role = role.credentials.role_arn, "credentials served");
        let keys = role.credentials;
        let body = json!({
            "RoleArn": keys.role_arn,
            "AccessKeyId": keys.access_key_id,
            "SecretAccessKey": keys.secret_access_key,
            "Token": keys.session_token,
            "Expiration": keys.expiration,
        });
        json_answer(StatusCode::OK, &body)
    }

    async fn version_2(&self, task_id: &str, rest: &[&str]) -> Response<Full<Bytes>> {
        let Some(view) = self.inner.tasks.view(task_id) else { return not_found("task not found") };
        let view = self.with_ports(view);
        let position =
            |id: &str| view.record.containers.iter().position(|container| container.runtime_id == id);
        match rest {
            ["metadata"] => json_answer(StatusCode::OK, &self.task_document(&view, Version::V2)),
            ["metadataWithTags"] => {
                json_answer(StatusCode::OK, &self.task_with_tags(&view, Version::V2).await)
            }
            ["metadata", id] => match position(id) {
                Some(index) => json_answer(StatusCode::OK, &documents::container(&view, index, Version::V2)),
                None => not_found("container not found"),
            },
            ["stats"] => json_answer(StatusCode::OK, &self.task_statistics(&view)),
            ["stats", id] => match position(id) {
                Some(index) => json_answer(StatusCode::OK, &self.statistics(&view, index)),
                None => not_found("container not found"),
            },
            _ => text(StatusCode::NOT_FOUND, "404 page not found"),
        }
    }

    /// The task and container that an endpoint id stands for, if `caller` may see it.
    fn of_endpoint(&self, caller: &Caller, endpoint: &str) -> Option<(Arc<TaskView>, usize)> {
        self.inner.tasks.views().into_iter().filter(|view| Self::may_see(caller, view)).find_map(|view| {
            let mut containers = view.record.containers.iter();
            let index = containers.position(|container| same(&container.endpoint_id, endpoint))?;
            Some((self.with_ports(view), index))
        })
    }

    /// The ports of the host that lead to containers of mode bridge are there before a container is, and noted when it is known to
    /// run: one that asks with its first instruction is told what the network has.
    fn with_ports(&self, view: Arc<TaskView>) -> Arc<TaskView> {
        let wants = |plan: &ContainerPlan, record: &ContainerRecord| {
            plan.is_on_bridge(&view.plan) && !plan.ports.is_empty() && record.published.is_empty()
        };
        if !view.plan.containers.iter().zip(&view.record.containers).any(|(plan, record)| wants(plan, record))
        {
            return view;
        }
        let network = &self.inner.tasks.shared().network;
        let mut whole = TaskView::clone(&view);
        for (plan, record) in view.plan.containers.iter().zip(&mut whole.record.containers) {
            if wants(plan, record) {
                record.published = network.published(&record.runtime_id);
            }
        }
        Arc::new(whole)
    }

    /// Tells a task's protection, or with a body sets it.
    async fn task_protection(
        &self,
        caller: Option<&Caller>,
        endpoint: &str,
        body: Option<Incoming>,
    ) -> task_protection::Answer {
        let wish = match body {
            Some(body) => {
                let body = Limited::new(body, task_protection::BODY_BYTES_MAXIMUM);
                // A body that is too long or does not come is read as none, and refused.
                let read = tokio::time::timeout(READ_TIMEOUT, body.collect()).await;
                let body = read.ok().and_then(Result::ok).map(Collected::to_bytes).unwrap_or_default();
                match task_protection::read(&body) {
                    Ok(wish) => wish,
                    Err(refused) => return refused,
                }
            }
            None => task_protection::Wish::Get,
        };
        match caller.and_then(|caller| self.of_endpoint(caller, endpoint)) {
            Some((view, _)) => task_protection::answer(self.inner.tasks.shared(), &view, wish).await,
            None => task_protection::no_task(),
        }
    }

    async fn by_endpoint(
        &self,
        caller: &Caller,
        endpoint: &str,
        rest: &[&str],
        version: Version,
    ) -> Response<Full<Bytes>> {
        let Some((view, index)) = self.of_endpoint(caller, endpoint) else {
            return not_found("unable to get task arn from request: unable to get task Arn from endpoint ID");
        };
        let document = match rest {
            [] => documents::container(&view, index, version),
            ["task"] => self.task_document(&view, version),
            ["taskWithTags"] => self.task_with_tags(&view, version).await,
            ["stats"] => self.statistics(&view, index),
            ["task", "stats"] => self.task_statistics(&view),
            ["task", "service-connect"] => self.service_connect(&view),
            ["associations", _] => json!({"Associations": []}),
            _ => return text(StatusCode::NOT_FOUND, "404 page not found"),
        };
        json_answer(StatusCode::OK, &document)
    }

    /// What is counted of the task's calls through Service Connect. Ours: at AWS it goes to CloudWatch.
    fn service_connect(&self, view: &TaskView) -> Value {
        let listeners = self.inner.tasks.shared().service_connect.proxy().counters(&view.plan.id);
        let listener = |(host_name, port, counters): (String, u16, Arc<service_connect::Counters>)| {
            let counts: Map<String, Value> =
                counters.values().into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect();
            json!({"HostName": host_name, "Port": port, "Counts": counts})
        };
        Value::Array(listeners.into_iter().map(listener).collect())
    }

    fn task_document(&self, view: &TaskView, version: Version) -> Value {
        let config = &self.inner.tasks.shared().config;
        let node = NodeFacts { cluster: &config.cluster, availability_zone: &config.availability_zone };
        documents::task(view, version, &node)
    }

    async fn task_with_tags(&self, view: &TaskView, version: Version) -> Value {
        let mut document = self.task_document(view, version);
        let shared = self.inner.tasks.shared();
        let instance = shared.state.identity().container_instance_arn.unwrap_or_default();
        for (name, arn) in [("ContainerInstanceTags", instance), ("TaskTags", view.plan.arn.to_string())] {
            let region = arn.parse::<base::Arn>().ok().and_then(|arn| arn.region());
            let client = match region {
                Some(region) => shared.client.with_region(region.to_string()),
                None => shared.client.clone(),
            };
            let request = ListTagsForResourceRequest { resource_arn: Some(arn.clone()) };
            let asked =
                tokio::time::timeout(TAGS_TIMEOUT, client.call::<ListTagsForResource>(&request)).await;
            let Some(members) = document.as_object_mut() else { continue };
            match asked {
                Ok(Ok(answer)) => {
                    let tags: Map<String, Value> = answer
                        .tags
                        .into_iter()
                        .flatten()
                        .filter_map(|tag| Some((tag.key?, json!(tag.value.unwrap_or_default()))))
                        .collect();
                    members.insert(name.to_owned(), Value::Object(tags));
                }
                Ok(Err(error)) => note_error(members, name, &arn, &error.to_string()),
                Err(_) => note_error(members, name, &arn, "no answer in time"),
            }
        }
        document
    }

    fn statistics(&self, view: &TaskView, index: usize) -> Value {
        let Some(container) = view.record.containers.get(index) else { return Value::Null };
        let (before, last) = self.inner.telemetry.last_two(&container.runtime_id);
        statistics::container(&container.runtime_id, &container.docker_name, before.as_ref(), last.as_ref())
    }

    fn task_statistics(&self, view: &TaskView) -> Value {
        let all = view.record.containers.iter().enumerate();
        Value::Object(
            all.map(|(index, container)| (container.runtime_id.clone(), self.statistics(view, index)))
                .collect(),
        )
    }
}

fn note_error(document: &mut Map<String, Value>, field: &str, arn: &str, message: &str) {
    let error = json!({"ErrorField": field, "ErrorCode": "ServerException", "ErrorMessage": message, "ResourceARN": arn});
    match document.entry("Errors").or_insert_with(|| json!([])) {
        Value::Array(errors) => errors.push(error),
        other => *other = json!([error]),
    }
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
fn same(expected: &str, given: &str) -> bool {
    expected.len() == given.len()
        && expected.bytes().zip(given.bytes()).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

fn credentials_refused() -> Response<Full<Bytes>> {
    credentials_error(StatusCode::BAD_REQUEST, "InvalidIdInRequest", "Credentials not found")
}

fn credentials_error(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    json_answer(status, &json!({"code": code, "message": message, "HTTPErrorCode": status.as_u16()}))
}

fn not_found(message: &str) -> Response<Full<Bytes>> {
    json_answer(StatusCode::NOT_FOUND, &json!(message))
}

fn json_answer(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    answer(status, "application/json", body.to_string())
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", body.to_owned())
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a02_ids_are_compared_whole() {
        assert!(same("abc", "abc") && same("", ""));
        for (expected, given) in [("abc", "abd"), ("abc", "ab"), ("abc", "abcd"), ("abc", ""), ("abc", "xbc")]
        {
            assert!(!same(expected, given));
        }
    }
}
