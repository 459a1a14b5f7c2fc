//! ModifyListener: changes a listener; what the call leaves out stays. Source: Elastic Load Balancing API reference,
//! "ModifyListener".
//!
//! Differs from AWS: not served, and refused by name, is what CreateListener refuses. A change to HTTP, TCP, UDP or TCP_UDP
//! removes the security policy and all certificates.

use api::elasticloadbalancing::operations::ModifyListener;
use api::elasticloadbalancing::{ModifyListenerInput, ModifyListenerOutput, faults};
use domain::{Listener, ListenerRule, LoadBalancer};
use store::{Snapshot, Transaction, Versioned, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::of_update;
use crate::resources::listener::{ListenerSettings, is_secure};
use crate::resources::{action, certificate, listener, load_balancer};

impl Operation<ModifyListener> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &ModifyListenerInput) -> Vec<Permission> {
        let arn = input.listener_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:ModifyListener", arn)]
    }

    async fn handle(&self, call: &Call, input: ModifyListenerInput) -> Result<ModifyListenerOutput, Fault> {
        let arn = input.listener_arn.clone().unwrap_or_default();
        let changed = self.store.update(|snapshot| {
            let found = listener::find(snapshot, &call.scope, &arn)?;
            let of_listener = found.load_balancer_arn();
            let load_balancer = load_balancer::find(snapshot, &call.scope, of_listener.as_str())?;
            change(snapshot, &load_balancer, &found, input.clone())
        });
        let (row, default) = changed.await.map_err(of_update)?;
        Ok(ModifyListenerOutput { listeners: Some(vec![listener::describe(&row, default.as_ref())]) })
    }
}

type Changed = (Transaction, (Listener, Option<ListenerRule>));

fn change(
    snapshot: &Snapshot,
    load_balancer: &Versioned<LoadBalancer>,
    found: &Versioned<Listener>,
    input: ModifyListenerInput,
) -> Result<Changed, Fault> {
    let kind = load_balancer.load_balancer_type;
    let certificate = certificate::only(input.certificates)?;
    let alpn_policy = listener::alpn_policy(input.alpn_policy)?;
    let protocol = input.protocol.unwrap_or_else(|| found.protocol.clone());
    // What was there counts only as long as the protocol still has it.
    let stays = is_secure(&protocol);
    let settings = ListenerSettings {
        port: input.port.unwrap_or_else(|| i32::from(found.port)),
        ssl_policy: input.ssl_policy.or_else(|| found.ssl_policy.clone().filter(|_| stays)),
        certificate: certificate.or_else(|| found.certificates.first().cloned().filter(|_| stays)),
        alpn_policy: alpn_policy.or_else(|| found.alpn_policy.clone().filter(|_| protocol == "TLS")),
        protocol,
    };
    let settings = settings.checked(kind)?;
    listener::check_mutual_authentication(input.mutual_authentication.as_ref(), &settings.protocol)?;
    let mut row = Listener {
        port: u16::try_from(settings.port).unwrap_or_default(),
        protocol: settings.protocol,
        ssl_policy: settings.ssl_policy,
        alpn_policy: settings.alpn_policy,
        certificates: certificates(found, settings.certificate),
        ..Listener::clone(found)
    };
    if row.protocol != found.protocol {
        let known = domain::Attributed::known_attributes(&row);
        row.attributes.retain(|key, _| known.iter().any(|attribute| attribute.key == key));
    }
    let mut transaction = Transaction::new();
    if row.port != found.port {
        check_port(snapshot, load_balancer, &row)?;
        // Its row is written again, so that no two listeners take the same port.
        transaction.replace(load_balancer, LoadBalancer::clone(load_balancer));
    }
    if let Some(arn) = row.certificates.first().filter(|arn| !found.certificates.contains(arn)) {
        certificate::hold(snapshot, &mut transaction, &row.scope, arn)?;
    }
    let asked = input.default_actions.map(|actions| action::parse(actions, kind)).transpose()?;
    let default = listener::default_rule(snapshot, found);
    for rule in rows_load_balancing::rules_of(snapshot, found) {
        let asked = asked.as_ref().filter(|_| rule.priority.is_none());
        let action = asked.unwrap_or(&rule.action);
        if asked.is_some() || row.protocol != found.protocol {
            action::join_groups(snapshot, &mut transaction, load_balancer, &row.protocol, action)?;
        }
    }
    let default = default.map(|default| {
        let action = asked.unwrap_or_else(|| default.action.clone());
        let changed = ListenerRule { action, ..ListenerRule::clone(&default) };
        transaction.replace(&default, changed.clone());
        changed
    });
    transaction.replace(found, row.clone());
    Ok((transaction, (row, default)))
}

