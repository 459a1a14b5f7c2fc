//! What tasks reach, and what they do not.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use common::*;

const PATIENCE: Duration = Duration::from_millis(700);

/// Connects, says `words`, and gives the answer.
fn ask(address: SocketAddrV4, words: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::V4(address), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(words.as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Answers one connection with who asked.
fn answer_once(listener: &TcpListener) -> SocketAddr {
    let (mut stream, peer) = listener.accept().unwrap();
    let mut words = String::new();
    stream.read_to_string(&mut words).unwrap();
    stream.write_all(format!("{words} from {}", peer.ip()).as_bytes()).unwrap();
    peer
}

/// A listener in the calling thread's namespace that answers forever, until the process ends.
fn serve(address: SocketAddrV4) -> u16 {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        loop {
            answer_once(&listener);
        }
    });
    port
}

/// A UDP socket in the calling thread's namespace that answers each datagram with its sender's address.
fn serve_udp(address: Ipv4Addr) -> u16 {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut bytes = [0; 16];
        while let Ok((_, peer)) = socket.recv_from(&mut bytes) {
            socket.send_to(peer.ip().to_string().as_bytes(), peer).unwrap();
        }
    });
    port
}

fn ask_udp(address: SocketAddrV4) -> std::io::Result<String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // Only what comes from the address that was asked is an answer.
    socket.connect(address)?;
    socket.send(b"who")?;
    let mut bytes = [0; 64];
    let length = socket.recv(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

#[test]
fn tasks_reach_each_other_within_and_across_subnets() {
    on_a_host_of_its_own("tasks_reach_each_other_within_and_across_subnets", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let a = network.attach(attachment("a", "172.31.0.10")).await.unwrap();
        let b = network.attach(attachment("b", "172.31.0.11")).await.unwrap();
        let c = network.attach(attachment("c", "172.31.16.10")).await.unwrap();
        assert!(pings_from(&a, "172.31.0.11"), "same subnet");
        assert!(pings_from(&b, "172.31.16.10"), "other subnet");
        assert!(pings_from(&c, "172.31.0.10"), "and back");
        assert!(pings_from(&c, "172.31.16.1"), "own gateway");
        assert!(pings_from(&c, "127.0.0.1"), "lo is up");
        // The source address arrives as it was.
        let port = inside(&c.namespace, || serve(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)));
        let to = SocketAddrV4::new("172.31.16.10".parse().unwrap(), port);
        assert_eq!(inside(&a.namespace, move || ask(to, "hello")).unwrap(), "hello from 172.31.0.10");
        network.shutdown().await.unwrap();
    });
}

#[test]
fn the_host_reaches_tasks() {
    on_a_host_of_its_own("the_host_reaches_tasks", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let task = network.attach(attachment("a", "172.31.32.200")).await.unwrap();
        let port = inside(&task.namespace, || serve(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)));
        let answer = ask(SocketAddrV4::new("172.31.32.200".parse().unwrap(), port), "host");
        assert_eq!(answer.unwrap(), "host from 172.31.32.1");
        let shown = inside(&task.namespace, || run(&["ip", "-o", "addr", "show", "eth0"]));
        assert!(shown.contains("172.31.32.200/20"), "{shown}");
        let shown = inside(&task.namespace, || run(&["ip", "link", "show", "eth0"]));
        assert!(shown.contains("02:00:ac:1f:20:c8") && shown.contains("mtu 1500"), "{shown}");
        let routes = inside(&task.namespace, || run(&["ip", "route"]));
        assert!(routes.contains("default via 172.31.32.1 dev eth0"), "{routes}");
        network.shutdown().await.unwrap();
    });
}

/// A namespace that plays the internet: 198.51.100.1 on a veth pair that is the host's default route.
fn outside(directory: &std::path::Path) -> PathBuf {
    let path = directory.join("outside");
    std::fs::File::create(&path).unwrap();
    let (pin, pinned) = (path.clone(), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let ours = Some("/proc/thread-self/ns/net");
        nix::mount::mount(ours, &pin, None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>).unwrap();
        pinned.0.send(()).unwrap();
    });
    pinned.1.recv().unwrap();
    let netns = path.to_str().unwrap().to_owned();
    run(&["ip", "link", "add", "wan", "mtu", "1400", "type", "veth", "peer", "name", "inet"]);
    // ip(8) takes a namespace by name or process only: hand the link to a process that waits inside.
    let waiting =
        std::process::Command::new("nsenter").args([&format!("--net={netns}"), "sleep", "30"]).spawn();
    let mut waiting = waiting.unwrap();
    std::thread::sleep(Duration::from_millis(100));
    run(&["ip", "link", "set", "inet", "netns", &waiting.id().to_string()]);
    run(&["ip", "address", "add", "198.51.100.2/24", "dev", "wan"]);
    run(&["ip", "link", "set", "wan", "up"]);
    run(&["ip", "route", "add", "default", "via", "198.51.100.1"]);
    inside(&path, || {
        run(&["ip", "address", "add", "198.51.100.1/24", "dev", "inet"]);
        run(&["ip", "link", "set", "inet", "up"]);
        run(&["ip", "link", "set", "lo", "up"]);
        // What a neighbour of the host could do: send to private addresses through it.
        run(&["ip", "route", "add", "172.31.0.0/16", "via", "198.51.100.2"]);
        run(&["ip", "route", "add", "169.254.171.0/24", "via", "198.51.100.2"]);
    });
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    path
}

