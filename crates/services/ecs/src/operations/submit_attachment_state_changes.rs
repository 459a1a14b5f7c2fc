//! Takes in what an agent says of attachments. AWS: SubmitAttachmentStateChanges.
//!
//! Differs from AWS: a report of an attachment that is not there (any more) is acknowledged.

use api::ecs::operations::SubmitAttachmentStateChanges;
use api::ecs::{SubmitAttachmentStateChangesRequest, SubmitAttachmentStateChangesResponse};
use domain::Task;
use scheduler::task_lifecycle::{TaskReport, step};
use store::rows::TASKS_BY_ATTACHMENT;
use store::{Snapshot, Transaction, Versioned};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, node};
use crate::{Ecs, faults};

/// Attachments in one report. Ours.
const ATTACHMENTS: usize = 100;

impl Operation<SubmitAttachmentStateChanges> for Ecs {
    fn permissions(&self, call: &Call, input: &SubmitAttachmentStateChangesRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:SubmitAttachmentStateChanges", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: SubmitAttachmentStateChangesRequest,
    ) -> Result<SubmitAttachmentStateChangesResponse, Fault> {
        cluster::name(call, input.cluster.as_deref())?;
        let given = input.attachments.unwrap_or_default();
        if given.len() > ATTACHMENTS {
            return Err(faults::invalid(format!("A report can have at most {ATTACHMENTS} attachments.")));
        }
        let mut changes = Vec::new();
        for attachment in given {
            let text = attachment.attachment_arn.unwrap_or_default();
            let arn: base::Arn = text.parse().map_err(|_| faults::invalid("Invalid arn syntax."))?;
            let id = arn.resource().rsplit('/').next().unwrap_or_default().to_owned();
            changes.push((arn, id, attachment.status.unwrap_or_default()));
        }

        let update = self.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            let mut tasks: Vec<(Versioned<Task>, TaskReport)> = Vec::new();
            for (arn, id, status) in &changes {
                let Some(there) = task_of(snapshot, arn, id) else { continue };
                node::check_task(snapshot, call, &there)?;
                let change = (id.clone(), status.clone());
                match tasks.iter_mut().find(|(task, _)| task.id == there.id) {
                    Some((_, report)) => report.attachments.push(change),
                    None => {
                        tasks
                            .push((there, TaskReport { attachments: vec![change], ..TaskReport::default() }));
                    }
                }
            }
            for (there, report) in &tasks {
                let outcome = step(there, report, call.now);
                if outcome.changed {
                    transaction.replace(there, outcome.task);
                }
            }
            Ok::<_, Fault>((transaction, ()))
        });
        update.await.map_err(faults::of_update)?;

        let acknowledgment = Some(format!("{}/{}", call.scope.region, call.request_id));
        Ok(SubmitAttachmentStateChangesResponse { acknowledgment })
    }
}

/// The task that an attachment belongs to. Its ARN says account and region: a Fargate task may lie in others than the
/// machine does.
fn task_of(snapshot: &Snapshot, arn: &base::Arn, id: &str) -> Option<Versioned<Task>> {
    let scope = arn.scope()?;
    let parts = [scope.account.as_str(), scope.region.as_str(), id];
    snapshot.index::<Task>(TASKS_BY_ATTACHMENT, &parts, None).next()
}
