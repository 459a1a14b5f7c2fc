//! A rolling update of 20 tasks: from the request until the last old container is gone, with all new ones running, and no
//! moment with fewer running tasks than wanted. Once by itself, and once behind an Application Load Balancer that is asked 500
//! times a second: not one request may fail, and none is sent again.
//!
//! Both sides start the new before they stop the old, as many at once as there are. Swarm's tasks are behind nothing and are
//! asked nothing, both times: its network needs rules of the firewall that this machine is not to have. What counts as a
//! moment: every answer of DescribeServices, asked for in a tight loop from a connection of its own.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::caller::Caller;
use super::compare::{Metric, Side, compare, load_average, quantile};
use super::docker::Docker;
use super::process::wait_for;
use super::roadstead::{POLITE, Roadstead, TASK_PATIENCE, Work};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "deploy-under-load",
    about: "rolling update of 20 tasks, also behind a load balancer at 500 requests/s: none fails, no moment below the floor",
    run,
};

const TASKS: usize = 20;
const SERVICE: &str = "deploy";
/// Clients, each with a connection that it keeps.
const CLIENTS: u32 = 20;
/// Requests a second of all of them.
const RATE: u32 = 500;
/// How long an answer may take before it counts as failed.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// What a task of ours serves; it ends at SIGTERM as the others do.
const SERVE: &str =
    "mkdir /www; echo ok > /www/index.html; httpd -h /www -p 80; trap 'exit 0' TERM; sleep 1000 & wait";
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

const REPLACED: Metric =
    Metric { name: "request to the last old container gone", unit: "ms", less_is_better: true };

fn run(setup: &Setup) -> Result<(), String> {
    let roadstead = Roadstead::up(&setup.directory.join("ours"))?;
    let docker = Docker::start(&setup.directory).and_then(|docker| docker.swarm().map(|()| docker));
    if let Ok(docker) = &docker {
        docker.run_service(SERVICE, TASKS, true, POLITE, STOP_TIMEOUT)?;
    }
    let mut caller = roadstead.caller();
    register(&mut caller)?;
    let mut updates_of_swarm = 0;
    for balanced in [false, true] {
        let rollout = Rollout::create(&roadstead, balanced)?;
        let (mut round, mut looks) = (0, 0);
        let mut ours = || {
            round += 1;
            let (time, looked) = rollout.update(round)?;
            looks += looked;
            Ok(vec![time])
        };
        match &docker {
            Ok(docker) => {
                let mut theirs = || {
                    updates_of_swarm += 1;
                    update_swarm(docker, updates_of_swarm).map(|time| vec![time])
                };
                let name = if balanced { "UpdateService, 500 requests/s" } else { "UpdateService" };
                let ours = Side { name, measure: &mut ours };
                let theirs = Side { name: "Swarm, service update", measure: &mut theirs };
                compare(setup.pairs, &[REPLACED], ours, theirs)?;
            }
            Err(reason) => {
                println!("\nagainst Swarm: skipped: {reason}");
                let times =
                    (0..setup.pairs).map(|_| ours().map(|times| times[0])).collect::<Result<Vec<_>, _>>()?;
                println!("    {:.0} ms, load average {}", quantile(&times, 0.5), load_average());
            }
        }
        rollout.end(looks)?;
    }
    Ok(())
}

fn register(caller: &mut Caller) -> Result<(), String> {
    for family in ["deploy-0", "deploy-1"] {
        let mut work = Work::new(family, "awsvpc", SERVE);
        work.more = json!({"stopTimeout": STOP_TIMEOUT.as_secs(), "portMappings": [{"containerPort": 80}]});
        work.register(caller)?;
    }
    Ok(())
}

/// A service that is updated.
struct Rollout<'a> {
    roadstead: &'a Roadstead,
    /// Where its load balancer answers.
    address: Option<String>,
    load: Load,
}

impl<'a> Rollout<'a> {
    fn create(roadstead: &'a Roadstead, balanced: bool) -> Result<Self, String> {
        let caller = &mut roadstead.caller();
        let network =
            Work::new("deploy-0", "awsvpc", SERVE).run_input(caller, 1)?["networkConfiguration"].take();
        let mut input = json!({
            "serviceName": SERVICE, "taskDefinition": "deploy-0", "desiredCount": TASKS, "launchType": "EC2",
            "deploymentConfiguration": {"minimumHealthyPercent": 100, "maximumPercent": 200},
            "networkConfiguration": network,
        });
        if balanced {
            let group = load_balancer(caller, &network)?;
            input["loadBalancers"] =
                json!([{"targetGroupArn": group, "containerName": "main", "containerPort": 80}]);
        }
        caller.ecs("CreateService", &input)?;
        wait_for("the service's tasks", TASK_PATIENCE, || Ok(is_settled(&describe(caller)?).then_some(())))?;
        let address = if balanced { Some(address(caller)?) } else { None };
        Ok(Self { roadstead, address, load: Load::default() })
    }

