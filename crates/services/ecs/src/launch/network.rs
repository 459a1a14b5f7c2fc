//! The network of a launch: `awsvpcConfiguration`, and where its subnets lie.

use std::collections::{BTreeMap, BTreeSet};

use api::ecs::RunTaskRequest;
use domain::{AwsVpcConfiguration, LaunchType, NetworkMode, SecurityGroup, Subnet, TaskDefinition};
use store::Snapshot;
use store::rows_vpc::{security_group_key, subnet_key};
use wire::{Call, Fault};

use crate::faults::invalid;

/// Subnets of one configuration. Source: AwsVpcConfiguration.
const SUBNETS: usize = 16;
/// Security groups of one configuration. Source: AwsVpcConfiguration.
const SECURITY_GROUPS: usize = 5;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Network {
    /// As given.
    pub configuration: AwsVpcConfiguration,
    /// Subnets by availability zone.
    pub subnets_by_zone: BTreeMap<String, Vec<String>>,
}

impl Network {
    /// The zones of the subnets.
    pub fn zones(&self) -> BTreeSet<String> {
        self.subnets_by_zone.keys().cloned().collect()
    }
}

/// Checks the network configuration against the definition's network mode.
pub fn check(
    snapshot: &Snapshot,
    call: &Call,
    request: &RunTaskRequest,
    definition: &TaskDefinition,
    launch_type: LaunchType,
) -> Result<Option<Network>, Fault> {
    let given = request.network_configuration.as_ref().and_then(|given| given.awsvpc_configuration.as_ref());
    if definition.projection.network_mode != NetworkMode::AwsVpc {
        return match &request.network_configuration {
            None => Ok(None),
            Some(_) => Err(invalid(
                "Network Configuration is not valid for the given networkMode of this task definition.",
            )),
        };
    }
    let Some(given) = given else {
        return Err(invalid(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        ));
    };
    let subnets = given.subnets.clone().unwrap_or_default();
    if subnets.is_empty() {
        return Err(invalid("subnets can not be empty."));
    }
    if subnets.len() > SUBNETS {
        return Err(invalid(format!("subnets can have at most {SUBNETS} items.")));
    }
    let security_groups = given.security_groups.clone().unwrap_or_default();
    if security_groups.len() > SECURITY_GROUPS {
        return Err(invalid(format!("securityGroups can have at most {SECURITY_GROUPS} items.")));
    }
    let assign_public_ip = match given.assign_public_ip.as_deref() {
        None | Some("DISABLED") => false,
        Some("ENABLED") if launch_type == LaunchType::Fargate => true,
        Some("ENABLED") => return Err(invalid("Assign public IP is not supported for this launch type.")),
        Some(other) => return Err(invalid(format!("Invalid value for assignPublicIp: {other}"))),
    };
    let subnets_by_zone = zones(snapshot, call, &subnets, &security_groups)?;
    let configuration = AwsVpcConfiguration { subnets, security_groups, assign_public_ip };
    Ok(Some(Network { configuration, subnets_by_zone }))
}

/// The subnets by zone, once all of them are there, in one VPC, with the security groups.
fn zones(
    snapshot: &Snapshot,
    call: &Call,
    subnets: &[String],
    security_groups: &[String],
) -> Result<BTreeMap<String, Vec<String>>, Fault> {
    let mut zones: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut vpcs = BTreeSet::new();
    for id in subnets {
        if id.trim().is_empty() {
            return Err(invalid("subnet cannot be blank"));
        }
        let Some(subnet) = snapshot.get::<Subnet>(&subnet_key(&call.scope, id)) else {
            return Err(invalid(format!(
                "Error retrieving subnet information for [{}]: The subnet ID '{id}' does not exist (ErrorCode: \
                 InvalidSubnetID.NotFound)",
                subnets.join(", ")
            )));
        };
        vpcs.insert(subnet.vpc.clone());
        let of_zone = zones.entry(subnet.availability_zone.clone()).or_default();
        if !of_zone.contains(id) {
            of_zone.push(id.clone());
        }
    }
    for id in security_groups {
        if id.trim().is_empty() {
            return Err(invalid("security group cannot be blank"));
        }
        let Some(group) = snapshot.get::<SecurityGroup>(&security_group_key(&call.scope, id)) else {
            return Err(invalid(format!(
                "Error retrieving security group information for [{}]: The security group '{id}' does not exist \
                 (ErrorCode: InvalidGroup.NotFound)",
                security_groups.join(", ")
            )));
        };
        vpcs.insert(group.vpc.clone());
    }
    if vpcs.len() > 1 {
        return Err(invalid("All specified subnets and security groups must be from the same VPC."));
    }
    Ok(zones)
}
