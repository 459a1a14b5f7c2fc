//! Listeners.

use api::elasticloadbalancing::{Certificate, MutualAuthenticationAttributes, faults};
use base::Scope;
use domain::{Listener, ListenerRule, LoadBalancerType};
use store::{Snapshot, Transaction, Versioned, rows_load_balancing};
use wire::Fault;

use super::{action, name};
use crate::faults::{unsupported, validation};

/// What a listener with TLS has that names no policy. Source: CreateListener, `SslPolicy`.
pub(crate) const DEFAULT_SSL_POLICY: &str = "ELBSecurityPolicy-2016-08";
/// Source: CreateListener, `AlpnPolicy`.
const ALPN_POLICIES: [&str; 5] = ["HTTP1Only", "HTTP2Only", "HTTP2Optional", "HTTP2Preferred", "None"];

/// The listener with this ARN.
pub(crate) fn find(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<Versioned<Listener>, Fault> {
    name::check_arn(arn, "listener", "listener")?;
    let found = rows_load_balancing::listener_by_arn(snapshot, arn);
    found.filter(|found| found.scope == *scope).ok_or_else(|| not_found(arn))
}

pub(crate) fn not_found(arn: &str) -> Fault {
    faults::listener_not_found_exception(format!("Listener '{arn}' not found"))
}

/// Whether a listener of this protocol has certificates.
pub(crate) fn is_secure(protocol: &str) -> bool {
    matches!(protocol, "HTTPS" | "TLS")
}

/// What a listener is made or changed with, apart from its actions.
pub(crate) struct ListenerSettings {
    pub(crate) port: i32,
    pub(crate) protocol: String,
    pub(crate) ssl_policy: Option<String>,
    pub(crate) certificate: Option<String>,
    pub(crate) alpn_policy: Option<String>,
}

impl ListenerSettings {
    /// Checks that they go together, and fills in the policy.
    pub(crate) fn checked(mut self, kind: LoadBalancerType) -> Result<Self, Fault> {
        let possible: &[&str] = match kind {
            LoadBalancerType::Application => &["HTTPS", "HTTP"],
            LoadBalancerType::Network => &["TLS", "TCP", "TCP_UDP", "UDP"],
        };
        let protocol = &self.protocol;
        if matches!(protocol.as_str(), "QUIC" | "TCP_QUIC") && kind == LoadBalancerType::Network {
            return Err(unsupported(&format!("The listener protocol '{protocol}'")));
        }
        if !possible.contains(&protocol.as_str()) {
            let message = format!("Listener protocol '{protocol}' must be one of '{}'", possible.join(", "));
            return Err(validation(message));
        }
        if let Some(policy) = self.alpn_policy.as_deref() {
            if protocol != "TLS" {
                return Err(validation(format!(
                    "An ALPN policy cannot be specified for {protocol} listeners"
                )));
            }
            if !ALPN_POLICIES.contains(&policy) {
                let message = format!("ALPN policy '{policy}' is not supported");
                return Err(faults::alpn_policy_not_supported_exception(message));
            }
        }
        if is_secure(protocol) {
            if self.certificate.is_none() {
                return Err(validation(format!("A certificate must be specified for {protocol} listeners")));
            }
            let policy = self.ssl_policy.get_or_insert_with(|| DEFAULT_SSL_POLICY.to_owned());
            check_ssl_policy(policy)?;
        } else if self.certificate.is_some() {
            return Err(validation(format!("A certificate cannot be specified for {protocol} listeners")));
        } else if self.ssl_policy.is_some() {
            return Err(validation(format!("An SSL policy cannot be specified for {protocol} listeners")));
        }
        Ok(self)
    }
}

/// Checks that there is such a policy.
pub(crate) fn check_ssl_policy(policy: &str) -> Result<(), Fault> {
    if balancer::tls::security_policies().iter().any(|known| known.name == policy) {
        return Ok(());
    }
    Err(faults::ssl_policy_not_found_exception(format!("SSL policy '{policy}' not found")))
}

/// The ALPN policy of a call, which gives a list of one.
pub(crate) fn alpn_policy(policies: Option<Vec<String>>) -> Result<Option<String>, Fault> {
    let mut policies = policies.unwrap_or_default();
    if policies.len() > 1 {
        return Err(validation("Up to '1' ALPN policy can be specified"));
    }
    Ok(policies.pop())
}

/// Takes mutual authentication that is off, on listeners that could have it, and refuses all else.
pub(crate) fn check_mutual_authentication(
    asked: Option<&MutualAuthenticationAttributes>,
    protocol: &str,
) -> Result<(), Fault> {
    let Some(asked) = asked else { return Ok(()) };
    if protocol != "HTTPS" {
        return Err(validation(format!(
            "Mutual authentication cannot be specified for {protocol} listeners"
        )));
    }
    match asked.mode.as_deref() {
        Some(mode @ ("passthrough" | "verify")) => {
            Err(unsupported(&format!("The mutual authentication mode '{mode}'")))
        }
        Some("off") => {
            let has_more = asked.trust_store_arn.is_some()
                || asked.ignore_client_certificate_expiry.is_some()
                || asked.advertise_trust_store_ca_names.is_some();
            if has_more {
                return Err(validation("Mutual authentication that is off has no other settings"));
            }
            Ok(())
        }
        _ => Err(validation("Mutual authentication mode must be one of 'off, passthrough, verify'")),
    }
}

/// The rule that applies where no other does.
pub(crate) fn default_rule(snapshot: &Snapshot, listener: &Listener) -> Option<Versioned<ListenerRule>> {
    rows_load_balancing::rules_of(snapshot, listener).into_iter().find(|rule| rule.priority.is_none())
}

/// The wire form, with the actions of its default rule.
pub(crate) fn describe(
    row: &Listener,
    default: Option<&ListenerRule>,
) -> api::elasticloadbalancing::Listener {
    let certificate = |arn: &String| Certificate { certificate_arn: Some(arn.clone()), is_default: None };
    let is_secure = is_secure(&row.protocol);
    let mutual_authentication =
        MutualAuthenticationAttributes { mode: Some("off".to_owned()), ..Default::default() };
    api::elasticloadbalancing::Listener {
        alpn_policy: row.alpn_policy.clone().map(|policy| vec![policy]),
        certificates: is_secure.then(|| row.certificates.iter().take(1).map(certificate).collect()),
        default_actions: Some(default.map_or_else(Vec::new, |rule| action::describe(&rule.action))),
        listener_arn: Some(row.arn().to_string()),
        load_balancer_arn: Some(row.load_balancer_arn().to_string()),
        mutual_authentication: (row.protocol == "HTTPS").then_some(mutual_authentication),
        port: Some(i32::from(row.port)),
        protocol: Some(row.protocol.clone()),
        ssl_policy: row.ssl_policy.clone(),
    }
}

/// Removes a listener with its rules.
pub(crate) fn remove(snapshot: &Snapshot, transaction: &mut Transaction, listener: &Versioned<Listener>) {
    for rule in rows_load_balancing::rules_of(snapshot, listener) {
        transaction.remove(&rule);
    }
    transaction.remove(listener);
}
