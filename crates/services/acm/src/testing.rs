//! Request text in, answer text out, through the real protocol.

use std::sync::Arc;

use base::{ManualClock, Scope, SeededIds, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::{Listener, LoadBalancerType};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use store::{Options, Store, Transaction, rows};
use wire::{Authentication, Gateway, GatewaySettings, RootAndNodes};

use crate::Acm;

/// A server of AWS Certificate Manager alone, with ids that repeat from run to run.
pub(crate) struct Server {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    gateway: Gateway,
}

fn scope() -> Scope {
    Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap())
}

impl Server {
    pub(crate) fn new() -> Self {
        let store = Store::ephemeral(rows::register(Options::ephemeral()));
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        let service = Acm { store: store.clone(), ids: Arc::new(SeededIds::new(7)) };
        let gateway = Gateway::new(GatewaySettings {
            tables: vec![api::acm::service(Arc::new(service))],
            authentication: Authentication::Any,
            authorizer: Arc::new(RootAndNodes),
            clock: clock.clone(),
            ids: Arc::new(SeededIds::new(8)),
            default_scope: scope(),
            endpoint: "http://127.0.0.1:4566".to_owned(),
        });
        Self { store, clock, gateway }
    }

    /// Sends a body, and gives the status and the answer.
    async fn ask(&self, operation: &str, body: &str) -> String {
        let request = http::Request::builder()
            .method("POST")
            .uri("/")
            .header("host", "127.0.0.1:4566")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("CertificateManager.{operation}"))
            .body(Bytes::from(body.to_owned()))
            .unwrap();
        let response = self.gateway.call(request, None).await;
        let text = String::from_utf8(response.body().to_vec()).unwrap();
        format!("{} {text}", response.status().as_u16())
    }

    /// Sends what is to go well.
    pub(crate) async fn ok(&self, operation: &str, body: &str) -> String {
        let answer = self.ask(operation, body).await;
        assert!(answer.starts_with("200"), "{operation}: {answer}");
        answer
    }

    /// The ARN that an operation answers.
    pub(crate) async fn arn(&self, operation: &str, body: &str) -> String {
        let answer = self.ok(operation, body).await;
        answer.split('"').nth(3).unwrap().to_owned()
    }

    /// The fault's status, code and message.
    pub(crate) async fn fault(&self, operation: &str, body: &str) -> String {
        let answer = self.ask(operation, body).await;
        let (status, text) = answer.split_once(' ').unwrap();
        let member = |names: [&str; 2]| {
            let found = names.iter().find_map(|name| text.split_once(&format!(r#""{name}":""#)));
            found.map_or("", |(_, rest)| rest.split("\"}").next().unwrap().split("\",\"").next().unwrap())
        };
        let code = member(["__type", "code"]);
        let code = code.rsplit('#').next().unwrap();
        format!("{status} {code}: {}", member(["message", "Message"]))
    }

    /// Imports a certificate, and gives its ARN.
    pub(crate) async fn import(&self, certificate: &str, chain: Option<&str>, private_key: &str) -> String {
        self.arn("ImportCertificate", &import_body(certificate, chain, private_key)).await
    }

    /// Makes a listener that has the certificate, and gives the ARN of its load balancer.
    pub(crate) async fn use_certificate(&self, arn: &str) -> String {
        let listener = Listener {
            scope: scope(),
            load_balancer: "front".to_owned(),
            load_balancer_id: "0".to_owned(),
            load_balancer_type: LoadBalancerType::Application,
            id: "1".to_owned(),
            port: 443,
            protocol: "HTTPS".to_owned(),
            ssl_policy: None,
            certificates: vec![arn.to_owned()],
            alpn_policy: None,
            attributes: [].into(),
            created_at: Timestamp::from_millis(0),
            tags: Vec::new(),
        };
        let load_balancer = listener.load_balancer_arn().to_string();
        let mut transaction = Transaction::new();
        transaction.insert(listener);
        self.store.transact(transaction).await.unwrap();
        load_balancer
    }
}

/// The body of an import.
pub(crate) fn import_body(certificate: &str, chain: Option<&str>, private_key: &str) -> String {
    let chain = chain.map(|chain| format!(r#","CertificateChain":"{}""#, STANDARD.encode(chain)));
    format!(
        r#"{{"Certificate":"{}","PrivateKey":"{}"{}}}"#,
        STANDARD.encode(certificate),
        STANDARD.encode(private_key),
        chain.unwrap_or_default()
    )
}

/// A certificate and its key, as PEM texts.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) private_key: String,
}

fn params(names: &[&str]) -> CertificateParams {
    let mut params =
        CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names[0]);
    params
}

/// A certificate that is its own authority.
pub(crate) fn self_signed(names: &[&str]) -> Pair {
    let key = KeyPair::generate().unwrap();
    let certificate = params(names).self_signed(&key).unwrap();
    Pair { certificate: certificate.pem(), private_key: key.serialize_pem() }
}

/// An authority.
pub(crate) struct Authority {
    pub(crate) certificate: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = params(&["authority.example"]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { certificate: issuer.pem(), issuer }
    }

    /// A certificate that it has signed.
    pub(crate) fn sign(&self, names: &[&str]) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names).signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), private_key: key.serialize_pem() }
    }
}
