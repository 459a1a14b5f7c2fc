//! Requests through a load balancer: HTTP/1.1 on kept connections, 1 KB answers, 64 rules, 100 targets, with and without
//! TLS; against HAProxy and nginx with the same rules and targets, each with one thread, in front of the same server.
//!
//! What a proxy adds is the median of one client's requests through it, less that of the same client's requests to the
//! server directly, a moment before. What a core does is requests of 64 connections by the proxy's own CPU time: client and
//! server share the machine, so that requests by the clock would say more of them than of the proxy.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use ::balancer::configuration::{
    Action, Algorithm, Condition, Configuration, Forward, GroupProtocol, HealthCheck, Listener, LoadBalancer,
    LoadBalancerAttributes, Matcher, Protocol, ProtocolVersion, Rule, Target, TargetGroup,
};
use ::balancer::pattern::Pattern;
use ::balancer::tls::Certificate;
use ::balancer::{Balancer, Place, Settings, TargetState};
use base::{RandomIds, SystemClock};

use super::compare::{Metric, Side, compare};
use super::process::{Process, cpu_seconds, run, wait_for};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "balancer",
    about: "requests through 64 rules to 100 targets, with and without TLS: added p50, and requests per second of CPU",
    run: measure,
};

const RULES: usize = 64;
const TARGETS: u8 = 100;
const BODY_BYTES: usize = 1024;
const CONNECTIONS: usize = 64;
const LONE: &str = "1s";
const BURST: &str = "2s";
const PATIENCE: Duration = Duration::from_secs(20);

const ADDED: Metric = Metric { name: "added, p50 of one client", unit: "us", less_is_better: true };
const RATE: Metric = Metric {
    name: "64 connections, by the proxy's CPU time",
    unit: "requests/s of CPU",
    less_is_better: false,
};

fn measure(setup: &Setup) -> Result<(), String> {
    let origin = Origin::start(&setup.directory)?;
    let tls = make_certificate(&setup.directory)?;
    let ours = Ours::start(&origin, &tls)?;
    for (peer, start) in [
        ("HAProxy", haproxy as fn(&Path, &Origin, &Tls) -> Result<Proxy, String>),
        ("nginx", nginx as fn(&Path, &Origin, &Tls) -> Result<Proxy, String>),
    ] {
        let theirs = match start(&setup.directory, &origin, &tls) {
            Ok(theirs) => theirs,
            Err(reason) => {
                println!("\nagainst {peer}: skipped: {reason}");
                continue;
            }
        };
        for (scheme, kind) in [("http", "plain"), ("https", "TLS")] {
            println!("\n{kind}:");
            compare(
                setup.pairs,
                &[ADDED, RATE],
                Side { name: "Roadstead", measure: &mut || sample(&origin, &ours.proxy, scheme) },
                Side { name: peer, measure: &mut || sample(&origin, &theirs, scheme) },
            )?;
        }
    }
    ours.stop();
    Ok(())
}

/// A proxy at work: its ports, and where its CPU time is told.
struct Proxy {
    http: u16,
    https: u16,
    cpu: Cpu,
    _process: Option<Process>,
}

enum Cpu {
    /// Of a process with its children.
    Process(u32),
    /// Of one thread of this process: the path of its stat file.
    Thread(PathBuf),
}

impl Cpu {
    fn seconds(&self) -> Result<f64, String> {
        match self {
            Self::Process(pid) => super::process::family(*pid).into_iter().map(cpu_seconds).sum(),
            Self::Thread(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
                // Nanoseconds on a CPU, from proc_pid_schedstat(5).
                let first = text.split_ascii_whitespace().next().and_then(|field| field.parse::<f64>().ok());
                first.map(|nanoseconds| nanoseconds / 1e9).ok_or_else(|| "no schedstat".to_owned())
            }
        }
    }
}

fn sample(origin: &Origin, proxy: &Proxy, scheme: &str) -> Result<Vec<f64>, String> {
    let port = if scheme == "http" { proxy.http } else { proxy.https };
    // The last of the rules: all are looked at.
    let url = format!("{scheme}://127.0.0.1:{port}/r{}/item", RULES - 1);
    let direct = wrk(1, LONE, &format!("http://127.0.1.1:{}/", origin.port))?;
    let through = wrk(1, LONE, &url)?;
    let before = proxy.cpu.seconds()?;
    let burst = wrk(CONNECTIONS, BURST, &url)?;
    let cpu = proxy.cpu.seconds()? - before;
    Ok(vec![through.p50 - direct.p50, burst.requests / cpu.max(0.001)])
}

struct Wrk {
    p50: f64,
    requests: f64,
}

