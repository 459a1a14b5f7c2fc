//! Describes a daemon. AWS: DescribeDaemon. Differs from AWS: see [`crate::resources::daemon`].

use api::ecs::operations::DescribeDaemon;
use api::ecs::{DescribeDaemonRequest, DescribeDaemonResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Ecs;
use crate::resources::daemon;

impl Operation<DescribeDaemon> for Ecs {
    fn permissions(&self, call: &Call, input: &DescribeDaemonRequest) -> Vec<Permission> {
        let resource = daemon::arn_for_permission(call, input.daemon_arn.as_deref());
        vec![Permission::new("ecs:DescribeDaemon", resource)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeDaemonRequest,
    ) -> Result<DescribeDaemonResponse, Fault> {
        let reference = daemon::parse(call, input.daemon_arn.as_deref().unwrap_or_default())?;
        let snapshot = self.store.snapshot();
        let there = daemon::get(&snapshot, call, &reference)?;
        Ok(DescribeDaemonResponse { daemon: Some(daemon::describe(&snapshot, &there)) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn what_is_not_there() {
        let world = World::with_cluster().await;
        for (arn, wanted) in [
            (
                "arn:aws:ecs:us-east-1:000000000000:daemon/default/ghost",
                "DaemonNotFoundException: Daemon not found.",
            ),
            (
                "arn:aws:ecs:us-east-1:000000000000:daemon/ghost/ghost",
                "ClusterNotFoundException: Cluster not found.",
            ),
            (
                "arn:aws:ecs:us-east-1:000000000000:daemon/ghost",
                "InvalidParameterException: Invalid arn syntax.",
            ),
            ("ghost", "InvalidParameterException: Invalid arn syntax."),
        ] {
            assert_eq!(world.refused("DescribeDaemon", json!({"daemonArn": arn})).await, wanted);
        }
    }
}
