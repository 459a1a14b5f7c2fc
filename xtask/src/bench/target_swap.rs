//! How soon a change of targets acts: a target that is registered, one that is deregistered, weights that move. From the call
//! to what a client sees; against HAProxy's runtime API.
//!
//! Ours is the whole way: a signed call over HTTP, a durable write, the loop, the first health check of a new target. HAProxy
//! is told over its socket, keeps nothing, and takes a server as healthy that it is told is ready.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::caller::Caller;
use super::compare::{Metric, Side, compare, quantile};
use super::process::{Process, free_address, wait_for};
use super::roadstead::Roadstead;
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "target-swap",
    about: "register to the first request, deregister to the last one, weights to the first request of the other group",
    run,
};

const REGISTER: Metric = Metric { name: "register to the first request", unit: "us", less_is_better: true };
const DEREGISTER: Metric =
    Metric { name: "deregister to the last request", unit: "us", less_is_better: true };
const WEIGHTS: Metric = Metric { name: "weights to the first request", unit: "us", less_is_better: true };

/// Swaps of one sample.
const ROUNDS: usize = 10;
/// Requests in a row that the other target answers before one counts as gone.
const GONE_AFTER: usize = 50;
const PATIENCE: Duration = Duration::from_secs(30);

fn run(setup: &Setup) -> Result<(), String> {
    let (one, two) = (Origin::start("1")?, Origin::start("2")?);
    let mut ours = Ours::start(&setup.directory, &one, &two)?;
    match Haproxy::start(&setup.directory, &one, &two) {
        Ok(mut theirs) => compare(
            setup.pairs,
            &[REGISTER, DEREGISTER, WEIGHTS],
            Side { name: "Roadstead", measure: &mut || measure(&mut ours) },
            Side { name: "HAProxy, runtime API", measure: &mut || measure(&mut theirs) },
        ),
        Err(reason) => {
            println!("\nagainst HAProxy: skipped: {reason}");
            let sample = measure(&mut ours)?;
            println!(
                "    register {:.0} us, deregister {:.0} us, weights {:.0} us",
                sample[0], sample[1], sample[2]
            );
            Ok(())
        }
    }
}

/// Whoever can be told.
trait Proxy {
    /// Where clients of the pool connect, whose first server is always there.
    fn pool(&self) -> String;
    /// Where clients of the two weighted groups connect.
    fn weighted(&self) -> String;
    /// Takes the second server in, or out.
    fn register(&mut self, registered: bool) -> Result<(), String>;
    /// Whether it was forgotten, so that it can be taken in anew.
    fn is_out(&mut self) -> Result<bool, String>;
    /// What it says of its targets.
    fn told(&mut self) -> String;
    /// Gives all weight to the first or the second.
    fn weigh(&mut self, second: bool) -> Result<(), String>;
}

fn measure(proxy: &mut dyn Proxy) -> Result<Vec<f64>, String> {
    let mut pool = Client::connect(&proxy.pool())?;
    let mut weighted = Client::connect(&proxy.weighted())?;
    let (mut registered, mut deregistered, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    let microseconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e6;
    for round in 0..ROUNDS {
        let start = Instant::now();
        proxy.register(true)?;
        let deadline = start + PATIENCE;
        while pool.ask()? != b'2' {
            if Instant::now() > deadline {
                return Err("the new target never answered".to_owned());
            }
        }
        registered.push(microseconds(start, Instant::now()));

        let start = Instant::now();
        proxy.register(false)?;
        let (mut last, mut others) = (start, 0);
        while others < GONE_AFTER {
            let sent = Instant::now();
            if pool.ask()? == b'2' {
                (last, others) = (sent, 0);
            } else {
                others += 1;
            }
        }
        deregistered.push(microseconds(start, last));
        let deadline = Instant::now() + PATIENCE;
        while !proxy.is_out()? {
            if Instant::now() > deadline {
                return Err(format!("round {round}: the target is never out: {}", proxy.told()));
            }
        }

        let wanted = if round % 2 == 0 { b'2' } else { b'1' };
        let start = Instant::now();
        proxy.weigh(wanted == b'2')?;
        let deadline = start + PATIENCE;
        while weighted.ask()? != wanted {
            if Instant::now() > deadline {
                return Err("the weights never acted".to_owned());
            }
        }
        weights.push(microseconds(start, Instant::now()));
    }
    Ok([registered, deregistered, weights].iter().map(|series| quantile(series, 0.5)).collect())
}

/// One kept connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: &str) -> Result<Self, String> {
        let stream = wait_for("the proxy", PATIENCE, || Ok(TcpStream::connect(address).ok()))?;
        stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE))).map_err(text)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The first byte of an answer's body: which server it is of.
    fn ask(&mut self) -> Result<u8, String> {
        self.0.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").map_err(text)?;
        let (mut line, mut length, mut status) = (String::new(), 0, String::new());
        loop {
            line.clear();
            if self.0.read_line(&mut line).map_err(text)? == 0 {
                return Err("the proxy closed the connection".to_owned());
            }
            if status.is_empty() {
                status.clone_from(&line);
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().unwrap_or(0);
                }
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).map_err(text)?;
        if status.contains(" 200 ") && length > 0 { Ok(body[0]) } else { Err(format!("answered {status}")) }
    }
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

