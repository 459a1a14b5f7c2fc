//! AddListenerCertificates: adds certificates to a listener, which serves each to the clients that ask for its names.
//! Source: Elastic Load Balancing API reference, "AddListenerCertificates".
//!
//! Differs from AWS: the default certificate is not listed a second time when it is added.

use api::elasticloadbalancing::operations::AddListenerCertificates;
use api::elasticloadbalancing::{
    AddListenerCertificatesInput, AddListenerCertificatesOutput, Certificate, faults,
};
use domain::{Listener, LoadBalancer};
use store::{Snapshot, Transaction, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::faults::{of_update, validation};
use crate::resources::listener::is_secure;
use crate::resources::{certificate, listener, load_balancer};
use crate::{Elasticloadbalancing, quotas};

impl Operation<AddListenerCertificates> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &AddListenerCertificatesInput) -> Vec<Permission> {
        let arn = input.listener_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:AddListenerCertificates", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: AddListenerCertificatesInput,
    ) -> Result<AddListenerCertificatesOutput, Fault> {
        let arn = input.listener_arn.unwrap_or_default();
        let certificates = certificate::many(input.certificates)?;
        let changed = self.store.update(|snapshot| {
            let found = listener::find(snapshot, &call.scope, &arn)?;
            if !is_secure(&found.protocol) {
                let message = format!("Certificates cannot be added to {} listeners", found.protocol);
                return Err(validation(message));
            }
            let mut transaction = Transaction::new();
            let mut row = Listener::clone(&found);
            for arn in certificates.iter().filter(|arn| !found.certificates.contains(arn)) {
                certificate::hold(snapshot, &mut transaction, &call.scope, arn)?;
                row.certificates.push(arn.clone());
            }
            if row != *found {
                let of_listener = found.load_balancer_arn();
                let load_balancer = load_balancer::find(snapshot, &call.scope, of_listener.as_str())?;
                check_count(snapshot, &load_balancer, &row)?;
                transaction.replace(&found, row);
            }
            Ok((transaction, ()))
        });
        changed.await.map_err(of_update)?;
        let told = |arn: String| Certificate { certificate_arn: Some(arn), is_default: Some(false) };
        Ok(AddListenerCertificatesOutput { certificates: Some(certificates.into_iter().map(told).collect()) })
    }
}

fn check_count(snapshot: &Snapshot, load_balancer: &LoadBalancer, row: &Listener) -> Result<(), Fault> {
    let listeners = rows_load_balancing::listeners_of(snapshot, load_balancer);
    let others = listeners.iter().filter(|other| other.id != row.id);
    let count = |certificates: &[String]| certificates.len().saturating_sub(1);
    let total: usize =
        others.map(|other| count(&other.certificates)).sum::<usize>() + count(&row.certificates);
    if total > quotas::CERTIFICATES_PER_LOAD_BALANCER {
        let maximum = quotas::CERTIFICATES_PER_LOAD_BALANCER;
        return Err(faults::too_many_certificates_exception(format!(
            "The maximum number of certificates '{maximum}' of a load balancer has been reached"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn certificates_come_and_go() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let (a, b) = (server.certificate().await, server.certificate().await);
        let listener = server.https_listener(&front, &a).await;
        let add = format!(
            "Action=AddListenerCertificates&ListenerArn={listener}&Certificates.member.1.CertificateArn={b}"
        );
        server.ok(&add).await;
        server.ok(&add).await;
        let describe = format!("Action=DescribeListenerCertificates&ListenerArn={listener}");
        assert_eq!(server.ask_for("CertificateArn", &describe).await, [a.clone(), b.clone()]);
        assert_eq!(server.ask_for("IsDefault", &describe).await, ["true", "false"]);
        let described =
            server.ok(&format!("Action=DescribeListeners&ListenerArns.member.1={listener}")).await;
        assert!(
            described.contains(&a) && !described.contains(&b),
            "only the default one is told: {described}"
        );
        let remove = |arn: &str| {
            format!(
                "Action=RemoveListenerCertificates&ListenerArn={listener}&Certificates.member.1.CertificateArn={arn}"
            )
        };
        server.ok(&remove(&b)).await;
        server.ok(&remove(&b)).await;
        assert_eq!(server.ask_for("CertificateArn", &describe).await.concat(), a);
        assert_eq!(
            server.fault(&remove(&a)).await,
            format!("400 OperationNotPermitted: Default certificate '{a}' cannot be removed")
        );
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let group = server.target_group("web").await;
        let http = server.listener(&front, 80, &group).await;
        let a = server.certificate().await;
        let https = server.https_listener(&front, &a).await;
        for (arn, rest, fault) in [
            (
                &http,
                format!("Certificates.member.1.CertificateArn={a}"),
                "ValidationError: Certificates cannot be added to HTTP listeners",
            ),
            (
                &https,
                "Certificates.member.1.CertificateArn=x".to_owned(),
                "CertificateNotFound: Certificate 'x' not found",
            ),
            (
                &https,
                format!("Certificates.member.1.CertificateArn={a}&Certificates.member.1.IsDefault=true"),
                "ValidationError: You cannot set the isDefault parameter",
            ),
            (
                &format!("{https}0"),
                format!("Certificates.member.1.CertificateArn={a}"),
                "ListenerNotFound: Listener '",
            ),
        ] {
            let told =
                server.fault(&format!("Action=AddListenerCertificates&ListenerArn={arn}&{rest}")).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{rest}: {told}");
        }
        for _ in 0..25 {
            let more = server.certificate().await;
            server.ok(&format!("Action=AddListenerCertificates&ListenerArn={https}&Certificates.member.1.CertificateArn={more}")).await;
        }
        let more = server.certificate().await;
        let query = format!(
            "Action=AddListenerCertificates&ListenerArn={https}&Certificates.member.1.CertificateArn={more}"
        );
        assert_eq!(
            server.fault(&query).await,
            "400 TooManyCertificates: The maximum number of certificates '25' of a load balancer has been reached"
        );
    }
}
