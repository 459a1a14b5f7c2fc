//! What a task that has raw sockets does to its neighbours: nothing. Tests are named after the attack's item.

mod common;

use std::process::{Command, Stdio};

use common::*;
use network::TaskNetwork;

/// Prints source, destination and type of each frame that comes in by eth0 for some seconds, once it has said `ready`.
const SNIFF: &str = r#"
import socket, sys, time
sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sniffer.bind(("eth0", 0))
print("ready", flush=True)
end = time.time() + float(sys.argv[1])
while time.time() < end:
    sniffer.settimeout(max(0.01, end - time.time()))
    try:
        frame, address = sniffer.recvfrom(2048)
    except TimeoutError:
        break
    if address[2] != socket.PACKET_OUTGOING:
        print(frame[6:12].hex(":"), frame[0:6].hex(":"), frame[12:14].hex(), frame[14:].hex(), flush=True)
"#;

/// Sends what an attacker would: MAC and address of its own, of the victim, and the address of the witness; of the router.
const ATTACK: &str = r#"
import socket, struct, sys
own_mac, own, victim_mac, victim, witness_mac, witness, router_mac, router = sys.argv[1:]
mac = lambda text: bytes.fromhex(text.replace(":", ""))
ip = socket.inet_aton
BROADCAST = b"\xff" * 6
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind(("eth0", 0))

def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff

def udp(source, destination, source_port, port, words):
    body = struct.pack("!HHHH", source_port, port, 8 + len(words), 0) + words
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 1, 0, 64, 17, 0, ip(source), ip(destination))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body

def arp(operation, sender_mac, sender, target_mac, target):
    return struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, sender_mac, ip(sender), target_mac, ip(target))

def send(destination, source, kind, payload):
    try:
        out.send(destination + source + struct.pack("!H", kind) + payload)
    except OSError as error:
        print("not even sent:", error)

for source_mac, source in [(own_mac, victim), (victim_mac, victim), (victim_mac, own), (own_mac, "192.0.2.1"), (own_mac, router)]:
    for destination in (mac(router_mac), mac(witness_mac), mac(victim_mac), BROADCAST):
        send(destination, mac(source_mac), 0x0800, udp(source, witness, 1000, 9000, b"forged"))
for claimed in (victim, router, witness):
    for destination in (BROADCAST, mac(router_mac), mac(witness_mac), mac(victim_mac)):
        send(destination, mac(own_mac), 0x0806, arp(2, mac(own_mac), claimed, BROADCAST, claimed))
        send(destination, mac(own_mac), 0x0806, arp(1, mac(own_mac), claimed, b"\0" * 6, witness))
# An offer of DHCP: "use me as your router".
offer = b"\x02\x01\x06\0" + b"\1\2\3\4" + b"\0" * 8 + ip(witness) + ip(own) + b"\0" * 4 + mac(witness_mac) + b"\0" * 202
offer += b"\x63\x82\x53\x63\x35\x01\x02\x03\x04" + ip(own) + b"\xff"
for destination in (BROADCAST, mac(witness_mac)):
    send(destination, mac(own_mac), 0x0800, udp(own, "255.255.255.255", 67, 68, offer))
# IPv6: an advertisement of a neighbour that one is not, and of a router.
def icmp6(kind, body, destination):
    source = bytes.fromhex("fe80000000000000") + b"\0\0\0\0\0\0\0\x66"
    message = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = source + destination + struct.pack("!II", len(message), 58)
    padded = pseudo + message + b"\0" * (len(message) % 2)
    message = message[:2] + struct.pack("!H", checksum(padded)) + message[4:]
    return struct.pack("!IHBB", 0x60000000, len(message), 58, 255) + source + destination + message
