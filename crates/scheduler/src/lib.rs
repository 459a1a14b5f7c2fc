//! Floor 3: the verbs. Every file is a decider: a pure and total function of (desired, observed, now), with the
//! vocabulary at its head and the laws at its foot. Nothing here reads a clock, draws a random number, does I/O or
//! fails; `clippy.toml` beside this crate's manifest holds it to that.

pub mod cluster_query_language;
pub mod container_instance;
pub mod laws;
pub mod placement;
pub mod task_lifecycle;