#[test]
fn tasks_reach_the_outside_by_translation_and_are_not_reached_from_there() {
    on_a_host_of_its_own("tasks_reach_the_outside_by_translation_and_are_not_reached_from_there", || async {
        let directory = tempfile::tempdir().unwrap();
        let outside = outside(directory.path());
        let network = network(directory.path()).await;
        let task = network.attach(attachment("a", "172.31.0.10")).await.unwrap();
        let port = inside(&outside, || serve(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)));
        let to = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), port);
        let answer = inside(&task.namespace, move || ask(to, "out")).unwrap();
        assert_eq!(answer, "out from 198.51.100.2", "the outside sees the host's address");
        let shown = inside(&task.namespace, || run(&["ip", "link", "show", "eth0"]));
        assert!(shown.contains("mtu 1400"), "as small as the way out: {shown}");

        let inside_port = inside(&task.namespace, || serve(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)));
        let to = SocketAddrV4::new(Ipv4Addr::new(172, 31, 0, 10), inside_port);
        assert!(inside(&outside, move || ask(to, "in")).is_err(), "private addresses are private");
        assert_eq!(ask(to, "host").unwrap(), "host from 172.31.0.1", "while the host gets through");

        // The metadata address is not for neighbours either.
        let metadata = network.metadata_address();
        let metadata_port = serve(SocketAddrV4::new(metadata, 0));
        let to = SocketAddrV4::new(metadata, metadata_port);
        assert!(inside(&outside, move || ask(to, "in")).is_err(), "metadata is not for the outside");
        assert!(ask(to, "host").is_ok());
        network.shutdown().await.unwrap();
        nix::mount::umount2(&outside, nix::mount::MntFlags::MNT_DETACH).unwrap();
    });
}

#[test]
fn metadata_is_reached_by_its_aws_address_and_knows_who_asks() {
    on_a_host_of_its_own("metadata_is_reached_by_its_aws_address_and_knows_who_asks", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let task = network.attach(attachment("task-a", "172.31.16.77")).await.unwrap();
        let aws = SocketAddrV4::new(Ipv4Addr::new(169, 254, 170, 2), 80);
        let asks = |task: &network::TaskNetwork| inside(&task.namespace, move || ask(aws, "who"));
        assert!(asks(&task).is_err(), "nobody serves yet");
        let port = serve(SocketAddrV4::new(network.metadata_address(), 0));
        network.serve_metadata(Some(SocketAddrV4::new(network.metadata_address(), port))).unwrap();
        assert_eq!(asks(&task).unwrap(), "who from 172.31.16.77");
        assert_eq!(network.attachment_of("172.31.16.77".parse().unwrap()).unwrap(), "task-a");
        assert_eq!(network.attachment_of("172.31.16.78".parse().unwrap()), None);
        // A later attachment, and a move of the endpoint.
        let later = network.attach(attachment("task-b", "172.31.0.4")).await.unwrap();
        let port = serve(SocketAddrV4::new(network.metadata_address(), 0));
        network.serve_metadata(Some(SocketAddrV4::new(network.metadata_address(), port))).unwrap();
        assert_eq!(asks(&later).unwrap(), "who from 172.31.0.4");
        network.serve_metadata(None).unwrap();
        assert!(asks(&later).is_err());
        network.shutdown().await.unwrap();
    });
}

