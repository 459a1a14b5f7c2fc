//! State changes on their way to the control plane: `SubmitTaskStateChange`, in order per task, until they are taken.

use std::time::Duration;

use api::ecs::operations::SubmitTaskStateChange;
use api::ecs::{AttachmentStateChange, ContainerStateChange, SubmitTaskStateChangeRequest};
use base::limits::REASON_CHARACTERS;
use client::Backoff;

use crate::task_engine::plan::TaskPlan;
use crate::task_engine::record::Report;
use crate::task_engine::{Shared, bridge};

/// Submissions under way at once. The stock agent's.
pub const SUBMISSIONS_AT_ONCE: usize = 10;

/// Submits a report, again and again until it is taken or refused for good.
pub async fn submit(shared: &Shared, plan: &TaskPlan, report: &Report) {
    let containers = report
        .containers
        .iter()
        .map(|container| ContainerStateChange {
            container_name: Some(container.name.clone()),
            status: Some(if container.running { "RUNNING" } else { "STOPPED" }.to_owned()),
            runtime_id: Some(container.runtime_id.clone()),
            exit_code: container.exit_code,
            reason: container.reason.as_deref().map(cut),
            image_digest: container.image_digest.clone(),
            network_bindings: Some(container.published.iter().map(bridge::binding).collect())
                .filter(|bindings: &Vec<_>| !bindings.is_empty()),
        })
        .collect();
    let request = SubmitTaskStateChangeRequest {
        cluster: Some(shared.config.cluster.clone()),
        task: Some(plan.arn.to_string()),
        status: Some(report.status.as_str().to_owned()),
        reason: Some(cut(&report.reason)),
        containers: Some(containers),
        pull_started_at: report.pull_started_at,
        pull_stopped_at: report.pull_stopped_at,
        execution_stopped_at: report.execution_stopped_at,
        ..SubmitTaskStateChangeRequest::default()
    };
    submit_request(shared, &request).await;
}

/// Tells that a network interface has come.
pub async fn submit_attachment(shared: &Shared, task_arn: &str, attachment_arn: &str) {
    let request = SubmitTaskStateChangeRequest {
        cluster: Some(shared.config.cluster.clone()),
        task: Some(task_arn.to_owned()),
        attachments: Some(vec![AttachmentStateChange {
            attachment_arn: Some(attachment_arn.to_owned()),
            status: Some("ATTACHED".to_owned()),
        }]),
        ..SubmitTaskStateChangeRequest::default()
    };
    submit_request(shared, &request).await;
}

async fn submit_request(shared: &Shared, request: &SubmitTaskStateChangeRequest) {
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30), 1.3);
    loop {
        let answer = {
            let Ok(_permit) = shared.submissions.acquire().await else { return };
            shared.client.call::<SubmitTaskStateChange>(request).await
        };
        match answer {
            Ok(_) => return,
            // The control plane will never take it: the stock agent drops it too.
            Err(error) if matches!(error.code(), Some("InvalidParameterException" | "ClientException")) => {
                tracing::error!(task = request.task, %error, "a state change was refused");
                return;
            }
            Err(error) => {
                tracing::debug!(task = request.task, %error, "a state change was not taken yet");
                tokio::time::sleep(backoff.next(&*shared.config.ids)).await;
            }
        }
    }
}

fn cut(reason: &str) -> String {
    reason.chars().take(REASON_CHARACTERS).collect()
}
