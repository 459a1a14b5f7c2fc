//! A "host" for every test: a network namespace of its own, so that tests run side by side and touch nothing of the machine.
#![allow(dead_code)] // each test file uses some of it

use std::future::Future;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

use network::{Attachment, Network, NetworkConfig, SubnetNetwork, TaskNetwork, VpcNetwork};

/// Runs a test in a namespace of its own; says by name why it is skipped where the machine cannot.
pub fn on_a_host_of_its_own<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped {name}: needs root");
        return;
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace can be made");
        run(&["ip", "link", "set", "lo", "up"]);
        // On this thread alone, so that all of it stays in the namespace.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `work` in another namespace, on a thread of its own.
pub fn inside<T: Send + 'static>(namespace: &Path, work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_inside(namespace, work).join().expect("the work inside ends well")
}

/// As [`inside`], and goes on.
pub fn spawn_inside<T: Send + 'static>(
    namespace: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let file = std::fs::File::open(namespace).expect("the namespace's file opens");
    std::thread::spawn(move || {
        setns(file, CloneFlags::CLONE_NEWNET).expect("the namespace can be entered");
        work()
    })
}

/// Runs a program in the calling thread's namespace and gives what it printed.
pub fn run(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output().expect("the program is installed");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words:?} failed: {text}");
    text
}

/// Whether `address` answers a ping from the calling thread's namespace.
pub fn pings(address: Ipv4Addr) -> bool {
    let words = ["ping", "-c", "1", "-W", "2", &address.to_string()];
    Command::new("busybox").args(words).output().expect("busybox is installed").status.success()
}

pub fn pings_from(task: &TaskNetwork, address: &str) -> bool {
    let address = address.parse().unwrap();
    inside(&task.namespace, move || pings(address))
}

pub fn vpc(id: &str, cidr: &str, subnets: &[&str]) -> VpcNetwork {
    let subnet = |(index, cidr): (usize, &&str)| SubnetNetwork {
        id: format!("{id}-subnet-{index}"),
        cidr: cidr.parse().unwrap(),
        ipv6_cidr: None,
    };
    VpcNetwork {
        id: id.to_owned(),
        cidr: cidr.parse().unwrap(),
        ipv6_cidr: None,
        subnets: subnets.iter().enumerate().map(subnet).collect(),
    }
}

pub fn default_vpc() -> VpcNetwork {
    vpc("vpc-1", "172.31.0.0/16", &["172.31.0.0/20", "172.31.16.0/20", "172.31.32.0/20"])
}

/// An attachment in a /20 subnet.
pub fn attachment(id: &str, address: &str) -> Attachment {
    let address: Ipv4Addr = address.parse().unwrap();
    let subnet = base::Ipv4Cidr::containing(address, 20).unwrap();
    let [a, b, c, d] = address.octets();
    Attachment {
        id: id.to_owned(),
        mac: base::MacAddress([0x02, 0, a, b, c, d]),
        address,
        ipv6_addresses: Vec::new(),
        prefix_length: 20,
        gateway: subnet.nth(1).unwrap(),
    }
}

pub fn config(directory: &Path) -> NetworkConfig {
    NetworkConfig { name: "t".to_owned(), data_dir: directory.join("network"), mtu: None }
}

/// A network with the default VPC.
pub async fn network(directory: &Path) -> Network {
    let network = Network::start(config(directory)).await.unwrap();
    network.ensure_vpc(default_vpc()).await.unwrap();
    network
}

/// Everything of the machine that a network may leave behind, as text.
pub fn traces(directory: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let directory = directory.to_str().unwrap();
    let mounts: Vec<&str> = mounts.lines().filter(|line| line.contains(directory)).collect();
    // Names alone: a bridge that had a port shows another state than one that never had.
    let links = run(&["ip", "-o", "link"]);
    let links: Vec<_> = links.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    format!(
        "{links:?}\n{}\n{}\n{}\n{mounts:?}\n{}",
        run(&["ip", "-o", "-4", "address"]),
        run(&["ip", "route"]).replace(" linkdown", ""),
        run(&["nft", "list", "ruleset"]),
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
    )
}
