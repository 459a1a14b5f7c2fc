//! Rows to sockets, on a host of its own: a network namespace for each test.

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use base::{Ipv4Cidr, RandomIds, Scope, SystemClock, Timestamp};
use control::seams::Seams;
use control::{Control, ControlConfig};
use domain::{
    ListenerRule, LoadBalancerState, LoadBalancerSubnet, LoadBalancerType, NetworkInterface, RuleAction,
    Subnet, TargetDescription, TargetGroupHealthCheck, TargetRegistration,
};
use network::NetworkConfig;
use nix::sched::{CloneFlags, setns, unshare};
use store::rows_load_balancing::{
    deregister_targets, listener_rule_by_arn, load_balancer_key, register_targets, target_group_by_arn,
    targets_of,
};
use store::{Row as _, Store, Transaction};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;

/// Far above what anything here takes: a test that would hang fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn on_a_host_of_its_own<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped {name}: needs root");
        return;
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace can be made");
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.expect("ip is installed").success());
        // On this thread alone, so that all of it stays in the namespace.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn scope() -> Scope {
    Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap())
}

/// A control plane with its machine.
struct World {
    store: Store,
    network: Arc<Network>,
    vpc: domain::DefaultVpc,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl World {
    async fn start(directory: &Path) -> Self {
        let store = Store::ephemeral(store::rows_load_balancing::register(store::rows_vpc::register(
            store::rows::register(store::Options::ephemeral()),
        )));
        let vpc =
            domain::default_vpc(&scope(), "172.31.0.0/16".parse::<Ipv4Cidr>().unwrap(), &RandomIds).default;
        let mut transaction = Transaction::new();
        transaction.put(vpc.vpc.clone());
        for subnet in &vpc.subnets {
            transaction.put(subnet.clone());
        }
        store.transact(transaction).await.unwrap();
        let config = NetworkConfig { name: "t".to_owned(), data_dir: directory.join("network"), mtu: None };
        let network = Arc::new(Network::start(config).await.unwrap());
        let (stop, running) = Self::run(&store, &network);
        Self { store, network, vpc, stop, running }
    }

    fn run(store: &Store, network: &Arc<Network>) -> (watch::Sender<bool>, JoinHandle<()>) {
        let settings = Settings {
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            cookie_key: [7; 32],
            access_log: None,
            connections_maximum: 1000,
        };
        let published = vec![Ipv4Addr::LOCALHOST.into()];
        let balancing = MachineLoadBalancing::new(settings, Arc::clone(network), published);
        let seams = Seams { load_balancing: Arc::new(balancing), ..Seams::default() };
        let config = ControlConfig::default();
        let control = Control::new(store.clone(), Arc::new(SystemClock), Arc::new(RandomIds), config);
        let (stop, stopped) = watch::channel(false);
        (stop, tokio::spawn(control.with_seams(seams).run(stopped)))
    }

    /// As after kill -9: rows and namespaces stay, the process's sockets are gone.
    async fn restart(&mut self) {
        self.stop.send_replace(true);
        (&mut self.running).await.unwrap();
        (self.stop, self.running) = Self::run(&self.store, &self.network);
    }

    async fn end(self) {
        self.stop.send_replace(true);
        self.running.await.unwrap();
        self.network.shutdown().await.unwrap();
    }

    fn subnet(&self) -> &Subnet {
        &self.vpc.subnets[0]
    }

    /// A load balancer with one listener, whose default rule forwards to these groups.
    async fn load_balancer(&self, name: &str, last: u8, port: u16, groups: &[(&domain::TargetGroup, u32)]) {
        self.load_balancer_in(name, last, port, groups, &[]).await;
    }

    /// The same in security groups.
    async fn load_balancer_in(
        &self,
        name: &str,
        last: u8,
        port: u16,
        groups: &[(&domain::TargetGroup, u32)],
        security_groups: &[&str],
    ) {
        let security_groups: Vec<String> = security_groups.iter().map(|id| (*id).to_owned()).collect();
        let subnet = self.subnet();
        let address = subnet.cidr.nth(u32::from(last)).unwrap();
        let made = domain::TaskNetworkInterface {
            subnet,
            security_groups: security_groups.clone(),
            task: "arn:aws:ecs:us-east-1:000000000000:task/none".parse().unwrap(),
            attachment: format!("ELB app/{name}/1"),
            now: Timestamp::from_millis(0),
        };
        let interface = NetworkInterface {
            id: format!("eni-{name}"),
            mac: base::MacAddress([2, 0, 0, 0, 1, last]),
            private_address: address,
            owner_task: None,
            ..made.make(&RandomIds, |_| false).unwrap()
        };
        let mut transaction = Transaction::new();
        transaction.put(domain::LoadBalancer {
            scope: scope(),
            name: name.to_owned(),
            id: "0123456789abcdef".to_owned(),
            load_balancer_type: LoadBalancerType::Application,
            scheme: "internet-facing".to_owned(),
            ip_address_type: "ipv4".to_owned(),
            vpc: subnet.vpc.clone(),
            subnets: vec![LoadBalancerSubnet {
                subnet: subnet.id.clone(),
                zone: subnet.availability_zone.clone(),
                network_interface: Some(interface.id.clone()),
                address: Some(address),
                is_address_chosen: false,
                allocation: None,
            }],
            security_groups,
            state: LoadBalancerState::Provisioning,
            state_reason: None,
            dns_name: String::new(),
            attributes: BTreeMap::new(),
            created_at: Timestamp::from_millis(0),
            tags: Vec::new(),
        });
        transaction.put(interface);
        transaction.put(domain::Listener {
            scope: scope(),
            load_balancer: name.to_owned(),
            load_balancer_id: "0123456789abcdef".to_owned(),
            load_balancer_type: LoadBalancerType::Application,
            id: "1".to_owned(),
            port,
            protocol: "HTTP".to_owned(),
            ssl_policy: None,
            certificates: Vec::new(),
            alpn_policy: None,
            attributes: BTreeMap::new(),
            created_at: Timestamp::from_millis(0),
            tags: Vec::new(),
        });
        transaction.put(rule(name, groups));
        self.store.transact(transaction).await.unwrap();
    }

    async fn group(&self, name: &str) -> domain::TargetGroup {
        let group = domain::TargetGroup {
            scope: scope(),
            name: name.to_owned(),
            id: "fedcba9876543210".to_owned(),
            protocol: "HTTP".to_owned(),
            protocol_version: None,
            port: 80,
            vpc: Some(self.vpc.vpc.id.clone()),
            target_type: "ip".to_owned(),
            ip_address_type: "ipv4".to_owned(),
            health_check: TargetGroupHealthCheck {
                enabled: true,
                protocol: "HTTP".to_owned(),
                port: "traffic-port".to_owned(),
                path: None,
                interval_seconds: 5,
                timeout_seconds: 2,
                healthy_threshold: 2,
                unhealthy_threshold: 2,
                matcher: None,
            },
            attributes: BTreeMap::new(),
            created_at: Timestamp::from_millis(0),
            tags: Vec::new(),
        };
        let mut transaction = Transaction::new();
        transaction.put(group.clone());
        self.store.transact(transaction).await.unwrap();
        group
    }

    /// A web server in a task's namespace: it answers with its name and whom it sees.
    async fn task(&self, name: &'static str, last: u8) -> Ipv4Addr {
        self.network.ensure_vpc(self.vpc_network()).await.unwrap();
        let subnet = self.subnet();
        let address = subnet.cidr.nth(u32::from(last)).unwrap();
        let attached = self.network.attach(Attachment {
            id: format!("task-{last}"),
            mac: base::MacAddress([2, 0, 0, 0, 0, last]),
            address,
            ipv6_addresses: Vec::new(),
            prefix_length: subnet.cidr.prefix_length(),
            gateway: subnet.gateway(),
        });
        let namespace = std::fs::File::open(attached.await.unwrap().namespace).unwrap();
        std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            let listener = TcpListener::bind((address, 80)).unwrap();
            while let Ok((mut stream, client)) = listener.accept() {
                std::thread::spawn(move || {
                    let mut bytes = [0; 4096];
                    while let Ok(1..) = stream.read(&mut bytes) {
                        let text = format!("{name} {}", client.ip());
                        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
                        let _ = stream.write_all((head + &text).as_bytes());
                    }
                });
            }
        });
        address
    }

    fn vpc_network(&self) -> VpcNetwork {
        VpcNetwork {
            id: self.vpc.vpc.id.clone(),
            cidr: self.vpc.vpc.cidr,
            ipv6_cidr: None,
            subnets: self
                .vpc
                .subnets
                .iter()
                .map(|subnet| SubnetNetwork { id: subnet.id.clone(), cidr: subnet.cidr, ipv6_cidr: None })
                .collect(),
        }
    }

    async fn register(&self, group: &domain::TargetGroup, address: Ipv4Addr, registered: bool) {
        let target = TargetDescription { target: address.to_string(), port: 80, zone: None };
        let done = self.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            let group = target_group_by_arn(snapshot, group.arn().as_str()).unwrap();
            let now = Timestamp::from_millis(1);
            if registered {
                register_targets(snapshot, &mut transaction, &group, std::slice::from_ref(&target), now);
            } else {
                deregister_targets(snapshot, &mut transaction, &group, std::slice::from_ref(&target), now);
            }
            Ok::<_, std::convert::Infallible>((transaction, ()))
        });
        done.await.unwrap();
    }

    /// Waits until the rows are as they should be.
    async fn until(&self, what: &str, is_so: impl Fn(&store::Snapshot) -> bool) {
        let waiting = async {
            loop {
                let snapshot = self.store.snapshot();
                if is_so(&snapshot) {
                    return;
                }
                let tables = [TargetRegistration::TABLE, domain::LoadBalancer::TABLE];
                self.store.changed(&tables, snapshot.version()).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never came: {what}"));
    }

    async fn until_targets(&self, group: &domain::TargetGroup, states: &[&str]) {
        self.until(&format!("{} is {states:?}", group.name), |snapshot| {
            let now: Vec<String> =
                targets_of(snapshot, group).iter().map(|target| target.state.clone()).collect();
            now == states
        })
        .await;
    }

    async fn until_standing(&self, name: &str, state: LoadBalancerState) -> Option<String> {
        let of = |snapshot: &store::Snapshot| {
            snapshot.get::<domain::LoadBalancer>(&load_balancer_key(&scope(), name)).unwrap()
        };
        self.until(&format!("{name} is {state:?}"), |snapshot| of(snapshot).state == state).await;
        of(&self.store.snapshot()).state_reason.clone()
    }
}

fn rule(load_balancer: &str, groups: &[(&domain::TargetGroup, u32)]) -> ListenerRule {
    ListenerRule {
        scope: scope(),
        load_balancer: load_balancer.to_owned(),
        load_balancer_id: "0123456789abcdef".to_owned(),
        load_balancer_type: LoadBalancerType::Application,
        listener: "1".to_owned(),
        id: "2".to_owned(),
        priority: None,
        conditions: Vec::new(),
        action: RuleAction::Forward {
            target_groups: groups.iter().map(|(group, weight)| (group.arn().to_string(), *weight)).collect(),
            stickiness_seconds: None,
        },
        created_at: Timestamp::from_millis(0),
        tags: Vec::new(),
    }
}

/// The first line of an answer and its body.
async fn get(address: impl Into<SocketAddr>) -> String {
    let mut stream = TcpStream::connect(address.into()).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    format!("{} {body}", head.split_whitespace().nth(1).unwrap())
}

#[test]
fn a_load_balancer_listens_on_its_own_address_and_speaks_from_it() {
    on_a_host_of_its_own("a_load_balancer_listens_on_its_own_address", || async {
        let directory = tempfile::tempdir().unwrap();
        let mut world = World::start(directory.path()).await;
        let (one, two) = (world.task("one", 50).await, world.task("two", 51).await);
        let group = world.group("web").await;
        // What else listens on the machine is in nobody's way.
        let _other = TcpListener::bind("0.0.0.0:80").unwrap();
        world.register(&group, one, true).await;
        world.until_targets(&group, &["unused"]).await;
        world.load_balancer("front", 20, 80, &[(&group, 1)]).await;
        world.until_targets(&group, &["healthy"]).await;
        let reason = world.until_standing("front", LoadBalancerState::ActiveImpaired).await.unwrap();
        assert!(reason.starts_with("It cannot listen on 127.0.0.1:80: "), "{reason}");
        let own = world.subnet().cidr.nth(20).unwrap();
        assert_eq!(get((own, 80)).await, format!("200 one {own}"));

        world.register(&group, two, true).await;
        world.until_targets(&group, &["healthy", "healthy"]).await;
        world.register(&group, one, false).await;
        world.until_targets(&group, &["healthy"]).await;
        for _ in 0..4 {
            assert_eq!(get((own, 80)).await, format!("200 two {own}"));
        }
        world.restart().await;
        let again = async { while TcpStream::connect((own, 80)).await.is_err() {} };
        tokio::time::timeout(PATIENCE, again).await.expect("it listens again");
        assert_eq!(get((own, 80)).await, format!("200 two {own}"));
        world.until_targets(&group, &["healthy"]).await;

        let mut transaction = Transaction::new();
        transaction.delete::<domain::LoadBalancer>(&load_balancer_key(&scope(), "front"));
        transaction.delete::<ListenerRule>(&rule("front", &[]).key());
        world.store.transact(transaction).await.unwrap();
        world.until_targets(&group, &["unused"]).await;
        world.end().await;
    });
}

#[test]
fn a_load_balancer_is_nowhere_before_its_security_groups_are_in_force() {
    on_a_host_of_its_own("a_load_balancer_is_nowhere_before_its_security_groups", || async {
        let directory = tempfile::tempdir().unwrap();
        let world = World::start(directory.path()).await;
        let group = world.group("web").await;
        world.load_balancer_in("front", 20, 8080, &[(&group, 1)], &["sg-1"]).await;
        let own = world.subnet().cidr.nth(20).unwrap();
        let reason = world.until_standing("front", LoadBalancerState::Failed).await.unwrap();
        assert_eq!(reason, format!("The security groups of {own} are not in force on this machine yet."));
        assert_eq!(world.network.list(), Vec::<String>::new());

        let everyone = network::Peer::Cidr("0.0.0.0/0".parse().unwrap());
        let all = network::PacketRule { protocol: None, ports: None, peer: everyone };
        let rules = network::GroupRules { ingress: vec![all.clone()], egress: vec![all] };
        let policy = network::SecurityGroupPolicy {
            groups: BTreeMap::from([("sg-1".to_owned(), rules)]),
            members: BTreeMap::from([(own.into(), BTreeSet::from(["sg-1".to_owned()]))]),
            unfiltered: BTreeSet::new(),
        };
        world.network.apply_security_groups(&policy).unwrap();
        world.until_standing("front", LoadBalancerState::Active).await;
        assert!(get((own, 8080)).await.starts_with("503"));
        world.end().await;
    });
}

#[test]
fn an_internet_facing_load_balancer_is_published_and_weights_change_at_once() {
    on_a_host_of_its_own("an_internet_facing_load_balancer_is_published", || async {
        let directory = tempfile::tempdir().unwrap();
        let world = World::start(directory.path()).await;
        let (one, two) = (world.task("one", 50).await, world.task("two", 51).await);
        let (blue, green) = (world.group("blue").await, world.group("green").await);
        world.register(&blue, one, true).await;
        world.register(&green, two, true).await;
        world.load_balancer("front", 20, 8080, &[(&blue, 1), (&green, 0)]).await;
        world.until_standing("front", LoadBalancerState::Active).await;
        world.until_targets(&blue, &["healthy"]).await;
        world.until_targets(&green, &["healthy"]).await;
        let own = world.subnet().cidr.nth(20).unwrap();
        assert_eq!(get((Ipv4Addr::LOCALHOST, 8080)).await, format!("200 one {own}"));
        let shifted = world.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            let arn = rule("front", &[]).arn();
            let row = listener_rule_by_arn(snapshot, arn.as_str()).unwrap();
            transaction.replace(&row, rule("front", &[(&blue, 0), (&green, 1)]));
            Ok::<_, std::convert::Infallible>((transaction, ()))
        });
        shifted.await.unwrap();
        let seen =
            tokio::time::timeout(PATIENCE, async { while !get((own, 8080)).await.starts_with("200 two") {} });
        seen.await.unwrap();
        for _ in 0..4 {
            assert_eq!(get((Ipv4Addr::LOCALHOST, 8080)).await, format!("200 two {own}"));
        }
        world.end().await;
    });
}
