//! What the agent keeps on disk, below `<data_dir>/agent/`:
//!
//! ```text
//! agent.json            container instance ARN, cluster, highest sequence number
//! tasks/<task id>.json  one TaskRecord each; a finished task's stays for a while as a memory that it was here
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base::Timestamp;
use serde::{Deserialize, Serialize};

use crate::files::{self, Durability, PARTIAL};
use crate::task_engine::record::{FORMAT, TaskRecord};

/// How long a finished task is remembered, so that a late order about it is known to be late. AWS shows stopped tasks for an hour.
const FINISHED_KEPT_MILLIS: i64 = 24 * 3600 * 1000;
/// Finished tasks remembered at most; the oldest go first.
const FINISHED_KEPT_MAXIMUM: usize = 10_000;

/// A failure of the state directory.
#[derive(Debug, thiserror::Error)]
#[error("the agent's state: {action} {}: {source}", path.display())]
pub struct StateError {
    /// What was tried.
    action: &'static str,
    /// On what.
    path: PathBuf,
    /// What the system said.
    #[source]
    source: io::Error,
}

/// `agent.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Identity {
    /// Format of the file.
    pub format: u32,
    /// ARN that the control plane gave this node.
    pub container_instance_arn: Option<String>,
    /// Cluster that it was given in.
    pub cluster: String,
    /// Port of loopback on which tasks of network mode `host` ask for their metadata: their environment names it, so it must not change.
    pub metadata_port: Option<u16>,
    /// Highest sequence number of a payload or manifest; −1 before the first.
    pub sequence_number: Option<i64>,
}

/// The state directory.
#[derive(Clone, Debug)]
pub struct StateDirectory {
    root: Arc<PathBuf>,
    identity: Arc<Mutex<Identity>>,
}

impl StateDirectory {
    /// Opens (or makes) it below `data_dir`.
    pub fn open(data_dir: &Path) -> Result<Self, StateError> {
        let root = data_dir.join("agent");
        let tasks = root.join("tasks");
        files::make_directory(&tasks).map_err(failed("make", &tasks))?;
        let path = root.join("agent.json");
        let identity: Identity = files::read(&path).map_err(failed("read", &path))?.unwrap_or_default();
        if identity.format > FORMAT {
            let newer = io::Error::other("was written by a newer version");
            return Err(failed("read", &path)(newer));
        }
        Ok(Self { root: Arc::new(root), identity: Arc::new(Mutex::new(identity)) })
    }

    /// Who this node is.
    pub fn identity(&self) -> Identity {
        self.identity.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Changes it, on disk first.
    pub fn change_identity(&self, change: impl FnOnce(&mut Identity)) -> Result<(), StateError> {
        let mut identity = self.identity.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut changed = identity.clone();
        change(&mut changed);
        changed.format = FORMAT;
        if changed != *identity {
            let path = self.root.join("agent.json");
            files::write(&path, &changed, Durability::Power).map_err(failed("write", &path))?;
            *identity = changed;
        }
        Ok(())
    }

    fn task_path(&self, id: &str) -> PathBuf {
        // Ids are checked to be plain names when the task is read.
        self.root.join("tasks").join(format!("{id}.json"))
    }

    /// Writes a task.
    pub fn save(&self, id: &str, record: &TaskRecord, durability: Durability) -> Result<(), StateError> {
        let path = self.task_path(id);
        files::write(&path, record, durability).map_err(failed("write", &path))
    }

    /// Forgets a task.
    pub fn forget(&self, id: &str) -> Result<(), StateError> {
        let path = self.task_path(id);
        files::remove(&path).map_err(failed("remove", &path))
    }

    /// Reads all tasks, by id. A file that cannot be read is named and left; half-written ones are cleared away.
    pub fn load(&self, now: Timestamp) -> Result<BTreeMap<String, TaskRecord>, StateError> {
        let directory = self.root.join("tasks");
        let mut tasks = BTreeMap::new();
        let mut finished = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(failed("list", &directory))? {
            let path = entry.map_err(failed("list", &directory))?.path();
            if path.extension().is_some_and(|extension| extension == PARTIAL) {
                let _ = files::remove(&path);
                continue;
            }
            let Some(id) = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else {
                continue;
            };
            let record: TaskRecord = match files::read(&path) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(source) => return Err(failed("read", &path)(source)),
            };
            if record.format > FORMAT {
                return Err(failed("read", &path)(io::Error::other("was written by a newer version")));
            }
            if let Some(at) = record.finished_at {
                finished.push((at, id.clone()));
            }
            tasks.insert(id, record);
        }
        finished.sort();
        let surplus = finished.len().saturating_sub(FINISHED_KEPT_MAXIMUM);
        for (index, (at, id)) in finished.into_iter().enumerate() {
            if index < surplus || now.since_millis(at) > FINISHED_KEPT_MILLIS {
                let _ = self.forget(&id);
                tasks.remove(&id);
            }
        }
        Ok(tasks)
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError { action, path, source }
}
