//! Container output: which log driver, where the engine puts it, and the way to CloudWatch Logs over the client.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_protocol::docker::LogConfig;
use api::logs::operations::{CreateLogGroup, CreateLogStream, PutLogEvents};
use api::logs::{CreateLogGroupRequest, CreateLogStreamRequest, InputLogEvent, PutLogEventsRequest};
use base::Arn;
use client::{Client, ClientError};
use engine::{LogOutput, SpoolMode};
use http::HeaderValue;
use http::header::HeaderName;
use log_driver::{
    BoxFuture, ContainerFacts, ContainerLog, Driver, Handle, LogConfiguration, LogEvent, LogSink, SinkError,
    Target,
};
use log_spool::JsonFileOptions;

use crate::task_engine::plan::{ContainerPlan, TaskPlan};
use crate::task_engine::record::ContainerRecord;

/// Where a container's output goes, and what has to be shipped.
pub struct ContainerLogging {
    /// For the engine.
    pub output: LogOutput,
    /// For the log driver; absent unless `awslogs`.
    pub shipped: Option<ContainerLog>,
}

/// Where lines go before they are shipped.
pub enum Output {
    /// Nowhere.
    Discard,
    /// A file on the node.
    File {
        /// Where.
        path: PathBuf,
        /// Rotation and the like.
        options: JsonFileOptions,
    },
    /// A spool, which is shipped.
    Spool {
        /// Its directory.
        directory: PathBuf,
        /// How it is written.
        options: log_spool::Options,
        /// For the log driver.
        shipped: Box<ContainerLog>,
    },
}

/// The log drivers of a node.
#[derive(Clone)]
pub struct Logs {
    driver: Arc<Driver>,
    root: PathBuf,
    region: String,
}

impl Logs {
    /// Spools and files below `data_dir`; events go through `client`. To be called inside a tokio runtime.
    pub fn new(data_dir: &Path, client: Client) -> io::Result<Self> {
        let region = client.config().region.clone();
        let driver = Arc::new(Driver::new(Arc::new(ClientSink(client)))?);
        Ok(Self { driver, root: data_dir.join("logs"), region })
    }

    /// Reads a container's log configuration. The error is for its `reason`.
    pub fn configure(
        &self,
        task: &TaskPlan,
        plan: &ContainerPlan,
        record: &ContainerRecord,
    ) -> Result<ContainerLogging, String> {
        let facts = ContainerFacts {
            container_name: plan.name.clone(),
            task_id: task.id.clone(),
            container_id: record.runtime_id.clone(),
            image: plan.message.image.clone(),
            image_id: record.image_id.clone().unwrap_or_default(),
            labels: plan.config.labels.clone(),
            environment: plan.message.environment.0.clone(),
        };
        let given = plan.host.log_config.clone().unwrap_or_default();
        Ok(match self.output(&task.arn, &facts, &given)? {
            Output::Discard => ContainerLogging { output: LogOutput::Discard, shipped: None },
            Output::File { path, options } => {
                ContainerLogging { output: LogOutput::JsonFile { path, options }, shipped: None }
            }
            Output::Spool { directory, options, shipped } => ContainerLogging {
                output: LogOutput::Spool {
                    directory,
                    capacity_bytes: options.capacity_bytes,
                    mode: match options.mode {
                        log_spool::Mode::Blocking => SpoolMode::Blocking,
                        log_spool::Mode::NonBlocking => SpoolMode::NonBlocking,
                    },
                },
                shipped: Some(*shipped),
            },
        })
    }

    /// Reads a driver's name and options, for the container (or what stands for one) that `facts` tells of.
    pub fn output(&self, task: &Arn, facts: &ContainerFacts, given: &LogConfig) -> Result<Output, String> {
        let driver = Some(given.kind.as_str()).filter(|kind| !kind.is_empty());
        let parsed =
            LogConfiguration::parse(driver, &given.config, facts).map_err(|error| error.to_string())?;
        let directory = self.directory(&facts.container_id);
        Ok(match parsed {
            LogConfiguration::None => Output::Discard,
            LogConfiguration::JsonFile(options) => {
                Output::File { path: directory.join("container.log"), options }
            }
            LogConfiguration::AwsLogs(options) => {
                let stream = options.stream_name(facts).map_err(|error| error.to_string())?;
                let region = task.region().map_or_else(|| self.region.clone(), |region| region.to_string());
                Output::Spool {
                    directory: directory.clone(),
                    options: options.spool_options(),
                    shipped: Box::new(ContainerLog { spool: directory, options: *options, stream, region }),
                }
            }
        })
    }

