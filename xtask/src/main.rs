//! The project's own tools: `cargo xtask <command>`. Nothing to install.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod bench;
mod codegen;
mod codegen_model;
mod codegen_names;
mod codegen_rust;
mod codegen_take;
mod licences;
mod scaffold;
mod sim;
mod tidy;

const USAGE: &str = "\
cargo xtask <command>
  codegen [--check]              write (or only compare) crates/api and docs/coverage.md from models/
  take-models BOTOCORE.tar.gz    refresh models/ from botocore's source distribution
  tidy                           check the floors, the size of files, the form of operations, and the licences
  new-operation SERVICE NAME     list an operation, regenerate, and write its file
  new-service NAME               lay out the crate of an AWS service
  bench NAME [--pairs N]         measure against a peer; without a name: which ones there are
  sim [--seeds N] [--seed S] [--minutes M | --hours H] [--scenarios] [--bless] [--release]
                                 random worlds from seeds, or the scenarios of tests/scenarios
  ci                             what the continuous integration runs: tidy, codegen --check, clippy, tests
";

/// The workspace's root folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["codegen"] => codegen::write(),
        ["codegen", "--check"] => codegen::check(),
        ["take-models", archive] => codegen_take::take_models(archive),
        ["tidy"] => tidy::run(&root()),
        ["new-operation", aws_service, name] => scaffold::new_operation(&root(), aws_service, name),
        ["new-service", name] => scaffold::new_service(&root(), name),
        ["bench", rest @ ..] => bench::run(rest),
        ["sim", rest @ ..] => sim::run(&root(), rest),
        ["ci"] => tidy::ci(&root()),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
