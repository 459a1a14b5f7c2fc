//! Sockets that speak from addresses of others.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::time::Duration;

use common::{attachment, network, on_a_host_of_its_own, run, spawn_inside, traces};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Nobody has it: a client far away.
const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

async fn connect_from(client: SocketAddr, to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    setsockopt(&socket.as_fd(), sockopt::IpTransparent, &true).unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(client).unwrap();
    tokio::time::timeout(Duration::from_millis(1500), socket.connect(to)).await.ok()?.ok()
}

#[test]
fn a_task_sees_the_clients_address_and_its_answers_come_back() {
    on_a_host_of_its_own("a_task_sees_the_clients_address", || async {
        let directory = tempfile::tempdir().unwrap();
        let before = traces(directory.path());
        let network = network(directory.path()).await;
        // The way that answers would take without us.
        run(&["ip", "route", "add", "blackhole", "203.0.113.0/24"]);
        let task = network.attach(attachment("task-1", "172.31.0.50")).await.unwrap();
        let (listening, is_listening) = std::sync::mpsc::channel();
        spawn_inside(&task.namespace, move || {
            let listener = TcpListener::bind("0.0.0.0:80").unwrap();
            listening.send(()).unwrap();
            while let Ok((mut stream, client)) = listener.accept() {
                let mut bytes = [0; 5];
                if stream.read_exact(&mut bytes).is_ok() {
                    let _ = stream.write_all(client.to_string().as_bytes());
                }
            }
        });
        is_listening.recv().unwrap();
        let to: SocketAddr = "172.31.0.50:80".parse().unwrap();
        assert!(connect_from((CLIENT, 4711).into(), to).await.is_none(), "nobody delivers its answers");
        for port in [4712, 4713] {
            network.deliver_to_transparent_sockets().await.unwrap();
            let mut stream = connect_from((CLIENT, port).into(), to).await.expect("its answers come back");
            stream.write_all(b"hello").await.unwrap();
            let mut seen = String::new();
            stream.read_to_string(&mut seen).await.unwrap();
            assert_eq!(seen, format!("{CLIENT}:{port}"));
        }
        network.shutdown().await.unwrap();
        run(&["ip", "route", "del", "blackhole", "203.0.113.0/24"]);
        assert_eq!(traces(directory.path()), before);
        assert!(!run(&["ip", "rule"]).contains("0x5253"), "its rule is gone");
    });
}
