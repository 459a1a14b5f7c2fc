//! `roadstead down`: removes from the machine what a data directory's Roadstead made there. State and images stay.

use crate::cli::DataDirectory;
use crate::commands::{Failure, serve};
use crate::data_dir::DataDir;
use crate::node::Machine;
use crate::terminal::line;

/// Stops and removes everything.
pub fn run(arguments: &DataDirectory) -> Result<(), Failure> {
    if !arguments.data_dir.is_dir() {
        return Err(format!("{} is not there: nothing to take down", arguments.data_dir.display()));
    }
    let dir = DataDir::open(&arguments.data_dir).map_err(|error| error.to_string())?;
    let _lock = dir.lock().map_err(|error| error.to_string())?;
    serve::runtime()?.block_on(async {
        let machine = Machine::open(&dir).await?;
        machine.destroy().await
    })?;
    line("Nothing of this Roadstead is left on the machine; its state and images are kept.");
    Ok(())
}
