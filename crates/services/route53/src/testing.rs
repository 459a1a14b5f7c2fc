//! Request text in, answer text out, through the real protocol.

use std::sync::Arc;

use base::{ManualClock, Scope, SeededIds, Timestamp};
use bytes::Bytes;
use store::{Options, Store, rows, rows_vpc};
use wire::{Authentication, Gateway, GatewaySettings, RootAndNodes};

use crate::Route53;

/// Route 53 alone, with ids that repeat from run to run.
pub(crate) struct World {
    pub(crate) store: Store,
    gateway: Gateway,
}

pub(crate) fn scope() -> Scope {
    Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap())
}

impl World {
    pub(crate) fn new() -> Self {
        let store = Store::ephemeral(rows::register(Options::ephemeral()));
        let service = Route53 { store: store.clone(), ids: Arc::new(SeededIds::new(7)) };
        let gateway = Gateway::new(GatewaySettings {
            tables: vec![api::route53::service(Arc::new(service))],
            authentication: Authentication::Any,
            authorizer: Arc::new(RootAndNodes),
            clock: Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000))),
            ids: Arc::new(SeededIds::new(8)),
            default_scope: scope(),
            endpoint: "http://127.0.0.1:4566".to_owned(),
        });
        Self { store, gateway }
    }

    /// The status and the answer to a call; `path` is what stands behind the version.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let credential = "AKID/20231114/us-east-1/route53/aws4_request";
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature={:064}",
            0
        );
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/2013-04-01/{path}"))
            .header("host", "127.0.0.1:4566")
            .header("x-amz-date", "20231114T000000Z")
            .header("authorization", authorization)
            .body(Bytes::from(body.to_owned()))
            .unwrap();
        let response = self.gateway.call(request, None).await;
        let text = String::from_utf8(response.body().to_vec()).unwrap();
        let text = text.replace("&apos;", "'").replace("&quot;", "\"").replace("&#39;", "'");
        (response.status().as_u16(), text)
    }

    /// The answer of a call that goes well.
    pub(crate) async fn ok(&self, method: &str, path: &str, body: &str) -> String {
        let (status, answer) = self.ask(method, path, body).await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// `status Code: message` of a call that is refused.
    pub(crate) async fn refused(&self, method: &str, path: &str, body: &str) -> String {
        let (status, answer) = self.ask(method, path, body).await;
        assert!(status >= 300, "{method} {path}: {answer}");
        let message = texts(&answer, "Message").into_iter().chain(texts(&answer, "message")).next();
        format!("{status} {}: {}", texts(&answer, "Code").concat(), message.unwrap_or_default())
    }

    /// A VPC of the default kind; gives its id.
    pub(crate) async fn vpc(&self) -> String {
        let networks = ["172.31.0.0/16".parse().unwrap()];
        let made = rows_vpc::ensure_default_vpc(&self.store, &scope(), &networks, &SeededIds::new(9)).await;
        made.unwrap().vpc.id
    }

    /// Makes a zone, private with a VPC; gives its id.
    pub(crate) async fn zone(&self, name: &str, vpc: Option<&str>) -> String {
        let answer = self.ok("POST", "hostedzone", &new_zone(name, name, vpc)).await;
        texts(&answer, "Id").into_iter().find(|id| id.starts_with("/hostedzone/")).unwrap().split_off(12)
    }

    /// Changes a zone's record sets; each change is its action and the XML of its record set.
    pub(crate) async fn change(&self, zone: &str, changes: &[(&str, String)]) -> Result<(), String> {
        let (status, answer) = self.ask("POST", &format!("hostedzone/{zone}/rrset/"), &batch(changes)).await;
        if status == 200 {
            return Ok(());
        }
        Err(format!("{}: {}", texts(&answer, "Code").concat(), texts(&answer, "Message").concat()))
    }

    /// The record sets of a zone, one a line: name, type, identifier.
    pub(crate) async fn listed(&self, zone: &str, query: &str) -> Vec<String> {
        let answer = self.ok("GET", &format!("hostedzone/{zone}/rrset{query}"), "").await;
        let sets = answer.split("<ResourceRecordSet>").skip(1);
        sets.map(|set| {
            [texts(set, "Name"), texts(set, "Type"), texts(set, "SetIdentifier")].concat().join(" ")
        })
        .collect()
    }
}

/// The body of CreateHostedZone.
pub(crate) fn new_zone(name: &str, reference: &str, vpc: Option<&str>) -> String {
    let vpc = vpc.map(|vpc| format!("<VPC><VPCRegion>us-east-1</VPCRegion><VPCId>{vpc}</VPCId></VPC>"));
    format!(
        "<CreateHostedZoneRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Name>{name}</Name>{}\
         <CallerReference>{reference}</CallerReference></CreateHostedZoneRequest>",
        vpc.unwrap_or_default()
    )
}

fn batch(changes: &[(&str, String)]) -> String {
    let change = |(action, set): &(&str, String)| {
        format!("<Change><Action>{action}</Action><ResourceRecordSet>{set}</ResourceRecordSet></Change>")
    };
    format!(
        "<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Changes>{}\
         </Changes></ChangeBatch></ChangeResourceRecordSetsRequest>",
        changes.iter().map(change).collect::<String>()
    )
}

/// The XML of a record set: name, type, what stands between, values.
pub(crate) fn set(name: &str, record_type: &str, extra: &str, values: &[&str]) -> String {
    let values: Vec<String> = values
        .iter()
        .map(|value| format!("<ResourceRecord><Value>{value}</Value></ResourceRecord>"))
        .collect();
    let values = values.concat();
    format!(
        "<Name>{name}</Name><Type>{record_type}</Type>{extra}<TTL>60</TTL><ResourceRecords>{values}</ResourceRecords>"
    )
}

/// The XML of an alias.
pub(crate) fn alias(name: &str, zone: &str, target: &str) -> String {
    format!(
        "<Name>{name}</Name><Type>A</Type><AliasTarget><HostedZoneId>{zone}</HostedZoneId><DNSName>{target}</DNSName>\
         <EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget>"
    )
}

/// The texts of all elements of a name.
pub(crate) fn texts(answer: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    answer.split(&open).skip(1).filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned())).collect()
}
