//! Request text in, answer text out, through the real protocol.

use std::sync::Arc;

use base::{Ids, ManualClock, Scope, SeededIds, Timestamp};
use bytes::Bytes;
use domain::{Certificate, DefaultVpc};
use store::{Options, Store, Transaction, rows, rows_vpc};
use wire::{Authentication, Gateway, GatewaySettings, RootAndNodes};

use crate::Elasticloadbalancing;

/// A server of Elastic Load Balancing alone, with a default VPC and ids that repeat from run to run.
pub(crate) struct Server {
    pub(crate) store: Store,
    pub(crate) vpc: DefaultVpc,
    gateway: Gateway,
    ids: Arc<SeededIds>,
}

pub(crate) fn scope() -> Scope {
    Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap())
}

impl Server {
    pub(crate) async fn new() -> Self {
        let store = Store::ephemeral(rows::register(Options::ephemeral()));
        let ids = Arc::new(SeededIds::new(7));
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        let networks = ["172.31.0.0/16".parse().unwrap()];
        let vpc = rows_vpc::ensure_default_vpc(&store, &scope(), &networks, &*ids).await.unwrap();
        let service = Elasticloadbalancing { store: store.clone(), ids: ids.clone() };
        let gateway = Gateway::new(GatewaySettings {
            tables: vec![api::elasticloadbalancing::service(Arc::new(service))],
            authentication: Authentication::Any,
            authorizer: Arc::new(RootAndNodes),
            clock,
            ids: Arc::new(SeededIds::new(8)),
            default_scope: scope(),
            endpoint: "http://127.0.0.1:4566".to_owned(),
        });
        Self { store, vpc, gateway, ids }
    }

    /// `Subnets.member.N` of two zones.
    pub(crate) fn two_subnets(&self) -> String {
        format!("Subnets.member.1={}&Subnets.member.2={}", self.vpc.subnets[0].id, self.vpc.subnets[1].id)
    }

    /// Makes an application load balancer, and gives its ARN.
    pub(crate) async fn load_balancer(&self, name: &str) -> String {
        let query = format!("Action=CreateLoadBalancer&Name={name}&{}", self.two_subnets());
        self.ask_for("LoadBalancerArn", &query).await.concat()
    }

    /// Makes a network load balancer, and gives its ARN.
    pub(crate) async fn network_load_balancer(&self, name: &str) -> String {
        let query = format!("Action=CreateLoadBalancer&Type=network&Name={name}&{}", self.two_subnets());
        self.ask_for("LoadBalancerArn", &query).await.concat()
    }

    /// Makes a target group of addresses that speak HTTP, and gives its ARN.
    pub(crate) async fn target_group(&self, name: &str) -> String {
        self.target_group_with(name, "Protocol=HTTP&Port=80&TargetType=ip").await
    }

    /// As [`Server::target_group`], with settings.
    pub(crate) async fn target_group_with(&self, name: &str, settings: &str) -> String {
        let vpc = &self.vpc.vpc.id;
        let query = format!("Action=CreateTargetGroup&Name={name}&VpcId={vpc}&{settings}");
        self.ask_for("TargetGroupArn", &query).await.concat()
    }

    /// Makes a listener for HTTP that forwards to a group, and gives its ARN.
    pub(crate) async fn listener(&self, load_balancer: &str, port: u16, group: &str) -> String {
        let query = format!(
            "Action=CreateListener&LoadBalancerArn={load_balancer}&Protocol=HTTP&Port={port}\
             &DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn={group}"
        );
        self.ask_for("ListenerArn", &query).await.concat()
    }

    /// Makes a listener for HTTPS that answers 200, and gives its ARN.
    pub(crate) async fn https_listener(&self, load_balancer: &str, certificate: &str) -> String {
        let query = format!(
            "Action=CreateListener&LoadBalancerArn={load_balancer}&Protocol=HTTPS&Port=443\
             &Certificates.member.1.CertificateArn={certificate}&DefaultActions.member.1.Type=fixed-response\
             &DefaultActions.member.1.FixedResponseConfig.StatusCode=200"
        );
        self.ask_for("ListenerArn", &query).await.concat()
    }

    /// Puts a certificate into the store, and gives its ARN. Its texts are never read here.
    pub(crate) async fn certificate(&self) -> String {
        let row = Certificate {
            scope: scope(),
            id: self.ids.uuid(),
            certificate_type: "IMPORTED".to_owned(),
            domain_name: "example.com".to_owned(),
            subject_alternative_names: vec!["example.com".to_owned()],
            certificate: String::new(),
            certificate_chain: None,
            private_key: String::new(),
            facts: [].into(),
            created_at: Timestamp::from_millis(0),
            imported_at: None,
            not_before: Timestamp::from_millis(0),
            not_after: Timestamp::from_millis(0),
            tags: Vec::new(),
        };
        let arn = row.arn().to_string();
        let mut transaction = Transaction::new();
        transaction.insert(row);
        self.store.transact(transaction).await.unwrap();
        arn
    }

    /// Makes a rule for a path that forwards to a group, and gives its ARN.
    pub(crate) async fn rule(&self, listener: &str, priority: u32, path: &str, group: &str) -> String {
        let query = format!(
            "Action=CreateRule&ListenerArn={listener}&Priority={priority}&Conditions.member.1.Field=path-pattern\
             &Conditions.member.1.Values.member.1={path}&Actions.member.1.Type=forward\
             &Actions.member.1.TargetGroupArn={group}"
        );
        self.ask_for("RuleArn", &query).await.concat()
    }

    /// Sends `Action=…&…` and gives the status and the answer, one element a line, without the request's id.
    pub(crate) async fn ask(&self, query: &str) -> String {
        self.send("us-east-1", query).await
    }

    /// Sends what is to go well.
    pub(crate) async fn ok(&self, query: &str) -> String {
        let answer = self.ask(query).await;
        assert!(answer.starts_with("200\n"), "{query}: {answer}");
        answer
    }

    /// The texts of all elements called `name` in the answer of another region.
    pub(crate) async fn ask_in(&self, region: &str, name: &str, query: &str) -> Vec<String> {
        texts(&self.send(region, query).await, name)
    }

    async fn send(&self, region: &str, query: &str) -> String {
        let credential = format!("AKID/20231114/{region}/elasticloadbalancing/aws4_request");
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
            .body(Bytes::from(format!("{query}&Version=2015-12-01")))
            .unwrap();
        let response = self.gateway.call(request, None).await;
        let body = String::from_utf8(response.body().to_vec()).unwrap().replace("&quot;", "\"");
        let lines = indent(&body.replace("&apos;", "'"));
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
    let is_id = |line: &&str| line.contains("<RequestId>");
    lines.lines().filter(|line| !is_id(line) && !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}
