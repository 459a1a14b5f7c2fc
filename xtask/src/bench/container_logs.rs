//! A container's lines, from its `write` to GetLogEvents: how soon one is seen, how many a second get through, and that
//! none is lost when Roadstead is killed meanwhile; against docker's json-file.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::caller::Caller;
use super::compare::{Metric, Side, compare, load_average, quantile};
use super::docker::Docker;
use super::process::{run as run_command, wait_for};
use super::roadstead::{Roadstead, TASK_PATIENCE, Work, busybox, end_tasks, run_tasks, wait_for_status};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "container-logs",
    about: "a container's lines to GetLogEvents: latency, lines per second, loss at kill -9",
    run,
};

const GROUP: &str = "bench";
/// Lines of one sample of the rate.
const LINES: usize = 200_000;
/// Lines of one sample of the latency.
const SINGLE_LINES: usize = 50;
/// Lines that a container writes while Roadstead is killed.
const KILL_LINES: usize = 400;
/// Echoes each line of the pipe.
const ECHO: &str = "while :; do cat /bench/pipe; done";

const SOON: Metric = Metric { name: "a line to its reader, p50", unit: "us", less_is_better: true };
const LATE: Metric = Metric { name: "a line to its reader, p99", unit: "us", less_is_better: true };
const RATE: Metric = Metric { name: "lines through", unit: "lines/s", less_is_better: false };

fn run(setup: &Setup) -> Result<(), String> {
    let shared = setup.directory.join("shared");
    fs::create_dir_all(&shared).map_err(|error| error.to_string())?;
    run_command(&["mkfifo".as_ref(), shared.join("pipe").as_os_str()])?;
    let bench = ContainerLogs {
        roadstead: Roadstead::up(&setup.directory.join("ours"))?,
        docker: Docker::start(&setup.directory),
        shared,
    };
    match &bench.docker {
        Ok(docker) => {
            let ours = Side { name: "awslogs", measure: &mut || bench.ours_latency() };
            let theirs = Side { name: "docker json-file", measure: &mut || bench.docker_latency(docker) };
            compare(setup.pairs, &[SOON, LATE], ours, theirs)?;
            let ours = Side { name: "awslogs", measure: &mut || bench.ours_rate() };
            let theirs = Side { name: "docker json-file", measure: &mut || docker_rate(docker) };
            compare(setup.pairs, &[RATE], ours, theirs)?;
        }
        Err(reason) => {
            println!("\nagainst docker: skipped: {reason}");
            println!("    p50 and p99 {:.0?} us", bench.ours_latency()?);
            println!(
                "    {:.0} lines/s, load average {}",
                quantile(&bench.ours_rate()?, 0.5),
                load_average()
            );
        }
    }
    drop(bench);
    loss(&setup.directory)
}

struct ContainerLogs {
    roadstead: Roadstead,
    docker: Result<Docker, String>,
    shared: PathBuf,
}

fn work<'a>(family: &'a str, script: &'a str) -> Work<'a> {
    let mut work = Work::new(family, "host", script);
    work.more = json!({"memory": 64, "stopTimeout": 2, "logConfiguration": {"logDriver": "awslogs", "options": {
        "awslogs-group": GROUP, "awslogs-region": "us-east-1", "awslogs-stream-prefix": family,
        "awslogs-create-group": "true", "mode": "blocking",
    }}});
    work
}

/// Starts it; the task and its log stream.
fn start(caller: &mut Caller, work: &Work) -> Result<(Vec<String>, String), String> {
    work.register(caller)?;
    let input = work.run_input(caller, 1)?;
    let arns = run_tasks(caller, &input)?;
    let id = arns[0].rsplit('/').next().unwrap_or_default().to_owned();
    Ok((arns, format!("{}/main/{id}", work.family)))
}

/// Reads a stream onward.
struct Reader {
    stream: String,
    token: Value,
}

impl Reader {
    fn new(stream: String) -> Self {
        Self { stream, token: Value::Null }
    }

