//! What an agent says of its containers' health, taken over into the task's row.

use agent_protocol::tcs::PublishHealthRequest;
use base::Arn;
use domain::{HealthStatus, Task, TaskStatus};
use scheduler::task_lifecycle;
use store::Transaction;
use store::rows::task_key;

use crate::Control;

/// Takes a health report over. `container_instance` is who reports: it may only speak of tasks of its own.
pub async fn take_over(control: &Control, container_instance: &Arn, report: &PublishHealthRequest) {
    let done = control.store.update(|snapshot| {
        let mut transaction = Transaction::new();
        for reported in &report.tasks {
            let Ok(arn) = reported.task_arn.parse::<Arn>() else { continue };
            let Some(scope) = arn.scope() else { continue };
            let Some((cluster, id)) =
                arn.resource().strip_prefix("task/").and_then(|path| path.split_once('/'))
            else {
                continue;
            };
            let Some(row) = snapshot.get::<Task>(&task_key(&scope, cluster, id)) else { continue };
            if row.container_instance.as_ref() != Some(container_instance)
                || row.last_status == TaskStatus::Stopped
            {
                continue;
            }
            let verdicts: Vec<(String, HealthStatus)> = reported
                .containers
                .iter()
                .filter_map(|container| {
                    let status = container.health_status.as_str().parse::<HealthStatus>().ok()?;
                    Some((container.container_name.clone(), status))
                })
                .collect();
            let outcome = task_lifecycle::health(&row, &verdicts);
            if outcome.changed {
                transaction.replace(&row, outcome.task);
            }
        }
        Ok::<_, std::convert::Infallible>((transaction, ()))
    });
    if let Err(error) = done.await {
        tracing::warn!(%error, "a health report was not taken over");
    }
}
