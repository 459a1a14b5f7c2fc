//! What this release cannot act on, refused by AWS's own fault: one file for each, so that each can be let through alone.

pub mod execute_command;
pub mod gateway_connectors;
pub mod monitoring;
pub mod volumes;
pub mod vpc_lattice;
