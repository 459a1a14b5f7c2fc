//! `roadstead spot`: does to Fargate Spot tasks what AWS does when it takes capacity back.

use std::sync::Arc;

use base::{Arn, RandomIds, SystemClock};
use client::{Client, ClientConfig};

use crate::cli::SpotCommand;
use crate::commands::{Failure, serve, with_causes};
use crate::data_dir::DataDir;
use crate::front::SPOT_INTERRUPT_PATH;
use crate::terminal::line;

/// Does what `command` says.
pub fn run(command: SpotCommand) -> Result<(), Failure> {
    let SpotCommand::Interrupt { task, cluster, warning, data } = command;
    let dir = DataDir::open(&data.data_dir).map_err(|error| error.to_string())?;
    let running = dir.running().map_err(|error| error.to_string())?;
    let key = dir.root_key(&RandomIds).map_err(|error| error.to_string())?.signing_key();
    let client = Client::new(ClientConfig {
        endpoint: running.endpoint.parse().map_err(|_| format!("{} is no URL", running.endpoint))?,
        region: running.region.clone(),
        credentials: Arc::new(key),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    });
    let path = path(&task, &cluster, warning, &running.region)?;
    let answer = serve::runtime()?.block_on(client.post(&path, "ecs"));
    match answer.map_err(|error| with_causes(&error))? {
        (200, arn) => {
            let arn = arn.trim();
            line(&format!(
                "{arn} is interrupted; nothing of it runs any more in {warning} seconds at the latest."
            ));
            Ok(())
        }
        (_, message) => Err(message.trim().to_owned()),
    }
}

/// The request's path. An ARN names its cluster and region itself.
fn path(task: &str, cluster: &str, warning: u32, region: &str) -> Result<String, Failure> {
    let (mut cluster, mut id, mut region) = (cluster.to_owned(), task.to_owned(), region.to_owned());
    if task.starts_with("arn:") {
        let malformed = || format!("{task} is no ARN of a task");
        let arn: Arn = task.parse().map_err(|_| malformed())?;
        let path = arn.resource().strip_prefix("task/").and_then(|path| path.split_once('/'));
        let (of_cluster, of_task) = path.ok_or_else(malformed)?;
        (cluster, id) = (of_cluster.to_owned(), of_task.to_owned());
        region = arn.region().ok_or_else(malformed)?.to_string();
    }
    let is_plain =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_plain(&cluster) || !is_plain(&id) {
        return Err(format!("{task} in {cluster} is no task"));
    }
    Ok(format!("{SPOT_INTERRUPT_PATH}?cluster={cluster}&region={region}&task={id}&warning={warning}"))
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn a_task_is_named_by_id_or_arn() {
        assert_eq!(
            path("abc", "web", 5, "us-east-1").unwrap(),
            "/_roadstead/spot/interrupt?cluster=web&region=us-east-1&task=abc&warning=5"
        );
        assert_eq!(
            path("arn:aws:ecs:eu-west-1:000000000000:task/apart/abc", "web", 120, "us-east-1").unwrap(),
            "/_roadstead/spot/interrupt?cluster=apart&region=eu-west-1&task=abc&warning=120"
        );
        for bad in ["a&b", "arn:aws:ecs:eu-west-1:000000000000:cluster/x", "arn:x", "a b"] {
            assert!(path(bad, "web", 1, "us-east-1").is_err(), "{bad}");
        }
    }
}
