//! Describes service deployments. AWS: DescribeServiceDeployments. Differs from AWS: nothing known.

use api::ecs::operations::DescribeServiceDeployments;
use api::ecs::{DescribeServiceDeploymentsRequest, DescribeServiceDeploymentsResponse, Failure};
use base::limits::DESCRIBE_SERVICE_DEPLOYMENTS_MAXIMUM;
use domain::{Cluster, Service, ServiceDeployment};
use store::rows_service::service_deployment_key;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{service_deployment, service_revision};
use crate::{Ecs, faults};

impl Operation<DescribeServiceDeployments> for Ecs {
    fn permissions(&self, call: &Call, input: &DescribeServiceDeploymentsRequest) -> Vec<Permission> {
        let given = input.service_deployment_arns.iter().flatten();
        given
            .map(|text| {
                let permission = Permission::new("ecs:DescribeServiceDeployments", text.clone());
                match service_revision::parse_arn(call, text, "service-deployment") {
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
        input: DescribeServiceDeploymentsRequest,
    ) -> Result<DescribeServiceDeploymentsResponse, Fault> {
        let given = input.service_deployment_arns.unwrap_or_default();
        if given.is_empty() {
            return Err(faults::invalid("serviceDeploymentArns cannot be empty."));
        }
        if given.len() > DESCRIBE_SERVICE_DEPLOYMENTS_MAXIMUM {
            return Err(faults::invalid(format!(
                "serviceDeploymentArns cannot have more than {DESCRIBE_SERVICE_DEPLOYMENTS_MAXIMUM} elements."
            )));
        }
        let parse = |text: &String| service_revision::parse_arn(call, text, "service-deployment");
        let parsed = given.iter().map(parse).collect::<Result<Vec<_>, _>>()?;

        let snapshot = self.store.snapshot();
        let (mut deployments, mut failures) = (Vec::new(), Vec::new());
        for (arn, (cluster, service, id)) in given.into_iter().zip(parsed) {
            let key = service_deployment_key(&call.scope, &cluster, &service, &id);
            match snapshot.get::<ServiceDeployment>(&key) {
                Some(row) => deployments.push(service_deployment::describe(&snapshot, &row)?),
                None => failures.push(Failure {
                    arn: Some(arn),
                    reason: Some("MISSING".to_owned()),
                    detail: None,
                }),
            }
        }
        Ok(DescribeServiceDeploymentsResponse {
            service_deployments: Some(deployments),
            failures: Some(failures),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn a_new_one_is_pending() {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        let body = json!({"serviceName": "s", "taskDefinition": "web", "desiredCount": 4,
            "deploymentConfiguration": {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 5,
                "alarms": {"alarmNames": ["a"], "enable": true, "rollback": true}}});
        let made = world.ok("CreateService", body).await;
        let arn = text(&made, "/service/currentServiceDeployment");
        let (head, id) = arn.rsplit_once('/').unwrap();
        assert_eq!(head, "arn:aws:ecs:us-east-1:000000000000:service-deployment/default/s");
        assert_eq!(id.len(), 21);
        let ghost = format!("{head}/ghost");
        let described =
            world.ok("DescribeServiceDeployments", json!({"serviceDeploymentArns": [arn, ghost]})).await;
        let deployment = &described["serviceDeployments"][0];
        assert_eq!(deployment["status"], json!("PENDING"));
        assert_eq!(deployment["sourceServiceRevisions"], json!([]));
        assert_eq!(deployment["deploymentConfiguration"]["strategy"], json!("BLUE_GREEN"));
        assert_eq!(deployment["deploymentConfiguration"]["alarms"]["alarmNames"], json!(["a"]));
        assert_eq!(
            deployment["targetServiceRevision"]["arn"],
            made["service"]["currentServiceRevisions"][0]["arn"]
        );
        assert_eq!(described["failures"], json!([{"arn": ghost, "reason": "MISSING"}]));
        for bad in
            [json!([]), json!(["x"]), json!(["arn:aws:ecs:us-east-1:000000000000:service-deployment/x"])]
        {
            let refused =
                world.refused("DescribeServiceDeployments", json!({"serviceDeploymentArns": bad})).await;
            assert!(refused.starts_with("InvalidParameterException"), "{refused}");
        }
        world.refused("DescribeServiceDeployments", json!({"serviceDeploymentArns": vec![arn; 21]})).await;
    }
}
