//! What stands in front of Express services: which load balancer a new one shares, the names and ids of what is to be made for
//! it, and all of that on the wire. `control` makes it.
//!
//! Source: AWS, "Resources created by Amazon ECS Express Mode services", "ECSManagedResources" data type; the forms of names are
//! those that accounts show. Which subnets make a service PRIVATE is ours: those that no route leads to the internet from.

use std::collections::{BTreeMap, BTreeSet};

use api::ecs as shape;
use base::{Ids, Scope};
use domain::{
    ExpressIngress, ExpressIngressReference, ExpressLoadBalancer, InternetGateway, LoadBalancer,
    LoadBalancerState, LogGroup, ManagedResourceStatus, RouteDestination, RouteTable, RouteTarget, Subnet,
    TargetGroup,
};
use scheduler::express_ingress::{Shared, Wanted, choose, free_priority};
use store::rows_gateway::{express_ingress_of, express_service_of};
use store::rows_load_balancing::{load_balancer_by_arn, target_group_by_arn};
use store::rows_logs::log_group_key;
use store::rows_vpc::subnet_key;
use store::{Key, Snapshot, Transaction, Versioned};
use wire::{Call, Fault};

use super::express_service::Reference;
use crate::faults::invalid;

/// Zones of an Application Load Balancer at least. Source: "Subnets for your load balancer".
const ZONES: usize = 2;

/// Where a service's tasks and its load balancer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The VPC's id.
    pub vpc: String,
    /// The first subnet of each zone, by zone.
    pub by_zone: BTreeMap<String, String>,
    /// Whether every subnet is public.
    pub is_public: bool,
}

impl Network {
    /// What these subnets are.
    ///
    /// # Errors
    /// A subnet that is not there; subnets of several VPCs, or of one zone.
    pub fn of(snapshot: &Snapshot, scope: &Scope, subnets: &[String]) -> Result<Self, Fault> {
        let mut network = Self { vpc: String::new(), by_zone: BTreeMap::new(), is_public: true };
        for id in subnets {
            let Some(subnet) = snapshot.get::<Subnet>(&subnet_key(scope, id)) else {
                return Err(invalid(format!(
                    "Error retrieving subnet information for [{}]: The subnet ID '{id}' does not exist (ErrorCode: \
                     InvalidSubnetID.NotFound)",
                    subnets.join(", ")
                )));
            };
            if !network.vpc.is_empty() && network.vpc != subnet.vpc {
                return Err(invalid("All subnets must belong to the same VPC."));
            }
            network.vpc.clone_from(&subnet.vpc);
            network.by_zone.entry(subnet.availability_zone.clone()).or_insert_with(|| id.clone());
            network.is_public &= is_public(snapshot, &subnet);
        }
        if network.by_zone.len() < ZONES {
            return Err(invalid(
                "At least two subnets in two different Availability Zones must be specified.",
            ));
        }
        Ok(network)
    }

    /// The load balancer's scheme.
    pub fn scheme(&self) -> &'static str {
        if self.is_public { "internet-facing" } else { "internal" }
    }

    /// Checks that a service whose load balancer is `there` can be in this network.
    ///
    /// # Errors
    /// It cannot: on AWS another load balancer would be made.
    pub fn check_fits(&self, there: &ExpressLoadBalancer) -> Result<(), Fault> {
        let zones: BTreeSet<&str> = there.subnets.iter().map(|(_, zone)| zone.as_str()).collect();
        let covers = self.by_zone.keys().all(|zone| zones.contains(zone.as_str()));
        if there.vpc == self.vpc && there.scheme == self.scheme() && covers {
            return Ok(());
        }
        Err(invalid(
            "The subnets must be in the VPC and the Availability Zones of the service's load balancer, and public if they \
             were: moving a service to another load balancer is not supported by this release of Roadstead.",
        ))
    }
}

