//! Floor 1: the messages between the control plane and an agent.
//!
//! The protocol is the stock Amazon ECS agent's, so that agent can join our control plane unchanged. Two web sockets carry it:
//! ACS (orders, [`acs`]) and TCS (telemetry, [`tcs`]). What only our own agent understands travels under the key `roadstead`
//! ([`payload::TaskExtension`]); the stock agent ignores keys that it does not know. State changes go over the ECS API
//! (`SubmitTaskStateChange`), whose shapes are in `api`.
//!
//! **Architecture Invariant:** reading is lenient (unknown keys ignored, `null` is the same as absent), writing is strict
//! (absent members are left out). No text makes a reader panic.

pub mod acs;
pub mod docker;
mod frame;
pub mod names;
pub mod network_policy;
pub mod payload;
pub mod query;
pub mod service_connect;
pub mod tcs;
mod word;

pub use frame::{FRAME_BYTES_MAXIMUM, FrameError, from_json, to_json};