fn wrk(connections: usize, time: &str, url: &str) -> Result<Wrk, String> {
    let connections = connections.to_string();
    let text = run(&["wrk", "--latency", "-t1", "-c", &connections, "-d", time, url])?;
    let p50 = text.lines().find_map(|line| line.trim().strip_prefix("50%")).map(str::trim);
    let p50 = p50.and_then(microseconds).ok_or_else(|| format!("wrk said: {text}"))?;
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("wrk said of {url}: {text}"));
    }
    Ok(Wrk { p50, requests: requests.ok_or_else(|| format!("wrk said: {text}"))? })
}

fn microseconds(text: &str) -> Option<f64> {
    for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("s", 1e6)] {
        if let Some(number) = text.strip_suffix(unit) {
            return number.parse::<f64>().ok().map(|number| number * factor);
        }
    }
    None
}

/// What stands behind every proxy: nginx, which answers from memory, on as many addresses as there are targets.
struct Origin {
    port: u16,
    _process: Process,
}

impl Origin {
    fn start(directory: &Path) -> Result<Self, String> {
        let port = port()?;
        let body = "x".repeat(BODY_BYTES);
        let server = format!(
            "access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;\n\
             server {{ listen 0.0.0.0:{port}; location / {{ default_type text/plain; return 200 \"{body}\"; }} }}\n"
        );
        let process = start_nginx(directory, "origin", &server)?;
        until_listening(port)?;
        Ok(Self { port, _process: process })
    }
}

fn target(number: u8) -> String {
    format!("127.0.1.{number}")
}

fn port() -> Result<u16, String> {
    let address = super::process::free_address()?;
    address.rsplit(':').next().and_then(|port| port.parse().ok()).ok_or_else(|| "no port".to_owned())
}

fn until_listening(port: u16) -> Result<(), String> {
    wait_for("a server", PATIENCE, || {
        Ok(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(()))
    })
}

fn start_nginx(directory: &Path, name: &str, http: &str) -> Result<Process, String> {
    let home = directory.join(name);
    std::fs::create_dir_all(&home).map_err(|error| error.to_string())?;
    let text = format!(
        "daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;\n\
         uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;\n{http} }}\n",
        home = home.display()
    );
    let file = home.join("nginx.conf");
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    let file = file.display().to_string();
    let log = home.join("log");
    Process::start(&["nginx", "-c", &file, "-p", &home.display().to_string()], &[], &log)
}

fn nginx(directory: &Path, origin: &Origin, tls: &Tls) -> Result<Proxy, String> {
    let (http, https) = (port()?, port()?);
    let mut text =
        String::from("access_log off; upstream targets { keepalive 512; keepalive_requests 1000000000;\n");
    (1..=TARGETS).for_each(|number| _ = writeln!(text, "server {}:{};", target(number), origin.port));
    text.push_str(
        "}\nkeepalive_requests 1000000000; proxy_http_version 1.1; proxy_set_header Connection \"\";\n",
    );
    text.push_str(
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Host $host;\n",
    );
    let _ = writeln!(
        text,
        "server {{ listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl; ssl_certificate {}; ssl_certificate_key {};",
        tls.certificate.display(),
        tls.key.display()
    );
    // Locations by expression are looked at one after the other, as rules are; plain prefixes would be a tree.
    (0..RULES).for_each(|rule| _ = writeln!(text, "location ~ ^/r{rule}/ {{ proxy_pass http://targets; }}"));
    text.push_str("}\n");
    let process = start_nginx(directory, "nginx", &text)?;
    until_listening(http)?;
    Ok(Proxy { http, https, cpu: Cpu::Process(process.pid()), _process: Some(process) })
}

fn haproxy(directory: &Path, origin: &Origin, tls: &Tls) -> Result<Proxy, String> {
    let (http, https) = (port()?, port()?);
    let mut text = String::from("global\n nbthread 1\n maxconn 4096\n tune.ssl.default-dh-param 2048\n");
    text.push_str("defaults\n mode http\n timeout connect 5s\n timeout client 600s\n timeout server 600s\n");
    text.push_str(" option forwardfor\n http-reuse always\n");
    let _ = writeln!(
        text,
        "frontend front\n bind 127.0.0.1:{http}\n bind 127.0.0.1:{https} ssl crt {}",
        tls.both.display()
    );
    (0..RULES).for_each(|rule| _ = writeln!(text, " use_backend targets if {{ path_beg /r{rule}/ }}"));
    text.push_str("backend targets\n balance roundrobin\n");
    for number in 1..=TARGETS {
        let _ = writeln!(text, " server s{number} {}:{} pool-max-conn 512", target(number), origin.port);
    }
    let file = directory.join("haproxy.cfg");
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    let words = ["haproxy", "-db", "-f", &file.display().to_string()];
    let process = Process::start(&words, &[], &directory.join("haproxy.log"))?;
    until_listening(http)?;
    Ok(Proxy { http, https, cpu: Cpu::Process(process.pid()), _process: Some(process) })
}

struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    both: PathBuf,
}

