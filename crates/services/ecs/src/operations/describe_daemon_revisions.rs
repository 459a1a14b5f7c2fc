//! Describes revisions of daemons. AWS: DescribeDaemonRevisions. Differs from AWS: nothing known.

use api::ecs::operations::DescribeDaemonRevisions;
use api::ecs::{DescribeDaemonRevisionsRequest, DescribeDaemonRevisionsResponse, Failure};
use domain::DaemonRevision;
use store::rows_daemon::of_daemon_key;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::daemon;
use crate::{Ecs, faults};

impl Operation<DescribeDaemonRevisions> for Ecs {
    fn permissions(&self, _call: &Call, input: &DescribeDaemonRevisionsRequest) -> Vec<Permission> {
        let arns = input.daemon_revision_arns.iter().flatten();
        arns.map(|arn| Permission::new("ecs:DescribeDaemonRevisions", arn)).collect()
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeDaemonRevisionsRequest,
    ) -> Result<DescribeDaemonRevisionsResponse, Fault> {
        let given = input.daemon_revision_arns.unwrap_or_default();
        if given.is_empty() || given.len() > daemon::DESCRIBE_MAXIMUM {
            return Err(faults::invalid(format!(
                "daemonRevisionArns must have 1 to {} elements.",
                daemon::DESCRIBE_MAXIMUM
            )));
        }
        let parsed = given
            .iter()
            .map(|text| daemon::parse_part(call, text, "daemon-revision"))
            .collect::<Result<Vec<_>, _>>()?;

        let snapshot = self.store.snapshot();
        let (mut revisions, mut failures) = (Vec::new(), Vec::new());
        for (arn, (reference, id)) in given.iter().zip(parsed) {
            let key = of_daemon_key(&call.scope, &reference.cluster, &reference.name, &id);
            match snapshot.get::<DaemonRevision>(&key) {
                Some(row) => revisions.push(daemon::describe_revision(&row)),
                None => failures.push(Failure {
                    arn: Some(arn.clone()),
                    reason: Some("MISSING".to_owned()),
                    detail: None,
                }),
            }
        }
        Ok(DescribeDaemonRevisionsResponse { daemon_revisions: Some(revisions), failures: Some(failures) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn what_is_not_there() {
        let world = World::with_cluster().await;
        let arn = "arn:aws:ecs:us-east-1:000000000000:daemon-revision/default/watch/abc";
        let shown = world.ok("DescribeDaemonRevisions", json!({"daemonRevisionArns": [arn]})).await;
        assert_eq!(shown, json!({"daemonRevisions": [], "failures": [{"arn": arn, "reason": "MISSING"}]}));
        for arns in [json!([]), json!(vec![arn; 21]), json!(["x"])] {
            world.refused("DescribeDaemonRevisions", json!({"daemonRevisionArns": arns})).await;
        }
    }
}