/// Whether a route leads from the subnet to the internet.
fn is_public(snapshot: &Snapshot, subnet: &Subnet) -> bool {
    let tables: Vec<_> = snapshot
        .scan::<RouteTable>(Key::prefix(&subnet.scope, &[]), None)
        .filter(|table| table.vpc == subnet.vpc)
        .collect();
    let names = |table: &&Versioned<RouteTable>| {
        table.associations.iter().any(|there| there.subnet.as_deref() == Some(subnet.id.as_str()))
    };
    let Some(table) = tables.iter().find(names).or_else(|| tables.iter().find(|table| table.is_main()))
    else {
        return false;
    };
    table.routes.iter().any(|route| {
        let RouteTarget::InternetGateway(id) = &route.target else { return false };
        let gateway = snapshot.get::<InternetGateway>(&Key::new(&subnet.scope, &[id]));
        let is_everywhere =
            matches!(&route.destination, RouteDestination::Ipv4(cidr) if cidr.prefix_length() == 0);
        is_everywhere && gateway.is_some_and(|gateway| gateway.vpc.as_ref() == Some(&subnet.vpc))
    })
}

/// Wishes for an ingress path of a new service in `transaction`, on a load balancer with room or on one of its own.
pub fn place(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    call: &Call,
    ids: &dyn Ids,
    reference: &Reference,
    network: &Network,
) -> (ExpressIngress, ExpressLoadBalancer) {
    let there: Vec<Versioned<ExpressLoadBalancer>> =
        snapshot.scan(Key::prefix(&call.scope, &[]), None).collect();
    let shared: Vec<Shared> = there
        .iter()
        .map(|row| Shared {
            vpc: &row.vpc,
            scheme: &row.scheme,
            zones: row.subnets.iter().map(|(_, zone)| zone.as_str()).collect(),
            paths: row.endpoints.len(),
        })
        .collect();
    let wanted = Wanted {
        vpc: &network.vpc,
        scheme: network.scheme(),
        zones: network.by_zone.keys().map(String::as_str).collect(),
    };
    let chosen = choose(&wanted, &shared).map(|at| &there[at]);
    let mut load_balancer = match chosen {
        Some(row) => ExpressLoadBalancer::clone(row),
        None => new_load_balancer(call, ids, network),
    };
    let taken: BTreeSet<u32> = snapshot
        .scan::<ExpressIngress>(Key::prefix(&call.scope, &[&load_balancer.name]), None)
        .map(|row| row.priority)
        .collect();
    let group = || (format!("ecs-gateway-tg-{}", ids.hex(17)), ids.hex(16));
    let ingress = ExpressIngress {
        scope: call.scope.clone(),
        load_balancer: load_balancer.name.clone(),
        endpoint: endpoint(&reference.name, call, ids),
        cluster: reference.cluster.clone(),
        service: reference.name.clone(),
        rule: ids.hex(16),
        priority: free_priority(&taken),
        target_groups: [group(), group()],
        certificate: ids.uuid(),
        security_group: format!("sg-{}", ids.hex(17)),
        status: ManagedResourceStatus::Provisioning,
        status_reason: None,
        created_at: call.now,
        updated_at: call.now,
    };
    load_balancer.endpoints.push(ingress.endpoint.clone());
    // Its row is written, so that no two services take the last place, and none one on its way out.
    match chosen {
        Some(row) => transaction.replace(row, load_balancer.clone()),
        None => transaction.insert(load_balancer.clone()),
    };
    transaction.insert(ingress.clone());
    (ingress, load_balancer)
}

fn new_load_balancer(call: &Call, ids: &dyn Ids, network: &Network) -> ExpressLoadBalancer {
    ExpressLoadBalancer {
        scope: call.scope.clone(),
        name: format!("ecs-express-gateway-alb-{}", ids.hex(8)),
        id: ids.hex(16),
        listener: ids.hex(16),
        security_group: format!("sg-{}", ids.hex(17)),
        scheme: network.scheme().to_owned(),
        vpc: network.vpc.clone(),
        subnets: network.by_zone.iter().map(|(zone, id)| (id.clone(), zone.clone())).collect(),
        endpoints: Vec::new(),
        created_at: call.now,
    }
}