fn make_certificate(directory: &Path) -> Result<Tls, String> {
    let file = |name: &str| directory.join(name);
    let tls = Tls { certificate: file("cert.pem"), key: file("key.pem"), both: file("both.pem") };
    let (key, certificate) = (tls.key.display().to_string(), tls.certificate.display().to_string());
    let words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ];
    run(&words)?;
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| error.to_string());
    let both = read(&tls.certificate)? + &read(&tls.key)?;
    std::fs::write(&tls.both, both).map_err(|error| error.to_string())?;
    Ok(tls)
}

/// The balancer on a thread of its own.
struct Ours {
    proxy: Proxy,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Ours {
    fn start(origin: &Origin, tls: &Tls) -> Result<Self, String> {
        let (http, https) = (port()?, port()?);
        let read = |path: &Path| std::fs::read(path).map_err(|error| error.to_string());
        let certificate =
            Certificate::from_pem("c", Vec::new(), &read(&tls.certificate)?, b"", &read(&tls.key)?);
        let certificate = certificate.map_err(|error| error.to_string())?;
        let wanted = configuration(origin.port, http, https, Arc::new(certificate));
        let (ready, is_ready) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let balancer = Balancer::new(Settings {
                    clock: Arc::new(SystemClock),
                    ids: Arc::new(RandomIds),
                    cookie_key: [1; 32],
                    access_log: None,
                    connections_maximum: 4096,
                });
                let errors = balancer.apply(wanted).await;
                let mut changes = balancer.changes();
                let is_initial = || {
                    let health = balancer.target_health("targets").unwrap_or_default();
                    health.iter().any(|target| target.state == TargetState::Initial)
                };
                while is_initial() && changes.changed().await.is_ok() {}
                let own = std::fs::read_link("/proc/thread-self").unwrap_or_default();
                let _ = ready.send((errors.is_empty(), Path::new("/proc").join(own).join("schedstat")));
                let _ = stopped.await;
            });
        });
        let (listens, stat) = is_ready.recv_timeout(PATIENCE).map_err(|error| error.to_string())?;
        if !listens {
            return Err("the balancer cannot listen".to_owned());
        }
        let proxy = Proxy { http, https, cpu: Cpu::Thread(stat), _process: None };
        Ok(Self { proxy, stop, thread })
    }

    fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

fn configuration(origin: u16, http: u16, https: u16, certificate: Arc<Certificate>) -> Configuration {
    let forward =
        || Action::Forward(Forward { target_groups: vec![("targets".into(), 1)], stickiness: None });
    let mut rules: Vec<Rule> = (0..RULES)
        .map(|rule| Rule {
            arn: format!("rule {rule}").into(),
            priority: u32::try_from(rule + 1).ok(),
            conditions: vec![Condition::PathPattern(vec![Pattern::new(&format!("/r{rule}/*"))])],
            action: forward(),
        })
        .collect();
    let refusal = Action::FixedResponse { status: 404, content_type: None, body: String::new() };
    rules.push(Rule { arn: "default".into(), priority: None, conditions: Vec::new(), action: refusal });
    let listener = |port, protocol| Listener {
        arn: "listener".into(),
        port,
        protocol,
        rules: rules.clone(),
        certificates: vec![Arc::clone(&certificate)],
        security_policy: "ELBSecurityPolicy-TLS13-1-2-2021-06".to_owned(),
        alpn: Vec::new(),
        tcp_idle_timeout: Duration::from_secs(350),
    };
    let target = |number| {
        let text = target(number);
        let address = text.parse().unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
        Target { id: text.into(), address, port: origin, zone: None }
    };
    Configuration {
        load_balancers: vec![LoadBalancer {
            arn: "load-balancer".into(),
            places: vec![Place::here(std::net::Ipv4Addr::LOCALHOST.into())],
            admission: None,
            listeners: vec![listener(http, Protocol::Http), listener(https, Protocol::Https)],
            attributes: LoadBalancerAttributes::default(),
        }],
        target_groups: vec![Arc::new(TargetGroup {
            arn: "targets".into(),
            protocol: GroupProtocol::Http,
            protocol_version: ProtocolVersion::Http1,
            targets: (1..=TARGETS).map(target).collect(),
            health_check: HealthCheck {
                enabled: true,
                protocol: GroupProtocol::Http,
                port: None,
                path: "/".to_owned(),
                interval: Duration::from_secs(30),
                timeout: Duration::from_secs(5),
                healthy_threshold: 5,
                unhealthy_threshold: 2,
                matcher: Matcher(vec![(200, 200)]),
            },
            algorithm: Algorithm::RoundRobin,
            deregistration_delay: Duration::from_secs(1),
            slow_start: Duration::ZERO,
            stickiness: None,
            preserve_client_ip: false,
            proxy_protocol_v2: false,
            connection_termination: false,
            cross_zone: true,
        })],
    }
}
