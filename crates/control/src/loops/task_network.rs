//! Gives a task its network interface before it goes to an agent, and takes it back when it has ended.
//!
//! A PROVISIONING task waits for an interface, a DEPROVISIONING one for its interface to go. What is to be done is read off
//! the task's own row, so a lost wake-up, a crash or a second run does no harm: the same step is taken, or found taken.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv6Addr;

use agent_protocol::payload::{
    Ipv4Address, Ipv6Address, NetworkInterface as WireInterface, SubnetExtension, VpcExtension,
};
use base::Timestamp;
use domain::{
    AccountSetting, DesiredStatus, NetworkInterface, NetworkMode, OutboxMessage, OutboxOrder, PublicAddress,
    SecurityGroup, ServiceRevision, SettingPrincipal, Subnet, Task, TaskNetworkInterface, TaskStatus, Vpc,
    next_free_ipv6_address, private_dns_domain,
};
use futures_util::StreamExt as _;
use scheduler::task_lifecycle;
use store::rows::{TASKS_UNFINISHED, account_setting_key};
use store::rows_addresses::{
    is_address_taken, is_ipv6_address_taken, release_addresses, take_public_address,
};
use store::rows_service::service_revision_key;
use store::rows_vpc::{network_interface_of_task, security_group_key, subnet_key};
use store::{Key, Row as _, Snapshot, Transaction, Versioned};

use crate::payload::Surroundings;
use crate::{Control, service_connect};

/// Tasks that are worked on at once: their transactions share disk writes.
const AT_ONCE: usize = 64;

/// What of the account and the network goes into a task's message.
pub fn surroundings(snapshot: &Snapshot, task: &Task) -> Surroundings {
    let key = account_setting_key(&task.scope, "defaultLogDriverMode", &SettingPrincipal::Default);
    let default_log_driver_mode =
        snapshot.get::<AccountSetting>(&key).map(|setting| setting.value.value.clone());
    let revision = revision(snapshot, task);
    let mut surroundings = Surroundings {
        default_log_driver_mode,
        service_connect: service_connect::listeners(snapshot, task),
        service_connect_log: revision
            .as_deref()
            .and_then(|revision| service_connect::configuration(task, revision)),
        image_digests: revision.as_deref().map(image_digests).unwrap_or_default(),
        ..Surroundings::default()
    };
    if task.network_mode == NetworkMode::AwsVpc
        && let Some(interface) = network_interface_of_task(snapshot, &task.arn().to_string())
        && let Some(subnet) = snapshot.get::<Subnet>(&subnet_key(&interface.scope, &interface.subnet))
    {
        let vpc = snapshot.get::<Vpc>(&Key::new(&subnet.scope, &[&subnet.vpc]));
        surroundings.network_interface = Some(wire_interface(&interface, &subnet, vpc.as_deref()));
        surroundings.vpc = vpc.map(|vpc| extension(snapshot, &vpc));
    }
    surroundings
}

/// The revision of a service that a task is of.
fn revision(snapshot: &Snapshot, task: &Task) -> Option<Versioned<ServiceRevision>> {
    let service = task.group.strip_prefix("service:")?;
    snapshot.get(&service_revision_key(&task.scope, &task.cluster, service, task.service_revision()?))
}

/// What the first task of the service's revision found the images to be.
fn image_digests(revision: &ServiceRevision) -> BTreeMap<String, String> {
    let pinned = revision.container_images.iter().filter(|image| image.consistent);
    pinned.filter_map(|image| Some((image.container.clone(), image.digest.clone()?))).collect()
}

fn extension(snapshot: &Snapshot, vpc: &Vpc) -> VpcExtension {
    let subnets = snapshot
        .scan::<Subnet>(Key::prefix(&vpc.scope, &[]), None)
        .filter(|other| other.vpc == vpc.id)
        .map(|other| SubnetExtension {
            id: other.id.clone(),
            cidr: other.cidr.to_string(),
            ipv6_cidr: other.ipv6.as_ref().map(|ipv6| ipv6.cidr.to_string()),
        })
        .collect();
    VpcExtension {
        id: vpc.id.clone(),
        cidr: vpc.cidr.to_string(),
        ipv6_cidr: vpc.ipv6.as_ref().map(|ipv6| ipv6.cidr.to_string()),
        subnets,
    }
}

