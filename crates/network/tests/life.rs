//! Networks come and go: adoption, removal, crashes, and many at once.

mod common;

use std::collections::HashSet;
use std::net::SocketAddrV4;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use expect_test::expect;
use network::{Network, NetworkError};

use common::*;

#[test]
fn the_rules_read_as_meant() {
    on_a_host_of_its_own("the_rules_read_as_meant", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        network.attach(attachment("a", "172.31.0.10")).await.unwrap();
        let metadata = "169.254.171.7:4567".parse::<SocketAddrV4>().unwrap();
        network.serve_metadata(Some(metadata)).unwrap();
        network.serve_resolver(Some("169.254.171.7:53".parse::<SocketAddrV4>().unwrap())).unwrap();
        let host = network.metadata_address().to_string();
        let host6 = network.resolver_address_ipv6().unwrap().to_string();
        let rules = run(&["nft", "list", "ruleset"]).replace(&host, "METADATA-HOST");
        let rules = rules.replace(&host6, "RESOLVER-HOST");
        expect![[r#"
            table inet roadstead_t {
            	set bridges {
            		type ifname
            		elements = { "rs-t-0" }
            	}

            	set same_vpc {
            		type ifname . ifname
            		elements = { "rs-t-0" . "rs-t-0" }
            	}

            	set vpcs {
            		type ipv4_addr
            		flags interval
            		elements = { 172.31.0.0/16 }
            	}

            	set attached {
            		type ether_addr . ipv4_addr
            		elements = { 02:00:ac:1f:00:0a . 172.31.0.10 }
            	}

            	set resolvers {
            		type ipv4_addr
            		elements = { 169.254.169.253, 172.31.0.2 }
            	}

            	map public {
            		type ipv4_addr : ipv4_addr
            	}

            	map public_out {
            		type ipv4_addr : ipv4_addr
            	}

            	set container_links {
            		type ifname
            	}

            	set container_sources {
            		type ifname . ipv4_addr
            	}

            	set container_networks {
            		type ipv4_addr
            		flags interval
            	}

            	set unpublished {
            		type ipv4_addr
            		elements = { METADATA-HOST }
            	}

            	map published {
            		type inet_proto . inet_service : ipv4_addr . inet_service
            	}

            	set bridges6 {
            		type ifname
            	}

            	set vpcs6 {
            		type ipv6_addr
            		flags interval
            	}

            	set attached6 {
            		type ether_addr . ipv6_addr
            	}

            	chain from_tasks {
            		ether saddr . ip saddr != @attached drop
            		ip daddr 127.0.0.0/8 drop
            		meta nfproto ipv6 iifname != @bridges6 drop
            		@nh,64,16 & 0xffc0 == 0xfe80 icmpv6 type 131-133 return
            		@nh,64,16 & 0xffc0 == 0xfe80 icmpv6 type 135-136 return
            		@nh,64,16 & 0xffc0 == 0xfe80 icmpv6 type 143-143 return
            		ether saddr . ip6 saddr != @attached6 drop
            		iifname @container_links iifname . ip saddr != @container_sources drop
            	}

            	chain prerouting {
            		type filter hook prerouting priority raw; policy accept;
            		iifname @bridges jump from_tasks
            	}

            	chain input {
            		type filter hook input priority filter; policy accept;
            		ip daddr METADATA-HOST iifname != @bridges iifname != "lo" drop
            		ip6 daddr RESOLVER-HOST iifname != @bridges iifname != "lo" drop
            		iifname @container_links ip daddr @container_networks accept
            		iifname @bridges ct status dnat accept
            		iifname @bridges ip daddr @vpcs fib daddr . iif type != local drop
            		iifname @bridges ip6 daddr @vpcs6 fib daddr . iif type != local drop
            	}

            	chain forward {
            		type filter hook forward priority filter; policy accept;
            		oifname @bridges ct status dnat accept
            		iifname @container_links oifname @bridges accept
            		oifname @container_links ct status dnat accept
            		oifname @container_links ct state established,related accept
            		iifname . oifname @same_vpc accept
            		iifname @bridges oifname @bridges drop
            		iifname @bridges ip daddr 169.254.0.0/16 drop
            		iifname @bridges ip6 daddr fd00:ec2::254 drop
            		iifname @bridges ip6 daddr fd20:ce::254 drop
            		iifname != @bridges oifname @bridges ct state ! established,related drop
            	}

            	chain output {
            		type filter hook output priority filter; policy accept;
            		oifname @bridges icmp type redirect drop
            		oifname @bridges icmpv6 type nd-redirect drop
            	}

            	chain metadata {
            		meta nfproto ipv4 tcp dport 80 dnat ip to 169.254.171.7:4567
            	}

            	chain nat_prerouting {
            		type nat hook prerouting priority dstnat; policy accept;
            		iifname @bridges ip daddr 169.254.170.2 jump metadata
            		iifname @bridges ip daddr @resolvers jump resolver
            		iifname @bridges ip6 daddr fd00:ec2::253 jump resolver6
            		jump published_ports
            	}

            	chain resolver {
            		meta nfproto ipv4 udp dport 53 dnat ip to 169.254.171.7:53
            		meta nfproto ipv4 tcp dport 53 dnat ip to 169.254.171.7:53
            	}

            	chain nat_postrouting {
            		type nat hook postrouting priority srcnat; policy accept;
            		ip saddr @vpcs oifname != @bridges masquerade
            		ip6 saddr @vpcs6 oifname != @bridges masquerade
            		ip saddr 127.0.0.0/8 oifname @container_links masquerade
            		ip saddr @container_networks ct status dnat oifname @container_links masquerade
            		ip saddr @container_networks oifname @bridges oifname != @container_links masquerade
            	}

            	chain resolver6 {
            	}

            	chain public_prerouting {
            		type nat hook prerouting priority dstnat - 10; policy accept;
            		dnat ip to ip daddr map @public
            	}

            	chain public_output {
            		type nat hook output priority -110; policy accept;
            		dnat ip to ip daddr map @public
            	}

            	chain public_postrouting {
            		type nat hook postrouting priority srcnat - 10; policy accept;
            		oifname != @bridges snat ip to ip saddr map @public_out
            	}

            	chain published_ports {
            		ip daddr 127.0.0.0/8 ip daddr != 127.0.0.1 return
            		fib daddr type local ip daddr != @unpublished dnat ip to meta l4proto . th dport map @published
            	}

            	chain nat_output {
            		type nat hook output priority -100; policy accept;
            		jump published_ports
            	}
            }
        "#]]
        .assert_eq(&rules);
        network.shutdown().await.unwrap();
    });
}

#[test]
fn shutdown_leaves_nothing() {
    on_a_host_of_its_own("shutdown_leaves_nothing", || async {
        let directory = tempfile::tempdir().unwrap();
        let before = traces(directory.path());
        let network = network(directory.path()).await;
        for number in 4..8 {
            let id = format!("task-{number}");
            network.attach(attachment(&id, &format!("172.31.0.{number}"))).await.unwrap();
        }
        network.new_namespace("alone").await.unwrap();
        assert_ne!(traces(directory.path()), before);
        network.shutdown().await.unwrap();
        assert_eq!(traces(directory.path()), before);
        let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(matches!(network.new_namespace("b").await, Err(NetworkError::ShutDown)));
        assert!(matches!(network.ensure_vpc(default_vpc()).await, Err(NetworkError::ShutDown)));
    });
}

#[test]
fn detach_leaves_nothing_and_the_address_is_free_at_once() {
    on_a_host_of_its_own("detach_leaves_nothing_and_the_address_is_free_at_once", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let neighbours = || run(&["ip", "neigh", "show", "nud", "permanent", "dev", "rs-t-0"]);
        let before = (traces(directory.path()), neighbours());
        let first = network.attach(attachment("first", "172.31.0.10")).await.unwrap();
        assert_eq!(network.list(), ["first"]);
        network.detach("first").await.unwrap();
        network.detach("first").await.unwrap();
        network.detach("never-was").await.unwrap();
        assert_eq!(network.list(), [""; 0]);
        let second = network.attach(attachment("second", "172.31.0.10")).await.unwrap();
        assert_ne!(first.namespace, second.namespace);
        network.drained().await;
        assert!(!first.namespace.exists());
        assert!(pings("172.31.0.10".parse().unwrap()), "the removal of the first left the second alone");
        network.detach("second").await.unwrap();
        network.drained().await;
        assert_eq!((traces(directory.path()), neighbours()), before);
        network.shutdown().await.unwrap();
    });
}