/// Two letters of the service's name, 32 hexadecimal digits, and the region's domain.
fn endpoint(service: &str, call: &Call, ids: &dyn Ids) -> String {
    let letters: String = service.chars().filter(char::is_ascii_alphanumeric).take(2).collect();
    let letters = if letters.is_empty() { "ex".to_owned() } else { letters.to_ascii_lowercase() };
    format!("{letters}-{}.ecs.{}.on.aws", ids.hex(32), call.scope.region)
}

/// What stands in front of the service, where it is an Express service.
pub fn of_service(snapshot: &Snapshot, service: &domain::Service) -> Option<Versioned<ExpressIngress>> {
    let express = express_service_of(snapshot, service)?;
    express_ingress_of(snapshot, &express).map(|(ingress, _)| ingress)
}

/// The network without a security group that ECS adds by itself.
pub fn without_group(
    given: &shape::NetworkConfiguration,
    group: Option<&str>,
) -> shape::NetworkConfiguration {
    let mut network = given.clone();
    let groups = network.awsvpc_configuration.as_mut().and_then(|network| network.security_groups.as_mut());
    if let Some(groups) = groups {
        groups.retain(|there| Some(there.as_str()) != group);
    }
    network
}

/// Names the path.
pub fn reference(ingress: &ExpressIngress) -> ExpressIngressReference {
    ExpressIngressReference {
        load_balancer: ingress.load_balancer.clone(),
        endpoint: ingress.endpoint.clone(),
    }
}

