//! ModifyTargetGroup: changes how the targets of a group are checked; what the call leaves out stays. Source: Elastic Load
//! Balancing API reference, "ModifyTargetGroup".
//!
//! Differs from AWS: nothing known.

use api::elasticloadbalancing::operations::ModifyTargetGroup;
use api::elasticloadbalancing::{ModifyTargetGroupInput, ModifyTargetGroupOutput};
use domain::TargetGroup;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::of_update;
use crate::resources::health_check::{self, HealthCheckWish};
use crate::resources::target_group;

impl Operation<ModifyTargetGroup> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &ModifyTargetGroupInput) -> Vec<Permission> {
        let arn = input.target_group_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:ModifyTargetGroup", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ModifyTargetGroupInput,
    ) -> Result<ModifyTargetGroupOutput, Fault> {
        let arn = input.target_group_arn.unwrap_or_default();
        let wish = HealthCheckWish {
            enabled: input.health_check_enabled,
            interval_seconds: input.health_check_interval_seconds,
            path: input.health_check_path,
            port: input.health_check_port,
            protocol: input.health_check_protocol,
            timeout_seconds: input.health_check_timeout_seconds,
            healthy_threshold: input.healthy_threshold_count,
            unhealthy_threshold: input.unhealthy_threshold_count,
            matcher: input.matcher,
        };
        let changed = self.store.update(|snapshot| {
            let found = target_group::find(snapshot, &call.scope, &arn)?;
            let version = found.protocol_version.as_deref();
            let health_check =
                health_check::changed(&found.health_check, wish.clone(), &found.protocol, version)?;
            let row = TargetGroup { health_check, ..TargetGroup::clone(&found) };
            let mut transaction = Transaction::new();
            if *found != row {
                transaction.replace(&found, row.clone());
            }
            Ok((transaction, row))
        });
        let row = changed.await.map_err(of_update)?;
        let told = target_group::describe(&self.store.snapshot(), &row);
        Ok(ModifyTargetGroupOutput { target_groups: Some(vec![told]) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn what_is_left_out_stays() {
        let server = Server::new().await;
        let web = server.target_group("web").await;
        let set = |arn: &str, rest: &str| format!("Action=ModifyTargetGroup&TargetGroupArn={arn}&{rest}");
        server.ok(&set(&web, "HealthCheckPath=/health&Matcher.HttpCode=200-204")).await;
        let answer = server.ok(&set(&web, "HealthCheckIntervalSeconds=10")).await;
        for text in [
            "<HealthCheckPath>/health<",
            "<HttpCode>200-204<",
            "<HealthCheckIntervalSeconds>10<",
            "<HealthCheckTimeoutSeconds>5<",
        ] {
            assert!(answer.contains(text), "{text}: {answer}");
        }
        let tcp = server.target_group_with("tcp", "Protocol=TCP&Port=9&HealthCheckProtocol=HTTP").await;
        let answer = server.ok(&set(&tcp, "HealthCheckProtocol=TCP")).await;
        assert!(!answer.contains("HealthCheckPath") && !answer.contains("<Matcher>"), "{answer}");
        for (arn, rest, fault) in [
            (
                &web,
                "HealthCheckTimeoutSeconds=10",
                "ValidationError: Health check timeout '10' must be smaller than the interval '10'",
            ),
            (&web, "HealthCheckProtocol=TCP", "ValidationError: Health check protocol 'TCP' must be one of"),
            (
                &web,
                "HealthyThresholdCount=1",
                "ValidationError: 1 validation error detected: Value '1' at 'healthyThresholdCount'",
            ),
            (&web, "HealthCheckEnabled=false", "ValidationError: Health check enabled must be true"),
            (&format!("{web}0"), "HealthCheckPath=/", "TargetGroupNotFound: Target group '"),
        ] {
            let told = server.fault(&set(arn, rest)).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{rest}: {told}");
        }
    }
}
