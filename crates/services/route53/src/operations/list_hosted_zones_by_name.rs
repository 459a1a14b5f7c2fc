//! Lists the hosted zones of the account in order of their names, labels turned around. AWS:
//! ListHostedZonesByName.
//!
//! Differs from AWS: nothing known.

use api::route53::operations::ListHostedZonesByName;
use api::route53::{ListHostedZonesByNameRequest, ListHostedZonesByNameResponse, faults as modelled};
use domain::DnsName;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{page, zone};
use crate::{Route53, faults};

impl Operation<ListHostedZonesByName> for Route53 {
    fn permissions(&self, _call: &Call, _input: &ListHostedZonesByNameRequest) -> Vec<Permission> {
        vec![Permission::new("route53:ListHostedZonesByName", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListHostedZonesByNameRequest,
    ) -> Result<ListHostedZonesByNameResponse, Fault> {
        let size = page::size(input.max_items.as_deref(), page::ZONES)?;
        if input.hosted_zone_id.is_some() && input.dns_name.is_none() {
            return Err(faults::invalid("HostedZoneId is only allowed with DNSName"));
        }
        let first = input.dns_name.as_deref().map(|name| {
            let parsed = DnsName::parse(name);
            parsed.map_err(|_| modelled::invalid_domain_name(format!("{name} is not a valid domain name.")))
        });
        let first = first.transpose()?.map(|name| {
            let id = input.hosted_zone_id.as_deref().map(zone::bare).unwrap_or_default();
            (name.reversed(), id.to_owned())
        });
        let mut zones = zone::all(&self.store.snapshot(), call);
        zones
            .retain(|row| first.as_ref().is_none_or(|first| (row.name.reversed(), row.id.clone()) >= *first));
        let next = zones.get(size).map(|row| (row.name.to_string(), row.id.clone()));
        zones.truncate(size);
        Ok(ListHostedZonesByNameResponse {
            dns_name: input.dns_name,
            hosted_zone_id: input.hosted_zone_id,
            hosted_zones: Some(zones.iter().map(|row| zone::describe(row, row.record_set_count)).collect()),
            is_truncated: Some(next.is_some()),
            max_items: Some(size.to_string()),
            next_dns_name: next.as_ref().map(|(name, _)| name.clone()),
            next_hosted_zone_id: next.map(|(_, id)| id),
        })
    }
}
