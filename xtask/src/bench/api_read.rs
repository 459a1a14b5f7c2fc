//! DescribeTasks with one and with a hundred tasks, from one client and from 32, against moto and MiniStack.
//!
//! The rate is the whole machine's, client included; CPU time a request is the server's own, and says what one core can do.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::caller::{Caller, Target};
use super::compare::{Metric, Side, compare, load_average};
use super::process::{Process, cpu_seconds, family, free_address, run as run_command, wait_for};
use super::roadstead::Roadstead;
use super::rows::{task_arn, write_tasks};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "api-read",
    about: "DescribeTasks, 1 and 100 tasks, 1 and 32 clients, each signature verified",
    run,
};

/// Tasks that exist.
const TASKS: usize = 100;
/// How long the clients call in one sample.
const BURST: Duration = Duration::from_secs(2);
/// Where the peers are installed, once, from PyPI.
const PEERS: &str = "bench-peers";

const RATE: Metric = Metric { name: "requests", unit: "requests/s", less_is_better: false };
const CPU: Metric = Metric { name: "the server's CPU time a request", unit: "us", less_is_better: true };

fn run(setup: &Setup) -> Result<(), String> {
    let data = setup.directory.join("ours");
    write_tasks(&data, TASKS)?;
    let roadstead = Roadstead::start("server", &data, &[])?;
    let ours = Server {
        target: roadstead.target.clone(),
        pid: roadstead.process.pid(),
        arns: (0..TASKS).map(task_arn).collect(),
        _process: None,
    };
    let peers =
        [("moto", Server::moto(&setup.directory)), ("MiniStack", Server::ministack(&setup.directory))];
    for (name, peer) in &peers {
        if let Err(reason) = peer {
            println!("\nagainst {name}: skipped: {reason}");
        }
    }
    for (items, clients) in [(1, 1), (1, 32), (100, 1), (100, 32)] {
        let words = format!("{items} tasks, {clients} clients");
        for (name, peer) in &peers {
            let Ok(peer) = peer else { continue };
            println!("\nDescribeTasks, {words}");
            let ours = Side { name: "roadstead", measure: &mut || ours.measure(items, clients) };
            compare(
                setup.pairs,
                &[RATE, CPU],
                ours,
                Side { name, measure: &mut || peer.measure(items, clients) },
            )?;
        }
        if peers.iter().all(|(_, peer)| peer.is_err()) {
            let sample = ours.measure(items, clients)?;
            println!(
                "\n{words}: {:.0} requests/s, {:.0} us of CPU each, load average {}",
                sample[0],
                sample[1],
                load_average()
            );
        }
    }
    Ok(())
}

/// A server with tasks.
struct Server {
    target: Target,
    pid: u32,
    arns: Vec<String>,
    _process: Option<Process>,
}

impl Server {
    fn moto(directory: &Path) -> Result<Self, String> {
        let address = free_address()?;
        let port = port_of(&address);
        let words = [install("moto[server]", "moto_server")?.display().to_string(), "-p".into(), port.into()];
        Self::peer(directory, "moto", &address, &words, &[])
    }

    fn ministack(directory: &Path) -> Result<Self, String> {
        let address = free_address()?;
        let port = port_of(&address).to_owned();
        let words = [install("ministack", "ministack")?.display().to_string()];
        Self::peer(
            directory,
            "ministack",
            &address,
            &words,
            &[("GATEWAY_PORT", &port), ("MINISTACK_HOST", "127.0.0.1")],
        )
    }

