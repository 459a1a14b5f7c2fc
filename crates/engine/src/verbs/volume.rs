//! Fresh volumes.

use std::path::PathBuf;

use crate::engine::Engine;
use crate::error::EngineError;

impl Engine {
    /// Makes `directory` (if missing).
    pub async fn prepare_volume(
        &self,
        directory: PathBuf,
        _lower_directories: Vec<PathBuf>,
        _destination: PathBuf,
    ) -> Result<(), EngineError> {
        std::fs::create_dir_all(&directory).map_err(EngineError::io("make", directory))
    }
}
