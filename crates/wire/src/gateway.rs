//! [`Gateway`]: from an HTTP request to a call of an operation, and from its answer back to HTTP.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::Read as _;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use base::limits::REQUEST_BODY_BYTES;
use base::{Clock, Ids, Region, Scope, Timestamp};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HOST, HeaderName, HeaderValue, ORIGIN};
use http::request::Parts;

use crate::call::{Authorizer, Call, Principal};
use crate::fault::Fault;
use crate::operation::{ErasedOperation, ServiceTable};
use crate::protocol::{self, Reply};
use crate::route::{Route, route};
use crate::schema::Protocol;
use crate::shape::Shape;
use crate::sigv4::{self, Credentials};
use crate::{refusal, validate};

/// Who is believed.
#[derive(Clone)]
pub enum Authentication {
    /// Everybody: any key, or none, is the account's root. For a laptop and for tests.
    Any,
    /// Those who sign with a key that is known here.
    Keys(Arc<dyn Credentials>),
}

/// What a gateway is made of.
pub struct GatewaySettings {
    /// The services.
    pub tables: Vec<ServiceTable>,
    /// Who is believed.
    pub authentication: Authentication,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where request ids come from.
    pub ids: Arc<dyn Ids>,
    /// Account and region of a request that names none (an unsigned one, under [`Authentication::Any`]).
    pub default_scope: Scope,
    /// `scheme://host:port` for a request without a usable `Host` header. Its scheme holds for all.
    pub endpoint: String,
}

/// Serves every AWS service that it has a table for.
pub struct Gateway {
    tables: BTreeMap<&'static str, ServiceTable>,
    settings: GatewaySettings,
}

/// What the log line of a call says.
struct Line<'a> {
    aws_service: &'static str,
    operation: &'a str,
    region: String,
    access_key_id: String,
    code: String,
}

impl Gateway {
    /// A gateway.
    pub fn new(mut settings: GatewaySettings) -> Self {
        let tables = std::mem::take(&mut settings.tables);
        let tables = tables.into_iter().map(|table| (table.schema().name, table)).collect();
        Self { tables, settings }
    }

    /// The services.
    pub fn tables(&self) -> impl Iterator<Item = &ServiceTable> {
        self.tables.values()
    }

    /// Answers one request. Never fails and never panics: what goes wrong is an AWS error document.
    pub async fn call(&self, request: http::Request<Bytes>, peer: Option<IpAddr>) -> http::Response<Bytes> {
        let now = self.settings.clock.now();
        let request_id = self.settings.ids.uuid();
        let (parts, body) = request.into_parts();
        let route = route(&self.tables, &parts, &body);
        let mut line = Line {
            aws_service: route.table.map_or("-", |table| table.schema().name),
            operation: route.operation_name(),
            region: String::new(),
            access_key_id: String::new(),
            code: String::new(),
        };
        let arrival = Arrival { parts: &parts, body: &body, peer, now, request_id: &request_id };
        let mut reply = match self.answer(&route, &arrival, &mut line).await {
            Ok(reply) => reply,
            Err(fault) => {
                fault.code().clone_into(&mut line.code);
                fault_reply(&route, &arrival, &fault)
            }
        };
        reply.header("x-amzn-requestid", request_id.as_str());
        tracing::info!(
            service = line.aws_service,
            operation = line.operation,
            region = line.region,
            access_key_id = line.access_key_id,
            status = reply.status,
            code = line.code,
            milliseconds = self.settings.clock.now().since_millis(now),
            request_id,
            "api call"
        );
        respond(reply)
    }

    async fn answer(
        &self,
        route: &Route<'_>,
        arrival: &Arrival<'_>,
        line: &mut Line<'_>,
    ) -> Result<Reply, Fault> {
        if arrival.body.len() > REQUEST_BODY_BYTES {
            return Err(too_large());
        }
        let Some(table) = route.table else { return Err(refusal::unknown_operation(route)) };
        let (principal, region) = self.authenticate(table, route.protocol, arrival, line)?;
        let body = content(arrival.parts, arrival.body)?;
        let operation = served(route, table)?;
        let schema = operation.schema();
        let mut input = operation.empty_input();
        protocol::read(route.protocol, arrival.parts, &body, &route.labels, &mut *input)
            .map_err(|error| refusal::serialization(route.protocol, &error))?;
        validate::check(table.schema(), &*input)?;
        let call = Call {
            scope: Scope::new(principal.account.clone(), region),
            now: arrival.now,
            request_id: arrival.request_id.to_owned(),
            principal,
            source_ip: arrival.peer,
            endpoint: self.endpoint(arrival.parts),
        };
        let output = self.run(operation, &call, input, route.protocol).await?;
        Ok(protocol::answer(route.protocol, schema, &*output, arrival.request_id))
    }

