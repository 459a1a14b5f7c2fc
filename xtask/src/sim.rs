//! `cargo xtask sim`: worlds that grow from seeds. The simulator is a program of its own, so that this one needs none of the
//! crates that it is made of.

use std::path::Path;
use std::process::Command;

/// Runs the simulator with these arguments; `--release` among them builds it optimised, which pays from some thousand worlds on.
pub fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let (release, arguments): (Vec<&str>, Vec<&str>) =
        arguments.iter().partition(|argument| **argument == "--release");
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "-p", "sim"]).args(release).arg("--").args(arguments);
    let status = command.current_dir(root).status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err("the simulation failed".to_owned()) }
}