#[test]
fn a_namespace_alone_has_only_lo() {
    on_a_host_of_its_own("a_namespace_alone_has_only_lo", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let alone = network.new_namespace("alone").await.unwrap();
        assert_eq!(network.new_namespace("alone").await.unwrap(), alone);
        let links = inside(&alone.namespace, || run(&["ip", "-o", "link", "show", "up"]));
        assert!(links.starts_with("1: lo:") && links.lines().count() == 1, "{links}");
        assert!(pings_from(&alone, "127.0.0.1"));
        assert!(!pings_from(&alone, "172.31.0.1"));
        network.shutdown().await.unwrap();
    });
}

#[test]
fn conflicts_are_refused_and_change_nothing() {
    on_a_host_of_its_own("conflicts_are_refused_and_change_nothing", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let good = attachment("a", "172.31.0.10");
        let task = network.attach(good.clone()).await.unwrap();
        assert_eq!(network.attach(good.clone()).await.unwrap(), task, "asked again");
        let before = traces(directory.path());
        let refused = async |attachment: network::Attachment| {
            network.attach(attachment).await.expect_err("refused").to_string()
        };
        let other = attachment("a", "172.31.0.11");
        assert_eq!(refused(other).await, "attachment a exists already with other values");
        let taken = attachment("b", "172.31.0.10");
        assert_eq!(refused(taken).await, "172.31.0.10 is in use by attachment a");
        let mut taken = attachment("b", "172.31.0.11");
        taken.mac = good.mac;
        assert_eq!(refused(taken).await, "hardware address 02:00:ac:1f:00:0a is in use by attachment a");
        let mut multicast = attachment("b", "172.31.0.11");
        multicast.mac.0[0] = 0x03;
        assert_eq!(refused(multicast).await, "03:00:ac:1f:00:0b is not a unicast hardware address");
        // AWS keeps the first four addresses and the last.
        for reserved in ["172.31.0.0", "172.31.0.1", "172.31.0.3", "172.31.15.255", "10.0.0.9", "172.31.48.9"]
        {
            assert!(refused(attachment("b", reserved)).await.contains("fits no subnet"), "{reserved}");
        }
        for id in ["", "a/b", "..", "a b", &"x".repeat(65)] {
            assert!(
                refused(attachment(id, "172.31.0.11")).await.contains("cannot name an attachment"),
                "{id}"
            );
        }
        for (vpc, why) in [
            (vpc("vpc-2", "172.31.0.0/16", &[]), "it overlaps vpc-1, which is in use"),
            (vpc("vpc-2", "10.0.0.0/8", &[]), "a VPC's prefix length is 16 to 28"),
            (vpc("vpc-2", "10.0.0.0/16", &["10.1.0.0/20"]), "it is not within its VPC"),
            (vpc("vpc-2", "10.0.0.0/16", &["10.0.0.0/20", "10.0.8.0/24"]), "it overlaps another subnet"),
        ] {
            let error = network.ensure_vpc(vpc).await.expect_err("refused").to_string();
            assert!(error.ends_with(why), "{error}");
        }
        assert!(matches!(network.remove_vpc("vpc-1").await, Err(NetworkError::VpcInUse(_))));
        assert_eq!(traces(directory.path()), before);
        network.shutdown().await.unwrap();
    });
}