    fn peer(
        directory: &Path,
        name: &str,
        address: &str,
        words: &[String],
        environment: &[(&str, &str)],
    ) -> Result<Self, String> {
        let mut process = Process::start(words, environment, &directory.join(format!("{name}.log")))?;
        wait_for(name, Duration::from_secs(60), || {
            if process.has_ended() {
                return Err(format!("{name} ended"));
            }
            Ok(std::net::TcpStream::connect(address).ok())
        })?;
        let target = Target {
            address: address.to_owned(),
            access_key_id: "testing".to_owned(),
            secret_access_key: "testing".to_owned(),
        };
        let arns = peer_tasks(&mut Caller::new(&target)).map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { target, pid: process.pid(), arns, _process: Some(process) })
    }

    /// Requests a second, and microseconds of CPU a request.
    fn measure(&self, items: usize, clients: usize) -> Result<Vec<f64>, String> {
        let input = json!({"cluster": "default", "tasks": self.arns[..items]});
        let request =
            self.target.json_request("ecs", "AmazonEC2ContainerServiceV20141113.DescribeTasks", &input)?;
        let answer: Value = serde_json::from_slice(&Caller::new(&self.target).send(&request)?)
            .map_err(|error| error.to_string())?;
        let found = answer["tasks"].as_array().map_or(0, Vec::len);
        if found != items {
            return Err(format!("{found} of {items} tasks were described: {answer}"));
        }
        let over = AtomicBool::new(false);
        let cpu =
            || family(self.pid).into_iter().map(|pid| cpu_seconds(pid).unwrap_or_default()).sum::<f64>();
        let (cpu_before, start) = (cpu(), Instant::now());
        let count = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..clients)
                .map(|_| {
                    scope.spawn(|| {
                        let mut caller = Caller::new(&self.target);
                        let mut count = 0_u64;
                        while !over.load(Ordering::Relaxed) {
                            caller.send(&request)?;
                            count += 1;
                        }
                        Ok::<u64, String>(count)
                    })
                })
                .collect();
            std::thread::sleep(BURST);
            over.store(true, Ordering::Relaxed);
            threads.into_iter().try_fold(0, |sum, thread| {
                Ok::<u64, String>(sum + thread.join().map_err(|_| "a client panicked".to_owned())??)
            })
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let count = count.max(1) as f64;
        Ok(vec![count / seconds, (cpu() - cpu_before) * 1e6 / count])
    }
}

fn port_of(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or_default()
}

/// Installs a package from PyPI into an environment of the benchmarks' own, unless it is there.
fn install(package: &str, program: &str) -> Result<PathBuf, String> {
    let target = super::roadstead::binary();
    let environment =
        target.ancestors().nth(2).unwrap_or(Path::new("target")).join(format!("{PEERS}-{program}"));
    let program = environment.join("bin").join(program);
    if !program.exists() {
        run_command(&["python3".as_ref(), "-m".as_ref(), "venv".as_ref(), environment.as_os_str()])?;
        run_command(&[
            environment.join("bin/pip").as_os_str(),
            "install".as_ref(),
            "-q".as_ref(),
            package.as_ref(),
        ])?;
    }
    if program.exists() {
        Ok(program)
    } else {
        Err(format!("{package} has no program {}", program.display()))
    }
}

/// Makes a hundred tasks on a peer, as its users do.
fn peer_tasks(caller: &mut Caller) -> Result<Vec<String>, String> {
    caller.ecs("CreateCluster", &json!({"clusterName": "default"}))?;
    caller.ecs(
        "RegisterTaskDefinition",
        &json!({
            "family": "bench", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
            "containerDefinitions": [{"name": "main", "image": "busybox:latest", "memory": 256, "essential": true}],
        }),
    )?;
    let subnets = caller.ec2("DescribeSubnets")?;
    let subnet =
        subnets.split("<subnetId>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or("subnet-1");
    let mut arns = Vec::new();
    while arns.len() < TASKS {
        let answer = caller.ecs(
            "RunTask",
            &json!({
                "cluster": "default", "taskDefinition": "bench", "count": 10, "launchType": "FARGATE",
                "networkConfiguration": {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": ["sg-12345678"]}},
            }),
        )?;
        let made = answer["tasks"].as_array().cloned().unwrap_or_default();
        if made.is_empty() {
            return Err(format!("RunTask: {answer}"));
        }
        arns.extend(made.iter().filter_map(|task| task["taskArn"].as_str().map(str::to_owned)));
    }
    Ok(arns)
}
