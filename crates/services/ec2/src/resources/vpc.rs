//! VPCs.

use base::Tag;
use domain::Vpc;

use super::{tag, value};
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

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
            // A VPC here has no IPv6 addresses.
            _ => Vec::new(),
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
        is_default: Some(vpc.is_default),
        owner_id: Some(vpc.scope.account.to_string()),
        state: Some("available".to_owned()),
        tags: tag::describe(&vpc.tags),
        vpc_id: Some(vpc.id.clone()),
        ..Default::default()
    }
}
