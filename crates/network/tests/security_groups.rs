//! Security groups: what they let through, and what they do not.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use base::Ipv4Cidr;
use common::*;
use network::{GroupRules, PacketRule, Peer, SecurityGroupPolicy, TaskNetwork};

const PATIENCE: Duration = Duration::from_millis(400);
const TCP: Option<u8> = Some(6);

fn cidr(text: &str) -> Peer {
    Peer::Cidr(text.parse::<Ipv4Cidr>().unwrap())
}

fn rule(protocol: Option<u8>, ports: Option<(u16, u16)>, peer: Peer) -> PacketRule {
    PacketRule { protocol, ports, peer }
}

fn everything() -> Vec<PacketRule> {
    vec![rule(None, None, cidr("0.0.0.0/0"))]
}

fn policy(
    groups: &[(&str, Vec<PacketRule>, Vec<PacketRule>)],
    members: &[(&str, &[&str])],
) -> SecurityGroupPolicy {
    let rules = |(id, ingress, egress): &(&str, Vec<PacketRule>, Vec<PacketRule>)| {
        ((*id).to_owned(), GroupRules { ingress: ingress.clone(), egress: egress.clone() })
    };
    let member = |(address, groups): &(&str, &[&str])| {
        let groups: BTreeSet<String> = groups.iter().map(|id| (*id).to_owned()).collect();
        (address.parse::<IpAddr>().unwrap(), groups)
    };
    SecurityGroupPolicy {
        groups: groups.iter().map(rules).collect::<BTreeMap<_, _>>(),
        members: members.iter().map(member).collect(),
        unfiltered: BTreeSet::new(),
    }
}

/// A listener on each port inside a task, that echoes.
fn serve(task: &TaskNetwork, ports: &[u16]) {
    let ports = ports.to_vec();
    inside(&task.namespace, move || {
        for port in ports {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
            std::thread::spawn(move || {
                while let Ok((mut stream, _)) = listener.accept() {
                    std::thread::spawn(move || {
                        let mut bytes = [0; 64];
                        while let Ok(count @ 1..) = stream.read(&mut bytes) {
                            let _ = stream.write_all(&bytes[..count]);
                        }
                    });
                }
            });
        }
    });
}

fn open(address: &str, port: u16) -> Option<TcpStream> {
    let to = SocketAddr::V4(SocketAddrV4::new(address.parse().unwrap(), port));
    let stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Some(stream)
}

fn reaches(from: &TaskNetwork, address: &'static str, port: u16) -> bool {
    inside(&from.namespace, move || open(address, port).is_some())
}

fn echoes(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut bytes).is_ok()
}

#[test]
fn a_denied_port_is_denied_and_a_rule_acts_at_once() {
    on_a_host_of_its_own("a_denied_port_is_denied_and_a_rule_acts_at_once", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let web = network.attach(attachment("web", "172.31.0.10")).await.unwrap();
        let other = network.attach(attachment("other", "172.31.16.11")).await.unwrap();
        serve(&web, &[80, 81, 443, 8080]);
        assert!(reaches(&other, "172.31.0.10", 81), "nothing is enforced before it is said");
        let members: &[(&str, &[&str])] = &[("172.31.0.10", &["sg-web"]), ("172.31.16.11", &["sg-other"])];
        let with = |ingress: Vec<PacketRule>| {
            policy(&[("sg-web", ingress, everything()), ("sg-other", Vec::new(), everything())], members)
        };
        network.apply_security_groups(&with(Vec::new())).unwrap();
        assert!(!reaches(&other, "172.31.0.10", 80), "closed by default");
        assert!(!pings_from(&other, "172.31.0.10"));
        let ports = |first, last| vec![rule(TCP, Some((first, last)), cidr("172.31.16.0/20"))];
        network.apply_security_groups(&with(ports(80, 80))).unwrap();
        assert!(reaches(&other, "172.31.0.10", 80));
        assert!(!reaches(&other, "172.31.0.10", 81));
        assert!(open("172.31.0.10", 80).is_none(), "the host is not in that network");
        network.apply_security_groups(&with(ports(80, 443))).unwrap();
        assert!(reaches(&other, "172.31.0.10", 81) && reaches(&other, "172.31.0.10", 443));
        assert!(!reaches(&other, "172.31.0.10", 8080));
        // By group: who is in it may come, whatever its address.
        let by_group = vec![rule(TCP, Some((8080, 8080)), Peer::Group("sg-other".into()))];
        network.apply_security_groups(&with(by_group)).unwrap();
        assert!(reaches(&other, "172.31.0.10", 8080));
        assert!(!reaches(&other, "172.31.0.10", 80));
        // Ping is type 8 of ICMP.
        let ping = vec![rule(Some(1), Some((8 << 8, 8 << 8)), cidr("0.0.0.0/0"))];
        network.apply_security_groups(&with(ping)).unwrap();
        assert!(pings_from(&other, "172.31.0.10"));
        assert!(!reaches(&other, "172.31.0.10", 80));
        network.shutdown().await.unwrap();
        assert!(!run(&["nft", "list", "tables"]).contains("roadstead"), "nothing is left");
    });
}

