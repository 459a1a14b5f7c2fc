//! Ours: the release binary, with a data directory of its own on a port of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::caller::{Caller, Target};
use super::process::{Process, free_address, run, wait_for};

/// How long a start may take.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a task may take to come or go.
pub const TASK_PATIENCE: Duration = Duration::from_secs(90);
/// Containers that end when they are told to.
pub const POLITE: &str = "trap 'exit 0' TERM; sleep 1000 & wait";

/// A running Roadstead. Ended, with all that it made, when dropped.
pub struct Roadstead {
    /// The process.
    pub process: Process,
    /// How to call it.
    pub target: Target,
    directory: PathBuf,
    cleans_up: bool,
}

/// The binary, which `cargo xtask bench` has built.
pub fn binary() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from);
    target.join("release/roadstead")
}

fn words(more: &[&str]) -> Vec<String> {
    let mut words = vec![binary().display().to_string()];
    words.extend(more.iter().map(|word| (*word).to_owned()));
    words
}

impl Roadstead {
    /// `roadstead up --ephemeral`, with the image `busybox:latest`.
    pub fn up(directory: &Path) -> Result<Self, String> {
        let roadstead = Self::start("up", directory, &["--ephemeral", "--over-commit", "1000"])?;
        let archive = directory.with_extension("tar");
        busybox(&archive)?;
        roadstead.load(&archive)?;
        Ok(roadstead)
    }

    /// Loads an image's archive.
    pub fn load(&self, archive: &Path) -> Result<(), String> {
        let data = self.directory.display().to_string();
        run(&words(&["image", "load", &archive.display().to_string(), "--data-dir", &data])).map(drop)
    }

    /// `roadstead COMMAND` on this data directory; returns once it is ready.
    pub fn start(command: &str, directory: &Path, more: &[&str]) -> Result<Self, String> {
        Self::start_at(command, directory, &free_address()?, more)
    }