#[test]
fn vpcs_come_change_and_go() {
    on_a_host_of_its_own("vpcs_come_change_and_go", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let before = traces(directory.path());
        network.ensure_vpc(default_vpc()).await.unwrap();
        assert_eq!(traces(directory.path()), before, "asked again");
        network
            .ensure_vpc(vpc("vpc-1", "172.31.0.0/16", &["172.31.0.0/20", "172.31.64.0/20"]))
            .await
            .unwrap();
        let addresses = run(&["ip", "-o", "address", "show", "rs-t-0"]);
        assert!(addresses.contains("172.31.64.1/20") && !addresses.contains("172.31.16.1"), "{addresses}");
        // A VPC that is not in use gives way, as after a reset of the region.
        network.ensure_vpc(vpc("vpc-9", "172.31.0.0/16", &["172.31.0.0/20"])).await.unwrap();
        assert_eq!(network.vpcs().iter().map(|vpc| vpc.id.as_str()).collect::<Vec<_>>(), ["vpc-9"]);
        network.remove_vpc("vpc-9").await.unwrap();
        network.remove_vpc("vpc-9").await.unwrap();
        let links = run(&["ip", "-o", "link"]);
        assert!(!links.contains("rs-t-0"), "{links}");
        network.shutdown().await.unwrap();
    });
}

