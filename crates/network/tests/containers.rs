//! Containers of network mode `bridge`, and ports of the host that lead to them.

mod common;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use network::{ContainerNetwork, HostPort, Network, NetworkError, PortWish, Protocol, PublishedPorts};

use common::*;

const PATIENCE: Duration = Duration::from_millis(700);
/// The host's address on its way out, and who is there.
const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const NEIGHBOUR: &str = "198.51.100.1";

/// Connects, and gives what the server says.
fn ask(address: Ipv4Addr, port: u16) -> Result<String, std::io::Error> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"hello")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Serves TCP and UDP in a namespace until the test ends: who asks, and with which name.
fn serve(namespace: &Path, name: &'static str, port: u16) {
    inside(namespace, move || {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        std::thread::spawn(move || {
            loop {
                let (mut stream, peer) = listener.accept().unwrap();
                let _ = stream.read_to_string(&mut String::new());
                let _ = stream.write_all(format!("{name} to {}", peer.ip()).as_bytes());
            }
        });
        std::thread::spawn(move || {
            loop {
                let (_, peer) = socket.recv_from(&mut [0; 16]).unwrap();
                let _ = socket.send_to(format!("{name} to {}", peer.ip()).as_bytes(), peer);
            }
        });
    });
}

/// One datagram and its answer, from a socket that stays.
fn ask_udp(socket: &UdpSocket, address: Ipv4Addr, port: u16) -> Result<String, std::io::Error> {
    let mut bytes = [0; 64];
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(b"x", (address, port))?;
    let length = socket.recv(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// A neighbour of the host: 198.51.100.1 on a veth pair that is the host's default route.
fn neighbour(directory: &Path) -> PathBuf {
    let path = directory.join("neighbour");
    std::fs::File::create(&path).unwrap();
    let (pin, (pinned, is_pinned)) = (path.clone(), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let ours = Some("/proc/thread-self/ns/net");
        nix::mount::mount(ours, &pin, None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>).unwrap();
        pinned.send(()).unwrap();
    });
    is_pinned.recv().unwrap();
    run(&["ip", "link", "add", "wan", "type", "veth", "peer", "name", "inet"]);
    // ip(8) takes a namespace by name or process only: hand the link to a process that waits inside.
    let net = format!("--net={}", path.display());
    let mut program = std::process::Command::new("nsenter");
    program.args([&net, "cat"]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut waiting = program.spawn().unwrap();
    waiting.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    // It answers: then it is inside.
    waiting.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    run(&["ip", "link", "set", "inet", "netns", &waiting.id().to_string()]);
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    run(&["ip", "address", "add", "198.51.100.2/24", "dev", "wan"]);
    run(&["ip", "link", "set", "wan", "up"]);
    run(&["ip", "route", "add", "default", "via", NEIGHBOUR]);
    inside(&path, || {
        run(&["ip", "address", "add", "198.51.100.1/24", "dev", "inet"]);
        run(&["ip", "link", "set", "inet", "up"]);
        run(&["ip", "link", "set", "lo", "up"]);
        // What it could try: private addresses, through the host.
        run(&["ip", "route", "add", "192.168.0.0/16", "via", "198.51.100.2"]);
    });
    path
}

fn gone(neighbour: &Path) {
    nix::mount::umount2(neighbour, nix::mount::MntFlags::MNT_DETACH).unwrap();
}

fn tcp(container: u16, host: Option<u16>) -> PortWish {
    PortWish { protocol: Protocol::Tcp, container: (container, container), host }
}

fn udp(container: u16, host: Option<u16>) -> PortWish {
    PortWish { protocol: Protocol::Udp, ..tcp(container, host) }
}

fn publish(network: &Network, id: &str, wishes: &[PortWish]) -> Result<Vec<PublishedPorts>, NetworkError> {
    network.publish(id, wishes, &BTreeSet::new())
}

fn pings_container(from: &ContainerNetwork, address: Ipv4Addr) -> bool {
    inside(&from.namespace, move || pings(address))
}

async fn started(directory: &Path) -> Network {
    Network::start(config(directory)).await.unwrap()
}

#[test]
fn a04_containers_have_addresses_of_their_own_and_nobody_elses() {
    on_a_host_of_its_own("a04_containers_have_addresses_of_their_own_and_nobody_elses", || async {
        let directory = tempfile::tempdir().unwrap();
        let neighbour = neighbour(directory.path());
        let network = started(directory.path()).await;
        let a = network.attach_container("a").await.unwrap();
        let b = network.attach_container("b").await.unwrap();
        assert_eq!(a.address.to_string(), "192.168.240.4");
        assert_eq!(b.address.to_string(), "192.168.240.5");
        assert_eq!((a.gateway.to_string(), a.prefix_length), ("192.168.240.1".to_owned(), 20));
        assert_eq!(a.mac.to_string(), "02:42:c0:a8:f0:04");
        assert_eq!(network.attach_container("a").await.unwrap(), a, "asked again");
        assert!(pings_container(&a, b.address) && pings_container(&b, a.address), "each other");
        assert!(pings_container(&a, a.gateway) && pings(a.address), "the host, and back");
        serve(&neighbour, "neighbour", 80);
        let answer = inside(&a.namespace, || ask(NEIGHBOUR.parse().unwrap(), 80)).unwrap();
        assert_eq!(answer, "neighbour to 198.51.100.2", "the outside, by translation");
        assert_eq!(network.attachment_of(b.address).unwrap(), "b");
        let shown = inside(&a.namespace, || run(&["ip", "-o", "-4", "address", "show", "eth0"]));
        assert!(shown.contains("192.168.240.4/20"), "{shown}");
        assert!(network.vpcs().is_empty(), "the bridge is no VPC");
        // Nobody takes another one's address.
        inside(&a.namespace, || run(&["ip", "address", "add", "192.168.240.5/32", "dev", "eth0"]));
        serve(Path::new("/proc/thread-self/ns/net"), "host", 9);
        let from = |address: &'static str| {
            inside(&a.namespace, move || {
                let socket = UdpSocket::bind((address, 0)).unwrap();
                ask_udp(&socket, Ipv4Addr::new(192, 168, 240, 1), 9)
            })
        };
        assert_eq!(from("192.168.240.4").unwrap(), "host to 192.168.240.4");
        assert!(from("192.168.240.5").is_err());
        assert!(pings(b.address), "who is where it was");
        // Nor its hardware address, by its own link.
        let mac = b.mac.to_string();
        inside(&a.namespace, move || {
            run(&["ip", "link", "set", "eth0", "down"]);
            run(&["ip", "link", "set", "eth0", "address", &mac]);
            run(&["ip", "link", "set", "eth0", "up"]);
            run(&["ip", "route", "add", "default", "via", "192.168.240.1", "dev", "eth0", "onlink"]);
        });
        assert!(from("192.168.240.4").is_err() && from("192.168.240.5").is_err());
        assert!(pings(b.address), "who is where it was");
        // An address that was just given back is not the next to be given.
        network.detach("b").await.unwrap();
        assert_eq!(network.attach_container("c").await.unwrap().address.to_string(), "192.168.240.6");
        network.shutdown().await.unwrap();
        gone(&neighbour);
    });
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    on_a_host_of_its_own("a_published_port_is_reached_from_everywhere", || async {
        let directory = tempfile::tempdir().unwrap();
        let neighbour = neighbour(directory.path());
        let network = network(directory.path()).await;
        let web = network.attach_container("web").await.unwrap();
        let other = network.attach_container("other").await.unwrap();
        let task = network.attach(attachment("task", "172.31.0.10")).await.unwrap();
        serve(&web.namespace, "web", 80);
        let ports = publish(&network, "web", &[tcp(80, Some(8080)), udp(80, Some(5353))]).unwrap();
        assert_eq!(ports[0].host, (8080, 8080));
        // From the host: at loopback and at its own addresses. The container answers to the bridge, not to 127.0.0.1.
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 8080).unwrap(), "web to 192.168.240.1");
        assert_eq!(ask(HOST, 8080).unwrap(), "web to 198.51.100.2");
        assert_eq!(ask(web.address, 80).unwrap(), "web to 192.168.240.1", "directly, too");
        assert!(ask(Ipv4Addr::new(127, 0, 0, 2), 8080).is_err(), "other loopback addresses are left alone");
        // From elsewhere, with the source address as it is.
        assert_eq!(inside(&neighbour, || ask(HOST, 8080)).unwrap(), "web to 198.51.100.1");
        let address = web.address;
        assert!(inside(&neighbour, move || ask(address, 80)).is_err(), "not past the published port");
        // From containers, itself among them, and from a task in a VPC.
        for from in [&other, &web] {
            for to in [HOST, from.gateway] {
                assert_eq!(inside(&from.namespace, move || ask(to, 8080)).unwrap(), "web to 192.168.240.1");
            }
        }
        assert_eq!(inside(&task.namespace, || ask(HOST, 8080)).unwrap(), "web to 172.31.0.10");
        assert!(
            inside(&task.namespace, move || ask(address, 80)).is_err(),
            "a VPC does not reach the bridge"
        );
        // In a VPC a container is the machine; public addresses and load balancers are there.
        serve(&task.namespace, "task", 81);
        let at_task = inside(&web.namespace, || ask("172.31.0.10".parse().unwrap(), 81));
        assert_eq!(at_task.unwrap(), "task to 172.31.0.1");
        // UDP alike.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(ask_udp(&socket, Ipv4Addr::LOCALHOST, 5353).unwrap(), "web to 192.168.240.1");
        let asked = inside(&neighbour, || ask_udp(&UdpSocket::bind("0.0.0.0:0").unwrap(), HOST, 5353));
        assert_eq!(asked.unwrap(), "web to 198.51.100.1");
        // Once it has gone, nothing answers.
        network.detach("web").await.unwrap();
        network.drained().await;
        assert!(ask(Ipv4Addr::LOCALHOST, 8080).is_err() && ask(HOST, 8080).is_err());
        network.shutdown().await.unwrap();
        gone(&neighbour);
    });
}

