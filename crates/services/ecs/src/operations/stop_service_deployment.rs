//! Asks a service deployment to end, with the way back or without. AWS: StopServiceDeployment, "Stopping Amazon ECS service
//! deployments".
//!
//! A deployment that is ending already goes on ending. Differs from AWS: `ABORT` is taken too (AWS documents it as a value
//! and does not support it): the deployment ends where it stands, and the revision before it holds the service up. AWS
//! documents the codes of the faults; the wording here is ours.

use api::ecs::operations::StopServiceDeployment;
use api::ecs::{StopServiceDeploymentRequest, StopServiceDeploymentResponse, faults as ecs_faults};
use domain::{Cluster, Service, ServiceDeployment, ServiceDeploymentStatus};
use store::Transaction;
use store::rows_service::service_deployment_key;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::service_revision;
use crate::{Ecs, faults};

impl Operation<StopServiceDeployment> for Ecs {
    fn permissions(&self, call: &Call, input: &StopServiceDeploymentRequest) -> Vec<Permission> {
        let arn = input.service_deployment_arn.as_deref().unwrap_or_default();
        vec![permission(call, "ecs:StopServiceDeployment", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: StopServiceDeploymentRequest,
    ) -> Result<StopServiceDeploymentResponse, Fault> {
        let arn = input.service_deployment_arn.unwrap_or_default();
        let (cluster, service, id) = service_revision::parse_arn(call, &arn, "service-deployment")?;
        let requested = match input.stop_type.as_deref() {
            None | Some("ROLLBACK") => ServiceDeploymentStatus::RollbackRequested,
            Some("ABORT") => ServiceDeploymentStatus::StopRequested,
            Some(other) => return Err(faults::invalid(format!("Invalid stopType: {other}."))),
        };

        let key = service_deployment_key(&call.scope, &cluster, &service, &id);
        let update = self.store.update(|snapshot| {
            let there = snapshot.get::<ServiceDeployment>(&key).ok_or_else(not_found)?;
            let mut transaction = Transaction::new();
            match there.status {
                ServiceDeploymentStatus::Pending | ServiceDeploymentStatus::InProgress => {
                    let mut next = there.value.as_ref().clone();
                    next.status = requested;
                    next.stopped_at = Some(call.now);
                    next.updated_at = call.now;
                    transaction.replace(&there, next);
                }
                status if status.is_final() => {
                    return Err(ecs_faults::conflict_exception(format!(
                        "The service deployment cannot be stopped because it is in the {status} state."
                    )));
                }
                _ => {}
            }
            Ok((transaction, ()))
        });
        update.await.map_err(faults::of_update)?;

        Ok(StopServiceDeploymentResponse { service_deployment_arn: Some(arn) })
    }
}

/// `ServiceDeploymentNotFoundException`.
pub(super) fn not_found() -> Fault {
    ecs_faults::service_deployment_not_found_exception("Service Deployment not found.")
}

/// What a call on the service deployment `arn` needs.
pub(super) fn permission(call: &Call, action: &'static str, arn: &str) -> Permission {
    let permission = Permission::new(action, arn);
    match service_revision::parse_arn(call, arn, "service-deployment") {
        Ok((cluster, service, _)) => permission
            .when("ecs:cluster", Cluster::arn_of(&call.scope, &cluster).to_string())
            .when("ecs:service", Service::arn_of(&call.scope, &cluster, &service).to_string()),
        Err(_) => permission,
    }
}

#[cfg(test)]
mod tests {
    use domain::{ServiceDeployment, ServiceDeploymentStatus};
    use serde_json::json;
    use store::{Prefix, Transaction};

    use crate::testing::{World, text};

    async fn deployed() -> (World, String) {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        let made = world
            .ok("CreateService", json!({"serviceName": "s", "taskDefinition": "web", "desiredCount": 2}))
            .await;
        let arn = text(&made, "/service/currentServiceDeployment");
        (world, arn)
    }

    fn row(world: &World) -> ServiceDeployment {
        let snapshot = world.store.snapshot();
        let row = snapshot.scan::<ServiceDeployment>(Prefix::everything(), None).next().unwrap();
        row.value.as_ref().clone()
    }

    async fn set(world: &World, status: ServiceDeploymentStatus) {
        let mut transaction = Transaction::new();
        transaction.put(ServiceDeployment { status, ..row(world) });
        world.store.transact(transaction).await.unwrap();
    }

    #[tokio::test]
    async fn the_wish_is_written_once() {
        use ServiceDeploymentStatus::*;
        for (stop_type, expected) in [
            (json!(null), RollbackRequested),
            (json!("ROLLBACK"), RollbackRequested),
            (json!("ABORT"), StopRequested),
        ] {
            let (world, arn) = deployed().await;
            let body = json!({"serviceDeploymentArn": arn, "stopType": stop_type});
            let answer = world.ok("StopServiceDeployment", body.clone()).await;
            assert_eq!(answer, json!({"serviceDeploymentArn": arn}));
            let first = row(&world);
            assert_eq!((first.status, first.stopped_at.is_some()), (expected, true));
            // Whatever is asked then, it goes on as it was asked first.
            for again in ["ABORT", "ROLLBACK"] {
                world
                    .ok("StopServiceDeployment", json!({"serviceDeploymentArn": arn, "stopType": again}))
                    .await;
                assert_eq!(row(&world), first);
            }
            set(&world, RollbackInProgress).await;
            world.ok("StopServiceDeployment", body).await;
            assert_eq!(row(&world).status, RollbackInProgress);
        }
    }

    #[tokio::test]
    async fn refusals() {
        let (world, arn) = deployed().await;
        let refused = |arn: String| {
            let world = &world;
            async move { world.refused("StopServiceDeployment", json!({"serviceDeploymentArn": arn})).await }
        };
        assert_eq!(
            refused(arn.replace("/s/", "/other/")).await,
            "ServiceDeploymentNotFoundException: Service Deployment not found."
        );
        assert_eq!(refused("web".into()).await, "InvalidParameterException: Invalid arn syntax.");
        assert_eq!(
            refused(arn.replace("service-deployment", "service")).await,
            "InvalidParameterException: Unsupported resource type: service"
        );
        let body = json!({"serviceDeploymentArn": arn, "stopType": "PAUSE"});
        let message = world.refused("StopServiceDeployment", body).await;
        assert!(message.starts_with("InvalidParameterException"), "{message}");
        set(&world, ServiceDeploymentStatus::Successful).await;
        assert_eq!(
            refused(arn).await,
            "ConflictException: The service deployment cannot be stopped because it is in the SUCCESSFUL state."
        );
    }
}
