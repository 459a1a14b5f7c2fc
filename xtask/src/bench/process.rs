//! Processes that a benchmark starts: they end with it, and what they use is read from /proc.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to end after SIGTERM.
const END_PATIENCE: Duration = Duration::from_secs(45);
/// How often a state is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// A process. Told to end, and then killed, when dropped; and by the kernel, should the benchmark itself be killed.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `words` with its output in the file `log`.
    pub fn start<W: AsRef<OsStr>>(
        words: &[W],
        environment: &[(&str, &str)],
        log: &Path,
    ) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", words[0].as_ref().display());
        let output = File::options().create(true).append(true).open(log).map_err(failed)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .args(words)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output)
            .spawn()
            .map_err(failed)?;
        Ok(Self { child })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits.
    pub fn end(&mut self) {
        if self.has_ended() {
            return;
        }
        let _ = run(&["kill", "-TERM", &self.pid().to_string()]);
        let start = Instant::now();
        while !self.has_ended() && start.elapsed() < END_PATIENCE {
            std::thread::sleep(LOOK);
        }
        self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a command to its end; its standard output, or what it complained of.
pub fn run<W: AsRef<OsStr>>(words: &[W]) -> Result<String, String> {
    let name = words[0].as_ref().display().to_string();
    let output = Command::new(words[0].as_ref()).args(&words[1..]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Looks until `look` has a value.
pub fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<T>, String>,
) -> Result<T, String> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > patience {
            return Err(format!("waited {} s for {what}", patience.as_secs()));
        }
        std::thread::sleep(LOOK);
    }
}

/// A port of loopback that is free now.
pub fn free_address() -> Result<String, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.to_string()).map_err(|error| error.to_string())
}

/// Memory of a process in KiB, from proc_pid_smaps(5).
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// All pages that are in memory, shared ones too.
    pub resident: u64,
    /// Pages that no other process has.
    pub private: u64,
}

/// What a process has now.
pub fn memory(pid: u32) -> Result<Memory, String> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let of = |field: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default()
    };
    Ok(Memory { resident: of("Rss"), private: of("Private_Clean") + of("Private_Dirty") })
}

/// Seconds of CPU that a process has used, from proc_pid_stat(5). A tick is 10 ms on every Linux.
pub fn cpu_seconds(pid: u32) -> Result<f64, String> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let ticks =
        |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    Ok((ticks(11) + ticks(12)) / 100.0)
}

/// The process and all that it started, as far as they are its descendants still.
pub fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        next += 1;
        for task in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

/// The processes whose command line has `word`.
pub fn processes_with(word: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|part| String::from_utf8_lossy(part).contains(word))
    })
    .collect()
}
