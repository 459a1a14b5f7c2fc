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
    /// How traffic is divided among its revisions, while a deployment shifts it; empty: not at all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<ConnectedRevision>,
    /// The header that makes a request a test, while traffic is divided.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub test_header: String,
    /// The value that it must have, where that is not any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_header_value: Option<String>,
}

/// A revision's share of traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectedRevision {
    /// Its id.
    pub id: String,
    /// Of production traffic, in tenths of a percent.
    pub production_weight: u16,
    /// Of test traffic, in tenths of a percent.
    pub test_weight: u16,
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
    /// The revision that it is of, while traffic is divided.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
}
