//! Request text in, answer text out, through the real protocol.

use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use base::{Clock, Ids as _, ManualClock, Scope, SeededIds, Timestamp};
use bytes::Bytes;
use domain::{
    Attribute, ContainerInstance, ContainerInstanceStatus, DefaultVpc, NetworkInterface, Resources,
    TaskNetworkInterface,
};
use store::{Options, Store, Transaction, rows, rows_vpc};
use wire::{Authentication, Gateway, GatewaySettings, RootAndNodes};

use crate::{Ec2, MachineNetworks};

/// A server of EC2 alone, with ids that repeat from run to run.
pub(crate) struct Server {
    pub(crate) store: Store,
    gateway: Gateway,
    clock: Arc<ManualClock>,
    ids: Arc<SeededIds>,
    networks: Arc<[base::Ipv4Cidr]>,
    machine: Arc<Machine>,
}

/// A machine that routes 192.0.2.0/24 elsewhere.
#[derive(Default)]
struct Machine {
    claimed: Mutex<Vec<base::Ipv4Cidr>>,
}

impl MachineNetworks for Machine {
    fn claim<'a>(
        &'a self,
        kept: &'a [base::Ipv4Cidr],
        new: Option<base::Ipv4Cidr>,
    ) -> Pin<Box<dyn Future<Output = Option<base::Ipv4Cidr>> + Send + 'a>> {
        Box::pin(async move {
            let elsewhere: base::Ipv4Cidr = "192.0.2.0/24".parse().unwrap();
            if new.is_some_and(|new| new.overlaps(&elsewhere)) {
                return Some(elsewhere);
            }
            *self.claimed.lock().unwrap() = kept.iter().copied().chain(new).collect();
            None
        })
    }
}

pub(crate) fn scope() -> Scope {
    Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap())
}

impl Server {
    pub(crate) fn new() -> Self {
        let store = Store::ephemeral(rows::register(Options::ephemeral()));
        let ids = Arc::new(SeededIds::new(7));
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        let networks: Arc<[base::Ipv4Cidr]> =
            ["172.31.0.0/16", "172.30.0.0/16"].iter().map(|text| text.parse().unwrap()).collect();
        let machine = Arc::new(Machine::default());
        let ec2 = Ec2::new(store.clone(), ids.clone(), networks.clone(), machine.clone());
        let gateway = Gateway::new(GatewaySettings {
            tables: vec![api::ec2::service(Arc::new(ec2))],
            authentication: Authentication::Any,
            authorizer: Arc::new(RootAndNodes),
            clock: clock.clone(),
            ids: Arc::new(SeededIds::new(8)),
            default_scope: scope(),
            endpoint: "http://127.0.0.1:4566".to_owned(),
        });
        Self { store, gateway, clock, ids, networks, machine }
    }

    /// The networks that the machine keeps for us.
    pub(crate) fn claimed(&self) -> Vec<base::Ipv4Cidr> {
        let mut claimed = self.machine.claimed.lock().unwrap().clone();
        claimed.sort();
        claimed
    }

    /// Sends `Action=…&…` and gives the status and the answer, one element a line, without the request's id.
    pub(crate) async fn ask(&self, query: &str) -> String {
        self.send("us-east-1", query).await
    }

    /// The texts of all elements called `name` in the answer of another region.
    pub(crate) async fn ask_in(&self, region: &str, name: &str, query: &str) -> Vec<String> {
        texts(&self.send(region, query).await, name)
    }