/// Asks both ways by IPv6, off the runtime's thread: what is passed on runs there.
async fn ask_ipv6(port: u16) -> [Option<String>; 2] {
    let asking = tokio::task::spawn_blocking(move || {
        let address = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
        let by_stream = || {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.shutdown(std::net::Shutdown::Write)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        };
        let by_datagram = || {
            let socket = UdpSocket::bind("[::1]:0")?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send_to(b"x", address)?;
            let mut bytes = [0; 64];
            socket.recv(&mut bytes).map(|length| String::from_utf8_lossy(&bytes[..length]).into_owned())
        };
        [by_stream(), by_datagram()]
            .map(|answer: std::io::Result<String>| answer.ok().filter(|it| !it.is_empty()))
    });
    asking.await.unwrap()
}

#[test]
fn a_published_port_is_reached_by_ipv6_as_well() {
    on_a_host_of_its_own("a_published_port_is_reached_by_ipv6_as_well", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let web = network.attach_container("web").await.unwrap();
        serve(&web.namespace, "web", 80);
        let both = [tcp(80, Some(8080)), udp(80, Some(8080))];
        let taken = TcpListener::bind("[::]:8080").unwrap();
        assert!(
            matches!(publish(&network, "web", &both), Err(NetworkError::PortInUse { .. })),
            "as with Docker"
        );
        drop(taken);
        publish(&network, "web", &both).unwrap();
        let answer = Some("web to 192.168.240.1".to_owned());
        assert_eq!(ask_ipv6(8080).await, [answer.clone(), answer.clone()], "it comes from the gateway");
        // A start of the network takes it up again.
        drop(network);
        tokio::task::yield_now().await;
        let network = Network::start(config(directory.path())).await.unwrap();
        assert_eq!(ask_ipv6(8080).await, [answer.clone(), answer]);
        network.detach("web").await.unwrap();
        network.drained().await;
        assert_eq!(ask_ipv6(8080).await, [None, None]);
        network.shutdown().await.unwrap();
    });
}

