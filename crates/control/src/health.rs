//! What an agent says of its containers' health, taken over into the task's row.

use agent_protocol::tcs::PublishHealthRequest;
use base::Arn;
use domain::{HealthStatus, Task, TaskStatus};
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
            let verdicts = reported.containers.iter().filter_map(|container| {
                let status = container.health_status.as_str().parse::<HealthStatus>().ok()?;
                Some((container.container_name.as_str(), status))
            });
            if let Some(next) = with_health(&row, verdicts) {
                transaction.replace(&row, next);
            }
        }
        Ok::<_, std::convert::Infallible>((transaction, ()))
    });
    if let Err(error) = done.await {
        tracing::warn!(%error, "a health report was not taken over");
    }
}

/// The task with these verdicts; `None` where nothing changes. A task is unhealthy when one essential container is,
/// healthy when all that have a check are. Source: AWS, "Determine Amazon ECS task health using container health checks".
fn with_health<'a>(task: &Task, verdicts: impl Iterator<Item = (&'a str, HealthStatus)>) -> Option<Task> {
    let mut next = task.clone();
    let mut reported = Vec::new();
    for (name, status) in verdicts {
        if let Some(container) = next.containers.iter_mut().find(|container| container.name == name) {
            container.health_status = status;
            reported.push(status);
        }
    }
    next.health_status = if reported.contains(&HealthStatus::Unhealthy) {
        HealthStatus::Unhealthy
    } else if !reported.is_empty() && reported.iter().all(|status| *status == HealthStatus::Healthy) {
        HealthStatus::Healthy
    } else {
        HealthStatus::Unknown
    };
    if next == *task {
        return None;
    }
    next.version += 1;
    Some(next)
}
