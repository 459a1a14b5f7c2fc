//! VPCs with IPv6 addresses: routed, filtered and kept from forgery as IPv4 is.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use common::*;
use network::{
    Attachment, GroupRules, Network, PacketRule, Peer, SecurityGroupPolicy, TaskNetwork, VpcNetwork,
};

const PATIENCE: Duration = Duration::from_millis(500);

/// The default VPC and its first subnets with IPv6 addresses.
fn dual_stack(id: &str, cidr: &str, subnets: &[&str], prefix: &str) -> VpcNetwork {
    let mut made = vpc(id, cidr, subnets);
    made.ipv6_cidr = Some(format!("{prefix}00::/56").parse().unwrap());
    for (index, subnet) in made.subnets.iter_mut().enumerate() {
        subnet.ipv6_cidr = Some(format!("{prefix}0{index}::/64").parse().unwrap());
    }
    made
}

fn with_ipv6(id: &str, address: &str, ipv6: &str) -> Attachment {
    Attachment { ipv6_addresses: vec![ipv6.parse().unwrap()], ..attachment(id, address) }
}

async fn dual_stack_network(directory: &Path) -> Network {
    let network = Network::start(config(directory)).await.unwrap();
    let made = dual_stack("vpc-1", "172.31.0.0/16", &["172.31.0.0/20", "172.31.16.0/20"], "fd00:0:0:1");
    network.ensure_vpc(made).await.unwrap();
    network
}

fn serve(task: &TaskNetwork, ports: &[u16]) {
    serve_in(&task.namespace, ports);
}

fn serve_in(namespace: &Path, ports: &[u16]) {
    for port in ports.iter().copied() {
        inside(namespace, move || {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
            std::thread::spawn(move || {
                while let Ok((mut stream, peer)) = listener.accept() {
                    let _ = stream.write_all(peer.ip().to_string().as_bytes());
                }
            });
        });
    }
}