#[test]
fn an_address_of_a_load_balancer_is_its_own() {
    on_a_host_of_its_own("an_address_of_a_load_balancer_is_its_own", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let web = network.attach_container("web").await.unwrap();
        serve(&web.namespace, "web", 80);
        let balancer: Ipv4Addr = "172.31.0.20".parse().unwrap();
        network.add_host_address(balancer).await.unwrap();
        // The balancer is there first, and neither hinders the other.
        let listener = TcpListener::bind((balancer, 80)).unwrap();
        publish(&network, "web", &[tcp(80, Some(80))]).unwrap();
        std::thread::spawn(move || {
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read_to_string(&mut String::new());
                let _ = stream.write_all(b"balancer");
            }
        });
        assert_eq!(ask(balancer, 80).unwrap(), "balancer");
        assert_eq!(ask("172.31.0.1".parse().unwrap(), 80).unwrap(), "web to 172.31.0.1");
        // And after a restart.
        drop(network);
        let network = started(directory.path()).await;
        assert_eq!(ask(balancer, 80).unwrap(), "balancer");
        network.remove_host_address(balancer).await.unwrap();
        network.shutdown().await.unwrap();
    });
}

#[test]
fn a_port_is_had_once() {
    on_a_host_of_its_own("a_port_is_had_once", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = started(directory.path()).await;
        for id in ["a", "b", "c"] {
            network.attach_container(id).await.unwrap();
        }
        let refused = |id: &str, wishes: &[PortWish]| publish(&network, id, wishes).unwrap_err().to_string();
        publish(&network, "a", &[tcp(80, Some(8080))]).unwrap();
        let allocated = "Bind for 0.0.0.0:8080 failed: port is already allocated";
        assert_eq!(refused("b", &[tcp(80, None), tcp(81, Some(8080))]), allocated);
        // A program of the host, wherever it listens but at an address of a VPC.
        let program = TcpListener::bind("0.0.0.0:9090").unwrap();
        let in_use = "listen tcp4 0.0.0.0:9090: bind: address already in use";
        assert_eq!(refused("b", &[tcp(80, Some(9090))]), in_use);
        publish(&network, "b", &[udp(80, Some(9090)), udp(81, Some(8080))]).unwrap();
        drop(program);
        publish(&network, "c", &[tcp(80, Some(9090))]).unwrap();
        // And the other way round: programs find published ports in use.
        assert!(TcpListener::bind("0.0.0.0:8080").is_err() && TcpListener::bind("127.0.0.1:9090").is_err());
        assert!(UdpSocket::bind("0.0.0.0:9090").is_err());
        // Connections that are over hold up nobody.
        network.detach("a").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:8080").unwrap();
        let client = TcpStream::connect("127.0.0.1:8080").unwrap();
        drop(listener.accept().unwrap());
        drop((client, listener));
        network.attach_container("d").await.unwrap();
        publish(&network, "d", &[tcp(80, Some(8080))]).unwrap();
        assert!(matches!(publish(&network, "x", &[tcp(80, None)]), Err(NetworkError::NotAttached(_))));
        network.shutdown().await.unwrap();
    });
}

