//! /etc/resolv.conf: who is asked for the rest. Source: resolv.conf(5).

use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use crate::limits::UPSTREAM_SERVERS;

const PORT: u16 = 53;

/// The name servers in the text of a resolv.conf, but for `own` addresses, which would ask ourselves.
pub(crate) fn name_servers(text: &str, own: &[SocketAddr]) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "nameserver").then(|| words.next()?.parse::<IpAddr>().ok())?
        })
        .map(|address| SocketAddr::new(address, PORT))
        .filter(|server| !own.contains(server))
        .take(UPSTREAM_SERVERS)
        .collect()
}

/// The first name server in the text of a resolv.conf that tasks can be led to: one that the machine routes to.
pub fn server_outside(text: &str) -> Option<SocketAddrV4> {
    name_servers(text, &[]).into_iter().find_map(|server| match server {
        SocketAddr::V4(server) => {
            let is_near =
                server.ip().is_loopback() || server.ip().is_link_local() || server.ip().is_unspecified();
            (!is_near).then_some(server)
        }
        SocketAddr::V6(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_and_ourselves_left_out() {
        let text = "# nameserver 9.9.9.9\nsearch example\nnameserver 169.254.171.9\nnameserver 10.0.0.2 # x\n\
            nameserver nonsense\nnameserver\nnameserver ::1\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n";
        let own = ["169.254.171.9:53".parse().unwrap()];
        let servers: Vec<String> = name_servers(text, &own).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.2:53", "[::1]:53", "1.1.1.1:53"]);
    }

    #[test]
    fn tasks_can_be_led_to_a_server_that_is_routed_to() {
        let found = |text: &str| server_outside(text).map(|server| server.to_string());
        let text = "nameserver 127.0.0.53\nnameserver 169.254.169.253\nnameserver 10.0.0.2\n";
        assert_eq!(found(text).as_deref(), Some("10.0.0.2:53"));
        assert_eq!(found("nameserver 127.0.0.53\nnameserver ::1\n"), None);
    }
}
