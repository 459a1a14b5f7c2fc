//! What the proxy is told. Plain values; nothing here acts.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What is spoken over a port. Source: "PortMapping" data type, `appProtocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/1.1 to the endpoints.
    Http,
    /// HTTP/2 to the endpoints.
    Http2,
    /// gRPC: HTTP/2, and failures in gRPC's own words.
    Grpc,
    /// Bytes.
    Tcp,
}

/// A service that tasks call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What is spoken.
    pub protocol: AppProtocol,
    /// How long a connection may carry nothing; zero is for ever.
    pub idle_timeout: Duration,
    /// How long a whole answer may take (not TCP); zero is for ever.
    pub request_timeout: Duration,
    /// Where it is: healthy endpoints only, in a stable order.
    pub endpoints: Vec<Endpoint>,
    /// How traffic is divided, while a deployment shifts it.
    pub split: Option<Split>,
}

/// Shares of traffic while several revisions of a service are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// What has a share; endpoints of other groups get nothing.
    pub groups: Vec<Group>,
    /// The header that says that a request is a test, and the value that it must have, where that is not any. Source:
    /// "ServiceConnectTestTrafficRules" data type.
    pub test_header: (String, Option<String>),
}

/// Endpoints with a common share: those of a service revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Share of production traffic, in tenths of a percent.
    pub production_weight: u16,
    /// Share of test traffic, in tenths of a percent.
    pub test_weight: u16,
}

/// A place where a service is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The instance's id in AWS Cloud Map.
    pub id: String,
    /// Its address and port.
    pub address: SocketAddr,
    /// Which share it has a part in, while traffic is divided.
    pub group: String,
}

/// A name and port that a task calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The service's id in AWS Cloud Map.
    pub service: String,
    /// The name, which the task's containers resolve to the address.
    pub host_name: String,
    /// An address of 127.255.0.0/16.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
}

/// A port at which a task is called instead of its container's own. Source: "ServiceConnectService" data type,
/// `ingressPortOverride`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Where the proxy listens, at all addresses of the task.
    pub port: u16,
    /// Where the container does, at 127.0.0.1.
    pub container_port: u16,
}
