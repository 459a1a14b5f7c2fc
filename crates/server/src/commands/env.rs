//! `roadstead env`: the shell lines that point the AWS CLI and SDKs at a running Roadstead.

use base::RandomIds;

use crate::cli::DataDirectory;
use crate::commands::Failure;
use crate::data_dir::DataDir;
use crate::terminal::line;

/// Prints the export lines.
pub fn run(arguments: &DataDirectory) -> Result<(), Failure> {
    let root = &arguments.data_dir;
    if !root.is_dir() {
        return Err(format!(
            "{} is not there: start Roadstead with `roadstead up --data-dir {}`",
            root.display(),
            root.display()
        ));
    }
    let dir = DataDir::open(root).map_err(|error| error.to_string())?;
    let running = dir.running().map_err(|error| error.to_string())?;
    let key = dir.root_key(&RandomIds).map_err(|error| error.to_string())?;
    for (name, value) in [
        ("AWS_ENDPOINT_URL", running.endpoint.as_str()),
        ("AWS_REGION", running.region.as_str()),
        ("AWS_DEFAULT_REGION", running.region.as_str()),
        ("AWS_ACCESS_KEY_ID", key.access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", key.secret_access_key.as_str()),
        // Or clients of AWS Cloud Map look for `data-` and the endpoint's host.
        ("AWS_DISABLE_HOST_PREFIX_INJECTION", "true"),
    ] {
        line(&format!("export {name}={value}"));
    }
    Ok(())
}