    async fn send(&self, region: &str, query: &str) -> String {
        let credential = format!("AKID/20231114/{region}/ec2/aws4_request");
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature={:064}",
            0
        );
        let request = http::Request::builder()
            .method("POST")
            .uri("/")
            .header("host", "127.0.0.1:4566")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("x-amz-date", "20231114T000000Z")
            .header("authorization", authorization)
            .body(Bytes::from(format!("{query}&Version=2016-11-15")))
            .unwrap();
        let response = self.gateway.call(request, None).await;
        let body = String::from_utf8(response.body().to_vec()).unwrap().replace("&quot;", "\"");
        let lines = indent(&body);
        format!("{}\n{lines}", response.status().as_u16())
    }

    /// The texts of all elements called `name` in the answer.
    pub(crate) async fn ask_for(&self, name: &str, query: &str) -> Vec<String> {
        texts(&self.ask(query).await, name)
    }

    /// The fault's code and message.
    pub(crate) async fn fault(&self, query: &str) -> String {
        let answer = self.ask(query).await;
        let text = |name| texts(&answer, name).concat();
        format!("{} {}: {}", answer.lines().next().unwrap(), text("Code"), text("Message"))
    }

    /// Asks what is to go well.
    pub(crate) async fn done(&self, query: &str) {
        let answer = self.ask(query).await;
        assert!(answer.starts_with("200"), "{query}: {answer}");
    }

    async fn make(&self, id: &str, query: &str) -> String {
        let answer = self.ask(query).await;
        let found = texts(&answer, id);
        assert!(answer.starts_with("200") && !found.is_empty(), "{query}: {answer}");
        found[0].clone()
    }

    /// Makes a VPC and gives its id.
    pub(crate) async fn create_vpc(&self, cidr: &str) -> String {
        self.make("vpcId", &format!("Action=CreateVpc&CidrBlock={cidr}")).await
    }

    /// Makes a subnet in the first zone and gives its id.
    pub(crate) async fn create_subnet(&self, vpc: &str, cidr: &str) -> String {
        self.make("subnetId", &format!("Action=CreateSubnet&VpcId={vpc}&CidrBlock={cidr}")).await
    }

    /// Makes a security group, in the default VPC unless another is named, and gives its id.
    pub(crate) async fn create_group(&self, name: &str, vpc: Option<&str>) -> String {
        let vpc = vpc.map(|vpc| format!("&VpcId={vpc}")).unwrap_or_default();
        let query = format!("Action=CreateSecurityGroup&GroupName={name}&GroupDescription=x{vpc}");
        self.make("groupId", &query).await
    }

    /// Makes a route table and gives its id.
    pub(crate) async fn create_route_table(&self, vpc: &str) -> String {
        self.make("routeTableId", &format!("Action=CreateRouteTable&VpcId={vpc}")).await
    }

    /// The id of a VPC's main route table.
    pub(crate) async fn main_route_table(&self, vpc: &str) -> String {
        let query = format!(
            "Action=DescribeRouteTables&Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}&Filter.2.Name=association.main\
             &Filter.2.Value.1=true"
        );
        self.make("routeTableId", &query).await
    }

    /// Makes an internet gateway, attaches it if a VPC is named, and gives its id.
    pub(crate) async fn create_gateway(&self, vpc: Option<&str>) -> String {
        let id = self.make("internetGatewayId", "Action=CreateInternetGateway").await;
        if let Some(vpc) = vpc {
            self.done(&format!("Action=AttachInternetGateway&InternetGatewayId={id}&VpcId={vpc}")).await;
        }
        id
    }

    /// Allocates an elastic address and gives the allocation's id.
    pub(crate) async fn allocate_address(&self) -> String {
        self.make("allocationId", "Action=AllocateAddress").await
    }

    /// A container instance, as an agent registers it.
    pub(crate) async fn add_instance(&self, ec2_instance_id: &str) -> ContainerInstance {
        let instance = ContainerInstance {
            scope: scope(),
            id: self.ids.hex(32),
            cluster: "default".to_owned(),
            ec2_instance_id: ec2_instance_id.to_owned(),
            status: ContainerInstanceStatus::Active,
            status_reason: None,
            agent_connected: true,
            version: 1,
            registered: Resources { cpu_units: 2048, memory_mib: 7680, ..Resources::default() },
            attributes: [
                ("ecs.instance-type", "m5.large"),
                ("ecs.availability-zone", "us-east-1b"),
                ("ecs.cpu-architecture", "x86_64"),
            ]
            .map(|(name, value)| Attribute { name: name.to_owned(), value: Some(value.to_owned()) })
            .to_vec(),
            version_info: domain::VersionInfo::default(),
            registered_at: self.clock.now(),
            capacity_provider: None,
            tags: Vec::new(),
            fargate_capacity: false,
            over_commit_percent: 100,
            session_epoch: 1,
            node_access_key_id: None,
        };
        self.put(instance.clone()).await;
        instance
    }

    /// Writes a row, whatever was there.
    pub(crate) async fn put<R: store::Row>(&self, row: R) {
        let mut transaction = Transaction::new();
        transaction.put(row);
        self.store.transact(transaction).await.unwrap();
    }

    /// Lets time pass.
    pub(crate) fn pass_seconds(&self, seconds: i64) {
        self.clock.advance_millis(seconds * 1000);
    }

    /// Makes a prefix list and gives its id.
    pub(crate) async fn create_prefix_list(&self, family: &str, max_entries: u32, cidrs: &[&str]) -> String {
        let entry = |(number, cidr): (usize, &&str)| format!("&Entry.{number}.Cidr={cidr}");
        let entries: Vec<String> = (1..).zip(cidrs).map(entry).collect();
        let entries = entries.concat();
        let query = format!(
            "Action=CreateManagedPrefixList&PrefixListName=list&AddressFamily={family}&MaxEntries={max_entries}{entries}"
        );
        self.make("prefixListId", &query).await
    }

    /// Removes the default VPC with all that is in it.
    pub(crate) async fn delete_default_vpc(&self) {
        let made = self.default_vpc().await;
        for subnet in &made.subnets {
            self.done(&format!("Action=DeleteSubnet&SubnetId={}", subnet.id)).await;
        }
        let vpc = &made.vpc.id;
        let query =
            format!("Action=DescribeInternetGateways&Filter.1.Name=attachment.vpc-id&Filter.1.Value.1={vpc}");
        for gateway in self.ask_for("internetGatewayId", &query).await {
            self.done(&format!("Action=DetachInternetGateway&InternetGatewayId={gateway}&VpcId={vpc}")).await;
        }
        self.done(&format!("Action=DeleteVpc&VpcId={}", made.vpc.id)).await;
    }

    /// The default VPC of [`scope`].
    pub(crate) async fn default_vpc(&self) -> DefaultVpc {
        rows_vpc::ensure_default_vpc(&self.store, &scope(), &self.networks, &*self.ids).await.unwrap()
    }

    /// A task's interface in the first subnet, as ECS makes it.
    pub(crate) async fn add_interface(&self, address: Ipv4Addr) -> NetworkInterface {
        let group = self.default_vpc().await.security_group.id;
        self.add_interface_in(address, &group).await
    }

    /// As [`Server::add_interface`], with another security group.
    pub(crate) async fn add_interface_in(&self, address: Ipv4Addr, group: &str) -> NetworkInterface {
        let vpc = self.default_vpc().await;
        let wish = TaskNetworkInterface {
            subnet: &vpc.subnets[0],
            security_groups: vec![group.to_owned()],
            task: "arn:aws:ecs:us-east-1:123456789012:task/default/0123".parse().unwrap(),
            attachment: "arn:aws:ecs:us-east-1:123456789012:attachment/4567".to_owned(),
            now: self.clock.now(),
        };
        let interface = wish.make(&*self.ids, |candidate| candidate != address).unwrap();
        let mut transaction = Transaction::new();
        transaction.insert(interface.clone());
        self.store.transact(transaction).await.unwrap();
        interface
    }

    /// Removes an interface, as ECS does when the task has ended.
    pub(crate) async fn remove_interface(&self, interface: &NetworkInterface) {
        let mut transaction = Transaction::new();
        transaction.delete::<NetworkInterface>(&store::Row::key(interface));
        self.store.transact(transaction).await.unwrap();
    }
}

