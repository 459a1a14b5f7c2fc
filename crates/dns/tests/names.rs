//! What names lead to, asked over real sockets.

mod common;

use std::net::Ipv4Addr;
use std::process::Command;

use domain::{
    DiscoveryInstance, DiscoveryNamespace, DiscoveryService, ExpressIngress, LoadBalancer, NetworkInterface,
};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use serde_json::json;

use common::*;

const LOAD_BALANCER: &str = "web-1234567890.us-east-1.elb.amazonaws.com.";

async fn world() -> World {
    let world = World::new(&[]).await;
    world.vpc("vpc-1", "127.31.0.0/16").await;
    world.vpc("vpc-2", "127.32.0.0/16").await;
    world
}

async fn put_load_balancer(world: &World) {
    let subnet = |zone: &str, address: &str| json!({"subnet": "s", "zone": zone, "address": address});
    world
        .put(row::<LoadBalancer>(json!({
            "name": "web", "id": "0123456789abcdef", "load_balancer_type": "application", "scheme": "internal",
            "ip_address_type": "ipv4", "vpc": "vpc-1", "security_groups": [], "state": "active",
            "dns_name": LOAD_BALANCER.trim_end_matches('.'), "created_at": 0,
            "subnets": [subnet("us-east-1a", "127.31.0.5"), subnet("us-east-1b", "127.31.16.5")],
        })))
        .await;
}

async fn put_interface(world: &World, address: &str, vpc: &str) {
    world
        .put(row::<NetworkInterface>(json!({
            "id": "eni-1", "mac": "02:00:00:00:00:01", "private_address": address, "subnet": "s", "vpc": vpc,
            "availability_zone": "us-east-1a", "security_groups": [], "description": "", "status": "in-use",
            "requester_managed": true, "created_at": 0,
        })))
        .await;
}

#[tokio::test]
async fn a_load_balancers_name_leads_to_its_addresses() {
    let world = world().await;
    put_load_balancer(&world).await;
    let both = [format!("{LOAD_BALANCER} A 127.31.0.5"), format!("{LOAD_BALANCER} A 127.31.16.5")];
    for answer in
        [world.ask(LOAD_BALANCER, RecordType::A).await, world.ask_as_host(LOAD_BALANCER, RecordType::A).await]
    {
        assert_eq!(shown(&answer), both);
        assert!(answer.metadata.authoritative && answer.answers.iter().all(|record| record.ttl == 60));
    }
    let none = world.ask(LOAD_BALANCER, RecordType::AAAA).await;
    assert_eq!((code(&none), none.answers.len(), none.authorities.len()), (ResponseCode::NoError, 0, 1));
    let zonal = world.ask(&format!("us-east-1b.{LOAD_BALANCER}"), RecordType::A).await;
    assert_eq!(shown(&zonal), [format!("us-east-1b.{LOAD_BALANCER} A 127.31.16.5")]);
    let first: std::collections::BTreeSet<String> = {
        let mut firsts = std::collections::BTreeSet::new();
        for _ in 0..32 {
            firsts.insert(world.ask(LOAD_BALANCER, RecordType::A).await.answers[0].data.to_string());
        }
        firsts
    };
    assert_eq!(first.len(), 2, "the order changes");
}

#[tokio::test]
async fn an_express_services_endpoint_leads_to_its_load_balancer() {
    let world = world().await;
    put_load_balancer(&world).await;
    let endpoint = "sh-0123456789abcdef0123456789abcdef.ecs.us-east-1.on.aws.";
    world
        .put(row::<ExpressIngress>(json!({
            "load_balancer": "web", "endpoint": endpoint.trim_end_matches('.'), "cluster": "default", "service": "shop",
            "rule": "1", "priority": 1, "target_groups": [["a", "1"], ["b", "2"]], "certificate": "1",
            "security_group": "sg-1", "status": "ACTIVE", "created_at": 0, "updated_at": 0,
        })))
        .await;
    let both = [format!("{endpoint} A 127.31.0.5"), format!("{endpoint} A 127.31.16.5")];
    for answer in [world.ask(endpoint, RecordType::A).await, world.ask_as_host(endpoint, RecordType::A).await]
    {
        assert_eq!(shown(&answer), both);
    }
}

