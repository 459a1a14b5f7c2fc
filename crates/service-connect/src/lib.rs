//! Floor 5: the proxy of Amazon ECS Service Connect, one for all tasks of a node.
//!
//! A client task gets a listener for each name and port that it may call, on an address of 127.255.0.0/16 *in its own network
//! namespace*; what the task connects to is taken there and sent on to an endpoint of the service, from the task's own address.
//! So the task's security groups and its VPC hold for what the proxy does, and no other task can use its listeners.
//!
//! A task that serves at another port than its container's (`ingressPortOverride`) gets a listener there, which hands connections to
//! the container.
//!
//! HTTP (1.1 and 2, gRPC) is balanced request by request, TCP connection by connection. Endpoints take turns; one that fails is
//! left alone for a while; what has not reached an endpoint is tried with another. The proxy decides nothing of its own: which
//! endpoints there are is what it was told last, and stays so while nobody tells it anything else.

mod configuration;
mod endpoints;
mod http;
mod ingress;
mod log;
mod metrics;
mod pool;
mod proxy;
mod tcp;
mod upgrade;

pub use configuration::{AppProtocol, Endpoint, Group, Ingress, Listener, Service, Split};
pub use log::{AccessLog, Log, LogSink};
pub use metrics::Counters;
pub use proxy::{ListenError, Opening, Proxy};
