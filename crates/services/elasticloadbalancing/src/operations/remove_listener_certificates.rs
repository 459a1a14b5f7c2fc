//! RemoveListenerCertificates: removes certificates from a listener, other than its default one. Source: Elastic Load
//! Balancing API reference, "RemoveListenerCertificates".
//!
//! Differs from AWS: nothing known. As there, certificates that the listener does not have are left out.

use api::elasticloadbalancing::operations::RemoveListenerCertificates;
use api::elasticloadbalancing::{RemoveListenerCertificatesInput, RemoveListenerCertificatesOutput, faults};
use domain::Listener;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::of_update;
use crate::resources::{certificate, listener};

impl Operation<RemoveListenerCertificates> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &RemoveListenerCertificatesInput) -> Vec<Permission> {
        let arn = input.listener_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:RemoveListenerCertificates", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: RemoveListenerCertificatesInput,
    ) -> Result<RemoveListenerCertificatesOutput, Fault> {
        let arn = input.listener_arn.unwrap_or_default();
        let certificates = certificate::many(input.certificates)?;
        let changed = self.store.update(|snapshot| {
            let found = listener::find(snapshot, &call.scope, &arn)?;
            if let Some(default) = found.certificates.first().filter(|arn| certificates.contains(arn)) {
                let message = format!("Default certificate '{default}' cannot be removed");
                return Err(faults::operation_not_permitted_exception(message));
            }
            let mut row = Listener::clone(&found);
            row.certificates.retain(|arn| !certificates.contains(arn));
            let mut transaction = Transaction::new();
            transaction.replace(&found, row);
            Ok((transaction, ()))
        });
        changed.await.map_err(of_update)?;
        Ok(RemoveListenerCertificatesOutput {})
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let a = server.certificate().await;
        let https = server.https_listener(&front, &a).await;
        let query = |arn: &str| {
            format!(
                "Action=RemoveListenerCertificates&ListenerArn={arn}&Certificates.member.1.CertificateArn={a}"
            )
        };
        assert_eq!(
            server.fault(&query(&https)).await,
            format!("400 OperationNotPermitted: Default certificate '{a}' cannot be removed")
        );
        assert_eq!(
            server.fault(&query(&format!("{https}0"))).await,
            format!("400 ListenerNotFound: Listener '{https}0' not found")
        );
    }
}