#[tokio::test]
async fn interfaces_have_names_and_addresses_have_names() {
    let world = world().await;
    put_interface(&world, "127.31.0.9", "vpc-1").await;
    let name = "ip-127-31-0-9.ec2.internal.";
    assert_eq!(shown(&world.ask(name, RecordType::A).await), [format!("{name} A 127.31.0.9")]);
    let reverse = world.ask("9.0.31.127.in-addr.arpa.", RecordType::PTR).await;
    assert_eq!(shown(&reverse), [format!("9.0.31.127.in-addr.arpa. PTR {name}")]);
    for (asked, record_type) in [
        ("ip-127-31-0-8.ec2.internal.", RecordType::A),
        ("ip-127-31-0-9.eu-west-1.compute.internal.", RecordType::A),
        ("nonsense.ec2.internal.", RecordType::A),
        ("8.0.31.127.in-addr.arpa.", RecordType::PTR),
    ] {
        assert_eq!(code(&world.ask(asked, record_type).await), ResponseCode::NXDomain, "{asked}");
    }
    let stranger = Ipv4Addr::new(127, 32, 0, 10);
    assert_eq!(code(&world.ask_from(stranger, name, RecordType::A).await), ResponseCode::NXDomain);
}

#[tokio::test]
async fn a_private_zone_answers_in_its_vpc_and_to_the_host() {
    let world = world().await;
    let zone = world.zone("corp.example", Some("vpc-1")).await;
    world.record(&zone, "db.corp.example", "A", &["10.0.0.1"]).await;
    world.record(&zone, "a.deep.corp.example", "TXT", &["\"one\" \"two\""]).await;
    world.record(&zone, "www.corp.example", "CNAME", &["db.corp.example"]).await;
    world.record(&zone, "*.corp.example", "MX", &["10 mail.corp.example"]).await;
    world.record(&zone, "_web._tcp.corp.example", "SRV", &["1 2 80 db.corp.example"]).await;
    world.record(&zone, "ca.corp.example", "CAA", &["0 issue \"ca.example; a=b\""]).await;
    world.record(&zone, "old.corp.example", "SPF", &["\"v=spf1 -all\""]).await;
    for (asked, record_type, expected) in [
        ("DB.corp.example.", RecordType::A, vec!["DB.corp.example. A 10.0.0.1"]),
        (
            "www.corp.example.",
            RecordType::A,
            vec!["db.corp.example. A 10.0.0.1", "www.corp.example. CNAME db.corp.example."],
        ),
        ("www.corp.example.", RecordType::CNAME, vec!["www.corp.example. CNAME db.corp.example."]),
        ("any.thing.corp.example.", RecordType::MX, vec!["any.thing.corp.example. MX 10 mail.corp.example."]),
        ("a.deep.corp.example.", RecordType::TXT, vec!["a.deep.corp.example. TXT onetwo"]),
        (
            "_web._tcp.corp.example.",
            RecordType::SRV,
            vec!["_web._tcp.corp.example. SRV 1 2 80 db.corp.example."],
        ),
    ] {
        for answer in [world.ask(asked, record_type).await, world.ask_as_host(asked, record_type).await] {
            assert_eq!(shown(&answer), expected, "{asked} {record_type}");
        }
    }
    let raw = world.ask("old.corp.example.", RecordType::Unknown(99)).await;
    assert_eq!(raw.answers.len(), 1);
    let caa = world.ask("ca.corp.example.", RecordType::CAA).await;
    assert!(shown(&caa)[0].contains("issue \"ca.example; a=b\""), "{:?}", shown(&caa));
    // No such records, no such name, a name between, and below the wildcard's sibling.
    for (asked, record_type, expected) in [
        ("db.corp.example.", RecordType::AAAA, ResponseCode::NoError),
        ("deep.corp.example.", RecordType::A, ResponseCode::NoError),
        ("other.deep.corp.example.", RecordType::MX, ResponseCode::NXDomain),
        ("corp.example.", RecordType::A, ResponseCode::NoError),
        ("db.corp.example.", RecordType::DS, ResponseCode::NoError),
    ] {
        let answer = world.ask(asked, record_type).await;
        assert_eq!((code(&answer), answer.answers.len()), (expected, 0), "{asked}");
        assert_eq!(answer.authorities[0].record_type(), RecordType::SOA);
        assert_eq!(answer.authorities[0].ttl, 30, "as long as the zone says");
    }
    let soa = world.ask("corp.example.", RecordType::SOA).await;
    assert_eq!((soa.answers.len(), world.ask("corp.example.", RecordType::NS).await.answers.len()), (1, 4));
    let stranger = Ipv4Addr::new(127, 32, 0, 10);
    let answer = world.ask_from(stranger, "db.corp.example.", RecordType::A).await;
    assert_eq!(code(&answer), ResponseCode::ServFail, "not theirs to know, and there is no upstream");
}

