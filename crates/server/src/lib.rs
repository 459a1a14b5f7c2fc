//! Floor 7: the composition root and the command line. The only crate that knows all the others.

pub mod cli;
mod commands;
mod control_plane;
mod data_dir;
mod front;
mod http;
mod keys;
mod node;
mod reset;
mod terminal;

pub use commands::run;