    /// As [`Roadstead::start`], listening at an address.
    pub fn start_at(command: &str, directory: &Path, address: &str, more: &[&str]) -> Result<Self, String> {
        let process = Self::process(command, directory, address, more)?;
        let lines = run(&words(&["env", "--data-dir", &directory.display().to_string()]))?;
        let of = |name: &str| {
            let mut values = lines.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
            let found = values.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned());
            found.ok_or_else(|| format!("`roadstead env` does not say {name}"))
        };
        let target = Target {
            address: address.to_owned(),
            access_key_id: of("AWS_ACCESS_KEY_ID")?,
            secret_access_key: of("AWS_SECRET_ACCESS_KEY")?,
        };
        Ok(Self { process, target, directory: directory.to_path_buf(), cleans_up: command == "up" })
    }

    /// As [`Roadstead::start`], on a data directory whose key is known: nothing but the start takes time.
    pub fn start_again(command: &str, directory: &Path, target: &Target) -> Result<Self, String> {
        let process = Self::process(command, directory, &target.address, &[])?;
        let target = target.clone();
        Ok(Self { process, target, directory: directory.to_path_buf(), cleans_up: command == "up" })
    }

    /// The process, once it is ready.
    fn process(command: &str, directory: &Path, address: &str, more: &[&str]) -> Result<Process, String> {
        let data = directory.display().to_string();
        let mut all = words(&[command, "--data-dir", &data, "--listen", address]);
        all.extend(more.iter().map(|word| (*word).to_owned()));
        let log = directory.with_extension("log");
        // Errors only: a line per call would be measured too, but into a file rather than a terminal or journal.
        let mut process = Process::start(&all, &[("RUST_LOG", "warn")], &log)?;
        let start = Instant::now();
        while !is_ready(address) {
            if process.has_ended() || start.elapsed() > START_PATIENCE {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("`roadstead {command}` does not start: {}", said.trim()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(process)
    }

    /// Kills it, and leaves all that it made as it is.
    pub fn kill(mut self) {
        self.process.kill();
        self.cleans_up = false;
    }

    /// A connection to it.
    pub fn caller(&self) -> Caller {
        Caller::new(&self.target)
    }
}

impl Drop for Roadstead {
    fn drop(&mut self) {
        self.process.end();
        if self.cleans_up && self.directory.exists() {
            let _ = run(&words(&["down", "--data-dir", &self.directory.display().to_string()]));
        }
    }
}

fn is_ready(address: &str) -> bool {
    use std::io::{Read as _, Write as _};
    let ask = || {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET /_roadstead/health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Builds the image `busybox:latest` as an archive.
pub fn busybox(archive: &Path) -> Result<(), String> {
    let script = crate::root().join("tests/images/busybox.sh");
    run(&["bash".as_ref(), script.as_os_str(), archive.as_os_str()]).map(drop)
}

/// What a task of a benchmark is.
pub struct Work<'a> {
    /// Family.
    pub family: &'a str,
    /// none, host or awsvpc.
    pub network_mode: &'a str,
    /// For `sh -c`.
    pub script: &'a str,
    /// More members of the container definition.
    pub more: Value,
    /// More members of the task definition.
    pub volumes: Value,
}

impl<'a> Work<'a> {
    /// A script in a container of busybox.
    pub fn new(family: &'a str, network_mode: &'a str, script: &'a str) -> Self {
        Self { family, network_mode, script, more: json!({}), volumes: json!([]) }
    }

    /// Registers it.
    pub fn register(&self, caller: &mut Caller) -> Result<(), String> {
        let mut container = json!({
            "name": "main", "image": "busybox:latest", "memory": 16, "essential": true,
            "command": ["sh", "-c", self.script],
        });
        if let (Some(container), Some(more)) = (container.as_object_mut(), self.more.as_object()) {
            container.extend(more.clone());
        }
        let input = json!({
            "family": self.family, "networkMode": self.network_mode, "volumes": self.volumes,
            "containerDefinitions": [container],
        });
        caller.ecs("RegisterTaskDefinition", &input).map(drop)
    }

    /// What RunTask is told.
    pub fn run_input(&self, caller: &mut Caller, count: usize) -> Result<Value, String> {
        let mut input = json!({"taskDefinition": self.family, "count": count, "launchType": "EC2"});
        if self.network_mode == "awsvpc" {
            let answer = caller.ec2("DescribeSubnets")?;
            // All of them: a task goes to a subnet in the zone of its container instance.
            let subnets: Vec<&str> =
                answer.split("<subnetId>").skip(1).filter_map(|rest| rest.split('<').next()).collect();
            input["networkConfiguration"] = json!({"awsvpcConfiguration": {"subnets": subnets}});
        }
        Ok(input)
    }
}

/// RunTask; the ARNs.
pub fn run_tasks(caller: &mut Caller, input: &Value) -> Result<Vec<String>, String> {
    let answer = caller.ecs("RunTask", input)?;
    let arns: Vec<String> = answer["tasks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|task| task["taskArn"].as_str().map(str::to_owned))
        .collect();
    if arns.len() as u64 == input["count"].as_u64().unwrap_or(1) {
        return Ok(arns);
    }
    Err(format!("RunTask: {}", answer["failures"]))
}

/// Looks until every task has this status. A task that stopped is none that runs.
pub fn wait_for_status(caller: &mut Caller, arns: &[String], status: &str) -> Result<(), String> {
    let mut open = arns.to_vec();
    wait_for(&format!("{} tasks to be {status}", arns.len()), TASK_PATIENCE, || {
        let answer = caller.ecs("DescribeTasks", &json!({"tasks": open}))?;
        for task in answer["tasks"].as_array().into_iter().flatten() {
            let now = task["lastStatus"].as_str().unwrap_or_default();
            if now == status {
                open.retain(|arn| Some(arn.as_str()) != task["taskArn"].as_str());
            } else if now == "STOPPED" {
                let reason = &task["containers"][0]["reason"];
                return Err(format!("a task stopped: {} {reason}", task["stoppedReason"]));
            }
        }
        Ok(open.is_empty().then_some(()))
    })
}

/// Asks for the end of all of them.
pub fn stop_tasks(caller: &mut Caller, arns: &[String]) -> Result<(), String> {
    arns.iter().try_for_each(|arn| caller.ecs("StopTask", &json!({"task": arn})).map(drop))
}

/// Stops them, and waits.
pub fn end_tasks(caller: &mut Caller, arns: &[String]) -> Result<(), String> {
    stop_tasks(caller, arns)?;
    wait_for_status(caller, arns, "STOPPED")
}