#[tokio::test]
async fn private_zones_come_before_public_ones_and_longer_names_before_shorter_ones() {
    let world = world().await;
    let public = world.zone("example.com", None).await;
    world.record(&public, "www.example.com", "A", &["192.0.2.1"]).await;
    world.record(&public, "api.sub.example.com", "A", &["192.0.2.2"]).await;
    let outer = world.zone("example.com", Some("vpc-1")).await;
    world.record(&outer, "www.example.com", "A", &["10.0.0.1"]).await;
    let inner = world.zone("sub.example.com", Some("vpc-1")).await;
    world.record(&inner, "www.sub.example.com", "A", &["10.0.0.2"]).await;
    let stranger = Ipv4Addr::new(127, 32, 0, 10);
    let ask = |from, asked| world.ask_from(from, asked, RecordType::A);
    let own = Ipv4Addr::new(127, 31, 0, 10);
    assert_eq!(shown(&ask(own, "www.example.com.").await), ["www.example.com. A 10.0.0.1"]);
    assert_eq!(shown(&ask(stranger, "www.example.com.").await), ["www.example.com. A 192.0.2.1"]);
    assert_eq!(shown(&ask(own, "www.sub.example.com.").await), ["www.sub.example.com. A 10.0.0.2"]);
    assert_eq!(
        code(&ask(own, "api.sub.example.com.").await),
        ResponseCode::NXDomain,
        "the private zone has spoken"
    );
    assert_eq!(shown(&ask(stranger, "api.sub.example.com.").await), ["api.sub.example.com. A 192.0.2.2"]);
}

#[tokio::test]
async fn cloud_map_names_lead_to_healthy_instances() {
    let world = world().await;
    world
        .put(row::<DiscoveryNamespace>(json!({
            "id": "ns-1", "name": "insurance.local", "namespace_type": "DNS_PRIVATE", "vpc": "vpc-1", "created_at": 0,
        })))
        .await;
    let service = |id: &str, name: &str, records: serde_json::Value| {
        row::<DiscoveryService>(json!({
            "id": id, "name": name, "namespace": "ns-1", "service_type": "DNS_HTTP", "routing_policy": "MULTIVALUE",
            "records": records, "custom_health": true, "created_at": 0,
        }))
    };
    let instance = |service: &str, id: &str, attributes: serde_json::Value, health: Option<bool>| {
        row::<DiscoveryInstance>(json!({
            "service": service, "id": id, "attributes": attributes, "custom_health": health, "registered_at": 0,
        }))
    };
    world.put(service("srv-1", "backend", json!([["A", 10]]))).await;
    world.put(service("srv-2", "_web._tcp", json!([["SRV", 20]]))).await;
    for n in 1..=10 {
        let attributes = json!({"AWS_INSTANCE_IPV4": format!("127.31.0.{n}")});
        world.put(instance("srv-1", &format!("task-{n}"), attributes, Some(n != 3))).await;
    }
    let attributes = json!({"AWS_INSTANCE_IPV4": "127.31.0.44", "AWS_INSTANCE_PORT": "8080"});
    world.put(instance("srv-2", "Task", attributes, None)).await;

    let answer = world.ask("backend.insurance.local.", RecordType::A).await;
    assert_eq!(answer.answers.len(), 8, "at most eight");
    assert!(!shown(&answer).iter().any(|text| text.ends_with(" 127.31.0.3")), "none that is unhealthy");
    assert!(answer.answers.iter().all(|record| record.ttl == 10));
    let port = world.ask("_web._tcp.insurance.local.", RecordType::SRV).await;
    assert_eq!(shown(&port), ["_web._tcp.insurance.local. SRV 1 1 8080 task._web._tcp.insurance.local."]);
    let host = world.ask("task._web._tcp.insurance.local.", RecordType::A).await;
    assert_eq!(shown(&host), ["task._web._tcp.insurance.local. A 127.31.0.44"]);
    for (asked, expected) in [
        ("_tcp.insurance.local.", ResponseCode::NoError),
        ("insurance.local.", ResponseCode::NoError),
        ("nobody.insurance.local.", ResponseCode::NXDomain),
    ] {
        assert_eq!(code(&world.ask(asked, RecordType::A).await), expected, "{asked}");
    }
    let last = domain::DiscoveryService::clone(
        &world
            .store
            .snapshot()
            .get(&store::rows_service_discovery::discovery_service_key(&scope(), "srv-1"))
            .unwrap(),
    );
    world.put(DiscoveryService { records: Vec::new(), ..last }).await;
    let gone = world.ask("backend.insurance.local.", RecordType::A).await;
    assert_eq!(code(&gone), ResponseCode::NXDomain, "a change is in force at once");
}

