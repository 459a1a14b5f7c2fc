//! DeleteTargetGroup: deletes a target group that no rule forwards to, with its targets. Source: Elastic Load Balancing API
//! reference, "DeleteTargetGroup".
//!
//! Differs from AWS: nothing known. As there, deleting one that is gone goes well.

use api::elasticloadbalancing::operations::DeleteTargetGroup;
use api::elasticloadbalancing::{DeleteTargetGroupInput, DeleteTargetGroupOutput, faults};
use store::{Transaction, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::of_update;
use crate::resources::name;

impl Operation<DeleteTargetGroup> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &DeleteTargetGroupInput) -> Vec<Permission> {
        let arn = input.target_group_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:DeleteTargetGroup", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteTargetGroupInput,
    ) -> Result<DeleteTargetGroupOutput, Fault> {
        let arn = input.target_group_arn.unwrap_or_default();
        name::check_arn(&arn, "targetgroup", "target group")?;
        let deleted = self.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            let found = rows_load_balancing::target_group_by_arn(snapshot, &arn);
            let Some(group) = found.filter(|found| found.scope == call.scope) else {
                return Ok((transaction, ()));
            };
            if !rows_load_balancing::rules_of_target_group(snapshot, &group).is_empty() {
                return Err(faults::resource_in_use_exception(format!(
                    "Target group '{arn}' is currently in use by a listener or a rule"
                )));
            }
            transaction.remove(&group);
            for target in rows_load_balancing::targets_of(snapshot, &group) {
                transaction.remove(&target);
            }
            Ok((transaction, ()))
        });
        deleted.await.map_err(of_update)?;
        Ok(DeleteTargetGroupOutput {})
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use domain::TargetRegistration;
    use store::Prefix;

    #[tokio::test]
    async fn it_goes_once_no_rule_forwards_to_it() {
        let server = Server::new().await;
        let group = server.target_group("web").await;
        let front = server.load_balancer("front").await;
        let listener = server.listener(&front, 80, &group).await;
        let address = server.vpc.subnets[0].cidr.nth(9).unwrap();
        server
            .ok(&format!("Action=RegisterTargets&TargetGroupArn={group}&Targets.member.1.Id={address}"))
            .await;
        let query = format!("Action=DeleteTargetGroup&TargetGroupArn={group}");
        assert_eq!(
            server.fault(&query).await,
            format!("400 ResourceInUse: Target group '{group}' is currently in use by a listener or a rule")
        );
        server.ok(&format!("Action=DeleteListener&ListenerArn={listener}")).await;
        server.ok(&query).await;
        assert_eq!(server.store.snapshot().scan::<TargetRegistration>(Prefix::everything(), None).count(), 0);
        server.ok(&query).await;
        let fault = server.fault("Action=DeleteTargetGroup&TargetGroupArn=x").await;
        assert_eq!(fault, "400 ValidationError: 'x' is not a valid target group ARN");
    }
}