/// `loadBalancers` of the service: both target groups, and the rule that shifts traffic between them.
pub fn load_balancers(
    ingress: &ExpressIngress,
    load_balancer: &ExpressLoadBalancer,
    (container, port): (&str, i32),
    role: &str,
) -> Vec<shape::LoadBalancer> {
    let [first, second] = ingress.target_group_arns();
    vec![shape::LoadBalancer {
        target_group_arn: Some(first.to_string()),
        container_name: Some(container.to_owned()),
        container_port: Some(port),
        advanced_configuration: Some(shape::AdvancedConfiguration {
            alternate_target_group_arn: Some(second.to_string()),
            production_listener_rule: Some(load_balancer.rule_arn(&ingress.rule).to_string()),
            role_arn: Some(role.to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    }]
}

fn access_type(load_balancer: &ExpressLoadBalancer) -> String {
    if load_balancer.scheme == "internal" { "PRIVATE" } else { "PUBLIC" }.to_owned()
}

/// `ingressPaths` of a configuration.
pub fn summaries(
    paths: Option<&(Versioned<ExpressIngress>, Versioned<ExpressLoadBalancer>)>,
) -> Vec<shape::IngressPathSummary> {
    let summary = |(ingress, load_balancer): &(Versioned<ExpressIngress>, Versioned<ExpressLoadBalancer>)| {
        shape::IngressPathSummary {
            access_type: Some(access_type(load_balancer)),
            endpoint: Some(ingress.endpoint.clone()),
        }
    };
    paths.into_iter().map(summary).collect()
}

/// How far the load balancer is, and why.
pub fn load_balancer_status(
    snapshot: &Snapshot,
    load_balancer: &ExpressLoadBalancer,
) -> (ManagedResourceStatus, Option<String>) {
    match load_balancer_by_arn(snapshot, load_balancer.load_balancer_arn().as_str()) {
        None => (ManagedResourceStatus::Provisioning, None),
        Some(row) => {
            let row: &LoadBalancer = &row;
            let status = match row.state {
                LoadBalancerState::Provisioning => ManagedResourceStatus::Provisioning,
                LoadBalancerState::Active | LoadBalancerState::ActiveImpaired => {
                    ManagedResourceStatus::Active
                }
                LoadBalancerState::Failed => ManagedResourceStatus::Failed,
            };
            (status, row.state_reason.clone())
        }
    }
}

/// `ecsManagedResources` of a revision of `service`; `None` where that is no Express service.
pub fn managed_resources(
    snapshot: &Snapshot,
    service: &domain::Service,
    log_groups: Vec<String>,
) -> Option<shape::ECSManagedResources> {
    let express = express_service_of(snapshot, service)?;
    let (ingress, load_balancer) = express_ingress_of(snapshot, &express)?;
    let scope = &ingress.scope;
    let (status, reason, at) =
        (ingress.status.to_string(), ingress.status_reason.clone(), ingress.updated_at);
    let group = |id: &str| shape::ManagedSecurityGroup {
        arn: Some(base::Arn::new("ec2", scope, format!("security-group/{id}")).to_string()),
        status: Some(status.clone()),
        status_reason: reason.clone(),
        updated_at: Some(at),
    };
    let log_group = |name: String| {
        let row = snapshot.get::<LogGroup>(&log_group_key(scope, &name));
        let word =
            if row.is_some() { ManagedResourceStatus::Active } else { ManagedResourceStatus::Provisioning };
        shape::ManagedLogGroup {
            arn: Some(base::Arn::new("logs", scope, format!("log-group:{name}")).to_string()),
            log_group_name: Some(name),
            status: Some(word.to_string()),
            status_reason: None,
            updated_at: Some(row.map_or(at, |row| row.created_at)),
        }
    };
    Some(shape::ECSManagedResources {
        ingress_paths: Some(vec![ingress_path(snapshot, &ingress, &load_balancer)]),
        log_groups: Some(log_groups.into_iter().map(log_group).collect()),
        service_security_groups: Some(vec![group(&ingress.security_group)]),
        ..Default::default()
    })
}

fn ingress_path(
    snapshot: &Snapshot,
    ingress: &ExpressIngress,
    load_balancer: &ExpressLoadBalancer,
) -> shape::ManagedIngressPath {
    let (status, reason, at) =
        (Some(ingress.status.to_string()), ingress.status_reason.clone(), Some(ingress.updated_at));
    let (standing, standing_reason) = load_balancer_status(snapshot, load_balancer);
    let security_group =
        base::Arn::new("ec2", &ingress.scope, format!("security-group/{}", load_balancer.security_group));
    let target_group = |arn: base::Arn| {
        let row = target_group_by_arn(snapshot, arn.as_str());
        let row: Option<&TargetGroup> = row.as_deref();
        shape::ManagedTargetGroup {
            arn: Some(arn.to_string()),
            health_check_path: row.and_then(|row| row.health_check.path.clone()),
            health_check_port: row.map(|row| i32::from(row.port)),
            port: row.map(|row| i32::from(row.port)),
            status: status.clone(),
            status_reason: reason.clone(),
            updated_at: at,
        }
    };
    shape::ManagedIngressPath {
        access_type: Some(access_type(load_balancer)),
        endpoint: Some(ingress.endpoint.clone()),
        certificate: Some(shape::ManagedCertificate {
            arn: Some(ingress.certificate_arn().to_string()),
            domain_name: Some(ingress.endpoint.clone()),
            status: status.clone(),
            status_reason: reason.clone(),
            updated_at: at,
        }),
        listener: Some(shape::ManagedListener {
            arn: Some(load_balancer.listener_arn().to_string()),
            status: status.clone(),
            status_reason: reason.clone(),
            updated_at: at,
        }),
        load_balancer: Some(shape::ManagedLoadBalancer {
            arn: Some(load_balancer.load_balancer_arn().to_string()),
            scheme: Some(load_balancer.scheme.clone()),
            security_group_ids: Some(vec![load_balancer.security_group.clone()]),
            subnet_ids: Some(load_balancer.subnets.iter().map(|(id, _)| id.clone()).collect()),
            status: Some(standing.to_string()),
            status_reason: standing_reason,
            updated_at: at,
        }),
        load_balancer_security_groups: Some(vec![shape::ManagedSecurityGroup {
            arn: Some(security_group.to_string()),
            status: status.clone(),
            status_reason: reason.clone(),
            updated_at: at,
        }]),
        rule: Some(shape::ManagedListenerRule {
            arn: Some(load_balancer.rule_arn(&ingress.rule).to_string()),
            status: status.clone(),
            status_reason: reason.clone(),
            updated_at: at,
        }),
        target_groups: Some(ingress.target_group_arns().into_iter().map(target_group).collect()),
    }
}
