//! Targets of a target group: what may be registered, and what is told of their health.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use api::elasticloadbalancing::{AdministrativeOverride, AnomalyDetection, TargetHealth, faults};
use base::Ipv4Cidr;
use domain::{ContainerInstance, Subnet, TargetDescription, TargetGroup, TargetRegistration, Vpc};
use store::{Key, Snapshot};
use wire::Fault;

use super::health_check::is_http;
use crate::faults::{unsupported, validation};

/// Where addresses outside the VPC may lie. Source: "Target type", target groups for Application Load Balancers.
const PRIVATE_NETWORKS: [&str; 4] = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"];

/// The targets of a call, each once. Where a target names no port it has the group's.
pub(crate) fn parse(
    group: &TargetGroup,
    targets: Vec<api::elasticloadbalancing::TargetDescription>,
) -> Result<Vec<TargetDescription>, Fault> {
    let mut parsed: Vec<TargetDescription> = Vec::new();
    let mut seen = BTreeSet::new();
    for target in targets {
        if target.quic_server_id.is_some() {
            return Err(unsupported("QuicServerId"));
        }
        let id = target.id.unwrap_or_default();
        let port = target.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(group.port);
        let id = match group.target_type.as_str() {
            "ip" => address(&id)?.to_string(),
            _ => id,
        };
        if seen.insert((id.clone(), port)) {
            parsed.push(TargetDescription { target: id, port, zone: target.availability_zone });
        }
    }
    Ok(parsed)
}

fn address(text: &str) -> Result<Ipv4Addr, Fault> {
    text.parse().map_err(|_| validation(format!("The IP address '{text}' is not a valid IPv4 address")))
}

/// Checks that the target may be registered with the group, and fills in its zone.
pub(crate) fn check(
    snapshot: &Snapshot,
    group: &TargetGroup,
    target: TargetDescription,
) -> Result<TargetDescription, Fault> {
    match group.target_type.as_str() {
        "ip" => check_address(snapshot, group, target),
        _ => check_instance(snapshot, group, target),
    }
}

fn check_address(
    snapshot: &Snapshot,
    group: &TargetGroup,
    target: TargetDescription,
) -> Result<TargetDescription, Fault> {
    let id = &target.target;
    let address = address(id)?;
    let subnets = snapshot.scan::<Subnet>(Key::prefix(&group.scope, &[]), None);
    let mut subnets = subnets.filter(|subnet| Some(&subnet.vpc) == group.vpc.as_ref());
    if let Some(subnet) = subnets.find(|subnet| subnet.cidr.contains(address)) {
        let zone = &subnet.availability_zone;
        if let Some(asked) = target.zone.as_ref().filter(|asked| *asked != zone) {
            let message = format!(
                "The IP address '{id}' is within the VPC, and cannot have its Availability Zone overridden to \
                 '{asked}' from '{zone}'"
            );
            return Err(validation(message));
        }
        return Ok(TargetDescription { zone: Some(zone.clone()), ..target });
    }
    let is_private = PRIVATE_NETWORKS
        .iter()
        .filter_map(|network| network.parse::<Ipv4Cidr>().ok())
        .any(|network| network.contains(address));
    let is_elsewhere = || {
        let vpcs = snapshot.scan::<Vpc>(store::Prefix::everything(), None);
        vpcs.into_iter().any(|vpc| vpc.cidr.contains(address))
    };
    if !is_private || is_elsewhere() {
        let vpc = group.vpc.as_deref().unwrap_or_default();
        let message =
            format!("The IP address '{id}' is not within the VPC '{vpc}' or a network that it reaches");
        return Err(faults::invalid_target_exception(message));
    }
    match target.zone.as_deref() {
        Some("all") => Ok(target),
        None => Err(validation(format!(
            "The Availability Zone is required for IP address '{id}' because it is not in the VPC"
        ))),
        Some(_) => Err(validation(format!(
            "The Availability Zone for IP address '{id}' must be 'all' when not within the VPC"
        ))),
    }
}

fn check_instance(
    snapshot: &Snapshot,
    group: &TargetGroup,
    target: TargetDescription,
) -> Result<TargetDescription, Fault> {
    let id = &target.target;
    if target.zone.is_some() {
        return Err(validation("You cannot specify an Availability Zone for targets of type 'instance'"));
    }
    let instances = snapshot.scan::<ContainerInstance>(Key::prefix(&group.scope, &[]), None);
    if instances.into_iter().any(|instance| instance.ec2_instance_id == *id) {
        return Ok(target);
    }
    if !id.starts_with("i-") {
        return Err(validation(format!("Instance ID '{id}' is not valid")));
    }
    let message =
        format!("The following targets are not in a running state and cannot be registered: '{id}'");
    Err(faults::invalid_target_exception(message))
}

/// What is told of a target's health.
pub(crate) struct DescribedTarget<'a> {
    pub(crate) group: &'a TargetGroup,
    /// Whether a rule forwards to the group.
    pub(crate) is_in_use: bool,
    /// Whether the call wants to know of anomalies.
    pub(crate) has_anomalies: bool,
}

impl DescribedTarget<'_> {
    /// The wire form of a registered target.
    pub(crate) fn registered(
        &self,
        row: &TargetRegistration,
    ) -> api::elasticloadbalancing::TargetHealthDescription {
        let health = match (self.is_in_use, row.deregistered_at) {
            (false, None) => TargetHealth {
                state: Some("unused".to_owned()),
                reason: Some("Target.NotInUse".to_owned()),
                description: Some(
                    "Target group is not configured to receive traffic from the load balancer".to_owned(),
                ),
            },
            _ => TargetHealth {
                state: Some(row.state.clone()),
                reason: row.reason.clone(),
                description: row.description.clone(),
            },
        };
        self.described(&row.target, row.port, row.zone.as_deref(), health)
    }

    /// The wire form of a target that the call names and that is not registered.
    pub(crate) fn unregistered(
        &self,
        target: &TargetDescription,
    ) -> api::elasticloadbalancing::TargetHealthDescription {
        let health = TargetHealth {
            state: Some("unused".to_owned()),
            reason: Some("Target.NotRegistered".to_owned()),
            description: Some("Target is not registered to the target group".to_owned()),
        };
        self.described(&target.target, target.port, target.zone.as_deref(), health)
    }

    fn described(
        &self,
        target: &str,
        port: u16,
        zone: Option<&str>,
        health: TargetHealth,
    ) -> api::elasticloadbalancing::TargetHealthDescription {
        let check_port = match self.group.health_check.port.as_str() {
            "traffic-port" => port.to_string(),
            port => port.to_owned(),
        };
        let anomaly = AnomalyDetection {
            mitigation_in_effect: Some("no".to_owned()),
            result: Some("normal".to_owned()),
        };
        let not_overridden = AdministrativeOverride {
            description: Some("No override is currently active on target".to_owned()),
            reason: Some("AdministrativeOverride.NoOverride".to_owned()),
            state: Some("no_override".to_owned()),
        };
        let shows_anomalies = self.has_anomalies && is_http(&self.group.protocol);
        api::elasticloadbalancing::TargetHealthDescription {
            administrative_override: self.is_in_use.then_some(not_overridden),
            anomaly_detection: shows_anomalies.then_some(anomaly),
            health_check_port: Some(check_port),
            target: Some(api::elasticloadbalancing::TargetDescription {
                availability_zone: zone.map(str::to_owned),
                id: Some(target.to_owned()),
                port: Some(i32::from(port)),
                quic_server_id: None,
            }),
            target_health: Some(health),
        }
    }
}
