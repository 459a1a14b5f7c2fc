//! DHCP options: every region has one set, AWS's default, which its VPCs share.

use std::collections::BTreeSet;

use base::{Scope, Tag};
use domain::Vpc;
use store::{Key, Snapshot};

use super::value;
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeDhcpOptions",
    prefix: "dopt-",
    malformed: "InvalidDhcpOptionsId.Malformed",
    not_found: "InvalidDhcpOptionID.NotFound",
    noun: "dhcpOption ID",
    filters: &[("dhcp-options-id", &[]), ("key", &[]), ("owner-id", &[]), ("value", &[])],
    has_tags: true,
};

/// A set of options.
pub(crate) struct DescribedOptions {
    scope: Scope,
    id: String,
}

impl DescribedOptions {
    fn options(&self) -> [(&'static str, String); 2] {
        let domain = match self.scope.region.as_str() {
            "us-east-1" => "ec2.internal".to_owned(),
            region => format!("{region}.compute.internal"),
        };
        [("domain-name", domain), ("domain-name-servers", "AmazonProvidedDNS".to_owned())]
    }
}

/// Those that VPCs have.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<DescribedOptions> {
    let vpcs = snapshot.scan::<Vpc>(Key::prefix(scope, &[]), None);
    let ids: BTreeSet<String> = vpcs.map(|vpc| vpc.dhcp_options_id.clone()).collect();
    ids.into_iter().map(|id| DescribedOptions { scope: scope.clone(), id }).collect()
}

impl Filterable for DescribedOptions {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "dhcp-options-id" => value(&self.id),
            "key" => self.options().map(|(key, _)| key.to_owned()).to_vec(),
            "owner-id" => value(&self.scope.account),
            "value" => self.options().map(|(_, value)| value).to_vec(),
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &[]
    }
}

impl Listed for DescribedOptions {
    fn id(&self) -> &str {
        &self.id
    }
}

/// The wire form.
pub(crate) fn describe(options: &DescribedOptions) -> api::ec2::DhcpOptions {
    let configuration = |(key, value): (&str, String)| api::ec2::DhcpConfiguration {
        key: Some(key.to_owned()),
        values: Some(vec![api::ec2::AttributeValue { value: Some(value) }]),
    };
    api::ec2::DhcpOptions {
        dhcp_configurations: Some(options.options().map(configuration).to_vec()),
        dhcp_options_id: Some(options.id.clone()),
        owner_id: Some(options.scope.account.to_string()),
        tags: Some(Vec::new()),
    }
}
