//! Lists the private hosted zones that answer in a VPC. AWS: ListHostedZonesByVPC.
//!
//! Differs from AWS: nothing known.

use api::route53::operations::ListHostedZonesByVPC;
use api::route53::{
    HostedZoneOwner, HostedZoneSummary, ListHostedZonesByVPCRequest, ListHostedZonesByVPCResponse, VPC,
    faults as modelled,
};
use base::PageToken;
use wire::{Call, Fault, Operation, Permission};

use crate::Route53;
use crate::resources::{page, zone};

const LISTING: &str = "ListHostedZonesByVPC";

impl Operation<ListHostedZonesByVPC> for Route53 {
    fn permissions(&self, _call: &Call, _input: &ListHostedZonesByVPCRequest) -> Vec<Permission> {
        vec![Permission::new("route53:ListHostedZonesByVPC", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListHostedZonesByVPCRequest,
    ) -> Result<ListHostedZonesByVPCResponse, Fault> {
        let size = page::size(input.max_items.as_deref(), page::ZONES)?;
        let after = input.next_token.map(|token| PageToken::decode(LISTING, &token)).transpose();
        let after =
            after.map_err(|_| modelled::invalid_pagination_token("The pagination token is not valid."))?;
        let snapshot = self.store.snapshot();
        let given = VPC { vpc_id: input.vpc_id, vpc_region: input.vpc_region };
        let vpc = zone::parse_vpc(&snapshot, call, &given)?;
        let mut zones = zone::all(&snapshot, call);
        zones.retain(|row| row.vpcs.contains(&vpc));
        zones.sort_by(|one, other| one.id.cmp(&other.id));
        zones.retain(|row| after.as_ref().is_none_or(|after| row.id > after.after));
        let has_more = zones.len() > size;
        zones.truncate(size);
        let last = zones.last().filter(|_| has_more);
        Ok(ListHostedZonesByVPCResponse {
            next_token: last.map(|row| PageToken::encode(LISTING, &row.id)),
            max_items: Some(size.to_string()),
            hosted_zone_summaries: Some(
                zones
                    .iter()
                    .map(|row| HostedZoneSummary {
                        hosted_zone_id: Some(row.id.clone()),
                        name: Some(row.name.to_string()),
                        owner: Some(match &row.linked_service {
                            Some(linked) => HostedZoneOwner {
                                owning_account: None,
                                owning_service: Some(linked.principal.clone()),
                            },
                            None => HostedZoneOwner {
                                owning_account: Some(row.account.to_string()),
                                owning_service: None,
                            },
                        }),
                    })
                    .collect(),
            ),
        })
    }
}