/// The certificates after a change of the default one, which stands first.
fn certificates(found: &Listener, default: Option<String>) -> Vec<String> {
    let Some(default) = default else { return Vec::new() };
    let others = found.certificates.iter().skip(1).filter(|other| **other != default).cloned();
    std::iter::once(default.clone()).chain(others).collect()
}

fn check_port(snapshot: &Snapshot, load_balancer: &LoadBalancer, row: &Listener) -> Result<(), Fault> {
    let listeners = rows_load_balancing::listeners_of(snapshot, load_balancer);
    if listeners.iter().any(|other| other.port == row.port && other.id != row.id) {
        let arn = load_balancer.arn();
        let message = format!("A listener already exists on this port for this load balancer '{arn}'");
        return Err(faults::duplicate_listener_exception(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn what_is_left_out_stays() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let (a, b) = (server.target_group("a").await, server.target_group("b").await);
        let listener = server.listener(&front, 80, &a).await;
        let set = |rest: &str| format!("Action=ModifyListener&ListenerArn={listener}&{rest}");
        let answer = server.ok(&set("Port=81")).await;
        assert!(answer.contains("<Port>81<") && answer.contains(&a), "{answer}");
        let to_b = format!("DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn={b}");
        let answer = server.ok(&set(&to_b)).await;
        assert!(answer.contains("<Port>81<") && answer.contains(&b) && !answer.contains(&a), "{answer}");
        server.ok(&format!("Action=DeleteTargetGroup&TargetGroupArn={a}")).await;
    }

    #[tokio::test]
    async fn to_https_and_back() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let group = server.target_group("web").await;
        let listener = server.listener(&front, 443, &group).await;
        let certificate = server.certificate().await;
        let set = |rest: &str| format!("Action=ModifyListener&ListenerArn={listener}&{rest}");
        assert_eq!(
            server.fault(&set("Protocol=HTTPS")).await,
            "400 ValidationError: A certificate must be specified for HTTPS listeners"
        );
        let https = format!("Protocol=HTTPS&Certificates.member.1.CertificateArn={certificate}");
        let answer = server.ok(&set(&https)).await;
        assert!(answer.contains("<SslPolicy>ELBSecurityPolicy-2016-08<"), "{answer}");
        assert!(answer.contains("<Mode>off<") && answer.contains(&certificate), "{answer}");
        let answer = server.ok(&set("SslPolicy=ELBSecurityPolicy-TLS13-1-2-2021-06")).await;
        assert!(answer.contains("<Protocol>HTTPS<") && answer.contains(&certificate), "{answer}");
        let answer = server.ok(&set("Protocol=HTTP")).await;
        assert!(!answer.contains("SslPolicy") && !answer.contains("Certificates"), "{answer}");
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let group = server.target_group("web").await;
        let listener = server.listener(&front, 80, &group).await;
        server.listener(&front, 81, &group).await;
        for (arn, rest, fault) in [
            (&listener, "Port=81", "DuplicateListener: A listener already exists on this port"),
            (
                &listener,
                "Protocol=TCP",
                "ValidationError: Listener protocol 'TCP' must be one of 'HTTPS, HTTP'",
            ),
            (
                &listener,
                "SslPolicy=x",
                "ValidationError: An SSL policy cannot be specified for HTTP listeners",
            ),
            (
                &listener,
                "Protocol=HTTPS&Certificates.member.1.CertificateArn=x",
                "CertificateNotFound: Certificate 'x' not found",
            ),
            (
                &listener,
                "DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=x",
                "ValidationError: 'x' is not a valid target group ARN",
            ),
            (
                &listener,
                "DefaultActions.member.1.Type=authenticate-oidc",
                "InvalidConfigurationRequest: The action type 'authenticate-oidc'",
            ),
            (&format!("{listener}0"), "Port=82", "ListenerNotFound: Listener '"),
        ] {
            let told = server.fault(&format!("Action=ModifyListener&ListenerArn={arn}&{rest}")).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{rest}: {told}");
        }
    }
}