#[test]
fn what_was_allowed_goes_on_and_answers_need_no_rule() {
    on_a_host_of_its_own("what_was_allowed_goes_on_and_answers_need_no_rule", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let server = network.attach(attachment("server", "172.31.0.10")).await.unwrap();
        let client = network.attach(attachment("client", "172.31.0.11")).await.unwrap();
        serve(&server, &[80]);
        let open_to = |ingress: Vec<PacketRule>, egress: Vec<PacketRule>| {
            // The server may open nothing itself, the client takes nothing: only answers pass.
            policy(
                &[("s", ingress, Vec::new()), ("c", Vec::new(), egress)],
                &[("172.31.0.10", &["s"]), ("172.31.0.11", &["c"])],
            )
        };
        let http = || vec![rule(TCP, Some((80, 80)), cidr("0.0.0.0/0"))];
        network.apply_security_groups(&open_to(http(), http())).unwrap();
        let mut kept = inside(&client.namespace, || open("172.31.0.10", 80)).unwrap();
        assert!(echoes(&mut kept));
        network.apply_security_groups(&open_to(Vec::new(), http())).unwrap();
        assert!(echoes(&mut kept), "a tracked connection outlives its rule");
        assert!(!reaches(&client, "172.31.0.10", 80), "a new one does not come in");
        network.apply_security_groups(&open_to(http(), Vec::new())).unwrap();
        assert!(!reaches(&client, "172.31.0.10", 80), "nor out");
        network.apply_security_groups(&open_to(http(), http())).unwrap();
        assert!(reaches(&client, "172.31.0.10", 80));
        network.shutdown().await.unwrap();
    });
}

#[test]
fn several_groups_add_up_and_members_come_and_go() {
    on_a_host_of_its_own("several_groups_add_up_and_members_come_and_go", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let a = network.attach(attachment("a", "172.31.0.10")).await.unwrap();
        let b = network.attach(attachment("b", "172.31.0.11")).await.unwrap();
        serve(&a, &[80, 90]);
        let groups = [
            ("one", vec![rule(TCP, Some((80, 80)), cidr("0.0.0.0/0"))], everything()),
            ("two", vec![rule(TCP, Some((90, 90)), Peer::Group("three".into()))], Vec::new()),
            ("three", Vec::new(), everything()),
        ];
        let of = |a: &[&str], b: &[&str]| policy(&groups, &[("172.31.0.10", a), ("172.31.0.11", b)]);
        let seen = |network: &network::Network, policy: &SecurityGroupPolicy| {
            network.apply_security_groups(policy).unwrap();
            (reaches(&b, "172.31.0.10", 80), reaches(&b, "172.31.0.10", 90))
        };
        assert_eq!(seen(&network, &of(&["one", "two"], &["three"])), (true, true));
        assert_eq!(seen(&network, &of(&["one", "two"], &["one"])), (true, false), "no longer in group three");
        assert_eq!(seen(&network, &of(&["two"], &["three"])), (false, true));
        assert_eq!(seen(&network, &of(&[], &["three"])), (false, false), "in no group at all");
        // The group goes, and rules that name it match nothing; then all is gone but the other member.
        let fewer = policy(&groups[..2], &[("172.31.0.10", &["one", "two"]), ("172.31.0.11", &["one"])]);
        assert_eq!(seen(&network, &fewer), (true, false));
        let none = policy(&[], &[]);
        assert_eq!(seen(&network, &none), (true, true), "what is not listed is not enforced");
        let rules = run(&["nft", "list", "table", "inet", "roadstead_t_sg"]);
        assert!(!rules.contains("chain pi") && !rules.contains("set m"), "{rules}");
        network.shutdown().await.unwrap();
    });
}