#[test]
fn the_resolver_is_reached_by_its_aws_addresses_over_udp_and_tcp() {
    on_a_host_of_its_own("the_resolver_is_reached_by_its_aws_addresses_over_udp_and_tcp", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        network.ensure_vpc(vpc("vpc-2", "10.9.0.0/16", &["10.9.16.0/20"])).await.unwrap();
        let near = network.attach(attachment("near", "172.31.0.10")).await.unwrap();
        let far = network.attach(attachment("far", "172.31.16.77")).await.unwrap();
        let other = network.attach(attachment("other", "10.9.16.5")).await.unwrap();
        let host = network.metadata_address();
        let (tcp, udp) = (serve(SocketAddrV4::new(host, 0)), serve_udp(host));
        let common = Ipv4Addr::new(169, 254, 169, 253);
        let first = Ipv4Addr::new(172, 31, 0, 2);
        let second = Ipv4Addr::new(10, 9, 0, 2);
        let asks = |task: &network::TaskNetwork, address| {
            inside(&task.namespace, move || ask(SocketAddrV4::new(address, 53), "who"))
        };
        let asks_udp = |task: &network::TaskNetwork, address| {
            inside(&task.namespace, move || ask_udp(SocketAddrV4::new(address, 53)))
        };
        assert!(asks(&near, common).is_err(), "nobody serves yet");
        network.serve_resolver(Some(SocketAddrV4::new(host, tcp))).unwrap();
        for (task, address, expected) in [
            (&near, common, "who from 172.31.0.10"),
            (&near, first, "who from 172.31.0.10"),
            (&far, first, "who from 172.31.16.77"),
            (&other, common, "who from 10.9.16.5"),
            (&other, second, "who from 10.9.16.5"),
        ] {
            assert_eq!(asks(task, address).unwrap(), expected, "{address}");
        }
        network.serve_resolver(Some(SocketAddrV4::new(host, udp))).unwrap();
        assert_eq!(asks_udp(&near, first).unwrap(), "172.31.0.10");
        assert_eq!(asks_udp(&far, common).unwrap(), "172.31.16.77");
        network.serve_resolver(None).unwrap();
        assert!(asks_udp(&near, first).is_err());
        network.shutdown().await.unwrap();
    });
}

#[test]
fn tasks_can_be_led_to_a_name_server_outside() {
    on_a_host_of_its_own("tasks_can_be_led_to_a_name_server_outside", || async {
        let directory = tempfile::tempdir().unwrap();
        let outside = outside(directory.path());
        let network = network(directory.path()).await;
        let task = network.attach(attachment("a", "172.31.0.10")).await.unwrap();
        let there = Ipv4Addr::new(198, 51, 100, 1);
        let port = inside(&outside, move || serve_udp(there));
        network.serve_resolver(Some(SocketAddrV4::new(there, port))).unwrap();
        for address in [Ipv4Addr::new(172, 31, 0, 2), Ipv4Addr::new(169, 254, 169, 253)] {
            let asked = inside(&task.namespace, move || ask_udp(SocketAddrV4::new(address, 53)));
            assert_eq!(asked.unwrap(), "198.51.100.2", "by the host's address");
        }
        network.shutdown().await.unwrap();
        nix::mount::umount2(&outside, nix::mount::MntFlags::MNT_DETACH).unwrap();
    });
}

#[test]
fn tasks_do_not_reach_the_hosts_loopback_nor_link_local_addresses() {
    on_a_host_of_its_own("tasks_do_not_reach_the_hosts_loopback_nor_link_local_addresses", || async {
        let directory = tempfile::tempdir().unwrap();
        let outside = outside(directory.path());
        inside(&outside, || run(&["ip", "address", "add", "169.254.169.254/32", "dev", "inet"]));
        run(&["ip", "route", "add", "169.254.169.254/32", "dev", "wan"]);
        let network = network(directory.path()).await;
        let task = network.attach(attachment("a", "172.31.0.10")).await.unwrap();
        // As other software on the machine may have set it; the stock agent's packages do.
        std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
        let port = serve(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        assert!(ask(to, "host").is_ok());
        let reached = inside(&task.namespace, move || {
            std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
            run(&["ip", "address", "del", "127.0.0.1/8", "dev", "lo"]);
            run(&["ip", "route", "add", "127.0.0.1/32", "via", "172.31.0.1", "src", "172.31.0.10"]);
            ask(to, "task")
        });
        assert!(reached.is_err(), "{reached:?}");
        assert!(pings("169.254.169.254".parse().unwrap()), "the host reaches its own");
        assert!(!pings_from(&task, "169.254.169.254"), "a task does not");
        network.shutdown().await.unwrap();
        nix::mount::umount2(&outside, nix::mount::MntFlags::MNT_DETACH).unwrap();
    });
}

#[test]
fn a_task_cannot_take_another_ones_addresses() {
    on_a_host_of_its_own("a_task_cannot_take_another_ones_addresses", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let thief = network.attach(attachment("thief", "172.31.0.10")).await.unwrap();
        let victim = network.attach(attachment("victim", "172.31.0.11")).await.unwrap();
        let witness = network.attach(attachment("witness", "172.31.0.12")).await.unwrap();
        let port = 9000;
        let (listens, listening) = std::sync::mpsc::channel();
        let heard = spawn_inside(&witness.namespace, move || {
            let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
            listens.send(()).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let mut senders = Vec::new();
            let mut bytes = [0; 16];
            while let Ok((_, peer)) = socket.recv_from(&mut bytes) {
                senders.push(peer.ip().to_string());
            }
            senders
        });
        let send = |from: &'static str| {
            move || {
                let sent =
                    UdpSocket::bind((from, 0)).and_then(|socket| socket.send_to(b"x", ("172.31.0.12", 9000)));
                assert!(sent.is_ok(), "{sent:?}");
            }
        };
        listening.recv().unwrap();
        inside(&victim.namespace, send("172.31.0.11"));
        inside(&thief.namespace, || run(&["ip", "address", "add", "172.31.0.99/32", "dev", "eth0"]));
        inside(&thief.namespace, send("172.31.0.99"));
        inside(&thief.namespace, || run(&["ip", "address", "add", "172.31.0.11/32", "dev", "eth0"]));
        inside(&thief.namespace, send("172.31.0.11"));
        inside(&thief.namespace, send("172.31.0.10"));
        assert_eq!(heard.join().unwrap(), ["172.31.0.11", "172.31.0.10"], "one from each, none forged");

        // With the victim's hardware address, the thief's port lets nothing through, and the host is not misled.
        inside(&thief.namespace, || {
            run(&["ip", "link", "set", "eth0", "down"]);
            run(&["ip", "link", "set", "eth0", "address", "02:00:ac:1f:00:0b"]);
            run(&["ip", "link", "set", "eth0", "up"]);
        });
        assert!(!pings_from(&thief, "172.31.0.1"));
        assert!(pings("172.31.0.11".parse().unwrap()), "the victim is where it was");
        network.shutdown().await.unwrap();
    });
}