everyone = bytes.fromhex("ff02") + b"\0" * 13 + b"\x01"
own_link = b"\x02\x01" + mac(own_mac)
for destination in (bytes.fromhex("333300000001"), mac(router_mac), mac(witness_mac)):
    send(destination, mac(own_mac), 0x86dd, icmp6(136, b"\x20\0\0\0" + bytes.fromhex("fe80" + "0" * 27 + "1") + own_link, everyone))
    send(destination, mac(own_mac), 0x86dd, icmp6(134, b"\x40\0\x07\x08" + b"\0" * 8 + b"\x01\x01" + mac(own_mac), everyone))
send(mac(router_mac), mac(own_mac), 0x0800, udp(own, witness, 1000, 9000, b"honest"))
"#;

/// A program that runs in a task's namespace.
fn python(task: &TaskNetwork, script: &str, words: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", task.namespace.display())).args(["python3", "-c", script]).args(words);
    command
}

fn has_python() -> bool {
    Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn a04_forged_frames_reach_nobody_and_mislead_nobody() {
    if !has_python() {
        eprintln!("skipped a04_forged_frames_reach_nobody_and_mislead_nobody: needs python3");
        return;
    }
    on_a_host_of_its_own("a04_forged_frames_reach_nobody_and_mislead_nobody", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let thief = network.attach(attachment("thief", "172.31.0.10")).await.unwrap();
        let victim = network.attach(attachment("victim", "172.31.0.11")).await.unwrap();
        let witness = network.attach(attachment("witness", "172.31.0.12")).await.unwrap();
        let router_mac = mac_of("rs-t-0");
        assert!(pings_from(&victim, "172.31.0.12") && pings_from(&witness, "172.31.0.1"));
        let neighbours = || run(&["ip", "neigh", "show", "dev", "rs-t-0", "nud", "permanent"]);
        let before = neighbours();
        let mut sniffers = Vec::new();
        for task in [&victim, &witness] {
            let mut sniffer = python(task, SNIFF, &["2"]).stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = std::io::BufRead::lines(std::io::BufReader::new(sniffer.stdout.take().unwrap()));
            assert_eq!(lines.next().unwrap().unwrap(), "ready");
            // The host's end of the pair speaks for itself when it is switched on.
            let port = mac_of(task.namespace.file_name().unwrap().to_str().unwrap());
            sniffers.push((sniffer, lines, port));
        }
        let mac = |last: u8| format!("02:00:ac:1f:00:{last:02x}");
        let sent = python(
            &thief,
            ATTACK,
            &[
                &mac(10),
                "172.31.0.10",
                &mac(11),
                "172.31.0.11",
                &mac(12),
                "172.31.0.12",
                &router_mac,
                "172.31.0.1",
            ],
        );
        let sent = { sent }.output().unwrap();
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
        let mut heard_honest = false;
        for (mut sniffer, lines, port) in sniffers {
            for line in lines.map(Result::unwrap) {
                heard_honest |= line.contains(&hex("honest"));
                assert!(
                    line.starts_with(&router_mac) || line.starts_with(&port),
                    "a task heard another one's frame: {line}"
                );
                assert!(!line.contains(&hex("forged")), "a forged packet came through: {line}");
            }
            sniffer.wait().unwrap();
        }
        assert!(heard_honest, "what is not forged comes through");
        assert_eq!(neighbours(), before, "the host knows who has which address");
        for task in [&victim, &witness] {
            let cache = inside(&task.namespace, || run(&["ip", "neigh", "show", "dev", "eth0"]));
            assert!(
                cache.lines().all(|line| line.contains(&router_mac) || !line.contains("lladdr")),
                "{cache}"
            );
        }
        assert!(pings_from(&victim, "172.31.0.12") && pings_from(&witness, "172.31.0.11"));
        assert!(pings("172.31.0.11".parse().unwrap()) && pings("172.31.0.12".parse().unwrap()));
        network.shutdown().await.unwrap();
    });
}

/// The hardware address of one of the host's links.
fn mac_of(link: &str) -> String {
    let shown = run(&["ip", "-o", "link", "show", link]);
    shown.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_owned()
}

fn hex(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
