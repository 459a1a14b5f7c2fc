//! Floor 4: the data plane of Elastic Load Balancing. Application Load Balancers (HTTP/1.1, HTTP/2, gRPC, WebSocket, TLS,
//! rules, stickiness, health checks) and Network Load Balancers (TCP, TLS, UDP).
//!
//! A [`Balancer`] is told of load balancers and target groups, one at a time, and makes them so: what did not change is left
//! alone, what did takes effect with the next request, and no connection is dropped for it. It decides nothing of its own accord and
//! stores nothing: who is registered where is the matter of its caller, the health of targets is what it reports.

pub mod application;
mod balancer;
mod chance;
pub mod configuration;
mod group;
mod health;
mod network;
pub mod pattern;
mod place;
mod request_body;
pub mod tls;
mod upstream;

pub use application::exchange::{AccessLog, AccessLogEntry};
pub use balancer::{Balancer, ListenError, Settings};
pub use group::{TargetHealth, TargetState};
pub use place::{Namespace, Place};