#[test]
fn a_restart_adopts_what_runs() {
    on_a_host_of_its_own("a_restart_adopts_what_runs", || async {
        let directory = tempfile::tempdir().unwrap();
        let first = network(directory.path()).await;
        let kept = first.attach(attachment("kept", "172.31.0.10")).await.unwrap();
        first.attach(attachment("orphan", "172.31.0.11")).await.unwrap();
        let alone = first.new_namespace("alone").await.unwrap();
        let metadata = first.metadata_address();
        drop(first);

        let second = Network::start(config(directory.path())).await.unwrap();
        assert_eq!(second.metadata_address(), metadata);
        assert_eq!(second.list(), ["alone", "kept", "orphan"]);
        assert_eq!(second.vpcs(), [default_vpc()]);
        assert_eq!(second.attach(attachment("kept", "172.31.0.10")).await.unwrap(), kept);
        assert!(second.attach(attachment("thief", "172.31.0.11")).await.is_err());
        assert!(pings_from(&kept, "172.31.0.1"));
        let keep = HashSet::from(["kept".to_owned(), "alone".to_owned()]);
        second.sweep(&keep).await.unwrap();
        second.drained().await;
        assert_eq!(second.list(), ["alone", "kept"]);
        assert!(alone.namespace.exists());
        let new = second.attach(attachment("new", "172.31.0.11")).await.unwrap();
        assert!(pings_from(&kept, "172.31.0.11"));
        assert!(pings_from(&new, "172.31.0.10"));
        second.shutdown().await.unwrap();
    });
}

#[test]
fn what_was_broken_meanwhile_is_not_adopted() {
    on_a_host_of_its_own("what_was_broken_meanwhile_is_not_adopted", || async {
        let directory = tempfile::tempdir().unwrap();
        let first = network(directory.path()).await;
        first.attach(attachment("no-link", "172.31.0.10")).await.unwrap();
        let unmounted = first.attach(attachment("no-namespace", "172.31.0.11")).await.unwrap();
        first.attach(attachment("whole", "172.31.0.12")).await.unwrap();
        drop(first);
        run(&["ip", "link", "delete", "rst.1"]);
        run(&["umount", unmounted.namespace.to_str().unwrap()]);
        run(&["nft", "flush", "ruleset"]);

        let second = Network::start(config(directory.path())).await.unwrap();
        assert_eq!(second.list(), ["whole"]);
        second.drained().await;
        assert!(!unmounted.namespace.exists());
        assert!(pings("172.31.0.12".parse().unwrap()), "the rules are back");
        second.shutdown().await.unwrap();
    });
}

#[test]
fn two_instances_share_a_host() {
    on_a_host_of_its_own("two_instances_share_a_host", || async {
        let directory = tempfile::tempdir().unwrap();
        let before = traces(directory.path());
        let one = network(&directory.path().join("one")).await;
        let mut second = config(&directory.path().join("two"));
        second.name = "u".to_owned();
        let two = Network::start(second).await.unwrap();
        two.ensure_vpc(vpc("vpc-u", "172.30.0.0/16", &["172.30.0.0/20"])).await.unwrap();
        assert_ne!(one.metadata_address(), two.metadata_address());
        let a = one.attach(attachment("a", "172.31.0.10")).await.unwrap();
        let b = two.attach(attachment("a", "172.30.0.10")).await.unwrap();
        one.shutdown().await.unwrap();
        assert!(!a.namespace.exists());
        let forwarding = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        assert_eq!(forwarding(), "1\n", "the other one still needs it");
        assert!(pings_from(&b, "172.30.0.1"));
        two.shutdown().await.unwrap();
        assert_eq!(traces(directory.path()), before);
    });
}