/// By which address the server sees us; `None` where it is not reached.
fn seen_as(address: &str, port: u16) -> Option<String> {
    let to = SocketAddr::new(address.parse().unwrap(), port);
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn seen_from(task: &TaskNetwork, address: &'static str, port: u16) -> Option<String> {
    inside(&task.namespace, move || seen_as(address, port))
}

#[test]
fn tasks_reach_each_other_and_the_host_by_ipv6_and_other_vpcs_do_not() {
    on_a_host_of_its_own("tasks_reach_each_other_and_the_host_by_ipv6_and_other_vpcs_do_not", || async {
        let directory = tempfile::tempdir().unwrap();
        run(&["ip", "link", "add", "wan", "type", "veth", "peer", "name", "inet"]);
        std::fs::write("/proc/sys/net/ipv6/conf/wan/accept_ra", "1").unwrap();
        let settings = || {
            let read = |key: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{key}")).unwrap();
            (read("all/forwarding"), read("wan/accept_ra"))
        };
        let before = (settings(), traces(directory.path()));
        let network = dual_stack_network(directory.path()).await;
        let other_vpc = dual_stack("vpc-2", "172.30.0.0/16", &["172.30.0.0/20"], "fd00:0:0:2");
        network.ensure_vpc(other_vpc).await.unwrap();
        assert_eq!(
            settings(),
            ("1\n".to_owned(), "2\n".to_owned()),
            "the host still listens to its own router"
        );
        let a = network.attach(with_ipv6("a", "172.31.0.10", "fd00:0:0:100::10")).await.unwrap();
        let b = network.attach(with_ipv6("b", "172.31.0.11", "fd00:0:0:100::11")).await.unwrap();
        let c = network.attach(with_ipv6("c", "172.31.16.10", "fd00:0:0:101::10")).await.unwrap();
        let stranger = network.attach(with_ipv6("s", "172.30.0.10", "fd00:0:0:200::10")).await.unwrap();
        serve(&a, &[80]);
        assert_eq!(seen_from(&b, "fd00:0:0:100::10", 80).unwrap(), "fd00:0:0:100::11", "same subnet");
        assert_eq!(seen_from(&c, "fd00:0:0:100::10", 80).unwrap(), "fd00:0:0:101::10", "other subnet");
        assert_eq!(seen_as("fd00:0:0:100::10", 80).unwrap(), "fd00:0:0:100::1", "the host");
        assert_eq!(seen_from(&stranger, "fd00:0:0:100::10", 80), None, "another VPC");
        assert_eq!(seen_from(&stranger, "fd00:0:0:100::1", 80), None, "nor its router");
        let taken = network.attach(with_ipv6("d", "172.31.0.12", "fd00:0:0:100::10")).await;
        assert!(taken.unwrap_err().to_string().contains("fd00:0:0:100::10 is in use"));
        // Who does not know of the IPv6 addresses leaves them alone.
        network
            .ensure_vpc(vpc("vpc-1", "172.31.0.0/16", &["172.31.0.0/20", "172.31.16.0/20"]))
            .await
            .unwrap();
        assert!(seen_from(&b, "fd00:0:0:100::10", 80).is_some());
        // A subnet that goes takes its router's address along.
        let wide = ["172.31.0.0/20", "172.31.16.0/20", "172.31.32.0/20"];
        let routers = || run(&["ip", "-6", "address", "show", "scope", "global"]);
        network.ensure_vpc(dual_stack("vpc-1", "172.31.0.0/16", &wide, "fd00:0:0:1")).await.unwrap();
        assert!(routers().contains("fd00:0:0:102::1/64"), "{}", routers());
        network.ensure_vpc(dual_stack("vpc-1", "172.31.0.0/16", &wide[..2], "fd00:0:0:1")).await.unwrap();
        assert!(!routers().contains("fd00:0:0:102::1") && routers().contains("fd00:0:0:101::1/64"));
        // Over a restart, and gone with its task.
        drop(network);
        let network = Network::start(config(directory.path())).await.unwrap();
        assert!(seen_from(&b, "fd00:0:0:100::10", 80).is_some());
        network.detach("b").await.unwrap();
        network.drained().await;
        let neighbours = run(&["ip", "-6", "neigh", "show", "nud", "permanent"]);
        assert!(
            !neighbours.contains("fd00:0:0:100::11") && neighbours.contains("fd00:0:0:101::10"),
            "{neighbours}"
        );
        network.shutdown().await.unwrap();
        assert_eq!((settings(), traces(directory.path())), before);
    });
}

#[test]
fn a04_an_ipv6_address_is_not_forged() {
    on_a_host_of_its_own("a04_an_ipv6_address_is_not_forged", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = dual_stack_network(directory.path()).await;
        let thief = network.attach(with_ipv6("thief", "172.31.0.10", "fd00:0:0:100::10")).await.unwrap();
        let victim = network.attach(with_ipv6("victim", "172.31.0.11", "fd00:0:0:100::11")).await.unwrap();
        let witness = network.attach(with_ipv6("witness", "172.31.0.12", "fd00:0:0:100::12")).await.unwrap();
        serve(&witness, &[80]);
        serve(&victim, &[80]);
        assert!(seen_from(&thief, "fd00:0:0:100::12", 80).is_some());
        let neighbours = || run(&["ip", "-6", "neigh", "show", "nud", "permanent"]);
        let before = neighbours();
        for forged in ["fd00:0:0:100::11", "fd00:0:0:100::99", "2001:db8::1"] {
            inside(&thief.namespace, move || {
                run(&["ip", "-6", "address", "flush", "dev", "eth0", "scope", "global"]);
                run(&["ip", "-6", "address", "add", &format!("{forged}/128"), "dev", "eth0", "nodad"]);
                let _ = std::process::Command::new("ip")
                    .args(["-6", "route", "replace", "default", "via", "fe80::1", "dev", "eth0"])
                    .output();
            });
            assert_eq!(seen_from(&thief, "fd00:0:0:100::12", 80), None, "{forged}");
        }
        assert_eq!(neighbours(), before);
        assert_eq!(seen_as("fd00:0:0:100::11", 80).unwrap(), "fd00:0:0:100::1", "the victim is where it was");
        network.shutdown().await.unwrap();
    });
}

