//! The encoder against the kernel, and the kernel's view in the words of nft(8).

mod common;

use std::net::Ipv4Addr;
use std::time::Instant;

use expect_test::expect;
use network::nftables::{
    Batch, Chain, ChainKind, Element, Expression, Family, Hook, KeyType, Meta, NftablesSocket, PayloadBase,
    Policy, Set, SetData, Verdict, interface_name, interval, register,
};

use common::*;

const TABLE: &str = "test";

fn batch() -> Batch {
    Batch::new(Family::Inet, TABLE)
}

fn set(name: &str, key: &[KeyType]) -> Set {
    Set { name: name.to_owned(), key: key.to_vec(), interval: false, data: SetData::None }
}

fn address(number: u32) -> Element {
    Element::new(&[&Ipv4Addr::from(0x0a00_0000 + number).octets()])
}

/// What security groups will be made of: a map from interface to a chain, sets of peers and ports by element.
#[test]
fn maps_sets_and_chains_read_as_meant() {
    on_a_host_of_its_own("maps_sets_and_chains_read_as_meant", || async {
        let mut socket = NftablesSocket::open().unwrap();
        let mut batch = batch();
        batch.add_table();
        batch.add_chain(&Chain { name: "web", hook: None });
        batch.add_set(&Set { data: SetData::Verdict, ..set("groups", &[KeyType::InterfaceName]) });
        batch.add_set(&set("peers", &[KeyType::Ipv4Address, KeyType::TransportProtocol, KeyType::Port]));
        batch.add_set(&Set { interval: true, ..set("networks", &[KeyType::Ipv4Address]) });
        let to_web = Element::new(&[&interface_name("rs-x-0")]).leading_to(Verdict::Jump("web".to_owned()));
        batch.add_elements("groups", &[to_web]);
        let peer = Element::new(&[&[10, 0, 0, 7], &[6], &443_u16.to_be_bytes()]);
        batch.add_elements("peers", &[peer]);
        for network in ["10.0.0.0/8", "255.255.255.0/24"] {
            batch.add_elements("networks", &interval(network.parse().unwrap()));
        }
        let hook = Some((ChainKind::Filter, Hook::Forward, 10, Policy::Drop));
        batch.add_chain(&Chain { name: "through", hook });
        batch.add_rule(
            "through",
            &[
                Expression::Meta { key: Meta::OutputInterfaceName, to: register::FIRST },
                Expression::VerdictMap { map: "groups".to_owned(), from: register::FIRST },
            ],
        );
        batch.add_rule(
            "web",
            &[
                Expression::Payload {
                    base: PayloadBase::Network,
                    offset: 12,
                    length: 4,
                    to: register::FIRST,
                },
                Expression::Lookup { set: "networks".to_owned(), from: register::FIRST, inverted: false },
                Expression::Counter,
                Expression::Verdict(Verdict::Accept),
            ],
        );
        batch.add_rule("web", &[Expression::Verdict(Verdict::Return)]);
        socket.send(&batch).unwrap();
        expect![[r#"
            table inet test {
            	map groups {
            		type ifname : verdict
            		elements = { "rs-x-0" : jump web }
            	}

            	set peers {
            		type ipv4_addr . inet_proto . inet_service
            		elements = { 10.0.0.7 . tcp . 443 }
            	}

            	set networks {
            		type ipv4_addr
            		flags interval
            		elements = { 10.0.0.0/8, 255.255.255.0/24 }
            	}

            	chain web {
            		@nh,96,32 @networks counter packets 0 bytes 0 accept
            		return
            	}

            	chain through {
            		type filter hook forward priority filter + 10; policy drop;
            		oifname vmap @groups
            	}
            }
        "#]]
        .assert_eq(&run(&["nft", "list", "ruleset"]));
    });
}

#[test]
fn a_batch_is_applied_whole_or_not_at_all() {
    on_a_host_of_its_own("a_batch_is_applied_whole_or_not_at_all", || async {
        let mut socket = NftablesSocket::open().unwrap();
        socket.send(batch().add_table().add_set(&set("addresses", &[KeyType::Ipv4Address]))).unwrap();
        let mut bad = batch();
        bad.add_elements("addresses", &[address(1)]);
        bad.delete_elements("addresses", &[address(2)]);
        bad.add_elements("addresses", &[address(3)]);
        let error = socket.send(&bad).unwrap_err();
        assert_eq!(error.kernel_error(), Some(libc::ENOENT));
        assert_eq!(error.to_string(), "nftables refused change 2 of 3");
        assert!(!run(&["nft", "list", "ruleset"]).contains("elements"));
        // The socket is good for the next one, and an empty batch is nothing.
        socket.send(&batch()).unwrap();
        socket.send(batch().add_elements("addresses", &[address(1)])).unwrap();
        assert!(run(&["nft", "list", "ruleset"]).contains("elements = { 10.0.0.1 }"));
        assert!(socket.has_table(Family::Inet, TABLE).unwrap());
        assert!(!socket.has_table(Family::Inet, "other").unwrap());
        socket.send(batch().delete_table()).unwrap();
        assert!(socket.send(batch().delete_table()).is_err());
    });
}

/// Elements are many, a change of one is quick however many there are.
#[test]
fn a_large_set_is_changed_by_element() {
    on_a_host_of_its_own("a_large_set_is_changed_by_element", || async {
        const ELEMENTS: u32 = 10_000;
        let mut socket = NftablesSocket::open().unwrap();
        let all: Vec<Element> = (0..ELEMENTS).map(address).collect();
        let mut fill = batch();
        fill.add_table().add_set(&set("addresses", &[KeyType::Ipv4Address])).add_elements("addresses", &all);
        socket.send(&fill).unwrap();
        let listed = run(&["nft", "list", "ruleset"]);
        assert_eq!(listed.matches("10.0.").count(), ELEMENTS as usize);
        let mut times = Vec::new();
        for number in 0..200 {
            let started = Instant::now();
            socket.send(batch().delete_elements("addresses", &[address(number)])).unwrap();
            times.push(started.elapsed());
        }
        times.sort();
        eprintln!("one element of {ELEMENTS}: p50 {:?}", times[100]);
        assert!(times[100].as_millis() < 50, "{:?}", times[100]);
        assert_eq!(run(&["nft", "list", "ruleset"]).matches("10.0.").count(), ELEMENTS as usize - 200);
    });
}
