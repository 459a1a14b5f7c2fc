//! An executor's steps that touch the network: what a task and its containers have of it, made and given back; and what its
//! containers know of each other.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use base::Ipv4Cidr;
use engine::ContainerId;
use network::{Attachment, NetworkError, PublishedPorts};

use super::Shared;
use super::bridge::{self, Linked};
use super::container_spec;
use super::plan::{ContainerPlan, NetworkPlan, TaskPlan};
use super::record::{ContainerRecord, KnownStatus, TaskRecord};
use super::steps::{Prepared, Step};
use crate::images::LocalImage;
use crate::words;

/// The containers that need an address of their own, with their ids: those of mode bridge that have not ended.
pub fn to_be_attached(plan: &TaskPlan, record: &TaskRecord) -> Vec<(usize, String)> {
    let pairs = plan.containers.iter().zip(&record.containers).enumerate();
    pairs
        .filter(|(_, (container, record))| {
            container.is_on_bridge(plan) && record.known != KnownStatus::Stopped
        })
        .map(|(index, (_, record))| (index, record.runtime_id.clone()))
        .collect()
}

/// What a container's links lead to, or why one leads nowhere. Docker's words.
pub fn links<'a>(
    task: &TaskPlan,
    record: &TaskRecord,
    index: usize,
    image: impl Fn(usize) -> Option<&'a LocalImage>,
) -> Result<Vec<Linked>, String> {
    let (Some(plan), Some(parent)) = (task.containers.get(index), record.containers.get(index)) else {
        return Ok(Vec::new());
    };
    let links = plan.links.iter().filter(|_| plan.is_on_bridge(task));
    let linked = links.map(|link| {
        let found = (|| {
            let (plan, record) = (task.containers.get(link.on)?, record.containers.get(link.on)?);
            let running = record.known == KnownStatus::Running;
            let address = record.address.filter(|_| running)?;
            Some(linked(&link.alias, plan, record, address, image(link.on)))
        })();
        found.ok_or_else(|| {
            let name = task.containers.get(link.on).map_or("", |plan| plan.name.as_str());
            format!(
                "CannotStartContainerError: Cannot link to a non running container: /{name} AS /{}/{}",
                parent.docker_name, link.alias
            )
        })
    });
    linked.collect()
}

/// A container as those see it that link to it.
fn linked(
    alias: &str,
    plan: &ContainerPlan,
    record: &ContainerRecord,
    address: Ipv4Addr,
    image: Option<&LocalImage>,
) -> Linked {
    let config = image.map(|image| &image.image.config);
    let of_image = config.into_iter().flat_map(|config| &config.exposed_ports);
    let mut ports: Vec<_> = of_image.filter_map(|text| bridge::exposed(text)).collect();
    for wish in &plan.ports {
        ports.extend((wish.container.0..=wish.container.1).map(|port| (wish.protocol, port)));
    }
    let mut environment: BTreeMap<String, String> = config
        .into_iter()
        .flat_map(|config| &config.env)
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let ordered = plan.message.environment.iter();
    environment.extend(ordered.map(|(name, value)| (name.clone(), value.clone())));
    // As the engine names a container whose definition does not.
    let own = || record.runtime_id.chars().take(12).collect();
    Linked {
        alias: alias.to_owned(),
        docker_name: record.docker_name.clone(),
        hostname: plan.config.hostname.clone().filter(|name| !name.is_empty()).unwrap_or_else(own),
        address,
        ports,
        environment: environment.into_iter().collect(),
    }
}

/// Makes what the containers share, and the networks of `containers` (mode bridge): their places and ids.
/// `runs` says that some of them run already: the task is taken up again.
pub async fn prepare(
    shared: Arc<Shared>,
    plan: Arc<TaskPlan>,
    containers: Vec<(usize, String)>,
    runs: bool,
) -> Step {
    Step::Prepared(
        try_prepare(&shared, &plan, &containers, runs)
            .await
            .map_err(|error| format!("ResourceInitializationError: {error}")),
    )
}

