//! DeleteLoadBalancer: deletes a load balancer with its listeners and rules, and gives its addresses back. Source: Elastic
//! Load Balancing API reference, "DeleteLoadBalancer".
//!
//! Differs from AWS: nothing known. As there, deleting one that is gone goes well.

use api::elasticloadbalancing::operations::DeleteLoadBalancer;
use api::elasticloadbalancing::{DeleteLoadBalancerInput, DeleteLoadBalancerOutput, faults};
use store::{Transaction, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::faults::of_update;
use crate::resources::name;
use crate::{Elasticloadbalancing, managed};

impl Operation<DeleteLoadBalancer> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &DeleteLoadBalancerInput) -> Vec<Permission> {
        let arn = input.load_balancer_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:DeleteLoadBalancer", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteLoadBalancerInput,
    ) -> Result<DeleteLoadBalancerOutput, Fault> {
        let arn = input.load_balancer_arn.unwrap_or_default();
        name::check_arn(&arn, "loadbalancer", "load balancer")?;
        let deleted = self.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            let found = rows_load_balancing::load_balancer_by_arn(snapshot, &arn);
            let Some(row) = found.filter(|found| found.scope == call.scope) else {
                return Ok((transaction, ()));
            };
            if row.attributes.get("deletion_protection.enabled").is_some_and(|value| value == "true") {
                return Err(faults::operation_not_permitted_exception(format!(
                    "Load balancer '{arn}' cannot be deleted because deletion protection is enabled"
                )));
            }
            managed::remove_load_balancer(snapshot, &mut transaction, &row, call.now);
            Ok((transaction, ()))
        });
        deleted.await.map_err(of_update)?;
        Ok(DeleteLoadBalancerOutput {})
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use domain::{Listener, ListenerRule, LoadBalancer, NetworkInterface};
    use store::Prefix;

    #[tokio::test]
    async fn it_goes_with_all_that_it_has() {
        let server = Server::new().await;
        let arn = server.load_balancer("front").await;
        let group = server.target_group("web").await;
        server.listener(&arn, 80, &group).await;
        let query = format!("Action=DeleteLoadBalancer&LoadBalancerArn={arn}");
        server.ok(&query).await;
        let snapshot = server.store.snapshot();
        assert_eq!(snapshot.scan::<LoadBalancer>(Prefix::everything(), None).count(), 0);
        assert_eq!(snapshot.scan::<Listener>(Prefix::everything(), None).count(), 0);
        assert_eq!(snapshot.scan::<ListenerRule>(Prefix::everything(), None).count(), 0);
        assert_eq!(snapshot.scan::<NetworkInterface>(Prefix::everything(), None).count(), 0);
        server.ok(&query).await;
        server.ok(&format!("Action=DeleteTargetGroup&TargetGroupArn={group}")).await;
        assert_eq!(
            server.fault("Action=DeleteLoadBalancer&LoadBalancerArn=x").await,
            "400 ValidationError: 'x' is not a valid load balancer ARN"
        );
    }

    #[tokio::test]
    async fn a_protected_one_stays() {
        let server = Server::new().await;
        let arn = server.load_balancer("front").await;
        let snapshot = server.store.snapshot();
        let found = store::rows_load_balancing::load_balancer_by_arn(&snapshot, &arn).unwrap();
        let mut row = LoadBalancer::clone(&found);
        row.attributes.insert("deletion_protection.enabled".to_owned(), "true".to_owned());
        let mut transaction = store::Transaction::new();
        transaction.put(row);
        server.store.transact(transaction).await.unwrap();
        assert_eq!(
            server.fault(&format!("Action=DeleteLoadBalancer&LoadBalancerArn={arn}")).await,
            format!(
                "400 OperationNotPermitted: Load balancer '{arn}' cannot be deleted because deletion protection is \
                 enabled"
            )
        );
    }
}
