//! Lists the record sets of a hosted zone by name, labels turned around, type and identifier. AWS:
//! ListResourceRecordSets.
//!
//! Differs from AWS: record sets of a name come in the order of their types' names; AWS does not tell its own.

use api::route53::operations::ListResourceRecordSets;
use api::route53::{ListResourceRecordSetsRequest, ListResourceRecordSetsResponse};
use domain::{DnsName, ResourceRecordSet};
use store::{Key, Prefix, Row as _};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cloud_map, page, record_set, zone};
use crate::{Route53, faults};

impl Operation<ListResourceRecordSets> for Route53 {
    fn permissions(&self, _call: &Call, input: &ListResourceRecordSetsRequest) -> Vec<Permission> {
        vec![Permission::new("route53:ListResourceRecordSets", zone::arn(input.hosted_zone_id.as_deref()))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListResourceRecordSetsRequest,
    ) -> Result<ListResourceRecordSetsResponse, Fault> {
        let size = page::size(input.max_items.as_deref(), page::RECORD_SETS)?;
        let (name, record_type) = (input.start_record_name.as_deref(), input.start_record_type.as_deref());
        if (record_type.is_some() && name.is_none())
            || (input.start_record_identifier.is_some() && record_type.is_none())
        {
            return Err(faults::invalid("The start of a page needs a name, and an identifier a type"));
        }
        let name = name.map(DnsName::parse).transpose();
        let name = name.map_err(|error| faults::invalid(format!("Invalid StartRecordName: {error}")))?;
        let snapshot = self.store.snapshot();
        let row = zone::find(&snapshot, call, &input.hosted_zone_id.unwrap_or_default())?;

        let first = name.map(|name| {
            let identifier = input.start_record_identifier.as_deref().unwrap_or_default();
            Key::global(&[&row.id, &name.reversed(), record_type.unwrap_or_default(), identifier])
        });
        let mut sets: Vec<ResourceRecordSet> = Vec::new();
        if let Some(first) = &first {
            sets.extend(snapshot.get::<ResourceRecordSet>(first).map(|set| ResourceRecordSet::clone(&set)));
        }
        let stored = snapshot.scan::<ResourceRecordSet>(Prefix::global(&[&row.id]), first.as_ref());
        sets.extend(stored.take(size + 1).map(|set| ResourceRecordSet::clone(&set)));
        let discovered = cloud_map::record_sets(&snapshot, &row);
        sets.extend(
            discovered.into_iter().filter(|set| first.as_ref().is_none_or(|first| set.key() >= *first)),
        );
        sets.sort_by_cached_key(ResourceRecordSet::key);
        let next = sets.get(size).map(record_set::describe);
        sets.truncate(size);

        Ok(ListResourceRecordSetsResponse {
            is_truncated: Some(next.is_some()),
            max_items: Some(size.to_string()),
            next_record_name: next.as_ref().and_then(|next| next.name.clone()),
            next_record_type: next.as_ref().and_then(|next| next.type_.clone()),
            next_record_identifier: next.and_then(|next| next.set_identifier),
            resource_record_sets: Some(sets.iter().map(record_set::describe).collect()),
        })
    }
}
