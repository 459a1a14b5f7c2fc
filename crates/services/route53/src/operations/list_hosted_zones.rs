//! Lists the hosted zones of the account, page by page. AWS: ListHostedZones.
//!
//! Differs from AWS: zones come in order of their ids.

use api::route53::operations::ListHostedZones;
use api::route53::{ListHostedZonesRequest, ListHostedZonesResponse, faults as modelled};
use wire::{Call, Fault, Operation, Permission};

use crate::Route53;
use crate::resources::{page, zone};

impl Operation<ListHostedZones> for Route53 {
    fn permissions(&self, _call: &Call, _input: &ListHostedZonesRequest) -> Vec<Permission> {
        vec![Permission::new("route53:ListHostedZones", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListHostedZonesRequest,
    ) -> Result<ListHostedZonesResponse, Fault> {
        let size = page::size(input.max_items.as_deref(), page::ZONES)?;
        if let Some(id) = &input.delegation_set_id {
            return Err(modelled::no_such_delegation_set(format!("No delegation set found with ID: {id}")));
        }
        let is_wanted = |is_private: bool| is_private || input.hosted_zone_type.is_none();
        let mut zones = zone::all(&self.store.snapshot(), call);
        zones.retain(|row| {
            is_wanted(row.is_private) && row.id.as_str() >= input.marker.as_deref().unwrap_or_default()
        });
        zones.sort_by(|one, other| one.id.cmp(&other.id));
        let next = zones.get(size).map(|row| row.id.clone());
        zones.truncate(size);
        Ok(ListHostedZonesResponse {
            hosted_zones: Some(zones.iter().map(|row| zone::describe(row, row.record_set_count)).collect()),
            is_truncated: Some(next.is_some()),
            marker: input.marker,
            max_items: Some(size.to_string()),
            next_marker: next,
        })
    }
}
