//! What a task may ask its node: its metadata, its statistics, the keys of its role; and that it be protected from scale-in.
//!
//! Who asks is told by the source address, which the network vouches for (a task cannot forge it); what is asked for must belong to that
//! task, *and* carry an unguessable id. The host's own processes (tasks of network mode `host`) come by a listener on loopback and
//! see only such tasks. Execution roles' keys are never served. The `Host` header and any forwarding header are not looked at.

mod documents;
mod rate_limit;
mod server;
mod statistics;
mod task_protection;

pub use server::{Listeners, MetadataServer};
