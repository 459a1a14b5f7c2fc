//! [`Engine`]: the handle that the agent holds.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::OnceCell;

use crate::cgroup::{Cgroup, Hierarchy};
use crate::container::Container;
use crate::error::EngineError;
use crate::layout;
use crate::oci;
use crate::program::Program;
use crate::specification::{ContainerId, ContainerSpec, SeccompProfile};

/// Compiled seccomp filters kept; each is about 10 KB.
const FILTERS_MAXIMUM: usize = 256;

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The state directory; made when missing. One engine at a time.
    pub root: PathBuf,
    /// How the shim is run.
    pub shim: ShimCommand,
    /// Name of the engine's own cgroup below the hierarchies' roots, e.g. `roadstead-1f2e`: one path component.
    pub cgroup_root: String,
}

/// The program that is executed as a container's shim: it must call [`crate::shim_main`] before it starts any thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShimCommand {
    /// The program.
    pub program: PathBuf,
    /// Arguments before the engine's own.
    pub arguments: Vec<String>,
}

impl ShimCommand {
    /// The running program itself with the hidden subcommand `internal-shim`.
    pub fn current_executable() -> Self {
        Self { program: PathBuf::from("/proc/self/exe"), arguments: vec!["internal-shim".to_owned()] }
    }
}

/// Runs containers on this machine. Cheap to clone; all clones are one engine. Dropping it leaves the containers running.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: EngineConfig,
    /// The engine's own cgroup.
    pub(crate) cgroup: Cgroup,
    pub(crate) program: Program,
    /// Held for as long as we live: two engines in one directory would both think a container theirs.
    _lock: Flock<File>,
    /// All containers we know. Empty until adopted.
    pub(crate) containers: Mutex<HashMap<ContainerId, Arc<Container>>>,
    /// Compiled seccomp filters by capabilities: a handful in practice, as many as task definitions name sets.
    filters: Mutex<HashMap<Vec<&'static str>, Arc<[u8]>>>,
    /// Containers of an earlier engine are looked at once, on first use: that needs the async runtime, which `open` does not.
    adopted: OnceCell<()>,
}

impl Engine {
    /// Opens the state directory and looks at the machine; adopts the containers that an earlier engine left running
    /// on first use. Errors: not root, a cgroup controller missing, the directory in use by another engine.
    pub fn open(config: EngineConfig) -> Result<Self, EngineError> {
        let plain = !config.cgroup_root.is_empty()
            && !config.cgroup_root.starts_with('.')
            && config.cgroup_root.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if !plain {
            return Err(EngineError::InvalidSpec(format!("not a cgroup name: {:?}", config.cgroup_root)));
        }
        std::fs::create_dir_all(&config.root).map_err(EngineError::io("make", &config.root))?;
        let lock = lock(&config.root.join("lock"))?;
        for name in [layout::CONTAINERS, layout::GROUPS, "empty"] {
            let path = config.root.join(name);
            match layout::make_private_directory(&path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(EngineError::io("make", path)(error));
                }
                _ => {}
            }
        }
        let hierarchy = Hierarchy::detect()
            .map_err(|error| EngineError::Machine(format!("containers need cgroups: {error}")))?;
        let cgroup = Cgroup::new(hierarchy, config.cgroup_root.clone());
        if let Some(missing) = cgroup.missing_controller() {
            return Err(EngineError::Machine(format!(
                "containers need the cgroup controller {missing}: it is not there"
            )));
        }
        for child in [layout::SHIMS, layout::CONTAINERS, layout::GROUPS] {
            cgroup
                .child(child)
                .create()
                .map_err(|error| EngineError::Machine(format!("cannot make the engine's cgroup: {error}")))?;
        }
        let program = Program::protect(&config.shim.program, &config.root.join("empty"))
            .map_err(EngineError::io("open the shim's program", &config.shim.program))?;
        let engine = Self {
            inner: Arc::new(Inner {
                config,
                cgroup,
                program,
                _lock: lock,
                containers: Mutex::new(HashMap::new()),
                filters: Mutex::new(HashMap::new()),
                adopted: OnceCell::new(),
            }),
        };
        // The filter that most containers have, now and not in the first one's start; and a machine without seccomp is noticed.
        engine.inner.compiled_filter(oci::capabilities::effective(&[], &[], false).unwrap_or_default())?;
        Ok(engine)
    }

    /// Makes sure that the containers of an earlier engine are known.
    pub(crate) async fn adopt(&self) {
        self.inner.adopted.get_or_init(|| crate::verbs::adopt_all(self)).await;
    }

    pub(crate) async fn container(&self, id: &ContainerId) -> Result<Arc<Container>, EngineError> {
        self.adopt().await;
        self.inner.containers().get(id).cloned().ok_or_else(|| EngineError::NotFound(id.clone()))
    }
}

impl Inner {
    pub(crate) fn containers(&self) -> MutexGuard<'_, HashMap<ContainerId, Arc<Container>>> {
        // A panic elsewhere cannot leave the map half changed: each use is one call on it.
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The seccomp filter for a container; none if it is to have none.
    pub(crate) fn filter(&self, spec: &ContainerSpec) -> Result<Option<Arc<[u8]>>, EngineError> {
        let capabilities =
            oci::capabilities::effective(&spec.capabilities_add, &spec.capabilities_drop, spec.privileged)
                .map_err(EngineError::InvalidSpec)?;
        if spec.privileged || spec.seccomp == SeccompProfile::Unconfined {
            return Ok(None);
        }
        self.compiled_filter(capabilities).map(Some)
    }

    fn compiled_filter(&self, mut capabilities: Vec<&'static str>) -> Result<Arc<[u8]>, EngineError> {
        capabilities.sort_unstable();
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = filters.get(&capabilities) {
            return Ok(Arc::clone(filter));
        }
        if filters.len() >= FILTERS_MAXIMUM {
            filters.clear();
        }
        let filter: Arc<[u8]> = oci::seccomp::compile(&capabilities).map_err(EngineError::Machine)?.into();
        filters.insert(capabilities, Arc::clone(&filter));
        Ok(filter)
    }

    pub(crate) fn container_directory(&self, id: &ContainerId) -> PathBuf {
        self.config.root.join(layout::CONTAINERS).join(id.as_str())
    }

    pub(crate) fn group_directory(&self, id: &ContainerId) -> PathBuf {
        self.config.root.join(layout::GROUPS).join(id.as_str())
    }
}

fn lock(path: &std::path::Path) -> Result<Flock<File>, EngineError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(EngineError::io("open", path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        Errno::EWOULDBLOCK => EngineError::Machine(format!("another engine uses {}", path.display())),
        error => EngineError::io("lock", path)(error.into()),
    })
}
