//! Request text in, answer text out, through the real protocol.

use std::net::Ipv4Addr;
use std::sync::Arc;

use base::{Clock, ManualClock, Scope, SeededIds, Timestamp};
use bytes::Bytes;
use domain::{DefaultVpc, NetworkInterface, TaskNetworkInterface};
use store::{Options, Store, Transaction, rows, rows_vpc};
use wire::{Authentication, Gateway, GatewaySettings, RootAndNodes};

use crate::Ec2;

/// A server of EC2 alone, with ids that repeat from run to run.
pub(crate) struct Server {
    pub(crate) store: Store,
    gateway: Gateway,
    clock: Arc<ManualClock>,
    ids: Arc<SeededIds>,
    networks: Arc<[base::Ipv4Cidr]>,
}

pub(crate) fn scope() -> Scope {
    Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap())
}

impl Server {
    pub(crate) fn new() -> Self {
        let store = Store::ephemeral(rows::register(Options::ephemeral()));
        let ids = Arc::new(SeededIds::new(7));
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        let networks: Arc<[base::Ipv4Cidr]> =
            ["172.31.0.0/16", "172.30.0.0/16"].iter().map(|text| text.parse().unwrap()).collect();
        let ec2 = Ec2 { store: store.clone(), ids: ids.clone(), networks: networks.clone() };
        let gateway = Gateway::new(GatewaySettings {
            tables: vec![api::ec2::service(Arc::new(ec2))],
            authentication: Authentication::Any,
            authorizer: Arc::new(RootAndNodes),
            clock: clock.clone(),
            ids: Arc::new(SeededIds::new(8)),
            default_scope: scope(),
            endpoint: "http://127.0.0.1:4566".to_owned(),
        });
        Self { store, gateway, clock, ids, networks }
    }

    /// Sends `Action=…&…` and gives the status and the answer, one element a line, without the request's id.
    pub(crate) async fn ask(&self, query: &str) -> String {
        self.send("us-east-1", query).await
    }

    /// The texts of all elements called `name` in the answer of another region.
    pub(crate) async fn ask_in(&self, region: &str, name: &str, query: &str) -> Vec<String> {
        texts(&self.send(region, query).await, name)
    }

    async fn send(&self, region: &str, query: &str) -> String {
        let credential = format!("AKID/20231114/{region}/ec2/aws4_request");
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature={:064}",
            0
        );
        let request = http::Request::builder()
            .method("POST")
            .uri("/")
            .header("host", "127.0.0.1:4566")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("x-amz-date", "20231114T000000Z")
            .header("authorization", authorization)
            .body(Bytes::from(format!("{query}&Version=2016-11-15")))
            .unwrap();
        let response = self.gateway.call(request, None).await;
        let body = String::from_utf8(response.body().to_vec()).unwrap().replace("&quot;", "\"");
        let lines = indent(&body);
        format!("{}\n{lines}", response.status().as_u16())
    }

    /// The texts of all elements called `name` in the answer.
    pub(crate) async fn ask_for(&self, name: &str, query: &str) -> Vec<String> {
        texts(&self.ask(query).await, name)
    }

    /// The fault's code and message.
    pub(crate) async fn fault(&self, query: &str) -> String {
        let answer = self.ask(query).await;
        let text = |name| texts(&answer, name).concat();
        format!("{} {}: {}", answer.lines().next().unwrap(), text("Code"), text("Message"))
    }

    /// The default VPC of [`scope`].
    pub(crate) async fn default_vpc(&self) -> DefaultVpc {
        rows_vpc::ensure_default_vpc(&self.store, &scope(), &self.networks, &*self.ids).await.unwrap()
    }

    /// A task's interface in the first subnet, as ECS makes it.
    pub(crate) async fn add_interface(&self, address: Ipv4Addr) -> NetworkInterface {
        let vpc = self.default_vpc().await;
        let wish = TaskNetworkInterface {
            subnet: &vpc.subnets[0],
            security_groups: vec![vpc.security_group.id.clone()],
            task: "arn:aws:ecs:us-east-1:123456789012:task/default/0123".parse().unwrap(),
            attachment: "arn:aws:ecs:us-east-1:123456789012:attachment/4567".to_owned(),
            now: self.clock.now(),
        };
        let interface = wish.make(&*self.ids, |candidate| candidate != address).unwrap();
        let mut transaction = Transaction::new();
        transaction.insert(interface.clone());
        self.store.transact(transaction).await.unwrap();
        interface
    }
}

/// The texts of all elements of a name.
pub(crate) fn texts(answer: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let text = |line: &str| {
        let line = line.trim();
        Some(line.strip_prefix(&open)?.strip_suffix(&close)?.to_owned())
    };
    answer.lines().filter_map(text).collect()
}

/// One element a line, indented; the request's id, which is random, left out.
fn indent(xml: &str) -> String {
    let mut lines = String::new();
    let mut depth = 0_usize;
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        let end = rest[start..].find('>').map_or(rest.len(), |end| start + end + 1);
        let tag = &rest[start..end];
        let text = rest[..start].trim();
        lines.push_str(text);
        if tag.starts_with("</") {
            depth = depth.saturating_sub(1);
            if text.is_empty() && !lines.ends_with(&tag.replace('/', "")) {
                lines.push('\n');
                lines.push_str(&"  ".repeat(depth));
            }
            lines.push_str(tag);
        } else {
            lines.push('\n');
            lines.push_str(&"  ".repeat(depth));
            lines.push_str(tag);
            if !tag.ends_with("/>") && !tag.starts_with("<?") {
                depth += 1;
            }
        }
        rest = &rest[end..];
    }
    let is_id = |line: &&str| line.contains("<requestId>") || line.contains("<RequestID>");
    lines.lines().filter(|line| !is_id(line) && !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}
