//! Tells what the last look of a health check that failed found. AWS:
//! GetHealthCheckLastFailureReason.
//!
//! Differs from AWS: there is one observer, this machine: its region is that of the call.

use api::route53::operations::GetHealthCheckLastFailureReason;
use api::route53::{
    GetHealthCheckLastFailureReasonRequest, GetHealthCheckLastFailureReasonResponse, HealthCheckObservation,
    StatusReport,
};
use domain::{HealthCheckStatus, HealthCheckType};
use store::rows_dns::health_check_key;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::health_check;
use crate::{Route53, faults};

impl Operation<GetHealthCheckLastFailureReason> for Route53 {
    fn permissions(&self, _call: &Call, input: &GetHealthCheckLastFailureReasonRequest) -> Vec<Permission> {
        vec![Permission::new(
            "route53:GetHealthCheckLastFailureReason",
            health_check::arn(input.health_check_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: GetHealthCheckLastFailureReasonRequest,
    ) -> Result<GetHealthCheckLastFailureReasonResponse, Fault> {
        let snapshot = self.store.snapshot();
        let row = health_check::find(&snapshot, call, &input.health_check_id.unwrap_or_default())?;
        if row.check_type == HealthCheckType::Calculated {
            return Err(faults::invalid("There are no observations of a CALCULATED health check."));
        }
        let status = snapshot.get::<HealthCheckStatus>(&health_check_key(&row.id));
        let report = status.and_then(|status| status.last_failure.clone());
        let observation = |(status, checked_time)| HealthCheckObservation {
            ip_address: row.address.map(|address| address.to_string()),
            region: Some(call.scope.region.to_string()),
            status_report: Some(StatusReport { checked_time: Some(checked_time), status: Some(status) }),
        };
        Ok(GetHealthCheckLastFailureReasonResponse {
            health_check_observations: Some(report.into_iter().map(observation).collect()),
        })
    }
}
