//! Floor 3: the verbs. Every file is a decider: a pure and total function of (desired, observed, now), with the
//! vocabulary at its head and the laws at its foot. Nothing here reads a clock, draws a random number, does I/O or
//! fails; `clippy.toml` beside this crate's manifest holds it to that.

pub mod capacity_provider;
pub mod cluster_query_language;
pub mod container_instance;
pub mod daemon;
pub mod deployment;
pub mod express_ingress;
pub mod laws;
pub mod listener_weights;
pub mod placement;
pub mod service_discovery;
pub mod service_scheduler;
pub mod state_laws;
pub mod target_registration;
pub mod task_deadline;
pub mod task_lifecycle;