/// The texts of all elements of a name.
pub(crate) fn texts(answer: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let text = |line: &str| {
        let line = line.trim();
        Some(line.strip_prefix(&open)?.strip_suffix(&close)?.to_owned())
    };
    answer.lines().filter_map(text).collect()
}

/// One element a line, indented; the request's id, which is random, left out.
fn indent(xml: &str) -> String {
    let mut lines = String::new();
    let mut depth = 0_usize;
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        let end = rest[start..].find('>').map_or(rest.len(), |end| start + end + 1);
        let tag = &rest[start..end];
        let text = rest[..start].trim();
        lines.push_str(text);
        if tag.starts_with("</") {
            depth = depth.saturating_sub(1);
            if text.is_empty() && !lines.ends_with(&tag.replace('/', "")) {
                lines.push('\n');
                lines.push_str(&"  ".repeat(depth));
            }
            lines.push_str(tag);
        } else {
            lines.push('\n');
            lines.push_str(&"  ".repeat(depth));
            lines.push_str(tag);
            if !tag.ends_with("/>") && !tag.starts_with("<?") {
                depth += 1;
            }
        }
        rest = &rest[end..];
    }
    let is_id = |line: &&str| line.contains("<requestId>") || line.contains("<RequestID>");
    lines.lines().filter(|line| !is_id(line) && !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}
