//! Protects tasks of services from scale-in, or stops to. AWS: UpdateTaskProtection.
//!
//! Differs from AWS: DEPLOYMENT_BLOCKED is answered when the new revision has all its tasks and only protected ones of
//! older revisions are left; AWS says that such tasks "block the service deployment from reaching a steady state".

use api::ecs::operations::UpdateTaskProtection;
use api::ecs::{UpdateTaskProtectionRequest, UpdateTaskProtectionResponse};
use base::limits::UPDATE_TASK_PROTECTION_MAXIMUM;
use domain::Task;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, node, service, task, task_protection};
use crate::{Ecs, faults};

/// AWS's sentence for a deployment that waits for protected tasks.
const BLOCKED: &str = "Task protection cannot be set because there are one or more protected tasks blocking the service \
                       deployment from reaching a steady state.";

impl Operation<UpdateTaskProtection> for Ecs {
    fn permissions(&self, call: &Call, input: &UpdateTaskProtectionRequest) -> Vec<Permission> {
        let tasks = input.tasks.as_deref().unwrap_or_default();
        task_protection::permissions(call, "ecs:UpdateTaskProtection", input.cluster.as_deref(), tasks)
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdateTaskProtectionRequest,
    ) -> Result<UpdateTaskProtectionResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let given = input.tasks.unwrap_or_default();
        if given.is_empty() {
            return Err(faults::invalid("Tasks cannot be empty."));
        }
        if given.len() > UPDATE_TASK_PROTECTION_MAXIMUM {
            return Err(faults::invalid(format!(
                "Tasks cannot have more than {UPDATE_TASK_PROTECTION_MAXIMUM} elements."
            )));
        }
        let minutes = input.expires_in_minutes.unwrap_or(task_protection::DEFAULT_MINUTES);
        if !(1..=task_protection::MOST_MINUTES).contains(&minutes) {
            return Err(faults::invalid(format!(
                "expiresInMinutes must be between 1 and {}.",
                task_protection::MOST_MINUTES
            )));
        }
        let ids = given.iter().map(|text| task::id(call, &name, text)).collect::<Result<Vec<_>, _>>()?;
        let on = input.protection_enabled == Some(true);
        let until = on.then(|| call.now.plus_seconds(i64::from(minutes) * 60));

        let update = self.store.update(|snapshot| {
            cluster::get(snapshot, &call.scope, &name)?;
            let mut transaction = Transaction::new();
            let (mut protected, mut failures) = (Vec::new(), Vec::new());
            for id in &ids {
                let Some(there) = task::get(snapshot, call, &name, id) else {
                    failures.push(task_protection::failure(call, &name, id, "MISSING", None));
                    continue;
                };
                node::check_task(snapshot, call, &there)?;
                if let Some(why) = task_protection::not_valid(&there) {
                    failures.push(task_protection::failure(call, &name, id, "TASK_NOT_VALID", Some(why)));
                    continue;
                }
                let of_service = there.group.strip_prefix("service:").unwrap_or_default();
                let of_service = service::find(snapshot, &call.scope, &name, of_service);
                let blocks = of_service.as_ref().is_some_and(|of_service| {
                    task_protection::blocks_deployment(snapshot, of_service, &there, call.now)
                });
                if on && blocks {
                    let failure =
                        task_protection::failure(call, &name, id, "DEPLOYMENT_BLOCKED", Some(BLOCKED));
                    failures.push(failure);
                    continue;
                }
                let next = Task { protected_until: until, ..Task::clone(&there) };
                protected.push(task_protection::describe(&next, call.now));
                transaction.replace(&there, next);
            }
            Ok((transaction, (protected, failures)))
        });
        let (protected, failures) = update.await.map_err(faults::of_update)?;
        Ok(UpdateTaskProtectionResponse { protected_tasks: Some(protected), failures: Some(failures) })
    }
}

#[cfg(test)]
mod tests {
    use domain::{RevisionStatus, Service, Task, TaskStatus};
    use serde_json::{Value, json};
    use store::Transaction;
    use store::rows::task_key;

    use crate::resources::service;
    use crate::testing::{World, scope, text};

    /// A service `s` with one task for each of the revisions, newest first: by hand, since nothing here starts tasks.
    async fn world(revisions: usize) -> (World, Vec<String>) {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        let body = json!({"serviceName": "s", "taskDefinition": "web", "desiredCount": 1});
        world.ok("CreateService", body).await;
        for _ in 1..revisions {
            world.ok("UpdateService", json!({"service": "s", "forceNewDeployment": true})).await;
        }
        let there = service::find(&world.store.snapshot(), &scope(), "default", "s").unwrap();
        let mut ids = Vec::new();
        for revision in there.revisions.clone() {
            let run = world.ok("RunTask", json!({"taskDefinition": "web"})).await;
            let id = text(&run, "/tasks/0/taskArn").rsplit('/').next().unwrap().to_owned();
            let row = world.store.snapshot().get::<Task>(&task_key(&scope(), "default", &id)).unwrap();
            let mut transaction = Transaction::new();
            transaction.put(Task {
                group: "service:s".to_owned(),
                started_by: Some(revision.started_by()),
                last_status: TaskStatus::Running,
                ..Task::clone(&row)
            });
            world.store.transact(transaction).await.unwrap();
            ids.push(id);
        }
        (world, ids)
    }

    fn on(ids: &[String]) -> Value {
        json!({"cluster": "default", "tasks": ids, "protectionEnabled": true})
    }

