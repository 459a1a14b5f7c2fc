//! The files that the engine writes for a container: /etc/hosts, /etc/hostname, /etc/resolv.conf.

use std::fmt::Write;
use std::net::IpAddr;

use crate::specification::DnsConfig;

/// Google's public name servers: what Docker falls back to when the host has only loopback ones.
const FALLBACK_SERVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// /etc/hosts. `addresses` are the container's own.
pub(crate) fn hosts(
    hostname: &str,
    domainname: Option<&str>,
    addresses: &[String],
    extra: &[(String, String)],
) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
         ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    for (name, address) in extra {
        let _ = writeln!(text, "{address}\t{name}");
    }
    for address in addresses {
        match domainname {
            Some(domain) => {
                let _ = writeln!(text, "{address}\t{hostname}.{domain} {hostname}");
            }
            None => {
                let _ = writeln!(text, "{address}\t{hostname}");
            }
        }
    }
    text
}

/// /etc/resolv.conf. What `dns` leaves empty comes from `host`; `own_network`: the host's loopback is not the container's, so
/// servers there are left out.
pub(crate) fn resolv_conf(dns: &DnsConfig, host: &str, own_network: bool) -> String {
    let mut servers: Vec<String> = dns.servers.clone();
    if servers.is_empty() {
        servers =
            directive(host, "nameserver").filter(|server| !own_network || !is_loopback(server)).collect();
        if servers.is_empty() {
            servers = FALLBACK_SERVERS.map(str::to_owned).into();
        }
    }
    let or_host = |given: &[String], name: &str| -> Vec<String> {
        if !given.is_empty() {
            return given.to_vec();
        }
        // The last line counts (resolv.conf(5)).
        let line = directive(host, name).last().unwrap_or_default();
        line.split_ascii_whitespace().map(str::to_owned).collect()
    };
    let search = or_host(&dns.search, "search");
    let options = or_host(&dns.options, "options");
    let mut text = String::new();
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    // A single dot is Docker's word for "no search domains".
    if !search.is_empty() && search != ["."] {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

/// Names, addresses and domains end up in files where a line break would add a line.
pub(crate) fn is_one_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= 512 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn directive<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    text.lines().filter_map(move |line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == name).then(|| words.collect::<Vec<_>>().join(" "))
    })
}

fn is_loopback(server: &str) -> bool {
    server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_follows_the_host_without_its_loopback() {
        let host = "# x\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch old\nsearch a.example b.example\noptions edns0 trust-ad\n";
        let none = DnsConfig::default();
        assert_eq!(
            resolv_conf(&none, host, true),
            "nameserver 10.0.0.2\nsearch a.example b.example\noptions edns0 trust-ad\n"
        );
        assert!(resolv_conf(&none, host, false).starts_with("nameserver 127.0.0.53\n"));
        assert_eq!(resolv_conf(&none, "nameserver ::1\n", true), "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
        let given = DnsConfig {
            servers: vec!["1.2.3.4".into()],
            search: vec![".".into()],
            options: vec!["ndots:2".into()],
        };
        assert_eq!(resolv_conf(&given, host, true), "nameserver 1.2.3.4\noptions ndots:2\n");
    }

    #[test]
    fn hosts_names_the_container_and_the_extra_ones() {
        let text = hosts("web", Some("example"), &["10.0.0.5".into()], &[("db".into(), "10.0.0.9".into())]);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.0.0.9\tdb\n10.0.0.5\tweb.example web\n"));
        assert!(!is_one_word("a\nb") && !is_one_word("a b") && !is_one_word(""));
    }
}