#[test]
fn a_host_address_is_a_member_like_any_other() {
    on_a_host_of_its_own("a_host_address_is_a_member_like_any_other", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let client = network.attach(attachment("client", "172.31.0.11")).await.unwrap();
        let target = network.attach(attachment("target", "172.31.0.12")).await.unwrap();
        serve(&target, &[80]);
        let balancer: Ipv4Addr = "172.31.0.50".parse().unwrap();
        network.add_host_address(balancer).await.unwrap();
        network.add_host_address(balancer).await.unwrap();
        let listener = TcpListener::bind((balancer, 8000)).unwrap();
        std::thread::spawn(move || while listener.accept().is_ok() {});
        let open_port = |port| vec![rule(TCP, Some((port, port)), cidr("0.0.0.0/0"))];
        let members: &[(&str, &[&str])] =
            &[("172.31.0.50", &["lb"]), ("172.31.0.11", &["any"]), ("172.31.0.12", &["target"])];
        let with = |port| {
            let from_balancer = vec![rule(TCP, Some((80, 80)), Peer::Group("lb".into()))];
            policy(
                &[
                    ("lb", open_port(port), everything()),
                    ("any", Vec::new(), everything()),
                    ("target", from_balancer, Vec::new()),
                ],
                members,
            )
        };
        network.apply_security_groups(&with(9999)).unwrap();
        assert!(!reaches(&client, "172.31.0.50", 8000));
        network.apply_security_groups(&with(8000)).unwrap();
        assert!(reaches(&client, "172.31.0.50", 8000));
        // The balancer's address may reach the target, the host as itself may not, nor may another task.
        let socket = std::net::TcpStream::connect_timeout(&"172.31.0.12:80".parse().unwrap(), PATIENCE);
        assert!(socket.is_err(), "from the gateway's address");
        assert!(!reaches(&client, "172.31.0.12", 80));
        let bound = connect_from(balancer, "172.31.0.12:80");
        assert!(bound, "from the balancer's address");
        network.remove_host_address(balancer).await.unwrap();
        network.remove_host_address(balancer).await.unwrap();
        network.shutdown().await.unwrap();
    });
}

fn connect_from(source: Ipv4Addr, to: &str) -> bool {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
    };
    use std::os::fd::AsRawFd as _;
    let made = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let patience = nix::sys::time::TimeVal::new(1, 0);
    setsockopt(&made, sockopt::SendTimeout, &patience).unwrap();
    bind(made.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source, 0))).unwrap();
    connect(made.as_raw_fd(), &SockaddrIn::from(to.parse::<SocketAddrV4>().unwrap())).is_ok()
}

#[test]
fn what_is_enforced_stays_in_force_over_a_restart() {
    on_a_host_of_its_own("what_is_enforced_stays_in_force_over_a_restart", || async {
        let directory = tempfile::tempdir().unwrap();
        let first = network(directory.path()).await;
        let a = first.attach(attachment("a", "172.31.0.10")).await.unwrap();
        let b = first.attach(attachment("b", "172.31.0.11")).await.unwrap();
        serve(&a, &[80]);
        let closed =
            policy(&[("g", Vec::new(), everything())], &[("172.31.0.10", &["g"]), ("172.31.0.11", &["g"])]);
        first.apply_security_groups(&closed).unwrap();
        assert!(!reaches(&b, "172.31.0.10", 80));
        drop(first);
        let second = network(directory.path()).await;
        assert!(!reaches(&b, "172.31.0.10", 80), "no gap");
        let opened = policy(
            &[("g", vec![rule(TCP, Some((80, 80)), Peer::Group("g".into()))], everything())],
            &[("172.31.0.10", &["g"]), ("172.31.0.11", &["g"])],
        );
        second.apply_security_groups(&opened).unwrap();
        assert!(reaches(&b, "172.31.0.10", 80));
        second.shutdown().await.unwrap();
    });
}

#[test]
fn many_members_and_rules() {
    on_a_host_of_its_own("many_members_and_rules", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let mut wanted = SecurityGroupPolicy::default();
        for group in 0..50_u16 {
            let ports =
                (0..60).map(|port| rule(TCP, Some((port, port + group)), cidr("10.0.0.0/8"))).collect();
            wanted.groups.insert(format!("sg-{group}"), GroupRules { ingress: ports, egress: everything() });
        }
        for member in 0..2000_u32 {
            let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 31, 64, 4)) + member);
            let groups = (0..5).map(|number| format!("sg-{}", (member + number) % 50)).collect();
            wanted.members.insert(address.into(), groups);
        }
        let began = Instant::now();
        network.apply_security_groups(&wanted).unwrap();
        let whole = began.elapsed();
        wanted.members.insert("172.31.80.1".parse().unwrap(), BTreeSet::from(["sg-1".to_owned()]));
        wanted.groups.get_mut("sg-2").unwrap().ingress.pop();
        let began = Instant::now();
        network.apply_security_groups(&wanted).unwrap();
        eprintln!("everything in {whole:?}, then one member and one rule in {:?}", began.elapsed());
        network.shutdown().await.unwrap();
    });
}
