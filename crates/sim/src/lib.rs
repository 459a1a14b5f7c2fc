//! Floor 7: a world in which hours pass in milliseconds. The control plane is the real one: the gateway with its operations, the
//! loops, the agents' sessions over web sockets. Time, chance, disks, networks, machines and containers are make-believe,
//! single-threaded and repeatable: the same seed gives the same transcript, byte for byte.
//!
//! - [`world`]: the parts, and what is true of them.
//! - [`plane`]: one life of the control plane, which can be ended at any moment.
//! - [`machine`], [`link`]: container instances and their network.
//! - [`laws`]: reads everything that is written, and asks the laws of it.
//! - [`chaos`]: a random load and random faults, grown from a seed; afterwards the world must come to rest.
//! - [`scenario`]: scripts that people read, with their transcripts.

mod balancer;
pub mod chaos;
pub mod clock;
mod faults;
pub mod laws;
pub mod link;
mod load;
pub mod machine;
pub mod plane;
pub mod random;
pub mod scenario;
mod session;
pub mod transcript;
pub mod world;