fn wire_interface(interface: &NetworkInterface, subnet: &Subnet, vpc: Option<&Vpc>) -> WireInterface {
    WireInterface {
        attachment_arn: Some(interface.description.clone()),
        ec2_id: interface.id.clone(),
        mac_address: interface.mac.to_string(),
        index: Some(0),
        ipv4_addresses: vec![Ipv4Address {
            primary: true,
            private_address: interface.private_address.to_string(),
        }],
        ipv6_addresses: interface
            .ipv6_addresses
            .iter()
            .enumerate()
            .map(|(index, address)| Ipv6Address { primary: index == 0, address: address.to_string() })
            .collect(),
        subnet_gateway_ipv4_address: format!("{}/{}", subnet.gateway(), subnet.cidr.prefix_length()),
        // What DHCP says in a VPC: its own resolver, at the base address plus two, and the region's domain.
        domain_name: vec![private_dns_domain(&interface.scope.region)],
        domain_name_servers: vpc
            .filter(|vpc| vpc.enable_dns_support)
            .and_then(|vpc| vpc.cidr.nth(2))
            .iter()
            .map(ToString::to_string)
            .collect(),
        private_dns_name: Some(interface.private_dns_name()),
        interface_association_protocol: Some("default".to_owned()),
        ..WireInterface::default()
    }
}

/// Follows the store: each task that needs a step gets it. Work is in proportion to the tasks that do.
pub async fn run(control: Control) {
    loop {
        let snapshot = control.store.snapshot();
        let mut feed = control.store.changes(snapshot.version());
        let waiting = [TaskStatus::Provisioning, TaskStatus::Deprovisioning]
            .into_iter()
            .flat_map(|status| snapshot.index::<Task>(TASKS_UNFINISHED, &[status.as_str()], None))
            .map(|task| task.key());
        work(&control, waiting.collect()).await;
        loop {
            let mut keys = Vec::new();
            // One wait, then all that has come in the meantime: tasks of one call go together.
            match feed.next().await {
                Ok(batch) => keys.extend(batch.changes.iter().filter_map(needs_step)),
                Err(lagged) => {
                    tracing::debug!(%lagged, "task networks start again from a snapshot");
                    break;
                }
            }
            while let Ok(Some(batch)) = feed.try_next() {
                keys.extend(batch.changes.iter().filter_map(needs_step));
            }
            work(&control, keys).await;
        }
    }
}

fn needs_step(change: &store::Change) -> Option<Key> {
    let task = change.of::<Task>()?.after?;
    matches!(task.last_status, TaskStatus::Provisioning | TaskStatus::Deprovisioning)
        .then(|| change.key.clone())
}

async fn work(control: &Control, keys: Vec<Key>) {
    futures_util::stream::iter(keys)
        .for_each_concurrent(AT_ONCE, |key| async move {
            let done = control.store.update(|snapshot| {
                Ok::<_, Infallible>((step(control, snapshot, &key, control.clock.now()), ()))
            });
            if let Err(error) = done.await {
                tracing::warn!(%error, ?key, "a task waits for its network");
            }
        })
        .await;
}

/// The next step of one task; an empty transaction where there is none.
fn step(control: &Control, snapshot: &Snapshot, key: &Key, now: Timestamp) -> Transaction {
    let mut transaction = Transaction::new();
    let Some(row) = snapshot.get::<Task>(key) else { return transaction };
    match (row.last_status, row.desired_status) {
        (TaskStatus::Provisioning, DesiredStatus::Stopped) => {
            transaction.replace(&row, task_lifecycle::abandon(&row, now).task);
        }
        // A task without a machine waits for one first.
        (TaskStatus::Provisioning, DesiredStatus::Running)
            if row.network_mode == NetworkMode::AwsVpc && row.container_instance.is_some() =>
        {
            provision(control, snapshot, &row, now, &mut transaction);
        }
        (TaskStatus::Deprovisioning, _) => {
            if let Some(interface) = network_interface_of_task(snapshot, &row.arn().to_string()) {
                release_addresses(snapshot, &mut transaction, &interface, now);
                transaction.remove(&interface);
            }
            transaction.replace(&row, task_lifecycle::released(&row, now).task);
        }
        _ => {}
    }
    transaction
}

fn provision(
    control: &Control,
    snapshot: &Snapshot,
    row: &store::Versioned<Task>,
    now: Timestamp,
    transaction: &mut Transaction,
) {
    let interface = match make_interface(control, snapshot, row, now, transaction) {
        Ok(interface) => interface,
        Err(reason) => {
            transaction.replace(row, task_lifecycle::provisioning_failed(row, &reason, now).task);
            return;
        }
    };
    let mut details = BTreeMap::from([
        ("subnetId".to_owned(), interface.subnet.clone()),
        ("networkInterfaceId".to_owned(), interface.id.clone()),
        ("macAddress".to_owned(), interface.mac.to_string()),
        ("privateDnsName".to_owned(), interface.private_dns_name()),
        ("privateIPv4Address".to_owned(), interface.private_address.to_string()),
    ]);
    if let Some(address) = interface.ipv6_addresses.first() {
        details.insert("ipv6Address".to_owned(), address.to_string());
    }
    let next = task_lifecycle::network_interface_ready(row, &details).task;
    if let Some(container_instance) = &next.container_instance {
        transaction.put(OutboxMessage {
            container_instance: container_instance.clone(),
            scope: next.scope.clone(),
            cluster: next.cluster.clone(),
            task_id: next.id.clone(),
            order: OutboxOrder::Start,
            generation: next.generation,
            written_at: now,
        });
    }
    transaction.insert(interface);
    transaction.replace(row, next);
}