    fn next(&mut self, caller: &mut Caller) -> Result<Vec<String>, String> {
        let mut input = json!({"logGroupName": GROUP, "logStreamName": self.stream, "startFromHead": true});
        if !self.token.is_null() {
            input["nextToken"] = self.token.clone();
        }
        match caller.logs("GetLogEvents", &input) {
            Ok(answer) => {
                self.token = answer["nextForwardToken"].clone();
                let events = answer["events"].as_array().into_iter().flatten();
                Ok(events.filter_map(|event| event["message"].as_str().map(str::to_owned)).collect())
            }
            // Not yet made.
            Err(error) if error.contains("ResourceNotFoundException") => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

impl ContainerLogs {
    fn ours_latency(&self) -> Result<Vec<f64>, String> {
        let mut caller = self.roadstead.caller();
        let mut work = work("latency", ECHO);
        work.more["mountPoints"] = json!([{"sourceVolume": "shared", "containerPath": "/bench"}]);
        work.volumes = json!([{"name": "shared", "host": {"sourcePath": self.shared}}]);
        let (arns, stream) = start(&mut caller, &work)?;
        wait_for_status(&mut caller, &arns, "RUNNING")?;
        let mut reader = Reader::new(stream);
        let mut times = Vec::new();
        for number in 0..SINGLE_LINES {
            let line = format!("line {number}");
            times.push(self.one_line(&line, || Ok(reader.next(&mut caller)?.contains(&line)))?);
        }
        end_tasks(&mut caller, &arns)?;
        Ok(vec![quantile(&times, 0.5), quantile(&times, 0.99)])
    }

    fn docker_latency(&self, docker: &Docker) -> Result<Vec<f64>, String> {
        let mount = format!("{}:/bench", self.shared.display());
        let words = ["run", "-d", "--network", "host", "-v", &mount, "busybox:latest", "sh", "-c", ECHO];
        let id = docker.cli(&words)?;
        let path = log_file(docker, id.trim());
        let mut times = Vec::new();
        for number in 0..SINGLE_LINES {
            let line = format!("line {number}");
            let quoted = format!("\"{line}\\n\"");
            let seen = || Ok(fs::read_to_string(&path).is_ok_and(|text| text.contains(&quoted)));
            times.push(self.one_line(&line, seen)?);
        }
        docker.remove_all()?;
        Ok(vec![quantile(&times, 0.5), quantile(&times, 0.99)])
    }

    /// Microseconds from the write of a line into the container's pipe until it is seen.
    fn one_line(&self, line: &str, mut seen: impl FnMut() -> Result<bool, String>) -> Result<f64, String> {
        std::thread::sleep(Duration::from_millis(10));
        let mut pipe = OpenOptions::new()
            .write(true)
            .open(self.shared.join("pipe"))
            .map_err(|error| error.to_string())?;
        let start = Instant::now();
        writeln!(pipe, "{line}").map_err(|error| error.to_string())?;
        drop(pipe);
        while !seen()? {
            if start.elapsed() > TASK_PATIENCE {
                return Err(format!("{line} never came"));
            }
        }
        Ok(start.elapsed().as_secs_f64() * 1e6)
    }

    /// From RunTask until the last line can be read, the container's start included.
    fn ours_rate(&self) -> Result<Vec<f64>, String> {
        let mut caller = self.roadstead.caller();
        let script = many_lines();
        let work = work("rate", &script);
        let time = Instant::now();
        let (arns, stream) = start(&mut caller, &work)?;
        let input = json!({"logGroupName": GROUP, "logStreamName": stream, "limit": 1});
        let last = format!("{LINES}");
        wait_for("the last line", TASK_PATIENCE, || {
            let answer = caller.logs("GetLogEvents", &input).unwrap_or_default();
            let message = answer["events"][0]["message"].as_str().unwrap_or_default();
            Ok((message.split(' ').next() == Some(&last)).then_some(()))
        })?;
        let rate = LINES as f64 / time.elapsed().as_secs_f64();
        end_tasks(&mut caller, &arns)?;
        Ok(vec![rate])
    }
}

/// As fast as a program can: 100 bytes a line.
fn many_lines() -> String {
    format!("seq 1 {LINES} | sed 's/$/ {}/'; sleep 1000", "x".repeat(93))
}

fn log_file(docker: &Docker, id: &str) -> PathBuf {
    docker.data.join("containers").join(id).join(format!("{id}-json.log"))
}

fn docker_rate(docker: &Docker) -> Result<Vec<f64>, String> {
    let time = Instant::now();
    let id = docker.cli(&["run", "-d", "--network", "host", "busybox:latest", "sh", "-c", &many_lines()])?;
    let path = log_file(docker, id.trim());
    let last = format!("\"{LINES} ");
    wait_for("docker's last line", TASK_PATIENCE, || Ok(tail(&path).contains(&last).then_some(())))?;
    let rate = LINES as f64 / time.elapsed().as_secs_f64();
    docker.remove_all()?;
    Ok(vec![rate])
}

fn tail(path: &Path) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(1024)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// Kills a durable `up` three times while a container writes, and counts its lines at the end.
fn loss(directory: &Path) -> Result<(), String> {
    let data = directory.join("durable");
    let archive = directory.join("durable.tar");
    busybox(&archive)?;
    let mut roadstead = Roadstead::start("up", &data, &[])?;
    roadstead.load(&archive)?;
    let script = format!(
        "i=0; while [ $i -lt {KILL_LINES} ]; do echo line $i; i=$((i+1)); usleep 20000; done; sleep 1000"
    );
    let mut caller = roadstead.caller();
    let (arns, stream) = start(&mut caller, &work("loss", &script))?;
    wait_for_status(&mut caller, &arns, "RUNNING")?;
    for _ in 0..3 {
        std::thread::sleep(Duration::from_secs(1));
        let target = roadstead.target.clone();
        roadstead.kill();
        roadstead = Roadstead::start_again("up", &data, &target)?;
    }
    let mut caller = roadstead.caller();
    let mut reader = Reader::new(stream);
    let mut lines = Vec::new();
    wait_for("all lines", TASK_PATIENCE, || {
        lines.extend(reader.next(&mut caller)?);
        Ok((lines.last().map(String::as_str) == Some(&format!("line {}", KILL_LINES - 1))).then_some(()))
    })?;
    let lost = (0..KILL_LINES).filter(|number| !lines.contains(&format!("line {number}"))).count();
    let doubled = lines.len() + lost - KILL_LINES;
    println!(
        "\n{KILL_LINES} lines of a container while Roadstead was killed three times: {lost} lost, {doubled} twice"
    );
    end_tasks(&mut caller, &arns)
}
