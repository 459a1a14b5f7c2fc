//! From the request to the first instruction inside the container, which tells by writing to a pipe.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::compare::{Metric, Side, compare, load_average, quantile};
use super::process::run as run_command;
use super::roadstead::{Roadstead, TASK_PATIENCE, Work, busybox, run_tasks, wait_for_status};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "first-instruction",
    about: "RunTask of one task to the first instruction inside its container",
    run,
};

/// Tasks of one sample, one after the other.
const TASKS: usize = 10;
/// Opens the pipe and ends: all that the shell does before is to read this line.
const SCRIPT: &str = "echo > /bench/pipe";

const FIRST: Metric =
    Metric { name: "request to the first instruction, p50", unit: "ms", less_is_better: true };

fn run(setup: &Setup) -> Result<(), String> {
    let shared = setup.directory.join("shared");
    fs::create_dir_all(&shared).map_err(|error| error.to_string())?;
    run_command(&["mkfifo".as_ref(), shared.join("pipe").as_os_str()])?;
    let roadstead = Roadstead::up(&setup.directory.join("ours"))?;
    let mut ours = || ours(&roadstead, &shared);
    match Runc::new(&setup.directory, &shared) {
        Ok(runc) => {
            let ours = Side { name: "RunTask", measure: &mut ours };
            let theirs = Side { name: "runc run", measure: &mut || runc.measure() };
            compare(setup.pairs, &[FIRST], ours, theirs)
        }
        Err(reason) => {
            println!("\nagainst runc run: skipped: {reason}");
            println!("    {:.1} ms, load average {}", quantile(&ours()?, 0.5), load_average());
            Ok(())
        }
    }
}

/// Milliseconds from `start` until somebody writes to the pipe.
fn wait_for_pipe(shared: &Path, start: Instant) -> Result<f64, String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let pipe = shared.join("pipe");
    // On a thread of its own, because an open of a pipe that nobody writes to never returns.
    std::thread::spawn(move || {
        let opened = File::open(pipe).and_then(|mut pipe| {
            let time = start.elapsed();
            pipe.read_to_end(&mut Vec::new()).map(|_| time)
        });
        let _ = sender.send(opened);
    });
    let opened = receiver.recv_timeout(TASK_PATIENCE).map_err(|_| "the container never wrote to the pipe")?;
    opened.map(|time| time.as_secs_f64() * 1e3).map_err(|error| error.to_string())
}

fn ours(roadstead: &Roadstead, shared: &Path) -> Result<Vec<f64>, String> {
    let mut caller = roadstead.caller();
    let mut work = Work::new("first", "none", SCRIPT);
    work.more = json!({"mountPoints": [{"sourceVolume": "shared", "containerPath": "/bench"}]});
    work.volumes = json!([{"name": "shared", "host": {"sourcePath": shared}}]);
    work.register(&mut caller)?;
    let input = work.run_input(&mut caller, 1)?;
    let mut times = Vec::new();
    for _ in 0..TASKS {
        let start = Instant::now();
        let arns = run_tasks(&mut caller, &input)?;
        times.push(wait_for_pipe(shared, start)?);
        wait_for_status(&mut caller, &arns, "STOPPED")?;
    }
    Ok(vec![quantile(&times, 0.5)])
}

/// A bundle with the same root file system, mount and command.
struct Runc {
    bundle: PathBuf,
    state: PathBuf,
    shared: PathBuf,
}

impl Runc {
    fn new(directory: &Path, shared: &Path) -> Result<Self, String> {
        run_command(&["runc", "--version"]).map_err(|error| format!("{error}; Debian has it as runc"))?;
        let bundle = directory.join("bundle");
        let root = bundle.join("rootfs");
        fs::create_dir_all(&root).map_err(|error| error.to_string())?;
        let archive = directory.join("bundle.tar");
        busybox(&archive)?;
        let image = directory.join("image");
        fs::create_dir_all(&image).map_err(|error| error.to_string())?;
        run_command(&[
            "tar".as_ref(),
            "-xf".as_ref(),
            archive.as_os_str(),
            "-C".as_ref(),
            image.as_os_str(),
        ])?;
        let manifest = read_json(&image.join("manifest.json"))?;
        for layer in manifest[0]["Layers"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let layer = image.join(layer);
            run_command(&[
                "tar".as_ref(),
                "-xf".as_ref(),
                layer.as_os_str(),
                "-C".as_ref(),
                root.as_os_str(),
            ])?;
        }
        run_command(&["runc".as_ref(), "spec".as_ref(), "--bundle".as_ref(), bundle.as_os_str()])?;
        let path = bundle.join("config.json");
        let mut config = read_json(&path)?;
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", SCRIPT]);
        let mount =
            json!({"destination": "/bench", "type": "bind", "source": shared, "options": ["rbind", "rw"]});
        config["mounts"].as_array_mut().ok_or("a specification without mounts")?.push(mount);
        fs::write(&path, config.to_string()).map_err(|error| error.to_string())?;
        Ok(Self { bundle, state: directory.join("runc"), shared: shared.to_path_buf() })
    }

    fn measure(&self) -> Result<Vec<f64>, String> {
        let mut times = Vec::new();
        for number in 0..TASKS {
            let start = Instant::now();
            let mut child = Command::new("runc")
                .arg("--root")
                .arg(&self.state)
                .args(["run", "--bundle"])
                .arg(&self.bundle)
                .arg(format!("roadstead-bench-{}-{number}", std::process::id()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .map_err(|error| error.to_string())?;
            times.push(wait_for_pipe(&self.shared, start)?);
            child.wait().map_err(|error| error.to_string())?;
        }
        std::thread::sleep(Duration::from_millis(50));
        Ok(vec![quantile(&times, 0.5)])
    }
}

fn read_json(path: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}
