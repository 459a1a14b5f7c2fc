//! Chores of the repository: `cargo xtask <name>` (or `cargo run -p xtask -- <name>`).
#![allow(clippy::print_stdout)]

mod codegen;
mod codegen_model;
mod codegen_names;
mod codegen_rust;
mod codegen_take;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["codegen"] => codegen::write(),
        ["codegen", "--check"] => codegen::check(),
        ["take-models", archive] => codegen_take::take_models(archive),
        _ => Err(format!("unknown chore {arguments:?}; there are: {CHORES}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

const CHORES: &str = "codegen [--check], take-models BOTOCORE.tar.gz";