#[test]
fn ports_that_nobody_asked_for_are_found_in_the_kernels_range() {
    on_a_host_of_its_own("ports_that_nobody_asked_for_are_found_in_the_kernels_range", || async {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000\t40009").unwrap();
        let network = started(directory.path()).await;
        let program = TcpListener::bind("0.0.0.0:40001").unwrap();
        for id in ["a", "b", "c", "d"] {
            network.attach_container(id).await.unwrap();
        }
        let promised: BTreeSet<HostPort> = [(Protocol::Tcp, 40002)].into();
        let take = |id: &str, wishes: &[PortWish]| {
            network
                .publish(id, wishes, &promised)
                .map(|ports| ports.iter().map(|ports| (ports.container.0, ports.host)).collect::<Vec<_>>())
        };
        // Not the program's, not what is promised, not what the same container asks for; in the order of the wishes.
        let wishes = [tcp(80, None), tcp(81, Some(40003)), tcp(82, None), udp(53, None)];
        assert_eq!(
            take("a", &wishes).unwrap(),
            [(80, (40000, 40000)), (81, (40003, 40003)), (82, (40004, 40004)), (53, (40005, 40005))]
        );
        let range = PortWish { protocol: Protocol::Tcp, container: (7000, 7003), host: None };
        let b = network.attach_container("b").await.unwrap();
        serve(&b.namespace, "third", 7002);
        assert_eq!(take("b", &[range]).unwrap(), [(7000, (40006, 40009))]);
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 40008).unwrap(), "third to 192.168.240.1");
        let none = "no port of the host's ephemeral range is free";
        assert_eq!(take("c", &[range]).unwrap_err().to_string(), none);
        assert_eq!(take("c", &[tcp(1, None)]).unwrap(), [(1, (40005, 40005))], "TCP and UDP have ports each");
        drop(program);
        assert_eq!(take("d", &[tcp(1, None)]).unwrap(), [(1, (40001, 40001))]);
        network.attach_container("e").await.unwrap();
        assert_eq!(take("e", &[tcp(1, None)]).unwrap_err().to_string(), none);
        network.shutdown().await.unwrap();
    });
}

