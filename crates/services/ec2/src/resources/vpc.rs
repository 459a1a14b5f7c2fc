//! VPCs.

use base::{Ids, Ipv4Cidr, Ipv6Cidr, Scope, Tag};
use domain::{Ipv6CidrAssociation, Vpc};
use store::rows_vpc::{self, DefaultVpcOf};
use store::{Key, Prefix, Snapshot, Versioned};
use wire::Fault;

use super::permission::ipv4_cidr;
use super::{tag, value};
use crate::faults;
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

/// VPCs of an account in a region. Source: "Amazon VPC quotas".
const VPCS_PER_REGION: usize = 5;
/// Prefix lengths of a VPC and of a subnet. Source: "VPC CIDR blocks".
pub(crate) const PREFIX_LENGTHS: std::ops::RangeInclusive<u8> = 16..=28;
/// Networks that a VPC cannot be in. Source: "VPC CIDR blocks", and RFC 6890.
const FORBIDDEN: [&str; 4] = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"];

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeVpcs",
    prefix: "vpc-",
    malformed: "InvalidVpcID.Malformed",
    not_found: "InvalidVpcID.NotFound",
    noun: "vpc ID",
    filters: &[
        ("cidr", &["cidrBlock", "cidr-block"]),
        ("cidr-block-association.cidr-block", &[]),
        ("cidr-block-association.association-id", &[]),
        ("cidr-block-association.state", &[]),
        ("dhcp-options-id", &["dhcpOptionsId"]),
        ("ipv6-cidr-block-association.ipv6-cidr-block", &[]),
        ("ipv6-cidr-block-association.ipv6-pool", &[]),
        ("ipv6-cidr-block-association.association-id", &[]),
        ("ipv6-cidr-block-association.state", &[]),
        ("is-default", &["isDefault"]),
        ("owner-id", &[]),
        ("state", &[]),
        ("vpc-id", &["vpcId"]),
    ],
    has_tags: true,
};

/// The pool that AWS's own addresses come from.
pub(crate) const IPV6_POOL: &str = "Amazon";

impl Filterable for Vpc {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "cidr" | "cidr-block-association.cidr-block" => value(self.cidr),
            "cidr-block-association.association-id" => value(&self.cidr_association_id),
            "cidr-block-association.state" => value("associated"),
            "dhcp-options-id" => value(&self.dhcp_options_id),
            "is-default" => value(self.is_default),
            "owner-id" => value(&self.scope.account),
            "state" => value("available"),
            "vpc-id" => value(&self.id),
            name => self.ipv6.as_ref().map_or_else(Vec::new, |ipv6| match name {
                "ipv6-cidr-block-association.association-id" => value(&ipv6.id),
                "ipv6-cidr-block-association.ipv6-cidr-block" => value(ipv6.cidr),
                "ipv6-cidr-block-association.ipv6-pool" => value(IPV6_POOL),
                "ipv6-cidr-block-association.state" => value("associated"),
                _ => Vec::new(),
            }),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &self.tags
    }
}

impl Listed for Vpc {
    fn id(&self) -> &str {
        &self.id
    }
}

/// The wire form.
pub(crate) fn describe(vpc: &Vpc) -> api::ec2::Vpc {
    let association = api::ec2::VpcCidrBlockAssociation {
        association_id: Some(vpc.cidr_association_id.clone()),
        cidr_block: Some(vpc.cidr.to_string()),
        cidr_block_state: Some(api::ec2::VpcCidrBlockState {
            state: Some("associated".to_owned()),
            ..Default::default()
        }),
    };
    api::ec2::Vpc {
        cidr_block: Some(vpc.cidr.to_string()),
        cidr_block_association_set: Some(vec![association]),
        dhcp_options_id: Some(vpc.dhcp_options_id.clone()),
        instance_tenancy: Some("default".to_owned()),
        ipv6_cidr_block_association_set: vpc
            .ipv6
            .as_ref()
            .map(|ipv6| vec![describe_ipv6(vpc, ipv6, "associated")]),
        is_default: Some(vpc.is_default),
        owner_id: Some(vpc.scope.account.to_string()),
        state: Some("available".to_owned()),
        tags: tag::describe(&vpc.tags),
        vpc_id: Some(vpc.id.clone()),
        ..Default::default()
    }
}

/// The wire form of a VPC's IPv6 addresses.
pub(crate) fn describe_ipv6(
    vpc: &Vpc,
    ipv6: &Ipv6CidrAssociation,
    state: &str,
) -> api::ec2::VpcIpv6CidrBlockAssociation {
    api::ec2::VpcIpv6CidrBlockAssociation {
        association_id: Some(ipv6.id.clone()),
        ip_source: Some("amazon".to_owned()),
        ipv6_address_attribute: Some("private".to_owned()),
        ipv6_cidr_block: Some(ipv6.cidr.to_string()),
        ipv6_cidr_block_state: Some(api::ec2::VpcCidrBlockState {
            state: Some(state.to_owned()),
            ..Default::default()
        }),
        ipv6_pool: Some(IPV6_POOL.to_owned()),
        network_border_group: Some(vpc.scope.region.to_string()),
    }
}

