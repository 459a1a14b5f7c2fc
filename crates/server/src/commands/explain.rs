//! `roadstead explain`: where tasks would go, container instance by container instance, and why. It is a RunTask with the
//! tag `roadstead:explain=enabled`, which starts nothing; any ECS client can send one.

use std::sync::Arc;

use api::ecs as shape;
use base::{RandomIds, SystemClock};
use client::{Client, ClientConfig, SecretKey, SigningKey};

use crate::cli::ExplainArguments;
use crate::commands::Failure;
use crate::data_dir::DataDir;
use crate::terminal::line;

/// Asks the running control plane, and prints a line for each instance.
pub fn run(arguments: ExplainArguments) -> Result<(), Failure> {
    let dir = DataDir::open(&arguments.data.data_dir).map_err(|error| error.to_string())?;
    let running = dir.running().map_err(|error| error.to_string())?;
    let key = dir.root_key(&RandomIds).map_err(|error| error.to_string())?;
    let client = Client::new(ClientConfig {
        endpoint: running.endpoint.parse().map_err(|_| format!("{} is no address", running.endpoint))?,
        region: running.region,
        credentials: Arc::new(SigningKey {
            access_key_id: key.access_key_id,
            secret_access_key: SecretKey::new(key.secret_access_key),
            session_token: None,
        }),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let request = request(arguments);
    let answer = runtime.block_on(client.call::<shape::operations::RunTask>(&request));
    print(&answer.map_err(|error| error.to_string())?);
    Ok(())
}

fn request(arguments: ExplainArguments) -> shape::RunTaskRequest {
    let constraint = |text: String| match text.as_str() {
        "distinctInstance" => shape::PlacementConstraint { type_: Some(text), expression: None },
        _ => shape::PlacementConstraint { type_: Some("memberOf".to_owned()), expression: Some(text) },
    };
    let strategy = |text: String| match text.split_once('=') {
        Some((kind, field)) => {
            shape::PlacementStrategy { type_: Some(kind.to_owned()), field: Some(field.to_owned()) }
        }
        None => shape::PlacementStrategy { type_: Some(text), field: None },
    };
    let subnets = Some(arguments.subnets).filter(|subnets| !subnets.is_empty());
    shape::RunTaskRequest {
        cluster: Some(arguments.cluster),
        task_definition: Some(arguments.task_definition),
        count: Some(arguments.count),
        launch_type: arguments.launch_type,
        group: arguments.group,
        placement_constraints: Some(arguments.constraints.into_iter().map(constraint).collect()),
        placement_strategy: Some(arguments.strategies.into_iter().map(strategy).collect()),
        network_configuration: subnets.map(|subnets| shape::NetworkConfiguration {
            awsvpc_configuration: Some(shape::AwsVpcConfiguration {
                subnets: Some(subnets),
                ..shape::AwsVpcConfiguration::default()
            }),
        }),
        tags: Some(vec![shape::Tag {
            key: Some("roadstead:explain".to_owned()),
            value: Some("enabled".to_owned()),
        }]),
        ..shape::RunTaskRequest::default()
    }
}

fn print(answer: &shape::RunTaskResponse) {
    let instances = answer.failures.as_deref().unwrap_or_default();
    if instances.is_empty() {
        line("No container instance could take such a task at all.");
    }
    for instance in instances {
        let arn = instance.arn.as_deref().unwrap_or_default();
        let id = arn.rsplit('/').next().unwrap_or_default();
        let reason = instance.reason.as_deref().unwrap_or_default();
        line(&format!("{id:<32}  {reason:<18}  {}", instance.detail.as_deref().unwrap_or_default()));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::request;
    use crate::cli::{Cli, Command};

    #[test]
    fn the_command_line_becomes_a_request() {
        let words = "roadstead explain --task-definition web --count 2 --constraint distinctInstance \
                     --strategy spread=attribute:rack --strategy random --subnet subnet-1";
        let mut words: Vec<&str> = words.split_whitespace().collect();
        words.extend(["--constraint", "attribute:a == b"]);
        let Command::Explain(arguments) = Cli::parse_from(words).command else { panic!("another command") };
        let text = wire::json::to_string(&request(arguments));
        assert_eq!(
            text,
            "{\"cluster\":\"default\",\"count\":2,\"networkConfiguration\":{\"awsvpcConfiguration\":{\"subnets\":[\"subnet-1\"]}},\
             \"placementConstraints\":[{\"type\":\"distinctInstance\"},{\"expression\":\"attribute:a == b\",\"type\":\"memberOf\"}],\
             \"placementStrategy\":[{\"field\":\"attribute:rack\",\"type\":\"spread\"},{\"type\":\"random\"}],\
             \"tags\":[{\"key\":\"roadstead:explain\",\"value\":\"enabled\"}],\"taskDefinition\":\"web\"}"
        );
    }
}
