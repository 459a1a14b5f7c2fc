//! Which task this is. Source: Amazon ECS developer guide, "Amazon ECS task metadata endpoint version 4".

use std::time::Duration;

use serde::Deserialize;

use crate::client::Client;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskMetadata {
    #[serde(rename = "TaskARN")]
    task_arn: String,
}

/// The id of the task that this program runs in; the host's name where it runs in none.
pub async fn task_id(client: &Client) -> String {
    let from_metadata = async {
        let base = std::env::var("ECS_CONTAINER_METADATA_URI_V4").ok()?;
        let body = client.get(&format!("{base}/task"), Duration::from_secs(2)).await.ok()?;
        let metadata: TaskMetadata = serde_json::from_slice(&body).ok()?;
        Some(metadata.task_arn.rsplit('/').next()?.to_owned())
    };
    match from_metadata.await {
        Some(id) => id,
        None => std::fs::read_to_string("/etc/hostname")
            .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned()),
    }
}
