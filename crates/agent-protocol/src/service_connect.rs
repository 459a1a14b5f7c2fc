//! Where the services are that a node's tasks call through Service Connect. A message of our own, which the stock agent drops as
//! one of an unknown type.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The type in the frame.
pub const SERVICE_CONNECT: &str = "RoadsteadServiceConnectMessage";

/// Services that are new, changed or gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceConnectMessage {
    /// Cluster ARN.
    pub cluster_arn: String,
    /// Container instance ARN.
    pub container_instance_arn: String,
    /// Message id.
    pub message_id: String,
    /// Whether these are all services of the node: what it knows of others is void.
    pub all: bool,
    /// By id in AWS Cloud Map; null is gone.
    pub services: BTreeMap<String, Option<ConnectedService>>,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectedService {
    /// `http`, `http2`, `grpc` or `tcp`.
    pub app_protocol: String,
    /// How long a connection may carry nothing; 0 is for ever.
    pub idle_timeout_seconds: u32,
    /// How long a whole answer may take; 0 is for ever.
    pub request_timeout_seconds: u32,
    /// Where it is, healthy ones only.
    pub endpoints: Vec<ConnectedEndpoint>,
}

/// A place where a service is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectedEndpoint {
    /// The instance's id in AWS Cloud Map.
    pub id: String,
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
}