#[test]
fn fifty_at_once() {
    on_a_host_of_its_own("fifty_at_once", || async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let before = traces(directory.path());
        let attach = |number: u32| {
            let network = network.clone();
            tokio::spawn(async move {
                let id = format!("task-{number}");
                network.attach(attachment(&id, &format!("172.31.0.{}", number + 10))).await.unwrap()
            })
        };
        let attached: Vec<_> = (0..50).map(attach).collect();
        let mut namespaces = HashSet::new();
        for task in attached {
            let task = task.await.unwrap();
            assert!(pings_from(&task, "172.31.0.1"));
            assert!(namespaces.insert(task.namespace));
        }
        assert_eq!(network.list().len(), 50);
        let detach = |id: String| {
            let network = network.clone();
            tokio::spawn(async move { network.detach(&id).await.unwrap() })
        };
        for detached in network.list().into_iter().map(detach).collect::<Vec<_>>() {
            detached.await.unwrap();
        }
        network.drained().await;
        assert_eq!(traces(directory.path()), before);
        network.shutdown().await.unwrap();
    });
}

#[test]
fn the_hosts_networks_are_told_from_ones_own() {
    on_a_host_of_its_own("the_hosts_networks_are_told_from_ones_own", || async {
        let directory = tempfile::tempdir().unwrap();
        run(&["ip", "link", "add", "lan", "type", "bridge"]);
        run(&["ip", "address", "add", "172.31.9.1/24", "dev", "lan"]);
        run(&["ip", "link", "set", "lan", "up"]);
        run(&["ip", "route", "add", "default", "via", "172.31.9.2"]);
        let network = Network::start(config(directory.path())).await.unwrap();
        let taken = network::host_networks("t").await.unwrap();
        let pool = network::usable_vpc_cidrs(&taken);
        assert_eq!(pool[0].to_string(), "172.30.0.0/16");
        network.ensure_vpc(vpc("vpc-1", "172.30.0.0/16", &["172.30.0.0/20"])).await.unwrap();
        assert_eq!(network::host_networks("t").await.unwrap(), taken, "one's own do not count");
        let other = network::usable_vpc_cidrs(&network::host_networks("u").await.unwrap());
        assert_eq!(other[0].to_string(), "172.29.0.0/16", "another instance's do");
        network.shutdown().await.unwrap();
    });
}

#[test]
fn instances_claim_networks_apart() {
    on_a_host_of_its_own("instances_claim_networks_apart", || async {
        let directory = tempfile::tempdir().unwrap();
        let one = Network::start(config(&directory.path().join("one"))).await.unwrap();
        let mut second = config(&directory.path().join("two"));
        second.name = "u".to_owned();
        let two = Network::start(second).await.unwrap();
        let claim = async |name: &str, used: &[&str]| {
            let used: Vec<_> = used.iter().map(|text| text.parse().unwrap()).collect();
            network::claim_vpc_cidrs(name, &used).await.unwrap()
        };
        let first = claim("t", &[]).await;
        assert_eq!(first[0].to_string(), "172.31.0.0/16");
        assert_eq!(claim("t", &[]).await, first, "asked again");
        let other = claim("u", &["10.7.0.0/16"]).await;
        assert_eq!(other[0].to_string(), "10.7.0.0/16", "what it uses already stays its own");
        assert!(other.len() > 20 && !other.iter().any(|network| first.contains(network)));
        let change = async |name: &str, kept: &[base::Ipv4Cidr], new: &str| {
            let taken = network::change_vpc_claims(name, kept, new.parse().ok()).await.unwrap();
            taken.map(|taken| taken.to_string())
        };
        assert_eq!(change("t", &first, "10.7.1.0/24").await.as_deref(), Some("10.7.0.0/16"));
        assert_eq!(change("t", &first, "192.0.2.0/24").await, None);
        let first_of_all: Vec<_> = first.iter().copied().chain("192.0.2.0/24".parse().ok()).collect();
        assert_eq!(change("u", &other, "192.0.2.0/24").await.as_deref(), Some("192.0.2.0/24"));
        assert_eq!(change("t", &first_of_all, "198.51.100.0/24").await, None);
        assert_eq!(change("u", &other, "192.0.2.128/25").await.as_deref(), Some("192.0.2.0/24"), "kept");
        assert_eq!(change("t", &first, "none").await, None);
        assert_eq!(change("u", &other, "192.0.2.0/24").await, None, "given back");
        one.shutdown().await.unwrap();
        let other = claim("u", &[]).await;
        assert_eq!(other[0].to_string(), "172.31.0.0/16", "free again");
        two.shutdown().await.unwrap();
    });
}