/// The VPC of this id, or the default one.
pub(crate) fn named_or_default(
    snapshot: &Snapshot,
    scope: &Scope,
    id: Option<&str>,
) -> Result<Versioned<Vpc>, Fault> {
    match id {
        Some(id) => KIND.find::<Vpc>(snapshot, scope, id),
        None => {
            let default = snapshot.get::<DefaultVpcOf>(&Key::new(scope, &[]));
            let id = default.and_then(|default| default.vpc.clone()).ok_or_else(faults::no_default_vpc)?;
            KIND.find::<Vpc>(snapshot, scope, &id)
        }
    }
}

/// Whether it is the default VPC.
pub(crate) fn is_default(snapshot: &Snapshot, scope: &Scope, id: &str) -> bool {
    snapshot.get::<Vpc>(&Key::new(scope, &[id])).is_some_and(|vpc| vpc.is_default)
}

/// The network of a VPC, with what stands behind its prefix cut off. Source: CreateVpc, `CidrBlock`.
pub(crate) fn cidr(text: &str) -> Result<Ipv4Cidr, Fault> {
    let cidr = ipv4_cidr(text).map_err(|_| not_a_cidr(text))?;
    let forbidden = FORBIDDEN.iter().filter_map(|text| text.parse::<Ipv4Cidr>().ok());
    if !PREFIX_LENGTHS.contains(&cidr.prefix_length()) || forbidden.into_iter().any(|one| one.overlaps(&cidr))
    {
        return Err(Fault::new("InvalidVpc.Range", format!("The CIDR '{cidr}' is invalid."), 400));
    }
    Ok(cidr)
}

/// The fault for a text that is no network.
pub(crate) fn not_a_cidr(text: &str) -> Fault {
    faults::invalid_value(format!(
        "Value ({text}) for parameter cidrBlock is invalid. This is not a valid CIDR block."
    ))
}

/// Checks that a network is nobody else's: see `decisions/0019`.
pub(crate) fn check_free(
    snapshot: &Snapshot,
    scope: &Scope,
    cidr: Ipv4Cidr,
    taken: Option<Ipv4Cidr>,
) -> Result<(), Fault> {
    let refused = |message: String| Err(Fault::new("InvalidVpc.Range", message, 400));
    if let Some(used) = rows_vpc::vpc_that_overlaps(snapshot, &cidr) {
        let whose = if used.scope.account == scope.account {
            format!("of {} in {}", used.vpc, used.scope.region)
        } else {
            "of another account".to_owned()
        };
        return refused(format!(
            "The CIDR '{cidr}' overlaps {} {whose}. All regions and accounts share this machine, and two of its VPCs \
             cannot have the same addresses.",
            used.cidr
        ));
    }
    if let Some(other) = taken {
        return refused(format!(
            "The CIDR '{cidr}' overlaps {other}, which this machine routes elsewhere or another Roadstead on it has claimed."
        ));
    }
    Ok(())
}

/// Checks that there may be one more.
pub(crate) fn check_quota(snapshot: &Snapshot, scope: &Scope) -> Result<(), Fault> {
    if snapshot.scan::<Vpc>(Key::prefix(scope, &[]), None).count() < VPCS_PER_REGION {
        return Ok(());
    }
    Err(Fault::new("VpcLimitExceeded", "The maximum number of VPCs has been reached.", 400))
}

/// The DHCP options that the region's VPCs have, where there is one.
pub(crate) fn dhcp_options_id(snapshot: &Snapshot, scope: &Scope) -> Option<String> {
    let mut all = snapshot.scan::<Vpc>(Key::prefix(scope, &[]), None);
    all.next().map(|vpc| vpc.dhcp_options_id.clone())
}

/// A /56 that no VPC has: a unique local network with a random global id (RFC 4193, section 3.2).
pub(crate) fn new_ipv6(snapshot: &Snapshot, ids: &dyn Ids) -> Ipv6CidrAssociation {
    loop {
        let mut bytes = [0; 16];
        bytes[0] = 0xfd;
        ids.fill(&mut bytes[1..7]);
        let cidr = Ipv6Cidr::containing(bytes.into(), 56);
        let mut all = snapshot.scan::<Vpc>(Prefix::everything(), None);
        let is_free = |cidr: &Ipv6Cidr| {
            !all.any(|vpc| vpc.ipv6.as_ref().is_some_and(|known| known.cidr.overlaps(cidr)))
        };
        if let Some(cidr) = cidr.filter(is_free) {
            return Ipv6CidrAssociation { id: format!("vpc-cidr-assoc-{}", ids.hex(17)), cidr };
        }
    }
}
