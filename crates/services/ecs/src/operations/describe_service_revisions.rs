//! Describes service revisions. AWS: DescribeServiceRevisions.
//!
//! Differs from AWS: `ecsManagedResources` is there for Express services only, without automatic scaling and alarms. Its moments
//! are those of the whole.

use api::ecs::operations::DescribeServiceRevisions;
use api::ecs::{DescribeServiceRevisionsRequest, DescribeServiceRevisionsResponse, Failure};
use base::limits::DESCRIBE_SERVICE_DEPLOYMENTS_MAXIMUM;
use domain::{Cluster, Service, ServiceRevision};
use store::Snapshot;
use store::rows_service::service_revision_key;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{express_ingress, express_service, service, service_revision};
use crate::{Ecs, faults};

impl Operation<DescribeServiceRevisions> for Ecs {
    fn permissions(&self, call: &Call, input: &DescribeServiceRevisionsRequest) -> Vec<Permission> {
        let given = input.service_revision_arns.iter().flatten();
        given
            .map(|text| {
                let permission = Permission::new("ecs:DescribeServiceRevisions", text.clone());
                match service_revision::parse_arn(call, text, "service-revision") {
                    Ok((cluster, service, _)) => permission
                        .when("ecs:cluster", Cluster::arn_of(&call.scope, &cluster).to_string())
                        .when("ecs:service", Service::arn_of(&call.scope, &cluster, &service).to_string()),
                    Err(_) => permission,
                }
            })
            .collect()
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeServiceRevisionsRequest,
    ) -> Result<DescribeServiceRevisionsResponse, Fault> {
        let given = input.service_revision_arns.unwrap_or_default();
        if given.is_empty() {
            return Err(faults::invalid("serviceRevisionArns cannot be empty."));
        }
        if given.len() > DESCRIBE_SERVICE_DEPLOYMENTS_MAXIMUM {
            return Err(faults::invalid(format!(
                "serviceRevisionArns cannot have more than {DESCRIBE_SERVICE_DEPLOYMENTS_MAXIMUM} elements."
            )));
        }
        let parse = |text: &String| service_revision::parse_arn(call, text, "service-revision");
        let parsed = given.iter().map(parse).collect::<Result<Vec<_>, _>>()?;

        let snapshot = self.store.snapshot();
        let (mut revisions, mut failures) = (Vec::new(), Vec::new());
        for (arn, (cluster, service, id)) in given.into_iter().zip(parsed) {
            let key = service_revision_key(&call.scope, &cluster, &service, &id);
            match snapshot.get::<ServiceRevision>(&key) {
                Some(row) => revisions.push(describe(&snapshot, call, &row)?),
                None => failures.push(Failure {
                    arn: Some(arn),
                    reason: Some("MISSING".to_owned()),
                    detail: None,
                }),
            }
        }
        Ok(DescribeServiceRevisionsResponse { service_revisions: Some(revisions), failures: Some(failures) })
    }
}

/// The revision, with what ECS manages for it.
fn describe(
    snapshot: &Snapshot,
    call: &Call,
    row: &ServiceRevision,
) -> Result<api::ecs::ServiceRevision, Fault> {
    let managed = match service::find(snapshot, &row.scope, &row.cluster, &row.service) {
        Some(service) => {
            let log_groups = express_service::log_groups(snapshot, call, row)?;
            express_ingress::managed_resources(snapshot, &service, log_groups)
        }
        None => None,
    };
    Ok(api::ecs::ServiceRevision { ecs_managed_resources: managed, ..service_revision::describe(row)? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn what_a_revision_runs() {
        let world = World::with_fargate().await;
        let vpc =
            store::rows_vpc::find_default_vpc(&world.store.snapshot(), &crate::testing::scope()).unwrap();
        let subnets = json!([vpc.subnets[0].id]);
        let network = json!({"awsvpcConfiguration": {"subnets": subnets, "assignPublicIp": "ENABLED"}});
        let body = json!({"serviceName": "s", "taskDefinition": "fargate", "desiredCount": 1,
            "launchType": "FARGATE", "networkConfiguration": network});
        let made = world.ok("CreateService", body).await;
        assert_eq!(text(&made, "/service/platformVersion"), "LATEST");
        assert_eq!(text(&made, "/service/deployments/0/platformVersion"), "1.4.0");
        let arn = text(&made, "/service/currentServiceRevisions/0/arn");
        let ghost = arn.rsplit_once('/').unwrap().0.to_owned() + "/1";
        let described =
            world.ok("DescribeServiceRevisions", json!({"serviceRevisionArns": [arn, ghost]})).await;
        let revision = &described["serviceRevisions"][0];
        assert_eq!(text(revision, "/taskDefinition"), text(&made, "/service/taskDefinition"));
        assert_eq!(text(revision, "/launchType"), "FARGATE");
        assert_eq!(text(revision, "/platformVersion"), "1.4.0");
        assert_eq!(text(revision, "/platformFamily"), "Linux");
        assert_eq!(revision["networkConfiguration"]["awsvpcConfiguration"]["subnets"], subnets);
        assert_eq!(revision["containerImages"], json!([{"containerName": "app", "image": "busybox"}]));
        assert_eq!(described["failures"], json!([{"arn": ghost, "reason": "MISSING"}]));
        for bad in [json!([]), json!(["x"]), json!(["arn:aws:ecs:us-east-1:000000000000:cluster/x"])] {
            let refused =
                world.refused("DescribeServiceRevisions", json!({"serviceRevisionArns": bad})).await;
            assert!(refused.starts_with("InvalidParameterException"), "{refused}");
        }
        world.refused("DescribeServiceRevisions", json!({"serviceRevisionArns": vec![arn; 21]})).await;
    }
}