#[test]
fn a_restart_keeps_containers_and_their_ports() {
    on_a_host_of_its_own("a_restart_keeps_containers_and_their_ports", || async {
        let directory = tempfile::tempdir().unwrap();
        let before = traces(directory.path());
        let network = started(directory.path()).await;
        let web = network.attach_container("web").await.unwrap();
        serve(&web.namespace, "web", 80);
        let wishes = [tcp(80, Some(8080)), tcp(80, None)];
        let ports = publish(&network, "web", &wishes).unwrap();
        // As a killed process leaves it: its sockets are closed.
        drop(network);
        let network = started(directory.path()).await;
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 8080).unwrap(), "web to 192.168.240.1");
        assert_eq!(network.attach_container("web").await.unwrap(), web);
        assert_eq!(
            publish(&network, "web", &wishes).unwrap(),
            ports,
            "a container that is started again keeps them"
        );
        assert!(TcpListener::bind("0.0.0.0:8080").is_err(), "it is held again");
        network.attach_container("other").await.unwrap();
        assert!(matches!(publish(&network, "other", &wishes), Err(NetworkError::PortAllocated(8080))));
        network.shutdown().await.unwrap();
        assert_eq!(traces(directory.path()), before);
        assert!(TcpListener::bind("0.0.0.0:8080").is_ok());
    });
}

#[test]
fn who_goes_on_sending_reaches_the_successor() {
    on_a_host_of_its_own("who_goes_on_sending_reaches_the_successor", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = started(directory.path()).await;
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (id, name) in [("a", "first"), ("b", "second")] {
            let container = network.attach_container(id).await.unwrap();
            serve(&container.namespace, name, 53);
            publish(&network, id, &[udp(53, Some(5353))]).unwrap();
            assert_eq!(
                ask_udp(&client, Ipv4Addr::LOCALHOST, 5353).unwrap(),
                format!("{name} to 192.168.240.1")
            );
            network.detach(id).await.unwrap();
            network.drained().await;
        }
        network.shutdown().await.unwrap();
    });
}