/// Not a test of its own: the process that `a_kill_in_the_middle_is_cleaned_up` kills.
#[test]
fn child_that_attaches_until_it_is_killed() {
    let Ok(directory) = std::env::var("ROADSTEAD_NETWORK_TEST_CHILD") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let network = network(std::path::Path::new(&directory)).await;
        for number in 0_u32.. {
            let attach = |lane: u32| {
                let network = network.clone();
                async move {
                    let id = format!("lane-{lane}");
                    network.attach(attachment(&id, &format!("172.31.0.{}", lane + 10))).await.unwrap();
                    if number % 3 != 0 {
                        network.detach(&id).await.unwrap();
                    }
                }
            };
            tokio::join!(attach(0), attach(1), attach(2));
        }
    });
}

#[test]
fn a_kill_in_the_middle_is_cleaned_up() {
    on_a_host_of_its_own("a_kill_in_the_middle_is_cleaned_up", || async {
        let directory = tempfile::tempdir().unwrap();
        let before = traces(directory.path());
        for round in 0..6_u64 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["child_that_attaches_until_it_is_killed", "--exact"])
                .env("ROADSTEAD_NETWORK_TEST_CHILD", directory.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let records = directory.path().join("network/attachments");
            let started = Instant::now();
            while std::fs::read_dir(&records).map_or(0, Iterator::count) == 0 {
                assert!(started.elapsed() < Duration::from_secs(20), "the child does not get on");
                assert!(child.try_wait().unwrap().is_none(), "the child fails");
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(7 * round));
            child.kill().unwrap();
            child.wait().unwrap();

            let network = Network::start(config(directory.path())).await.unwrap();
            for id in network.list() {
                let lane: u32 = id.strip_prefix("lane-").unwrap().parse().unwrap();
                assert!(pings(format!("172.31.0.{}", lane + 10).parse().unwrap()), "{id} was adopted whole");
            }
            network.sweep(&HashSet::new()).await.unwrap();
            network.drained().await;
            let links = run(&["ip", "-o", "link"]);
            assert!(!links.contains("rst."), "{links}");
            network.shutdown().await.unwrap();
            assert_eq!(traces(directory.path()), before);
        }
    });
}

/// Prints how long an attachment takes; fails only where it is out of all proportion.
#[test]
fn attaching_is_quick() {
    on_a_host_of_its_own("attaching_is_quick", || async {
        const ROUNDS: u32 = 60;
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path()).await;
        let mut attach_times = Vec::new();
        let mut detach_times = Vec::new();
        let all = Instant::now();
        for number in 0..ROUNDS {
            let id = format!("task-{number}");
            let started = Instant::now();
            network.attach(attachment(&id, &format!("172.31.0.{}", 10 + number))).await.unwrap();
            attach_times.push(started.elapsed());
        }
        for number in 0..ROUNDS {
            let started = Instant::now();
            network.detach(&format!("task-{number}")).await.unwrap();
            detach_times.push(started.elapsed());
        }
        let busy = all.elapsed();
        network.drained().await;
        let drained = all.elapsed();
        attach_times.sort();
        detach_times.sort();
        let middle = ROUNDS as usize / 2;
        eprintln!(
            "attach p50 {:?} p95 {:?}, detach p50 {:?}; {ROUNDS} of both in {busy:?}, gone after {drained:?}",
            attach_times[middle],
            attach_times[ROUNDS as usize * 95 / 100],
            detach_times[middle],
        );
        assert!(attach_times[middle] < Duration::from_millis(500));
        network.shutdown().await.unwrap();
    });
}
