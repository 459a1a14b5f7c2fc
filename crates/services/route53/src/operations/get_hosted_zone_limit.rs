//! Tells a limit of a hosted zone, and how much of it is used. AWS: GetHostedZoneLimit.
//!
//! Differs from AWS: nothing known.

use api::route53::operations::GetHostedZoneLimit;
use api::route53::{
    GetHostedZoneLimitRequest, GetHostedZoneLimitResponse, HostedZoneLimit, faults as modelled,
};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::zone;
use crate::{Route53, faults};

impl Operation<GetHostedZoneLimit> for Route53 {
    fn permissions(&self, _call: &Call, input: &GetHostedZoneLimitRequest) -> Vec<Permission> {
        vec![Permission::new("route53:GetHostedZoneLimit", zone::arn(input.hosted_zone_id.as_deref()))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: GetHostedZoneLimitRequest,
    ) -> Result<GetHostedZoneLimitResponse, Fault> {
        let row = zone::find(&self.store.snapshot(), call, &input.hosted_zone_id.unwrap_or_default())?;
        let (count, limit) = match input.type_.as_deref() {
            Some("MAX_RRSETS_BY_ZONE") => (row.record_set_count, zone::RECORD_SETS_MAXIMUM),
            Some("MAX_VPCS_ASSOCIATED_BY_ZONE") if row.is_private => {
                (row.vpcs.len() as u64, zone::VPCS_MAXIMUM as u64)
            }
            Some("MAX_VPCS_ASSOCIATED_BY_ZONE") => {
                return Err(modelled::hosted_zone_not_private(
                    "The specified hosted zone is a public hosted zone.",
                ));
            }
            other => return Err(faults::invalid(format!("Invalid Type '{}'", other.unwrap_or_default()))),
        };
        Ok(GetHostedZoneLimitResponse {
            count: i64::try_from(count).ok(),
            limit: Some(HostedZoneLimit { type_: input.type_, value: i64::try_from(limit).ok() }),
        })
    }
}
