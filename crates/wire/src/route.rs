//! Which service, which protocol, which operation.

use std::collections::BTreeMap;

use http::Method;
use http::header::CONTENT_TYPE;
use http::request::Parts;

use crate::operation::ServiceTable;
use crate::protocol::form;
use crate::protocol::uri;
use crate::schema::Protocol;
use crate::sigv4;

/// What a request asks for, as far as it can be told.
pub struct Route<'g> {
    /// The service, if there is one.
    pub table: Option<&'g ServiceTable>,
    /// The protocol that is spoken, or the one that a refusal is best written in.
    pub protocol: Protocol,
    /// The operation as the caller names it; it may not exist.
    pub operation: Option<String>,
    /// The labels of a REST path, decoded.
    pub labels: Vec<(String, String)>,
}

impl Route<'_> {
    /// The operation's name for the log: only a name that the service has.
    pub fn operation_name(&self) -> &'static str {
        let names = self.table.map_or(&[][..], |table| table.schema().operations);
        names.iter().find(|name| Some(**name) == self.operation.as_deref()).copied().unwrap_or("-")
    }

    fn new(protocol: Protocol) -> Self {
        Self { table: None, protocol, operation: None, labels: Vec::new() }
    }
}

/// Finds the route of a request.
pub fn route<'g>(tables: &'g BTreeMap<&'static str, ServiceTable>, parts: &Parts, body: &[u8]) -> Route<'g> {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let content_type = header(CONTENT_TYPE.as_str()).unwrap_or_default();
    if header("smithy-protocol") == Some("rpc-v2-cbor") {
        return only_post(parts, cbor_route(tables, parts.uri.path()));
    }
    if parts.headers.contains_key("x-amz-target") {
        // A target that is no text names no operation.
        let target = header("x-amz-target").unwrap_or_default();
        let protocol = if content_type.starts_with("application/x-amz-json-1.0") {
            Protocol::AwsJson10
        } else {
            Protocol::AwsJson11
        };
        return only_post(parts, target_route(tables, target, protocol));
    }
    let scoped = sigv4::claim(parts).ok().and_then(|claim| tables.get(claim.aws_service.as_str()));
    if let Some(action) = action(parts, content_type, body) {
        return query_route(tables, scoped, &action);
    }
    rest_route(tables, scoped, parts)
}

/// These protocols have no operations but for POST: a GET must not change anything.
fn only_post<'g>(parts: &Parts, mut route: Route<'g>) -> Route<'g> {
    if parts.method != Method::POST {
        route.operation = None;
    }
    route
}

fn cbor_route<'g>(tables: &'g BTreeMap<&'static str, ServiceTable>, path: &str) -> Route<'g> {
    let mut route = Route::new(Protocol::RpcV2Cbor);
    // `/service/Name/operation/Name`, and whatever prefix stands before it.
    let mut parts = path.rsplit('/');
    let (operation, word, service, first) = (parts.next(), parts.next(), parts.next(), parts.next());
    if word == Some("operation") && first == Some("service") {
        route.operation = operation.map(str::to_owned);
        route.table = tables.values().find(|table| {
            let schema = table.schema();
            Some(schema.target_prefix) == service && schema.protocols.contains(&Protocol::RpcV2Cbor)
        });
    }
    route
}

fn target_route<'g>(
    tables: &'g BTreeMap<&'static str, ServiceTable>,
    target: &str,
    protocol: Protocol,
) -> Route<'g> {
    let mut route = Route::new(protocol);
    if let Some((prefix, operation)) = target.rsplit_once('.') {
        let speaks_json = |table: &&ServiceTable| {
            let protocols = table.schema().protocols;
            protocols.contains(&Protocol::AwsJson10) || protocols.contains(&Protocol::AwsJson11)
        };
        route.operation = Some(operation.to_owned());
        route.table =
            tables.values().filter(speaks_json).find(|table| table.schema().target_prefix == prefix);
    }
    route
}

/// The action and version of a form request, from the query of a GET or the body of a POST.
struct Action {
    name: String,
    version: Option<String>,
}

fn action(parts: &Parts, content_type: &str, body: &[u8]) -> Option<Action> {
    let query = parts.uri.query().unwrap_or_default();
    let form = parts.method == Method::POST && content_type.starts_with("application/x-www-form-urlencoded");
    let find = |key: &str| {
        let body = if form { body } else { &[] };
        form::first(body, key).or_else(|| form::first(query.as_bytes(), key))
    };
    match find("Action") {
        Some(name) => Some(Action { name, version: find("Version") }),
        None if form => Some(Action { name: String::new(), version: find("Version") }),
        None => None,
    }
}

fn query_route<'g>(
    tables: &'g BTreeMap<&'static str, ServiceTable>,
    scoped: Option<&'g ServiceTable>,
    action: &Action,
) -> Route<'g> {
    let mut route = Route::new(Protocol::AwsQuery);
    // Without a signature the version tells the service: every query service has a date of its own.
    let by_version = || {
        let mut candidates = tables
            .values()
            .filter(|table| query_protocol(table).is_some())
            .filter(|table| action.version.as_deref() == Some(table.schema().api_version));
        candidates
            .clone()
            .find(|table| table.schema().operations.contains(&action.name.as_str()))
            .or_else(|| candidates.next())
    };
    route.table = scoped.filter(|table| query_protocol(table).is_some()).or_else(by_version);
    if let Some(protocol) = route.table.and_then(query_protocol) {
        route.protocol = protocol;
    }
    route.operation = Some(action.name.clone());
    route
}

fn query_protocol(table: &ServiceTable) -> Option<Protocol> {
    let protocols = table.schema().protocols;
    protocols.iter().copied().find(|protocol| matches!(protocol, Protocol::AwsQuery | Protocol::Ec2Query))
}

fn rest_route<'g>(
    tables: &'g BTreeMap<&'static str, ServiceTable>,
    scoped: Option<&'g ServiceTable>,
    parts: &Parts,
) -> Route<'g> {
    let candidates: Vec<&ServiceTable> = match scoped {
        Some(table) => vec![table],
        None => tables.values().collect(),
    };
    // What is no route at all is refused in JSON, which is what most clients read.
    let mut route = Route::new(Protocol::RestJson);
    let mut best = None;
    for table in candidates {
        let protocols = table.schema().protocols;
        let rest = protocols.iter().find(|one| matches!(one, Protocol::RestJson | Protocol::RestXml));
        let Some(protocol) = rest else { continue };
        for operation in table.operations() {
            let schema = operation.schema();
            if schema.method != parts.method.as_str() {
                continue;
            }
            let query = parts.uri.query().unwrap_or_default();
            if let Some((weight, labels)) = uri::matches(schema.uri, parts.uri.path(), query)
                && best.is_none_or(|best| weight > best)
            {
                best = Some(weight);
                route = Route {
                    table: Some(table),
                    protocol: *protocol,
                    operation: Some(schema.name.to_owned()),
                    labels,
                };
            }
        }
    }
    if route.table.is_none()
        && let Some(table) = scoped
    {
        route.table = Some(table);
        route.protocol = table.schema().protocols.first().copied().unwrap_or(Protocol::RestJson);
    }
    route
}
