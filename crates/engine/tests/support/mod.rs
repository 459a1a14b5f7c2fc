//! What the engine's tests share: an engine in a directory of its own, an image made of busybox, and a look at what is left behind.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use engine::{
    ContainerId, ContainerSpec, Engine, EngineConfig, Exit, LogOutput, RootFilesystem, ShimCommand, Started,
};
use tempfile::TempDir;

/// Prints why a test does nothing, and gives true, when the machine cannot run it.
pub fn skip(test: &str) -> bool {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED {test}: not root");
        return true;
    }
    if !Path::new("/bin/busybox").exists() {
        eprintln!("SKIPPED {test}: /bin/busybox is missing (apt-get install busybox-static)");
        return true;
    }
    false
}

/// An engine for one test.
pub struct Bench {
    pub directory: TempDir,
    pub engine: Engine,
    pub cgroup: String,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Bench {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("engine-test-").tempdir().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("roadstead-test-{}-{number}", std::process::id());
        let engine = Engine::open(config(directory.path(), &cgroup)).unwrap();
        Self { directory, engine, cgroup }
    }

    /// A container that runs `script` in the image's shell.
    pub fn shell(&self, name: &str, script: &str) -> ContainerSpec {
        self.command(name, &["/bin/sh", "-c", script])
    }

    pub fn command(&self, name: &str, arguments: &[&str]) -> ContainerSpec {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut spec = ContainerSpec::new(id(name), image(), arguments);
        spec.log =
            LogOutput::JsonFile { path: self.log_path(name), options: log_spool::JsonFileOptions::default() };
        spec
    }

    pub fn log_path(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.log"))
    }

    /// (stream, text) of each logged line.
    pub fn log(&self, name: &str) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.log_path(name)).unwrap_or_default();
        text.lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                (line["stream"].as_str().unwrap().to_owned(), line["log"].as_str().unwrap().to_owned())
            })
            .collect()
    }

    /// What it wrote to both outputs, as one text.
    pub fn output(&self, name: &str) -> String {
        self.log(name).into_iter().map(|(_, text)| text).collect()
    }

    pub async fn start(&self, spec: ContainerSpec) -> Started {
        let id = spec.id.clone();
        self.engine.create(spec).await.unwrap();
        self.engine.start(&id).await.unwrap()
    }

    /// Creates, starts, waits, deletes. Gives the end and the output.
    pub async fn run(&self, spec: ContainerSpec) -> (Exit, String) {
        let id = spec.id.clone();
        self.start(spec).await;
        let exit = within(60, self.engine.wait(&id)).await.unwrap();
        self.engine.delete(&id).await.unwrap();
        let output = self.output(id.as_str());
        let _ = fs::remove_file(self.log_path(id.as_str()));
        (exit, output)
    }

    /// Runs a shell script and gives its output; it must end with 0.
    pub async fn output_of(&self, change: impl FnOnce(&mut ContainerSpec), script: &str) -> String {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut spec = self.shell(&format!("run-{number}"), script);
        change(&mut spec);
        let (exit, output) = self.run(spec).await;
        assert_eq!(exit.code, 0, "{script}: {output}");
        output
    }

    /// Removes everything, and checks that nothing is left.
    pub async fn finish(self) {
        self.engine.destroy_all().await.unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let directory = self.directory.path().to_str().unwrap().to_owned();
        assert!(!mounts.contains(&directory), "a mount is left:\n{mounts}");
        drop(self.engine);
        assert!(cgroup_directories(&self.cgroup).is_empty(), "cgroups are left");
        all_end(&directory).await;
    }
}

pub fn config(directory: &Path, cgroup: &str) -> EngineConfig {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_engine-test-helper"));
    EngineConfig {
        root: directory.join("engine"),
        shim: ShimCommand { program, arguments: vec!["internal-shim".to_owned()] },
        cgroup_root: cgroup.to_owned(),
    }
}

pub fn id(name: &str) -> ContainerId {
    ContainerId::new(name).unwrap()
}

/// Fails when `work` takes longer.
pub async fn within<T>(seconds: u64, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), work).await.expect("it takes too long")
}

/// The directories of a cgroup in all hierarchies.
pub fn cgroup_directories(cgroup: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let mut found: Vec<PathBuf> =
        fs::read_dir(root).unwrap().flatten().map(|entry| entry.path().join(cgroup)).collect();
    found.push(root.join(cgroup));
    found.retain(|path| path.is_dir());
    found
}

/// Fails unless all processes whose command line names `text` end. The last shim may be in the act of it, which takes a moment
/// on a slow machine.
pub async fn all_end(text: &str) {
    let mut left = processes_of(text);
    for _ in 0..200 {
        if left.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
        left = processes_of(text);
    }
    panic!("processes are left: {left:?}");
}

/// Processes whose command line names `text`.
fn processes_of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(text) {
            found.push(format!("{} {command}", entry.file_name().display()));
        }
    }
    found
}

/// The busybox image: one layer, made once per test program.
pub fn image() -> RootFilesystem {
    static LAYER: OnceLock<PathBuf> = OnceLock::new();
    let layer = LAYER.get_or_init(|| {
        let parent = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(&parent).unwrap();
        // Left behind in the target directory for the next run.
        let layer = parent.join("busybox-image");
        let building = parent.join(format!("busybox-image-{}", std::process::id()));
        if !layer.exists() {
            build_image(&building);
            if fs::rename(&building, &layer).is_err() {
                fs::remove_dir_all(&building).unwrap();
            }
        }
        layer
    });
    RootFilesystem { lower_directories: vec![layer.clone()], readonly: false, writable: None }
}

fn build_image(layer: &Path) {
    for directory in ["bin", "etc", "tmp", "root", "home", "var/lib", "usr/bin", "proc", "sys", "dev"] {
        fs::create_dir_all(layer.join(directory)).unwrap();
    }
    fs::set_permissions(layer.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy("/bin/busybox", layer.join("bin/busybox")).unwrap();
    let applets = std::process::Command::new("/bin/busybox").arg("--list").output().unwrap();
    for applet in String::from_utf8(applets.stdout).unwrap().lines().filter(|name| *name != "busybox") {
        symlink("busybox", layer.join("bin").join(applet)).unwrap();
    }
    fs::write(
        layer.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n",
    )
    .unwrap();
    fs::write(layer.join("etc/group"), "root:x:0:\napp:x:1001:\nextra:x:2000:app\n").unwrap();
}