/// A namespace that plays the internet, for as long as its sender is kept: 2001:db8::1 on a veth pair that is the host's default route.
fn outside() -> (PathBuf, mpsc::Sender<()>) {
    let (over, wait) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        tell.send(nix::unistd::gettid()).unwrap();
        let _ = wait.recv();
    });
    let thread = told.recv().unwrap();
    let namespace = PathBuf::from(format!("/proc/self/task/{thread}/ns/net"));
    run(&["ip", "link", "add", "wan", "type", "veth", "peer", "name", "inet"]);
    run(&["ip", "link", "set", "inet", "netns", &thread.to_string()]);
    run(&["ip", "address", "add", "2001:db8::2/64", "dev", "wan", "nodad"]);
    run(&["ip", "link", "set", "wan", "up"]);
    run(&["ip", "-6", "route", "add", "default", "via", "2001:db8::1", "dev", "wan"]);
    inside(&namespace, || {
        run(&["ip", "link", "set", "inet", "up"]);
        for address in ["2001:db8::1/64", "fd00:ec2::254/128", "fd20:ce::254/128"] {
            run(&["ip", "address", "add", address, "dev", "inet", "nodad"]);
        }
        // What a neighbour of the host could do: send to private addresses through it.
        run(&["ip", "-6", "route", "add", "fd00:0:0:100::/56", "via", "2001:db8::2"]);
    });
    (namespace, over)
}

#[test]
fn tasks_reach_the_outside_by_ipv6_and_are_not_reached_from_there() {
    on_a_host_of_its_own("tasks_reach_the_outside_by_ipv6_and_are_not_reached_from_there", || async {
        let directory = tempfile::tempdir().unwrap();
        let (outside, _kept) = outside();
        let network = dual_stack_network(directory.path()).await;
        let task = network.attach(with_ipv6("a", "172.31.0.10", "fd00:0:0:100::10")).await.unwrap();
        serve_in(&outside, &[80]);
        serve(&task, &[80]);
        let from_outside = || inside(&outside, || seen_as("fd00:0:0:100::10", 80));
        assert_eq!(seen_from(&task, "2001:db8::1", 80).unwrap(), "2001:db8::2", "by the host's address");
        assert_eq!(from_outside(), None, "private addresses are private");
        for credentials in ["fd00:ec2::254", "fd20:ce::254"] {
            assert!(seen_as(credentials, 80).is_some(), "the host reaches its own: {credentials}");
            assert_eq!(seen_from(&task, credentials, 80), None, "a task does not");
        }
        network.shutdown().await.unwrap();
    });
}