#[tokio::test]
async fn aliases_lead_to_load_balancers_and_to_records() {
    let world = world().await;
    put_load_balancer(&world).await;
    let zone = world.zone("example.com", None).await;
    let alias = |of: &str, target_zone: &str, target: &str| -> domain::ResourceRecordSet {
        serde_json::from_value(json!({
            "hosted_zone": zone.id, "name": name(of).as_str(), "record_type": "A", "routing": "Simple",
            "content": {"Alias": {"hosted_zone": target_zone, "name": target, "evaluate_target_health": false}},
        }))
        .unwrap()
    };
    world.put(alias("example.com", "Z35SXDOTRQ7X7K", LOAD_BALANCER)).await;
    world.record(&zone, "www.example.com", "A", &["192.0.2.1"]).await;
    world.put(alias("same.example.com", &zone.id, "www.example.com.")).await;
    world.put(alias("loop.example.com", &zone.id, "loop.example.com.")).await;
    let apex = world.ask("example.com.", RecordType::A).await;
    assert_eq!(shown(&apex), ["example.com. A 127.31.0.5", "example.com. A 127.31.16.5"]);
    let same = world.ask("same.example.com.", RecordType::A).await;
    assert_eq!(shown(&same), ["same.example.com. A 192.0.2.1"]);
    let looped = world.ask("loop.example.com.", RecordType::A).await;
    assert_eq!((code(&looped), looped.answers.len()), (ResponseCode::NoError, 0));
}

#[tokio::test]
async fn long_answers_come_over_tcp_and_dig_agrees() {
    let world = world().await;
    let zone = world.zone("big.example", Some("vpc-1")).await;
    let values: Vec<String> = (0..100).map(|n| format!("10.0.0.{n}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    world.record(&zone, "all.big.example", "A", &values).await;
    world.record(&zone, "ring.big.example", "CNAME", &["ring.big.example"]).await;
    let short = world.ask_as_host("all.big.example.", RecordType::A).await;
    assert!(short.metadata.truncation && short.answers.is_empty());
    assert_eq!(world.ask_over_tcp("all.big.example.", RecordType::A).await.answers.len(), 100);
    let ring = world.ask("ring.big.example.", RecordType::A).await;
    assert_eq!(code(&ring), ResponseCode::ServFail, "it ends");
    let address = world.server.address();
    let dig = tokio::task::spawn_blocking(move || {
        Command::new("dig")
            .args(["@127.0.0.1", "-p", &address.port().to_string(), "+short", "aLL.big.example"])
            .output()
    });
    match dig.await.unwrap() {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 100),
        Err(error) => eprintln!("skipped dig in long_answers_come_over_tcp_and_dig_agrees: {error}"),
    }
}

#[tokio::test]
async fn an_asker_is_known_by_its_ipv6_address_too() {
    let world = world().await;
    world
        .put(row::<domain::Vpc>(json!({
            "id": "vpc-2", "cidr": "127.32.0.0/16", "cidr_association_id": "a", "dhcp_options_id": "d", "is_default": false,
            "ipv6": {"id": "b", "cidr": "fd00:0:0:200::/56"},
        })))
        .await;
    let asker = |address: &str| {
        let asker = dns::asker_of(&world.store.snapshot(), &scope(), address.parse().unwrap());
        asker.vpc().map(str::to_owned)
    };
    assert_eq!(asker("fd00:0:0:200::9").as_deref(), Some("vpc-2"));
    assert_eq!(asker("::ffff:127.31.0.9").as_deref(), Some("vpc-1"));
    assert_eq!(asker("fd00:0:0:300::9"), None, "that is the host");
}
