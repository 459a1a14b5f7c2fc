//! Tells a health check. AWS: GetHealthCheck.
//!
//! Differs from AWS: nothing known.

use api::route53::operations::GetHealthCheck;
use api::route53::{GetHealthCheckRequest, GetHealthCheckResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Route53;
use crate::resources::health_check;

impl Operation<GetHealthCheck> for Route53 {
    fn permissions(&self, _call: &Call, input: &GetHealthCheckRequest) -> Vec<Permission> {
        vec![Permission::new("route53:GetHealthCheck", health_check::arn(input.health_check_id.as_deref()))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: GetHealthCheckRequest,
    ) -> Result<GetHealthCheckResponse, Fault> {
        let row =
            health_check::find(&self.store.snapshot(), call, &input.health_check_id.unwrap_or_default())?;
        Ok(GetHealthCheckResponse { health_check: Some(health_check::describe(&row)) })
    }
}
