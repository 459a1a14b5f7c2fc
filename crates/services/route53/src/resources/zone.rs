//! Hosted zones: found, described, tied to VPCs.

use api::route53::{self as shapes, DelegationSet, HostedZoneConfig, faults as modelled};
use base::{Region, Scope};
use domain::{HostedZone, HostedZoneVpc, Vpc};
use store::rows_dns::{HOSTED_ZONES_BY_NAME, HOSTED_ZONES_BY_VPC, hosted_zone_key};
use store::{Key, Snapshot, Versioned};
use wire::{Call, Fault};

use crate::faults;

/// VPCs of one zone. Source: "Quotas", Amazon Route 53 developer guide.
pub(crate) const VPCS_MAXIMUM: usize = 300;
/// Record sets of one zone. Source: the same.
pub(crate) const RECORD_SETS_MAXIMUM: u64 = 10_000;
/// Hosted zones of one account. Source: the same.
pub(crate) const ZONES_MAXIMUM: usize = 500;

/// An id without what the CLI or an answer put before it.
pub(crate) fn bare(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

/// The ARN of a zone, for permissions.
pub(crate) fn arn(id: Option<&str>) -> String {
    format!("arn:aws:route53:::hostedzone/{}", bare(id.unwrap_or("*")))
}

/// The caller's zone with this id.
pub(crate) fn find(snapshot: &Snapshot, call: &Call, id: &str) -> Result<Versioned<HostedZone>, Fault> {
    let id = bare(id);
    let found = snapshot.get::<HostedZone>(&hosted_zone_key(id));
    found.filter(|zone| zone.account == call.scope.account).ok_or_else(|| faults::no_zone(id))
}

/// The same of a zone that the caller may change: not one that another AWS service made.
pub(crate) fn find_own(snapshot: &Snapshot, call: &Call, id: &str) -> Result<Versioned<HostedZone>, Fault> {
    let zone = find(snapshot, call, id)?;
    match &zone.linked_service {
        None => Ok(zone),
        Some(linked) => Err(Fault::new(
            "AccessDenied",
            format!("The resource hostedzone/{} can only be managed through {}", zone.id, linked.principal),
            403,
        )),
    }
}

/// The caller's zones in order of their names with the labels turned around, then of their ids.
pub(crate) fn all(snapshot: &Snapshot, call: &Call) -> Vec<Versioned<HostedZone>> {
    snapshot.index::<HostedZone>(HOSTED_ZONES_BY_NAME, &[call.scope.account.as_str()], None).collect()
}

/// What GetHostedZone and the listings show.
pub(crate) fn describe(zone: &HostedZone, record_sets: u64) -> shapes::HostedZone {
    shapes::HostedZone {
        caller_reference: Some(zone.caller_reference.clone()),
        config: Some(HostedZoneConfig { comment: zone.comment.clone(), private_zone: Some(zone.is_private) }),
        features: None,
        id: Some(format!("/hostedzone/{}", zone.id)),
        linked_service: zone.linked_service.as_ref().map(|linked| shapes::LinkedService {
            description: Some(linked.description.clone()),
            service_principal: Some(linked.principal.clone()),
        }),
        name: Some(zone.name.to_string()),
        resource_record_set_count: i64::try_from(record_sets).ok(),
    }
}

/// The name servers of a public zone.
pub(crate) fn delegation_set(zone: &HostedZone) -> DelegationSet {
    let name = |name: &domain::DnsName| name.as_str().trim_end_matches('.').to_owned();
    DelegationSet {
        caller_reference: None,
        id: None,
        name_servers: Some(zone.name_servers.iter().map(name).collect()),
    }
}

/// The wire form of a VPC.
pub(crate) fn describe_vpc(vpc: &HostedZoneVpc) -> shapes::VPC {
    shapes::VPC { vpc_id: Some(vpc.vpc.clone()), vpc_region: Some(vpc.region.to_string()) }
}

/// The VPC that a call names: there is one, in the caller's account.
pub(crate) fn parse_vpc(
    snapshot: &Snapshot,
    call: &Call,
    given: &shapes::VPC,
) -> Result<HostedZoneVpc, Fault> {
    let (Some(id), Some(region)) = (&given.vpc_id, &given.vpc_region) else {
        return Err(faults::invalid("Both VPCId and VPCRegion are required to specify a VPC."));
    };
    let region: Region =
        region.parse().map_err(|_| faults::invalid(format!("Invalid VPCRegion {region}")))?;
    let scope = Scope::new(call.scope.account.clone(), region.clone());
    if snapshot.get::<Vpc>(&Key::new(&scope, &[id])).is_none() {
        let message = format!("The VPC ID {id} in region {region} is invalid.");
        return Err(modelled::invalid_vpc_id(message));
    }
    Ok(HostedZoneVpc { region, vpc: id.clone() })
}

/// Refuses a VPC that has a private zone of this name already.
pub(crate) fn check_conflict(
    snapshot: &Snapshot,
    vpc: &HostedZoneVpc,
    name: &domain::DnsName,
) -> Result<(), Fault> {
    let parts = [vpc.vpc.as_str(), name.as_str()];
    let Some(other) = snapshot.index::<HostedZone>(HOSTED_ZONES_BY_VPC, &parts, None).next() else {
        return Ok(());
    };
    Err(modelled::conflicting_domain_exists(format!(
        "The VPC {} in region {} has already been associated with the hosted zone {} with the same domain name.",
        vpc.vpc, vpc.region, other.id
    )))
}
