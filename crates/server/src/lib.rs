//! Floor 7: the composition root and the command line. The only crate that knows all the others.

mod access_log;
pub mod cli;
mod commands;
mod control_plane;
mod data_dir;
mod front;
mod http;
mod keys;
mod load_balancing;
mod names;
mod node;
mod reset;
mod terminal;

pub use commands::run;