    #[tokio::test]
    async fn protection_is_set_runs_out_and_is_taken_away() {
        let (world, ids) = world(1).await;
        let set = world.ok("UpdateTaskProtection", on(&ids)).await;
        let start = 1_795_348_800.0;
        assert_eq!(set["failures"], json!([]));
        assert_eq!(set["protectedTasks"][0]["protectionEnabled"], json!(true));
        assert_eq!(set["protectedTasks"][0]["expirationDate"].as_f64(), Some(start + 7200.0));
        let get = json!({"cluster": "default", "tasks": ids});
        assert_eq!(world.ok("GetTaskProtection", get.clone()).await, set);
        let mut longer = on(&ids);
        longer["expiresInMinutes"] = json!(2880);
        let set = world.ok("UpdateTaskProtection", longer).await;
        assert_eq!(set["protectedTasks"][0]["expirationDate"].as_f64(), Some(start + 2880.0 * 60.0));
        world.clock.advance_millis(2880 * 60 * 1000);
        let told = world.ok("GetTaskProtection", get.clone()).await;
        assert_eq!(told["protectedTasks"][0]["protectionEnabled"], json!(false));
        assert!(told["protectedTasks"][0].get("expirationDate").is_none());
        world.ok("UpdateTaskProtection", on(&ids)).await;
        let mut off = on(&ids);
        off["protectionEnabled"] = json!(false);
        world.ok("UpdateTaskProtection", off).await;
        let told = world.ok("GetTaskProtection", get).await;
        assert_eq!(told["protectedTasks"][0]["protectionEnabled"], json!(false));
    }

    #[tokio::test]
    async fn a_node_speaks_of_its_own_tasks_only() {
        use api::ecs::{GetTaskProtectionRequest, UpdateTaskProtectionRequest, operations};
        use wire::{Call, Operation, Principal};

        let (world, ids) = world(1).await;
        let ids_source = std::sync::Arc::new(base::SeededIds::new(5));
        let ecs =
            crate::Ecs { store: world.store.clone(), ids: ids_source, config: crate::EcsConfig::default() };
        let call = Call {
            scope: scope(),
            now: base::Timestamp::from_millis(1_795_348_800_000),
            request_id: "1".to_owned(),
            principal: Principal::node(&scope().account, "node", "AKIA1"),
            source_ip: None,
            endpoint: "http://127.0.0.1:4566".to_owned(),
        };
        let get = GetTaskProtectionRequest { cluster: Some("default".to_owned()), tasks: Some(ids.clone()) };
        let told = Operation::<operations::GetTaskProtection>::handle(&ecs, &call, get).await;
        assert_eq!(told.map(drop).unwrap_err().code(), "AccessDeniedException");
        let update = UpdateTaskProtectionRequest {
            cluster: Some("default".to_owned()),
            tasks: Some(ids),
            protection_enabled: Some(true),
            expires_in_minutes: None,
        };
        let told = Operation::<operations::UpdateTaskProtection>::handle(&ecs, &call, update).await;
        assert_eq!(told.map(drop).unwrap_err().code(), "AccessDeniedException");
    }

    #[tokio::test]
    async fn failures_and_refusals() {
        let (world, _) = world(1).await;
        let run = world.ok("RunTask", json!({"taskDefinition": "web"})).await;
        let alone = text(&run, "/tasks/0/taskArn");
        let ghost = "0".repeat(32);
        for operation in ["UpdateTaskProtection", "GetTaskProtection"] {
            let body = on(&[alone.clone(), ghost.clone()]);
            let told = world.ok(operation, body).await;
            assert_eq!(told["protectedTasks"], json!([]));
            assert_eq!(text(&told, "/failures/0/reason"), "TASK_NOT_VALID");
            assert_eq!(text(&told, "/failures/0/arn"), alone);
            assert_eq!(text(&told, "/failures/1/reason"), "MISSING");
            let far = json!({"cluster": "ghost", "tasks": [ghost], "protectionEnabled": true});
            assert!(world.refused(operation, far).await.starts_with("ClusterNotFoundException"));
            let none = json!({"cluster": "default", "tasks": [], "protectionEnabled": true});
            assert!(world.refused(operation, none).await.starts_with("InvalidParameterException"));
            world.refused(operation, on(&["x".to_owned()])).await;
            world.refused(operation, on(&vec![ghost.clone(); 101])).await;
        }
        world.refused("UpdateTaskProtection", on(&vec![ghost.clone(); 11])).await;
        for minutes in [0, -1, 2881] {
            let mut body = on(std::slice::from_ref(&ghost));
            body["expiresInMinutes"] = json!(minutes);
            let refused = world.refused("UpdateTaskProtection", body).await;
            assert!(refused.starts_with("InvalidParameterException"), "{refused}");
        }
    }

    #[tokio::test]
    async fn protected_tasks_that_block_a_deployment_get_no_company() {
        let (world, ids) = world(2).await;
        // Both may be protected until one of the older revision is.
        let set = world.ok("UpdateTaskProtection", on(&ids[1..])).await;
        assert_eq!(set["failures"], json!([]));
        let again = world.ok("UpdateTaskProtection", on(&ids)).await;
        assert_eq!(text(&again, "/failures/0/reason"), "DEPLOYMENT_BLOCKED");
        assert!(text(&again, "/failures/0/arn").ends_with(&ids[1]));
        assert!(text(&again, "/protectedTasks/0/taskArn").ends_with(&ids[0]));
        let snapshot = world.store.snapshot();
        let there: Service = Service::clone(&service::find(&snapshot, &scope(), "default", "s").unwrap());
        assert_eq!(there.revisions[1].status, RevisionStatus::Active);
    }
}