async fn try_prepare(
    shared: &Shared,
    plan: &TaskPlan,
    containers: &[(usize, String)],
    runs: bool,
) -> Result<Prepared, String> {
    let id = ContainerId::new(plan.id.clone()).map_err(|error| error.to_string())?;
    let group = async {
        let group = container_spec::task_group(plan, id);
        shared.engine.create_task_group(group).await.map_err(|error| words(&error))
    };
    // Before the first container: what it calls is there when it looks.
    shared.service_connect.prepare(plan).await?;
    let namespace = async {
        let NetworkPlan::AwsVpc(_) = &plan.network else { return Ok(None) };
        if let Some(vpc) = &plan.vpc {
            shared.network.ensure_vpc(vpc.clone()).await.map_err(|error| words(&error))?;
        }
        let attachment = attachment(plan)?;
        // What runs is behind the rules of before, and must not end because the control plane is slow to tell them again.
        if !runs && !shared.network.has_security_groups(attachment.address.into()) {
            return Err(format!("the security groups of {} are not in force here", attachment.address));
        }
        let attached = shared.network.attach(attachment).await.map_err(|error| words(&error))?;
        shared.service_connect.open(plan, &plan.id, &attached.namespace)?;
        Ok::<_, String>(Some(attached.namespace))
    };
    let containers = futures_util::future::join_all(containers.iter().map(|(index, id)| async move {
        let network = shared.network.attach_container(id).await.map_err(|error| words(&error))?;
        shared.service_connect.open(plan, id, &network.namespace)?;
        Ok::<_, String>((*index, network))
    }));
    let (group, namespace, containers) = tokio::join!(group, namespace, containers);
    let containers = containers.into_iter().collect::<Result<_, _>>()?;
    Ok(Prepared { group: group?, namespace: namespace?, containers })
}

/// The interface of a task in mode awsvpc, in the network's own terms.
fn attachment(plan: &TaskPlan) -> Result<Attachment, String> {
    let NetworkPlan::AwsVpc(interface) = &plan.network else { return Err("no network interface".to_owned()) };
    let primary = interface
        .ipv4_addresses
        .iter()
        .find(|address| address.primary)
        .or_else(|| interface.ipv4_addresses.first())
        .ok_or("the network interface has no IPv4 address")?;
    let (gateway, prefix) = interface
        .subnet_gateway_ipv4_address
        .split_once('/')
        .ok_or("the subnet's gateway has no prefix length")?;
    let gateway = gateway.parse().map_err(|_| "the subnet's gateway is not an address")?;
    let prefix_length: u8 = prefix.parse().map_err(|_| "the subnet's prefix length is not one")?;
    Ipv4Cidr::containing(gateway, prefix_length).ok_or("the subnet's prefix length is not one")?;
    Ok(Attachment {
        id: plan.id.clone(),
        mac: interface.mac_address.parse().map_err(|_| "the hardware address is not one")?,
        address: primary.private_address.parse().map_err(|_| "the private address is not one")?,
        ipv6_addresses: interface
            .ipv6_addresses
            .iter()
            .map(|address| address.address.parse().map_err(|_| "the IPv6 address is not one"))
            .collect::<Result<_, _>>()?,
        prefix_length,
        gateway,
    })
}

/// Publishes a container's ports on the host.
pub fn publish(
    shared: &Shared,
    plan: &TaskPlan,
    index: usize,
    id: &ContainerId,
) -> Result<Vec<PublishedPorts>, NetworkError> {
    match plan.containers.get(index).filter(|container| container.is_on_bridge(plan)) {
        Some(container) if !container.ports.is_empty() => {
            shared.network.publish(id.as_str(), &container.ports, &shared.promised_ports.all())
        }
        _ => Ok(Vec::new()),
    }
}

/// Gives a container's address and ports back.
pub async fn release_container(shared: Arc<Shared>, plan: Arc<TaskPlan>, runtime_id: String) -> Step {
    shared.service_connect.close_place(&plan.id, &runtime_id);
    detach(&shared, &plan, &runtime_id).await;
    Step::ContainerReleased
}

/// Gives the network interface back, or those of the containers.
pub async fn release(shared: Arc<Shared>, plan: Arc<TaskPlan>, runtime_ids: Vec<String>) -> Step {
    shared.service_connect.close(&plan.id);
    match plan.network {
        NetworkPlan::AwsVpc(_) => detach(&shared, &plan, &plan.id).await,
        NetworkPlan::Bridge => {
            for id in &runtime_ids {
                detach(&shared, &plan, id).await;
            }
        }
        NetworkPlan::None | NetworkPlan::Host => {}
    }
    Step::Released
}

async fn detach(shared: &Shared, plan: &TaskPlan, id: &str) {
    if let Err(error) = shared.network.detach(id).await {
        // The next start's sweep tries again; holding STOPPED back would keep the task for ever.
        tracing::error!(task = %plan.arn, error = words(&error), "the network interface could not be given back");
    }
}