/// An interface with a free address in the first of the task's subnets that has one. The error is AWS's wording.
fn make_interface(
    control: &Control,
    snapshot: &Snapshot,
    task: &Task,
    now: Timestamp,
    transaction: &mut Transaction,
) -> Result<NetworkInterface, String> {
    let refused = |subnet: &str, code: &str| {
        format!(
            "Unexpected EC2 error while attempting to Create Network Interface in subnet '{subnet}': {code}"
        )
    };
    let configuration = task.awsvpc_configuration.as_ref();
    let attachment = task
        .attachments
        .iter()
        .find(|attachment| attachment.attachment_type == domain::ELASTIC_NETWORK_INTERFACE);
    let chosen = attachment.and_then(|attachment| attachment.details.get("subnetId"));
    let others = configuration.into_iter().flat_map(|configuration| &configuration.subnets);
    let attachment_arn = attachment
        .map(|attachment| {
            base::Arn::new("ecs", &task.scope, format!("attachment/{}", attachment.id)).to_string()
        })
        .unwrap_or_default();
    let mut refusal = refused("", "InvalidSubnetID.NotFound");
    for id in chosen.into_iter().chain(others) {
        let Some(subnet) = snapshot.get::<Subnet>(&subnet_key(&task.scope, id)) else {
            refusal = refused(id, "InvalidSubnetID.NotFound");
            continue;
        };
        let wish = TaskNetworkInterface {
            subnet: &subnet,
            security_groups: security_groups(snapshot, task, &subnet),
            task: task.arn(),
            attachment: attachment_arn.clone(),
            now,
        };
        let is_taken = |address| is_address_taken(snapshot, &subnet, address, now);
        let Some(mut interface) = wish.make(&*control.ids, is_taken) else {
            refusal = refused(id, "InsufficientFreeAddressesInSubnet");
            continue;
        };
        if !hold(snapshot, transaction, &subnet, &interface) {
            return Err(refused(id, "InvalidGroup.NotFound"));
        }
        interface.ipv6_addresses = ipv6_address(control, snapshot, &subnet).into_iter().collect();
        if configuration.is_some_and(|configuration| configuration.assign_public_ip) {
            let owner = (&interface.scope, interface.id.as_str());
            let taken = take_public_address(snapshot, transaction, &*control.ids, owner, now);
            let Some(address) = taken else { return Err(refused(id, "InsufficientAddressCapacity")) };
            interface.public_address =
                Some(PublicAddress { address, allocation_id: None, association_id: None });
        }
        return Ok(interface);
    }
    Err(refusal)
}

/// Neither the subnet nor the groups may go meanwhile: a call that deletes one looks for interfaces before it does. False
/// where a group is gone.
fn hold(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    subnet: &store::Versioned<Subnet>,
    interface: &NetworkInterface,
) -> bool {
    transaction.require_unchanged(subnet);
    interface.security_groups.iter().all(|id| {
        let group = snapshot.get::<SecurityGroup>(&security_group_key(&interface.scope, id));
        if let Some(group) = &group {
            transaction.require_unchanged(group);
        }
        group.is_some()
    })
}

/// In a subnet that has IPv6 addresses every task gets one: the account setting `dualStackIPv6` is on.
fn ipv6_address(control: &Control, snapshot: &Snapshot, subnet: &Subnet) -> Option<Ipv6Addr> {
    let cidr = subnet.ipv6.as_ref()?.cidr;
    let is_taken = |address| is_ipv6_address_taken(snapshot, &subnet.scope, address);
    next_free_ipv6_address(&cidr, is_taken, &*control.ids)
}

/// The groups of the call, or the VPC's default group.
fn security_groups(snapshot: &Snapshot, task: &Task, subnet: &Subnet) -> Vec<String> {
    let asked = task.awsvpc_configuration.as_ref().map(|configuration| configuration.security_groups.clone());
    asked.filter(|groups| !groups.is_empty()).unwrap_or_else(|| {
        snapshot
            .scan::<SecurityGroup>(Key::prefix(&task.scope, &[]), None)
            .filter(|group| group.vpc == subnet.vpc && group.name == "default")
            .map(|group| group.id.clone())
            .collect()
    })
}