    /// Asks for permission, then runs the operation. One that panics is our failure, not the connection's.
    async fn run(
        &self,
        operation: &dyn ErasedOperation,
        call: &Call,
        input: Box<dyn Shape>,
        protocol: Protocol,
    ) -> Result<Box<dyn Shape>, Fault> {
        let work = async {
            let permissions = operation.permissions(call, &*input);
            if let Some(denied) = self.settings.authorizer.denied(call, &permissions) {
                return Err(refusal::access_denied(protocol, &call.principal, denied));
            }
            operation.handle(call, input).await
        };
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            match std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
                Ok(poll) => poll,
                Err(_) => {
                    Poll::Ready(Err(Fault::server(format_args!("{} panicked", operation.schema().name))))
                }
            }
        })
        .await
    }

    fn authenticate(
        &self,
        table: &ServiceTable,
        protocol: Protocol,
        arrival: &Arrival<'_>,
        line: &mut Line<'_>,
    ) -> Result<(Principal, Region), Fault> {
        let default = &self.settings.default_scope;
        let credentials = match &self.settings.authentication {
            Authentication::Any => {
                if from_another_site(arrival.parts) {
                    return Err(refusal::another_site(protocol));
                }
                let claim = sigv4::claim(arrival.parts).ok();
                let region = claim.as_ref().and_then(|claim| claim.region.parse().ok());
                let region = region.unwrap_or_else(|| default.region.clone());
                let key = claim.map(|claim| claim.access_key_id).unwrap_or_default();
                line.region = region.to_string();
                line.access_key_id.clone_from(&key);
                return Ok((Principal::root(&default.account, key), region));
            }
            Authentication::Keys(credentials) => credentials,
        };
        let verified = sigv4::verify(arrival.parts, arrival.body, &**credentials, arrival.now)
            .map_err(|refused| refusal::signature(protocol, &refused))?;
        line.region.clone_from(&verified.region);
        line.access_key_id.clone_from(&verified.principal.access_key_id);
        let name = table.schema().name;
        if verified.aws_service != name {
            let text = format!("Credential should be scoped to correct service: '{name}'.");
            return Err(refusal::signature(protocol, &sigv4::Refusal::Scope(text)));
        }
        let region = verified.region.parse().map_err(|_| {
            let text = "Credential should be scoped to a valid region.".to_owned();
            refusal::signature(protocol, &sigv4::Refusal::Scope(text))
        })?;
        Ok((verified.principal, region))
    }

    /// The address that the client used: what operations build URLs for it from.
    fn endpoint(&self, parts: &Parts) -> String {
        let fallback = &self.settings.endpoint;
        let scheme = fallback.split_once("://").map_or("http", |(scheme, _)| scheme);
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
        let plain = |host: &&str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_[]".contains(&byte);
            !host.is_empty() && host.len() <= 255 && host.bytes().all(allowed)
        };
        match host.filter(plain) {
            Some(host) => format!("{scheme}://{host}"),
            None => fallback.clone(),
        }
    }
}

/// Whether a browser sent the request for a page of another site. Where nobody signs, any page that a developer
/// visits could otherwise post a form to the gateway on that developer's machine.
fn from_another_site(parts: &Parts) -> bool {
    let Some(origin) = parts.headers.get(ORIGIN) else { return false };
    let host = parts.headers.get(HOST).map(HeaderValue::as_bytes);
    let site =
        origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, site)| site.as_bytes());
    site.is_none() || site != host
}

/// A request, and what is known of it before it is understood.
struct Arrival<'a> {
    parts: &'a Parts,
    body: &'a [u8],
    peer: Option<IpAddr>,
    now: Timestamp,
    request_id: &'a str,
}

fn fault_reply(route: &Route<'_>, arrival: &Arrival<'_>, fault: &Fault) -> Reply {
    let mut reply =
        protocol::fault(route.protocol, route.table.map(ServiceTable::schema), fault, arrival.request_id);
    let query_compatible = route.table.is_some_and(|table| table.schema().query_compatible);
    if query_compatible && arrival.parts.headers.contains_key("x-amzn-query-mode") {
        let blame = if fault.sender() { "Sender" } else { "Receiver" };
        reply.header("x-amzn-query-error", format!("{};{blame}", fault.query_code()));
    }
    reply
}

/// The body without its `Content-Encoding`. SDKs compress the bodies of some operations (PutMetricData) with gzip.
fn content<'b>(parts: &Parts, body: &'b [u8]) -> Result<Cow<'b, [u8]>, Fault> {
    let encoding = parts.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    match encoding {
        None | Some(b"" | b"identity") => Ok(Cow::Borrowed(body)),
        Some(b"gzip") => {
            let mut plain = Vec::new();
            // One byte more than allowed tells that there is more.
            let mut reader = flate2::read::GzDecoder::new(body).take(REQUEST_BODY_BYTES as u64 + 1);
            let malformed =
                |_| Fault::new("SerializationException", "The request body is not valid gzip", 400);
            reader.read_to_end(&mut plain).map_err(malformed)?;
            if plain.len() > REQUEST_BODY_BYTES { Err(too_large()) } else { Ok(Cow::Owned(plain)) }
        }
        Some(_) => {
            Err(Fault::new("UnsupportedMediaTypeException", "This Content-Encoding is not supported", 415))
        }
    }
}

fn too_large() -> Fault {
    Fault::new("RequestEntityTooLargeException", "Request size exceeded", 413)
}

fn served<'t>(route: &Route<'_>, table: &'t ServiceTable) -> Result<&'t dyn ErasedOperation, Fault> {
    let name = route.operation.as_deref().ok_or_else(|| refusal::unknown_operation(route))?;
    match table.operation(name) {
        Some(operation) => Ok(operation),
        None if table.schema().operations.contains(&name) => Err(refusal::not_implemented(name)),
        None => Err(refusal::unknown_operation(route)),
    }
}

fn respond(reply: Reply) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(reply.body));
    *response.status_mut() =
        http::StatusCode::from_u16(reply.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in reply.headers {
        // An output member that is no header value (a line break in it) is left out, as a header cannot carry it.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
