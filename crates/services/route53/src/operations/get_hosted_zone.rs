//! Tells a hosted zone, its name servers or its VPCs. AWS: GetHostedZone.
//!
//! Differs from AWS: record sets of Cloud Map's instances are counted as they are listed.

use api::route53::operations::GetHostedZone;
use api::route53::{GetHostedZoneRequest, GetHostedZoneResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Route53;
use crate::resources::{cloud_map, zone};

impl Operation<GetHostedZone> for Route53 {
    fn permissions(&self, _call: &Call, input: &GetHostedZoneRequest) -> Vec<Permission> {
        vec![Permission::new("route53:GetHostedZone", zone::arn(input.id.as_deref()))]
    }

    async fn handle(&self, call: &Call, input: GetHostedZoneRequest) -> Result<GetHostedZoneResponse, Fault> {
        let snapshot = self.store.snapshot();
        let row = zone::find(&snapshot, call, &input.id.unwrap_or_default())?;
        let count = row.record_set_count + cloud_map::record_sets(&snapshot, &row).len() as u64;
        Ok(GetHostedZoneResponse {
            delegation_set: (!row.is_private).then(|| zone::delegation_set(&row)),
            hosted_zone: Some(zone::describe(&row, count)),
            vp_cs: row.is_private.then(|| row.vpcs.iter().map(zone::describe_vpc).collect()),
        })
    }
}