    /// Milliseconds, and how often the bounds were looked at.
    fn update(&self, round: usize) -> Result<(f64, usize), String> {
        let over = AtomicBool::new(false);
        let caller = &mut self.roadstead.caller();
        std::thread::scope(|scope| {
            for address in
                self.address.iter().flat_map(|address| std::iter::repeat_n(address, CLIENTS as usize))
            {
                scope.spawn(|| self.load.ask(address, &over));
            }
            let watcher = scope.spawn(|| watch(&mut self.roadstead.caller(), &over));
            let family = format!("deploy-{}", round % 2);
            let start = Instant::now();
            let replaced = caller
                .ecs("UpdateService", &json!({"service": SERVICE, "taskDefinition": family}))
                .and_then(|_| wait_for("the old tasks to go", TASK_PATIENCE, || all_are_of(caller, &family)))
                .map(|()| start.elapsed().as_secs_f64() * 1e3);
            let settled = wait_for("the deployment to be done", TASK_PATIENCE, || {
                Ok(is_settled(&describe(caller)?).then_some(()))
            });
            over.store(true, Ordering::Relaxed);
            let looks = watcher.join().map_err(|_| "the watcher panicked")??;
            settled?;
            Ok((replaced?, looks))
        })
    }

    /// Says what was kept, and ends the service.
    fn end(self, looks: usize) -> Result<(), String> {
        println!(
            "(never fewer than {TASKS} tasks running and never more than {} in {looks} answers)",
            2 * TASKS
        );
        if self.address.is_some() {
            let answered = self.load.answered.load(Ordering::Relaxed);
            let failed = self.load.failed.lock().unwrap_or_else(PoisonError::into_inner);
            println!("(requests: {answered} answered with 200, {} failed)", failed.values().sum::<usize>());
            if answered == 0 || !failed.is_empty() {
                return Err(format!("requests failed: {failed:?}"));
            }
        }
        let caller = &mut self.roadstead.caller();
        caller.ecs("DeleteService", &json!({"service": SERVICE, "force": true}))?;
        wait_for("the service to be gone", TASK_PATIENCE, || {
            Ok((describe(caller)?["status"] == "INACTIVE").then_some(()))
        })
    }
}

/// Makes a load balancer whose listener forwards to a new target group; gives the latter.
fn load_balancer(caller: &mut Caller, network: &Value) -> Result<String, String> {
    let subnets = network["awsvpcConfiguration"]["subnets"].as_array().cloned().unwrap_or_default();
    let subnets: Vec<String> = subnets.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect();
    let vpc = member(&caller.ec2("DescribeSubnets")?, "vpcId")?;
    let group = caller.load_balancing(&format!(
        "CreateTargetGroup&Name={SERVICE}&Protocol=HTTP&Port=80&TargetType=ip&VpcId={vpc}&HealthCheckIntervalSeconds=5\
         &HealthCheckTimeoutSeconds=2"
    ))?;
    let group = member(&group, "TargetGroupArn")?;
    let balancer = caller.load_balancing(&format!(
        "CreateLoadBalancer&Name={SERVICE}&Subnets.member.1={}&Subnets.member.2={}",
        subnets.first().ok_or("no subnet")?,
        subnets.get(1).ok_or("one subnet only")?
    ))?;
    let balancer = member(&balancer, "LoadBalancerArn")?;
    // This machine is a client like any other.
    let default = member(&caller.ec2("DescribeSecurityGroups")?, "groupId")?;
    let rule = "IpProtocol=tcp&FromPort=80&ToPort=80&CidrIp=0.0.0.0%2F0";
    caller.ec2(&format!("AuthorizeSecurityGroupIngress&GroupId={default}&{rule}"))?;
    caller.load_balancing(&format!(
        "CreateListener&LoadBalancerArn={balancer}&Protocol=HTTP&Port=80&DefaultActions.member.1.Type=forward\
         &DefaultActions.member.1.TargetGroupArn={group}"
    ))?;
    Ok(group)
}

/// Where the load balancer listens.
fn address(caller: &mut Caller) -> Result<String, String> {
    let interfaces = caller.ec2("DescribeNetworkInterfaces")?;
    // An interface's description comes before its addresses.
    let own = interfaces.split("<description>").find(|text| text.starts_with(&format!("ELB app/{SERVICE}/")));
    Ok(format!("{}:80", member(own.ok_or("the load balancer has no address")?, "privateIpAddress")?))
}

/// The text of the first element of this name.
fn member(xml: &str, name: &str) -> Result<String, String> {
    let text = xml.split(&format!("<{name}>")).nth(1).and_then(|rest| rest.split('<').next());
    text.map(str::to_owned).ok_or_else(|| format!("no {name} in {xml}"))
}

