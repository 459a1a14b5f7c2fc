//! What the kernel tracks of addresses that are given back is forgotten: who has them next starts afresh.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use common::*;
use network::{
    Attachment, GroupRules, Network, PacketRule, Peer, PublicAddress, SecurityGroupPolicy, TaskNetwork,
};

const PATIENCE: Duration = Duration::from_millis(300);
const PUBLIC: &str = "198.18.0.1";
const PORT: u16 = 5000;
/// How often a client asks that goes on sending.
const TRIES: usize = 20;

fn with_ipv6(id: &str, last: u8) -> Attachment {
    let ipv6_addresses = vec![format!("fd00:0:0:100::{last}").parse().unwrap()];
    Attachment { ipv6_addresses, ..attachment(id, &format!("172.31.0.{last}")) }
}

async fn dual_stack(directory: &Path) -> Network {
    let network = Network::start(config(directory)).await.unwrap();
    let mut made = default_vpc();
    made.ipv6_cidr = Some("fd00:0:0:100::/56".parse().unwrap());
    made.subnets[0].ipv6_cidr = Some("fd00:0:0:100::/64".parse().unwrap());
    network.ensure_vpc(made).await.unwrap();
    network
}

/// Answers datagrams with `name` until the test ends.
fn serve(task: &TaskNetwork, name: &'static str) {
    inside(&task.namespace, move || {
        let socket = UdpSocket::bind(("::", PORT)).unwrap();
        std::thread::spawn(move || {
            while let Ok((_, peer)) = socket.recv_from(&mut [0; 16]) {
                let _ = socket.send_to(name.as_bytes(), peer);
            }
        });
    });
}

fn client(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn ask(socket: &UdpSocket, address: &str) -> Option<String> {
    let mut bytes = [0; 64];
    socket.send_to(b"x", (address.parse::<Ipv4Addr>().unwrap(), PORT)).ok()?;
    let length = socket.recv(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

async fn lead_public_to(network: &Network, private: &str) {
    let public = PublicAddress { address: PUBLIC.parse().unwrap(), is_routed: false };
    network.apply_public_addresses(BTreeMap::from([(private.parse().unwrap(), public)])).await.unwrap();
}

#[test]
fn who_goes_on_sending_to_a_public_address_reaches_the_next_who_has_it() {
    on_a_host_of_its_own("who_goes_on_sending_to_a_public_address_reaches_the_next_who_has_it", || async {
        let directory = tempfile::tempdir().unwrap();
        // A way out, so that what nobody has is sent somewhere, and tracked.
        run(&["ip", "link", "add", "wan", "type", "veth", "peer", "name", "inet"]);
        run(&["ip", "address", "add", "203.0.113.1/24", "dev", "wan"]);
        run(&["ip", "link", "set", "wan", "up"]);
        run(&["ip", "link", "set", "inet", "up"]);
        run(&["ip", "neigh", "add", "203.0.113.2", "lladdr", "02:00:00:00:00:02", "dev", "wan"]);
        run(&["ip", "route", "add", "default", "via", "203.0.113.2"]);
        let network = dual_stack(directory.path()).await;
        let old = client("0.0.0.0");
        // By the same address whichever way its datagrams take.
        let early = client("203.0.113.1");
        assert_eq!(ask(&early, PUBLIC), None, "nobody has it yet");
        let first = network.attach(with_ipv6("first", 10)).await.unwrap();
        serve(&first, "first");
        lead_public_to(&network, "172.31.0.10").await;
        assert_eq!(ask(&old, PUBLIC).unwrap(), "first");
        let answer = ask_until_answered(&early).await;
        assert_eq!(answer.as_deref(), Some("first"), "who was there before it is not led away for ever");
        network.detach("first").await.unwrap();
        network.drained().await;
        let second = network.attach(with_ipv6("second", 11)).await.unwrap();
        serve(&second, "second");
        lead_public_to(&network, "172.31.0.11").await;
        assert_eq!(ask(&old, PUBLIC).as_deref(), Some("second"));
        network.shutdown().await.unwrap();
    });
}

/// Gives the network's worker its turn between the tries: this runtime has one thread.
async fn ask_until_answered(socket: &UdpSocket) -> Option<String> {
    for _ in 0..TRIES {
        if let Some(answer) = ask(socket, PUBLIC) {
            return Some(answer);
        }
        tokio::time::sleep(PATIENCE).await;
    }
    None
}

/// Everyone may send, and nobody is let in.
fn closed(addresses: &[&str]) -> SecurityGroupPolicy {
    let everyone = |peer| PacketRule { protocol: None, ports: None, peer };
    let egress = vec![
        everyone(Peer::Cidr("0.0.0.0/0".parse().unwrap())),
        everyone(Peer::Ipv6Cidr("::/0".parse().unwrap())),
    ];
    let groups = BTreeMap::from([("closed".to_owned(), GroupRules { ingress: Vec::new(), egress })]);
    let member = |address: &&str| (address.parse::<IpAddr>().unwrap(), BTreeSet::from(["closed".to_owned()]));
    SecurityGroupPolicy {
        groups,
        members: addresses.iter().map(member).collect(),
        unfiltered: BTreeSet::new(),
    }
}

#[test]
fn whom_a_task_spoke_to_is_not_let_in_by_who_has_its_address_next() {
    on_a_host_of_its_own("whom_a_task_spoke_to_is_not_let_in_by_who_has_its_address_next", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = dual_stack(directory.path()).await;
        let both = [("172.31.0.20", "172.31.0.10"), ("fd00:0:0:100::20", "fd00:0:0:100::10")];
        network.apply_security_groups(&closed(&[both[0].1, both[1].1])).unwrap();
        let peer = network.attach(with_ipv6("peer", 20)).await.unwrap();
        let task = network.attach(with_ipv6("task", 10)).await.unwrap();
        for (peer_address, address) in both {
            let there = inside(&peer.namespace, move || UdpSocket::bind((peer_address, PORT)).unwrap());
            there.set_read_timeout(Some(PATIENCE)).unwrap();
            let here = inside(&task.namespace, move || UdpSocket::bind((address, PORT)).unwrap());
            here.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut bytes = [0; 8];
            here.send_to(b"question", (peer_address, PORT)).unwrap();
            assert_eq!(
                there.recv_from(&mut bytes).unwrap().1,
                SocketAddr::new(address.parse().unwrap(), PORT)
            );
            there.send_to(b"answer", (address, PORT)).unwrap();
            assert!(here.recv(&mut bytes).is_ok(), "{address}: an answer is let in");
        }
        network.detach("task").await.unwrap();
        network.drained().await;
        let task = network.attach(with_ipv6("next", 10)).await.unwrap();
        for (peer_address, address) in both {
            let here = inside(&task.namespace, move || UdpSocket::bind((address, PORT)).unwrap());
            here.set_read_timeout(Some(PATIENCE)).unwrap();
            let sent = inside(&peer.namespace, move || {
                UdpSocket::bind((peer_address, PORT)).and_then(|it| it.send_to(b"answer", (address, PORT)))
            });
            sent.unwrap();
            assert!(here.recv(&mut [0; 8]).is_err(), "{address}: who has it next asked nothing");
        }
        network.shutdown().await.unwrap();
    });
}
