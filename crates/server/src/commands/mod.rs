//! The subcommands, one file each.

mod agent;
mod doctor;
mod down;
mod env;
mod explain;
mod image;
mod serve;
mod spot;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::terminal::note;

/// What a subcommand failed with, in words that say how to mend it.
pub type Failure = String;

/// Parses the command line and does what it says.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Up(arguments) => serve::up(arguments),
        Command::Server(arguments) => serve::server(arguments),
        Command::Agent(arguments) => agent::run(arguments),
        Command::Env(arguments) => env::run(&arguments),
        Command::Image(arguments) => image::run(arguments.command),
        Command::Spot(arguments) => spot::run(arguments.command),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Doctor(arguments) => return doctor::run(&arguments),
        Command::Down(arguments) => down::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            note(&format!("roadstead: {message}"));
            ExitCode::FAILURE
        }
    }
}

/// Structured logs on standard error: level `info` unless `ROADSTEAD_LOG` says otherwise.
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ROADSTEAD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
}

/// An error with its causes on one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
