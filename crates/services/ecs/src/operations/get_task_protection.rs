//! Tells which tasks are protected from scale-in. AWS: GetTaskProtection. Differs from AWS: nothing known.

use api::ecs::operations::GetTaskProtection;
use api::ecs::{GetTaskProtectionRequest, GetTaskProtectionResponse};
use base::limits::DESCRIBE_MAXIMUM;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, node, task, task_protection};
use crate::{Ecs, faults};

impl Operation<GetTaskProtection> for Ecs {
    fn permissions(&self, call: &Call, input: &GetTaskProtectionRequest) -> Vec<Permission> {
        let tasks = input.tasks.as_deref().unwrap_or_default();
        task_protection::permissions(call, "ecs:GetTaskProtection", input.cluster.as_deref(), tasks)
    }

    async fn handle(
        &self,
        call: &Call,
        input: GetTaskProtectionRequest,
    ) -> Result<GetTaskProtectionResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let given = input.tasks.unwrap_or_default();
        if given.is_empty() {
            return Err(faults::invalid("Tasks cannot be empty."));
        }
        if given.len() > DESCRIBE_MAXIMUM {
            return Err(faults::invalid(format!("Tasks cannot have more than {DESCRIBE_MAXIMUM} elements.")));
        }
        let ids = given.iter().map(|text| task::id(call, &name, text)).collect::<Result<Vec<_>, _>>()?;

        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &name)?;
        let (mut protected, mut failures) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(there) = task::get(&snapshot, call, &name, &id) else {
                failures.push(task_protection::failure(call, &name, &id, "MISSING", None));
                continue;
            };
            node::check_task(&snapshot, call, &there)?;
            match task_protection::not_valid(&there) {
                Some(why) => {
                    failures.push(task_protection::failure(call, &name, &id, "TASK_NOT_VALID", Some(why)));
                }
                None => protected.push(task_protection::describe(&there, call.now)),
            }
        }
        Ok(GetTaskProtectionResponse { protected_tasks: Some(protected), failures: Some(failures) })
    }
}