#[test]
fn a03_a_container_does_not_reach_the_hosts_loopback() {
    on_a_host_of_its_own("a03_a_container_does_not_reach_the_hosts_loopback", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = started(directory.path()).await;
        let web = network.attach_container("web").await.unwrap();
        publish(&network, "web", &[tcp(80, Some(8080))]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read_to_string(&mut String::new());
                let _ = stream.write_all(b"loopback");
            }
        });
        assert_eq!(ask(Ipv4Addr::LOCALHOST, port).unwrap(), "loopback");
        let gateway = web.gateway.to_string();
        let reached = inside(&web.namespace, move || {
            std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
            run(&["ip", "address", "del", "127.0.0.1/8", "dev", "lo"]);
            run(&["ip", "route", "add", "127.0.0.1/32", "via", &gateway, "dev", "eth0", "onlink"]);
            // What its neighbours on the host would be led astray by: an answer to what was never asked.
            (ask(Ipv4Addr::LOCALHOST, port), ask(Ipv4Addr::LOCALHOST, 8080))
        });
        assert!(reached.0.is_err() && reached.1.is_err(), "{reached:?}");
        network.shutdown().await.unwrap();
    });
}

#[test]
fn the_bridge_keeps_out_of_the_way() {
    on_a_host_of_its_own("the_bridge_keeps_out_of_the_way", || async {
        let directory = tempfile::tempdir().unwrap();
        run(&["ip", "link", "add", "lan", "type", "bridge"]);
        run(&["ip", "address", "add", "192.168.250.1/24", "dev", "lan"]);
        run(&["ip", "link", "set", "lan", "up"]);
        let network = started(directory.path()).await;
        let a = network.attach_container("a").await.unwrap();
        assert_eq!(a.gateway.to_string(), "192.168.224.1", "another network of this machine");
        // A VPC that comes later does not get what is in use, and gets what is not.
        let wanted = vpc("vpc-9", "192.168.224.0/20", &["192.168.224.0/24"]);
        let refused = network.ensure_vpc(wanted.clone()).await.unwrap_err().to_string();
        assert!(refused.contains("overlaps bridge, which is in use"), "{refused}");
        network.detach("a").await.unwrap();
        network.ensure_vpc(wanted).await.unwrap();
        let b = network.attach_container("b").await.unwrap();
        assert_eq!(b.gateway.to_string(), "192.168.208.1");
        // Another instance on the machine has its own.
        let second = network::NetworkConfig {
            name: "u".to_owned(),
            data_dir: directory.path().join("second"),
            mtu: None,
        };
        let second = Network::start(second).await.unwrap();
        let c = second.attach_container("c").await.unwrap();
        assert_eq!(c.gateway.to_string(), "192.168.192.1");
        second.shutdown().await.unwrap();
        network.shutdown().await.unwrap();
    });
}

#[test]
fn many_at_once_are_all_different() {
    on_a_host_of_its_own("many_at_once_are_all_different", || async {
        let directory = tempfile::tempdir().unwrap();
        let before = traces(directory.path());
        let network = started(directory.path()).await;
        let ids: Vec<String> = (0..20).map(|number| format!("c-{number}")).collect();
        let mut attached = tokio::task::JoinSet::new();
        for id in ids.clone() {
            let network = network.clone();
            attached.spawn(async move {
                let container = network.attach_container(&id).await.unwrap();
                (container, publish(&network, &id, &[tcp(80, None)]).unwrap()[0].host.0)
            });
        }
        let attached = attached.join_all().await;
        let addresses: BTreeSet<_> = attached.iter().map(|(container, _)| container.address).collect();
        let ports: BTreeSet<_> = attached.iter().map(|(_, port)| *port).collect();
        assert_eq!((addresses.len(), ports.len()), (20, 20));
        let (first, port) = &attached[0];
        serve(&first.namespace, "one", 80);
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, *port);
        assert_eq!(ask(*to.ip(), to.port()).unwrap(), "one to 192.168.240.1");
        network.shutdown().await.unwrap();
        assert_eq!(traces(directory.path()), before);
    });
}
