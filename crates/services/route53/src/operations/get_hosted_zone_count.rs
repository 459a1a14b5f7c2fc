//! Counts the hosted zones of the account. AWS: GetHostedZoneCount.
//!
//! Differs from AWS: nothing known.

use api::route53::operations::GetHostedZoneCount;
use api::route53::{GetHostedZoneCountRequest, GetHostedZoneCountResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Route53;
use crate::resources::zone;

impl Operation<GetHostedZoneCount> for Route53 {
    fn permissions(&self, _call: &Call, _input: &GetHostedZoneCountRequest) -> Vec<Permission> {
        vec![Permission::new("route53:GetHostedZoneCount", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        _input: GetHostedZoneCountRequest,
    ) -> Result<GetHostedZoneCountResponse, Fault> {
        let count = zone::all(&self.store.snapshot(), call).len();
        Ok(GetHostedZoneCountResponse { hosted_zone_count: i64::try_from(count).ok() })
    }
}