#[test]
fn vpcs_do_not_reach_each_other() {
    on_a_host_of_its_own("vpcs_do_not_reach_each_other", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        network.ensure_vpc(vpc("vpc-2", "172.30.0.0/16", &["172.30.0.0/20"])).await.unwrap();
        let one = network.attach(attachment("one", "172.31.0.10")).await.unwrap();
        let other = network.attach(attachment("other", "172.30.0.10")).await.unwrap();
        assert!(!pings_from(&one, "172.30.0.10"));
        assert!(!pings_from(&other, "172.31.0.10"));
        assert!(pings("172.30.0.10".parse().unwrap()), "the host reaches both");
        assert!(pings("172.31.0.10".parse().unwrap()), "the host reaches both");
        network.shutdown().await.unwrap();
    });
}

#[test]
fn a_firewall_that_drops_forwarded_packets_is_lived_with() {
    on_a_host_of_its_own("a_firewall_that_drops_forwarded_packets_is_lived_with", || async {
        let directory = tempfile::tempdir().unwrap();
        // As Docker leaves it.
        run(&["iptables", "-P", "FORWARD", "DROP"]);
        let before = run(&["nft", "list", "ruleset"]);
        let network = network(directory.path()).await;
        let a = network.attach(attachment("a", "172.31.0.10")).await.unwrap();
        network.attach(attachment("b", "172.31.16.10")).await.unwrap();
        assert!(pings_from(&a, "172.31.16.10"));
        let listed = run(&["iptables", "-S", "FORWARD"]);
        let rules: Vec<&str> = listed.lines().collect();
        assert_eq!(
            rules,
            [
                "-P FORWARD DROP",
                r#"-A FORWARD -o rst.+ -m comment --comment "roadstead rst." -j ACCEPT"#,
                r#"-A FORWARD -i rst.+ -m comment --comment "roadstead rst." -j ACCEPT"#,
                r#"-A FORWARD -o rs-t-+ -m comment --comment "roadstead rs-t-" -j ACCEPT"#,
                r#"-A FORWARD -i rs-t-+ -m comment --comment "roadstead rs-t-" -j ACCEPT"#
            ]
        );
        // Started again, they are there once.
        drop(network);
        let network = network::Network::start(config(directory.path())).await.unwrap();
        assert_eq!(run(&["iptables", "-S", "FORWARD"]), listed);
        assert!(network::check().iter().all(|finding| finding.ok), "{:?}", network::check());
        network.shutdown().await.unwrap();
        assert_eq!(run(&["nft", "list", "ruleset"]), before);

        run(&[
            "nft",
            "add table inet other; add chain inet other through { type filter hook forward priority 0; policy drop; }",
        ]);
        let findings = network::check();
        let finding = findings.iter().find(|finding| !finding.ok).unwrap();
        assert!(finding.detail.ends_with("chain inet other through"), "{finding:?}");
        assert!(finding.mend.is_some());
    });
}

#[test]
fn the_check_finds_this_machine_good_and_leaves_no_trace() {
    on_a_host_of_its_own("the_check_finds_this_machine_good_and_leaves_no_trace", || async {
        let directory = tempfile::tempdir().unwrap();
        let before = traces(directory.path());
        let findings = network::check();
        assert!(findings.iter().all(|finding| finding.ok), "{findings:#?}");
        assert_eq!(traces(directory.path()), before);
    });
}
