//! Answers a pause of a service deployment. AWS: ContinueServiceDeployment, "Continuing service deployments".
//!
//! The same answer twice is one answer. Differs from AWS: AWS documents the codes of the faults; the wording here is ours.

use api::ecs::operations::ContinueServiceDeployment;
use api::ecs::{ContinueServiceDeploymentRequest, ContinueServiceDeploymentResponse};
use domain::{HookRun, HookStatus, ServiceDeployment, ServiceDeploymentStatus};
use scheduler::deployment::hooks::{CONTINUE, PAUSE, ROLLBACK};
use store::Transaction;
use store::rows_service::service_deployment_key;
use wire::{Call, Fault, Operation, Permission};

use super::stop_service_deployment::{not_found, permission};
use crate::resources::service_revision;
use crate::{Ecs, faults};

impl Operation<ContinueServiceDeployment> for Ecs {
    fn permissions(&self, call: &Call, input: &ContinueServiceDeploymentRequest) -> Vec<Permission> {
        let arn = input.service_deployment_arn.as_deref().unwrap_or_default();
        vec![permission(call, "ecs:ContinueServiceDeployment", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ContinueServiceDeploymentRequest,
    ) -> Result<ContinueServiceDeploymentResponse, Fault> {
        let arn = input.service_deployment_arn.unwrap_or_default();
        let (cluster, service, id) = service_revision::parse_arn(call, &arn, "service-deployment")?;
        let hook_id = input.hook_id.unwrap_or_default();
        let answered = match input.action.as_deref() {
            None | Some(CONTINUE) => HookStatus::Succeeded,
            Some(ROLLBACK) => HookStatus::Failed,
            Some(other) => return Err(faults::invalid(format!("Invalid action: {other}."))),
        };

        let key = service_deployment_key(&call.scope, &cluster, &service, &id);
        let update = self.store.update(|snapshot| {
            let there = snapshot.get::<ServiceDeployment>(&key).ok_or_else(not_found)?;
            let mut next = there.value.as_ref().clone();
            let status = next.status;
            let hook = next
                .hooks
                .iter_mut()
                .find(|hook| hook.id == hook_id)
                .ok_or_else(|| faults::invalid(format!("The lifecycle hook {hook_id} was not found.")))?;
            let mut transaction = Transaction::new();
            if answer(hook, answered, status)? {
                next.updated_at = call.now;
                transaction.replace(&there, next);
            }
            Ok((transaction, ()))
        });
        update.await.map_err(faults::of_update)?;

        Ok(ContinueServiceDeploymentResponse { service_deployment_arn: Some(arn) })
    }
}

/// Writes the answer into the hook; whether that changed it.
fn answer(hook: &mut HookRun, answered: HookStatus, status: ServiceDeploymentStatus) -> Result<bool, Fault> {
    if hook.target_type != PAUSE {
        return Err(faults::invalid(format!("The lifecycle hook {} is not a PAUSE hook.", hook.id)));
    }
    if hook.status == answered && hook.reason.is_none() {
        return Ok(false);
    }
    if hook.status != HookStatus::AwaitingAction {
        return Err(faults::invalid(format!(
            "The lifecycle hook {} is not in the AWAITING_ACTION status: it is {}.",
            hook.id, hook.status
        )));
    }
    if status != ServiceDeploymentStatus::InProgress {
        return Err(faults::client(format!(
            "The service deployment cannot be continued because it is in the {status} state."
        )));
    }
    hook.status = answered;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use domain::{HookRun, HookStatus, LifecycleStage, ServiceDeployment, ServiceDeploymentStatus};
    use serde_json::json;
    use store::{Prefix, Transaction};

    use crate::testing::{World, text};

    fn row(world: &World) -> ServiceDeployment {
        let snapshot = world.store.snapshot();
        let row = snapshot.scan::<ServiceDeployment>(Prefix::everything(), None).next().unwrap();
        row.value.as_ref().clone()
    }

    async fn put(world: &World, row: ServiceDeployment) {
        let mut transaction = Transaction::new();
        transaction.put(row);
        world.store.transact(transaction).await.unwrap();
    }

    fn hook(id: &str, target_type: &str, status: HookStatus) -> HookRun {
        HookRun {
            id: id.to_owned(),
            hook: 0,
            stage: LifecycleStage::PreScaleUp,
            step: 0,
            rollback: false,
            target_type: target_type.to_owned(),
            target: None,
            status,
            expires_at: None,
            timeout_action: None,
            call_not_before: None,
            calls: 0,
            errors: 0,
            callback: None,
            reason: None,
        }
    }

    /// A deployment with a pause that waits, one that timed out, and a function's hook.
    async fn paused() -> (World, String) {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        let made = world
            .ok("CreateService", json!({"serviceName": "s", "taskDefinition": "web", "desiredCount": 2}))
            .await;
        let hooks = vec![
            hook("waits", "PAUSE", HookStatus::AwaitingAction),
            hook("late", "PAUSE", HookStatus::TimedOut),
            hook("function", "AWS_LAMBDA", HookStatus::InProgress),
        ];
        let status = ServiceDeploymentStatus::InProgress;
        let next = ServiceDeployment { status, hooks, ..row(&world) };
        put(&world, next).await;
        (world, text(&made, "/service/currentServiceDeployment"))
    }

    #[tokio::test]
    async fn a_pause_is_answered_once() {
        for (action, expected) in [
            (json!(null), HookStatus::Succeeded),
            (json!("CONTINUE"), HookStatus::Succeeded),
            (json!("ROLLBACK"), HookStatus::Failed),
        ] {
            let (world, arn) = paused().await;
            let body = json!({"serviceDeploymentArn": arn, "hookId": "waits", "action": action});
            let answer = world.ok("ContinueServiceDeployment", body.clone()).await;
            assert_eq!(answer, json!({"serviceDeploymentArn": arn}));
            let first = row(&world);
            assert_eq!(first.hooks[0].status, expected);
            world.ok("ContinueServiceDeployment", body).await;
            assert_eq!(row(&world), first);
            let other = if expected == HookStatus::Failed { "CONTINUE" } else { "ROLLBACK" };
            let body = json!({"serviceDeploymentArn": arn, "hookId": "waits", "action": other});
            assert_eq!(
                world.refused("ContinueServiceDeployment", body).await,
                format!(
                    "InvalidParameterException: The lifecycle hook waits is not in the AWAITING_ACTION status: it is \
                     {expected}."
                )
            );
        }
    }

    #[tokio::test]
    async fn refusals() {
        let (world, arn) = paused().await;
        let refused = |arn: String, hook: &'static str| {
            let world = &world;
            async move {
                let body = json!({"serviceDeploymentArn": arn, "hookId": hook});
                world.refused("ContinueServiceDeployment", body).await
            }
        };
        assert_eq!(
            refused(arn.clone(), "ghost").await,
            "InvalidParameterException: The lifecycle hook ghost was not found."
        );
        assert_eq!(
            refused(arn.clone(), "function").await,
            "InvalidParameterException: The lifecycle hook function is not a PAUSE hook."
        );
        let late = refused(arn.clone(), "late").await;
        assert!(late.ends_with("it is TIMED_OUT."), "{late}");
        assert_eq!(
            refused(arn.replace("/s/", "/t/"), "waits").await,
            "ServiceDeploymentNotFoundException: Service Deployment not found."
        );
        let next = ServiceDeployment { status: ServiceDeploymentStatus::RollbackInProgress, ..row(&world) };
        put(&world, next).await;
        assert_eq!(
            refused(arn, "waits").await,
            "ClientException: The service deployment cannot be continued because it is in the \
             ROLLBACK_IN_PROGRESS state."
        );
    }
}
