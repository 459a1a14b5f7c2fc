//! DeregisterTargets: takes targets out of a target group. They get no new requests, and drain. Source: Elastic Load
//! Balancing API reference, "DeregisterTargets".
//!
//! Differs from AWS: nothing known. As there, targets that are not registered are left out.

use api::elasticloadbalancing::operations::DeregisterTargets;
use api::elasticloadbalancing::{DeregisterTargetsInput, DeregisterTargetsOutput};
use store::{Transaction, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::{of_update, validation};
use crate::resources::{target, target_group};

impl Operation<DeregisterTargets> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &DeregisterTargetsInput) -> Vec<Permission> {
        let arn = input.target_group_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:DeregisterTargets", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeregisterTargetsInput,
    ) -> Result<DeregisterTargetsOutput, Fault> {
        let arn = input.target_group_arn.unwrap_or_default();
        let targets = input.targets.filter(|targets| !targets.is_empty());
        let targets = targets.ok_or_else(|| validation("Targets cannot be empty"))?;
        let deregistered = self.store.update(|snapshot| {
            let group = target_group::find(snapshot, &call.scope, &arn)?;
            let targets = target::parse(&group, targets.clone())?;
            let mut transaction = Transaction::new();
            rows_load_balancing::deregister_targets(snapshot, &mut transaction, &group, &targets, call.now);
            Ok((transaction, ()))
        });
        deregistered.await.map_err(of_update)?;
        Ok(DeregisterTargetsOutput {})
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn targets_drain_where_a_rule_forwards_to_the_group() {
        let server = Server::new().await;
        let group = server.target_group("web").await;
        let address = server.vpc.subnets[0].cidr.nth(9).unwrap();
        let targets = format!("TargetGroupArn={group}&Targets.member.1.Id={address}");
        let health = format!("Action=DescribeTargetHealth&TargetGroupArn={group}");
        server.ok(&format!("Action=RegisterTargets&{targets}")).await;
        server.ok(&format!("Action=DeregisterTargets&{targets}")).await;
        assert!(server.ask_for("Id", &health).await.is_empty(), "nothing to drain");
        let front = server.load_balancer("front").await;
        server.listener(&front, 80, &group).await;
        server.ok(&format!("Action=RegisterTargets&{targets}")).await;
        server.ok(&format!("Action=DeregisterTargets&{targets}")).await;
        assert_eq!(
            server.ask_for("State", &health).await,
            ["draining", "no_override"].map(str::to_owned).into_iter().rev().collect::<Vec<_>>()
        );
        assert_eq!(server.ask_for("Reason", &health).await[1], "Target.DeregistrationInProgress");
        server.ok(&format!("Action=DeregisterTargets&{targets}&Targets.member.2.Id=10.9.9.9")).await;
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let group = server.target_group("web").await;
        for (query, fault) in [
            (format!("TargetGroupArn={group}"), "ValidationError: ".to_owned()),
            (
                format!("TargetGroupArn={group}&Targets.member.1.Id=x"),
                "ValidationError: The IP address 'x' is not a valid IPv4 address".to_owned(),
            ),
            (
                format!("TargetGroupArn={group}0&Targets.member.1.Id=10.0.0.1"),
                format!("TargetGroupNotFound: Target group '{group}0' not found"),
            ),
        ] {
            let told = server.fault(&format!("Action=DeregisterTargets&{query}")).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{query}: {told}");
        }
    }
}