    /// Makes the log stream (and group), as Docker does before it starts the container.
    /// With the log service away it goes on: lines are kept until it is back.
    pub async fn prepare(&self, log: &ContainerLog) -> Result<(), String> {
        match self.driver.prepare(log).await {
            Ok(()) => Ok(()),
            Err(error @ SinkError::Away(_)) => {
                tracing::warn!(%error, stream = log.stream, "the log stream will be made later");
                Ok(())
            }
            Err(error) => Err(format!(
                "failed to initialize logging driver: failed to create Cloudwatch log stream: {error}"
            )),
        }
    }

    /// Ships a spool until it is empty and its container has ended.
    pub fn ship(&self, log: ContainerLog) -> io::Result<Handle> {
        std::fs::create_dir_all(&log.spool)?;
        self.driver.start(log)
    }

    /// Makes the directory that the engine writes into.
    pub fn make_directory(&self, runtime_id: &str) -> io::Result<()> {
        crate::files::make_directory(&self.directory(runtime_id))
    }

    /// Removes a container's spool or file. Blocks.
    pub fn remove(&self, runtime_id: &str) -> io::Result<()> {
        match std::fs::remove_dir_all(self.directory(runtime_id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn directory(&self, runtime_id: &str) -> PathBuf {
        self.root.join(runtime_id)
    }
}

/// The three calls of the log driver, over the client.
struct ClientSink(Client);

impl ClientSink {
    fn client(&self, target: &Target) -> Result<Client, SinkError> {
        let mut client = self.0.with_region(&target.region);
        if let Some(endpoint) = &target.endpoint {
            let endpoint = endpoint.parse().map_err(|_| SinkError::Refused {
                code: "InvalidEndpoint".to_owned(),
                message: "awslogs-endpoint is not an address".to_owned(),
            })?;
            client = client.with_endpoint(endpoint);
        }
        if let Some(format) = target.format.as_deref().and_then(|format| HeaderValue::from_str(format).ok()) {
            client = client.with_header(HeaderName::from_static("x-amzn-logs-format"), format);
        }
        Ok(client)
    }
}

impl LogSink for ClientSink {
    fn put_log_events<'a>(
        &'a self,
        target: &'a Target,
        events: &'a [LogEvent],
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let events = events
                .iter()
                .map(|event| InputLogEvent {
                    message: Some(event.message.clone()),
                    timestamp: Some(event.timestamp),
                })
                .collect();
            let request = PutLogEventsRequest {
                log_events: Some(events),
                log_group_name: Some(target.group.clone()),
                log_stream_name: Some(target.stream.clone()),
                ..PutLogEventsRequest::default()
            };
            let answer = self.client(target)?.call::<PutLogEvents>(&request).await.map_err(sink_error)?;
            if let Some(rejected) = answer.rejected_log_events_info {
                tracing::warn!(
                    group = target.group,
                    stream = target.stream,
                    ?rejected,
                    "the log service took not all events"
                );
            }
            Ok(())
        })
    }

    fn create_log_group<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let request = CreateLogGroupRequest {
                log_group_name: Some(target.group.clone()),
                ..CreateLogGroupRequest::default()
            };
            self.client(target)?.call::<CreateLogGroup>(&request).await.map(drop).map_err(sink_error)
        })
    }

    fn create_log_stream<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let request = CreateLogStreamRequest {
                log_group_name: Some(target.group.clone()),
                log_stream_name: Some(target.stream.clone()),
            };
            self.client(target)?.call::<CreateLogStream>(&request).await.map(drop).map_err(sink_error)
        })
    }
}

fn sink_error(error: ClientError) -> SinkError {
    if error.is_retryable() {
        return SinkError::Away(error.to_string());
    }
    match error {
        ClientError::Fault { code, message, .. } => match code.as_str() {
            "ResourceNotFoundException" => SinkError::ResourceNotFound(message),
            "ResourceAlreadyExistsException" => SinkError::ResourceAlreadyExists(message),
            // Keys that are no longer good may be replaced; lines are kept until then.
            "ExpiredTokenException" | "InvalidSignatureException" | "UnrecognizedClientException" => {
                SinkError::Away(format!("{code}: {message}"))
            }
            _ => SinkError::Refused { code, message },
        },
        other => SinkError::Refused { code: "ClientError".to_owned(), message: other.to_string() },
    }
}