#[test]
fn the_resolver_is_reached_by_its_aws_address() {
    on_a_host_of_its_own("the_resolver_is_reached_by_its_aws_address", || async {
        const RESOLVER: &str = "fd00:ec2::253";
        let directory = tempfile::tempdir().unwrap();
        let (outside, _kept) = outside();
        let network = dual_stack_network(directory.path()).await;
        let task = network.attach(with_ipv6("a", "172.31.0.10", "fd00:0:0:100::10")).await.unwrap();
        let host = network.resolver_address_ipv6().unwrap();
        let listener = TcpListener::bind((host, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            while let Ok((mut stream, peer)) = listener.accept() {
                let _ = stream.write_all(peer.ip().to_string().as_bytes());
            }
        });
        assert_eq!(seen_from(&task, RESOLVER, 53), None, "nobody serves yet");
        network.serve_resolver_ipv6(Some(SocketAddrV6::new(host, port, 0, 0))).unwrap();
        assert_eq!(seen_from(&task, RESOLVER, 53).unwrap(), "fd00:0:0:100::10");
        // No group filters it, as at AWS.
        let shut = SecurityGroupPolicy {
            groups: BTreeMap::from([("shut".to_owned(), GroupRules::default())]),
            members: BTreeMap::from([(
                "fd00:0:0:100::10".parse().unwrap(),
                BTreeSet::from(["shut".to_owned()]),
            )]),
            unfiltered: BTreeSet::new(),
        };
        network.apply_security_groups(&shut).unwrap();
        assert_eq!(seen_from(&task, RESOLVER, 53).unwrap(), "fd00:0:0:100::10");
        let from_outside = inside(&outside, move || {
            run(&["ip", "-6", "route", "add", &format!("{host}/128"), "via", "2001:db8::2"]);
            seen_as(&host.to_string(), port)
        });
        assert_eq!(from_outside, None, "the host's neighbours do not reach it");
        network.serve_resolver_ipv6(None).unwrap();
        assert_eq!(seen_from(&task, RESOLVER, 53), None);
        network.shutdown().await.unwrap();
    });
}

#[test]
fn security_groups_hold_for_ipv6() {
    on_a_host_of_its_own("security_groups_hold_for_ipv6", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = dual_stack_network(directory.path()).await;
        let web = network.attach(with_ipv6("web", "172.31.0.10", "fd00:0:0:100::10")).await.unwrap();
        let other = network.attach(with_ipv6("other", "172.31.0.11", "fd00:0:0:100::11")).await.unwrap();
        serve(&web, &[80, 81]);
        let members: [(&str, &str); 4] = [
            ("172.31.0.10", "web"),
            ("fd00:0:0:100::10", "web"),
            ("172.31.0.11", "other"),
            ("fd00:0:0:100::11", "other"),
        ];
        let everything = || ["0.0.0.0/0", "::/0"].map(|cidr| rule(None, None, peer(cidr))).to_vec();
        let letting = |ingress: Vec<PacketRule>| SecurityGroupPolicy {
            groups: BTreeMap::from([
                ("web".to_owned(), GroupRules { ingress, egress: everything() }),
                ("other".to_owned(), GroupRules { ingress: Vec::new(), egress: everything() }),
            ]),
            members: members
                .iter()
                .map(|(address, group)| {
                    (address.parse::<IpAddr>().unwrap(), BTreeSet::from([(*group).to_owned()]))
                })
                .collect(),
            unfiltered: BTreeSet::new(),
        };
        let http = |peer| vec![rule(Some(6), Some((80, 80)), peer)];
        let reached = |policy| {
            network.apply_security_groups(&policy).unwrap();
            let v6 = |port| seen_from(&other, "fd00:0:0:100::10", port).is_some();
            (v6(80), v6(81), seen_as("fd00:0:0:100::10", 80).is_some())
        };
        assert_eq!(reached(letting(Vec::new())), (false, false, false));
        assert_eq!(reached(letting(http(peer("0.0.0.0/0")))), (false, false, false), "IPv4 alone");
        assert_eq!(reached(letting(http(peer("::/0")))), (true, false, true));
        assert_eq!(reached(letting(http(peer("fd00:0:0:100::11/128")))), (true, false, false));
        assert_eq!(reached(letting(http(Peer::Group("other".to_owned())))), (true, false, false));
        network.shutdown().await.unwrap();
    });
}

fn peer(cidr: &str) -> Peer {
    cidr.parse().map_or_else(|_| Peer::Ipv6Cidr(cidr.parse().unwrap()), Peer::Cidr)
}

fn rule(protocol: Option<u8>, ports: Option<(u16, u16)>, peer: Peer) -> PacketRule {
    PacketRule { protocol, ports, peer }
}
