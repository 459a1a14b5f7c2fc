//! Counts the health checks of the account. AWS: GetHealthCheckCount.
//!
//! Differs from AWS: nothing known.

use api::route53::operations::GetHealthCheckCount;
use api::route53::{GetHealthCheckCountRequest, GetHealthCheckCountResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Route53;
use crate::resources::health_check;

impl Operation<GetHealthCheckCount> for Route53 {
    fn permissions(&self, _call: &Call, _input: &GetHealthCheckCountRequest) -> Vec<Permission> {
        vec![Permission::new("route53:GetHealthCheckCount", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        _input: GetHealthCheckCountRequest,
    ) -> Result<GetHealthCheckCountResponse, Fault> {
        let count = health_check::all(&self.store.snapshot(), call).len();
        Ok(GetHealthCheckCountResponse { health_check_count: i64::try_from(count).ok() })
    }
}