/// A server that answers with its name, on all addresses of this machine.
struct Origin {
    port: u16,
}

impl Origin {
    fn start(name: &'static str) -> Result<Self, String> {
        let listener = TcpListener::bind("0.0.0.0:0").map_err(text)?;
        let port = listener.local_addr().map_err(text)?.port();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                std::thread::spawn(move || serve(stream, name));
            }
        });
        Ok(Self { port })
    }
}

fn serve(stream: TcpStream, name: &str) {
    let _ = stream.set_nodelay(true);
    let Ok(mut answers) = stream.try_clone() else { return };
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{name}");
        if line.is_empty() && answers.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

struct Ours {
    caller: Caller,
    roadstead: Roadstead,
    address: String,
    machine: String,
    port: u16,
    pool: String,
    listener: String,
    groups: [String; 2],
}

impl Ours {
    fn start(directory: &Path, one: &Origin, two: &Origin) -> Result<Self, String> {
        let roadstead = Roadstead::up(&directory.join("ours"))?;
        let mut caller = roadstead.caller();
        let subnets = caller.ec2("DescribeSubnets")?;
        // This machine is a client like any other.
        let group = element(&caller.ec2("DescribeSecurityGroups")?, "groupId")?;
        let everyone = "IpPermissions.1.IpProtocol=-1&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0%2F0";
        caller.ec2(&format!("AuthorizeSecurityGroupIngress&GroupId={group}&{everyone}"))?;
        let (subnet, vpc) = (element(&subnets, "subnetId")?, element(&subnets, "vpcId")?);
        // The second of the list.
        let other = element(&subnets.replacen("subnetId>", "", 2), "subnetId")?;
        let cidr = element(&subnets, "cidrBlock")?;
        let (network, _) = cidr.rsplit_once('.').ok_or("no network")?;
        // The machine, as the VPC sees it.
        let machine = format!("{network}.1");
        let mut ours = Self {
            caller,
            roadstead,
            address: String::new(),
            machine,
            port: two.port,
            pool: String::new(),
            listener: String::new(),
            groups: Default::default(),
        };
        let both = format!("Subnets.member.1={subnet}&Subnets.member.2={other}");
        let made = ours.call("CreateLoadBalancer", &format!("Name=swap&{both}"))?;
        let load_balancer = element(&made, "LoadBalancerArn")?;
        ours.pool = ours.group("pool", &vpc)?;
        ours.groups = [ours.group("first", &vpc)?, ours.group("second", &vpc)?];
        let pool = ours.pool.clone();
        let forward =
            format!("DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn={pool}");
        ours.call(
            "CreateListener",
            &format!("LoadBalancerArn={load_balancer}&Protocol=HTTP&Port=80&{forward}"),
        )?;
        let weights = ours.weights(false);
        let made = ours.call(
            "CreateListener",
            &format!("LoadBalancerArn={load_balancer}&Protocol=HTTP&Port=81&{weights}"),
        )?;
        ours.listener = element(&made, "ListenerArn")?;
        let targets =
            [(pool, one.port), (ours.groups[0].clone(), one.port), (ours.groups[1].clone(), two.port)];
        for (group, port) in targets {
            ours.target("RegisterTargets", &group, port)?;
            wait_for("a healthy target", PATIENCE, || {
                let health = ours.call("DescribeTargetHealth", &format!("TargetGroupArn={group}"))?;
                Ok(health.contains("<State>healthy</State>").then_some(()))
            })?;
        }
        let interfaces = ours.caller.ec2("DescribeNetworkInterfaces")?;
        ours.address = element(&interfaces, "privateIpAddress")?;
        Ok(ours)
    }

    fn group(&mut self, name: &str, vpc: &str) -> Result<String, String> {
        let settings =
            "Protocol=HTTP&Port=80&TargetType=ip&HealthCheckIntervalSeconds=5&HealthCheckTimeoutSeconds=2";
        let made = self.call("CreateTargetGroup", &format!("Name={name}&VpcId={vpc}&{settings}"))?;
        element(&made, "TargetGroupArn")
    }

    fn weights(&self, second: bool) -> String {
        let action = "DefaultActions.member.1";
        let group = |number: usize, weight: u32| {
            let member = format!("{action}.ForwardConfig.TargetGroups.member.{}", number + 1);
            format!("{member}.TargetGroupArn={}&{member}.Weight={weight}", self.groups[number])
        };
        let (first, other) = if second { (0, 1) } else { (1, 0) };
        format!("{action}.Type=forward&{}&{}", group(0, first), group(1, other))
    }

    fn target(&mut self, operation: &str, group: &str, port: u16) -> Result<(), String> {
        let machine = self.machine.clone();
        let target = format!("Targets.member.1.Id={machine}&Targets.member.1.Port={port}");
        self.call(operation, &format!("TargetGroupArn={group}&{target}")).map(drop)
    }

    fn health(&mut self) -> Result<String, String> {
        let group = self.pool.clone();
        self.call("DescribeTargetHealth", &format!("TargetGroupArn={group}"))
    }

    fn call(&mut self, operation: &str, parameters: &str) -> Result<String, String> {
        // ARNs have colons and slashes in them.
        let parameters = parameters.replace(':', "%3A").replace('/', "%2F");
        let body = format!("Action={operation}&Version=2015-12-01&{parameters}");
        let request = self.roadstead.target.query_request("elasticloadbalancing", &body)?;
        let answer = self.caller.send(&request).map_err(|error| format!("{operation}: {error}"))?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// The text of the first element of this name.
fn element(xml: &str, name: &str) -> Result<String, String> {
    let found = xml.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once('<'));
    found.map(|(text, _)| text.to_owned()).ok_or_else(|| format!("no {name} in {xml}"))
}

impl Proxy for Ours {
    fn pool(&self) -> String {
        format!("{}:80", self.address)
    }

    fn weighted(&self) -> String {
        format!("{}:81", self.address)
    }

    fn register(&mut self, registered: bool) -> Result<(), String> {
        let operation = if registered { "RegisterTargets" } else { "DeregisterTargets" };
        let (group, port) = (self.pool.clone(), self.port);
        self.target(operation, &group, port)
    }

    fn is_out(&mut self) -> Result<bool, String> {
        Ok(self.health()?.matches("<TargetHealth>").count() == 1)
    }

    fn told(&mut self) -> String {
        self.health().unwrap_or_else(|error| error)
    }

    fn weigh(&mut self, second: bool) -> Result<(), String> {
        let (listener, weights) = (self.listener.clone(), self.weights(second));
        self.call("ModifyListener", &format!("ListenerArn={listener}&{weights}")).map(drop)
    }
}

struct Haproxy {
    socket: PathBuf,
    pool: String,
    weighted: String,
    _process: Process,
}

impl Haproxy {
    fn start(directory: &Path, one: &Origin, two: &Origin) -> Result<Self, String> {
        let (pool, weighted) = (free_address()?, free_address()?);
        let socket = directory.join("haproxy.sock");
        let configuration = format!(
            "global\n nbthread 1\n stats socket {} level admin\ndefaults\n mode http\n timeout connect 5s\n \
             timeout client 600s\n timeout server 600s\nlisten pool\n bind {pool}\n balance roundrobin\n \
             server one 127.0.0.1:{one}\n server two 127.0.0.1:{two} disabled\nlisten weighted\n bind {weighted}\n \
             balance roundrobin\n server one 127.0.0.1:{one} weight 1\n server two 127.0.0.1:{two} weight 0\n",
            socket.display(),
            one = one.port,
            two = two.port
        );
        let file = directory.join("swap.cfg");
        std::fs::write(&file, configuration).map_err(text)?;
        let words = ["haproxy", "-db", "-f", &file.display().to_string()];
        let process = Process::start(&words, &[], &directory.join("swap.log"))?;
        wait_for("HAProxy", PATIENCE, || Ok(TcpStream::connect(&pool).ok().map(drop)))?;
        Ok(Self { socket, pool, weighted, _process: process })
    }

    fn tell(&self, command: &str) -> Result<(), String> {
        let mut stream = UnixStream::connect(&self.socket).map_err(text)?;
        stream.write_all(format!("{command}\n").as_bytes()).map_err(text)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(text)?;
        if answer.trim().is_empty() { Ok(()) } else { Err(format!("{command}: {answer}")) }
    }
}

impl Proxy for Haproxy {
    fn pool(&self) -> String {
        self.pool.clone()
    }

    fn weighted(&self) -> String {
        self.weighted.clone()
    }

    fn register(&mut self, registered: bool) -> Result<(), String> {
        self.tell(&format!("set server pool/two state {}", if registered { "ready" } else { "maint" }))
    }

    fn is_out(&mut self) -> Result<bool, String> {
        Ok(true)
    }

    fn told(&mut self) -> String {
        String::new()
    }

    fn weigh(&mut self, second: bool) -> Result<(), String> {
        let (first, other) = if second { (0, 1) } else { (1, 0) };
        self.tell(&format!("set weight weighted/one {first}; set weight weighted/two {other}"))
    }
}
