//! Describes deployments of daemons. AWS: DescribeDaemonDeployments.
//!
//! Differs from AWS: instance counts are those of now, and not shown of a deployment that is no longer its daemon's newest.

use api::ecs::operations::DescribeDaemonDeployments;
use api::ecs::{DescribeDaemonDeploymentsRequest, DescribeDaemonDeploymentsResponse, Failure};
use domain::DaemonDeployment;
use store::rows_daemon::of_daemon_key;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::daemon;
use crate::{Ecs, faults};

impl Operation<DescribeDaemonDeployments> for Ecs {
    fn permissions(&self, _call: &Call, input: &DescribeDaemonDeploymentsRequest) -> Vec<Permission> {
        let arns = input.daemon_deployment_arns.iter().flatten();
        arns.map(|arn| Permission::new("ecs:DescribeDaemonDeployments", arn)).collect()
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeDaemonDeploymentsRequest,
    ) -> Result<DescribeDaemonDeploymentsResponse, Fault> {
        let given = input.daemon_deployment_arns.unwrap_or_default();
        if given.is_empty() || given.len() > daemon::DESCRIBE_MAXIMUM {
            return Err(faults::invalid(format!(
                "daemonDeploymentArns must have 1 to {} elements.",
                daemon::DESCRIBE_MAXIMUM
            )));
        }
        let parsed = given
            .iter()
            .map(|text| daemon::parse_part(call, text, "daemon-deployment"))
            .collect::<Result<Vec<_>, _>>()?;

        let snapshot = self.store.snapshot();
        let (mut deployments, mut failures) = (Vec::new(), Vec::new());
        for (arn, (reference, id)) in given.iter().zip(parsed) {
            let key = of_daemon_key(&call.scope, &reference.cluster, &reference.name, &id);
            match snapshot.get::<DaemonDeployment>(&key) {
                Some(row) => deployments.push(daemon::describe_deployment(&snapshot, &row)),
                None => failures.push(Failure {
                    arn: Some(arn.clone()),
                    reason: Some("MISSING".to_owned()),
                    detail: None,
                }),
            }
        }
        Ok(DescribeDaemonDeploymentsResponse {
            daemon_deployments: Some(deployments),
            failures: Some(failures),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn what_is_not_there() {
        let world = World::with_cluster().await;
        let arn = "arn:aws:ecs:us-east-1:000000000000:daemon-deployment/default/watch/abc";
        let shown = world.ok("DescribeDaemonDeployments", json!({"daemonDeploymentArns": [arn]})).await;
        assert_eq!(shown, json!({"daemonDeployments": [], "failures": [{"arn": arn, "reason": "MISSING"}]}));
        for arns in [json!([]), json!(vec![arn; 21]), json!(["x"]), json!([arn.replace("-deployment", "")])] {
            world.refused("DescribeDaemonDeployments", json!({"daemonDeploymentArns": arns})).await;
        }
    }
}