/// Requests, counted.
#[derive(Default)]
struct Load {
    answered: AtomicUsize,
    /// How many failed, by what went wrong.
    failed: Mutex<BTreeMap<String, usize>>,
}

impl Load {
    /// One client: asks at its pace until it is over.
    fn ask(&self, address: &str, over: &AtomicBool) {
        let pace = Duration::from_secs(1) * CLIENTS / RATE;
        let mut connection = None;
        let mut next = Instant::now();
        while !over.load(Ordering::Relaxed) {
            let answered = connection.take().map_or_else(|| connect(address), Ok).and_then(exchange);
            match answered {
                Ok(kept) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    connection = Some(kept);
                }
                Err(reason) => {
                    let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                    *failed.entry(reason).or_default() += 1;
                }
            }
            next += pace;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
}

fn connect(address: &str) -> Result<BufReader<TcpStream>, String> {
    let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE)).map_err(|error| error.to_string())?;
    Ok(BufReader::new(stream))
}

/// One request; the connection, where it was answered with 200.
fn exchange(mut connection: BufReader<TcpStream>) -> Result<BufReader<TcpStream>, String> {
    let request = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
    connection.get_mut().write_all(request).map_err(|error| error.to_string())?;
    let (mut status, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).map_err(|error| error.to_string())?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if status.is_empty() {
            line.clone_into(&mut status);
        } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| "no length".to_owned())?;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).map_err(|error| error.to_string())?;
    if status.starts_with("HTTP/1.1 200") { Ok(connection) } else { Err(status) }
}

fn describe(caller: &mut Caller) -> Result<Value, String> {
    Ok(caller.ecs("DescribeServices", &json!({"services": [SERVICE]}))?["services"][0].take())
}

/// One revision, whose rollout is done.
fn is_settled(service: &Value) -> bool {
    let deployments = service["deployments"].as_array().map(Vec::as_slice).unwrap_or_default();
    deployments.len() == 1 && deployments[0]["rolloutState"] == "COMPLETED"
}

/// Whether no task is left but running ones of the family.
fn all_are_of(caller: &mut Caller, family: &str) -> Result<Option<()>, String> {
    let mut arns = Vec::new();
    // A task that is asked to stop is listed as STOPPED before its containers are gone.
    for status in ["RUNNING", "STOPPED"] {
        let listed = caller.ecs("ListTasks", &json!({"serviceName": SERVICE, "desiredStatus": status}))?;
        arns.extend(listed["taskArns"].as_array().cloned().unwrap_or_default());
    }
    let mut new = 0;
    for page in arns.chunks(100) {
        let described = caller.ecs("DescribeTasks", &json!({"tasks": page}))?;
        for task in described["tasks"].as_array().into_iter().flatten() {
            let is_new = task["taskDefinitionArn"].as_str().is_some_and(|arn| arn.contains(family));
            match task["lastStatus"].as_str() {
                Some("STOPPED") => {}
                Some("RUNNING") if is_new => new += 1,
                _ => return Ok(None),
            }
        }
    }
    Ok((new == TASKS).then_some(()))
}

fn watch(caller: &mut Caller, over: &AtomicBool) -> Result<usize, String> {
    let mut looks = 0;
    while !over.load(Ordering::Relaxed) {
        let service = describe(caller)?;
        let count = |member: &str| {
            service[member].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
        };
        let (running, pending) = (count("runningCount"), count("pendingCount"));
        if running < TASKS || running + pending > 2 * TASKS {
            return Err(format!("{running} tasks running and {pending} pending at a moment of the update"));
        }
        looks += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(looks)
}

fn update_swarm(docker: &Docker, number: usize) -> Result<f64, String> {
    let start = Instant::now();
    docker.cli(&[
        "service",
        "update",
        "--force",
        "--detach",
        "--update-order",
        "start-first",
        "--update-parallelism",
        "0",
        SERVICE,
    ])?;
    let path = format!("/tasks?filters=%7B%22service%22%3A%5B%22{SERVICE}%22%5D%7D");
    wait_for("Swarm's old tasks to go", TASK_PATIENCE, || {
        let tasks = docker.api("GET", &path, &Value::Null)?;
        let mut new = 0;
        for task in tasks.as_array().into_iter().flatten() {
            let is_new = task["Spec"]["ForceUpdate"].as_u64() == Some(number as u64);
            match task["Status"]["State"].as_str() {
                Some("running") if is_new => new += 1,
                Some("shutdown" | "complete" | "failed" | "rejected" | "remove" | "orphaned") => {}
                _ => return Ok(None),
            }
        }
        Ok((new == TASKS).then_some(()))
    })?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
