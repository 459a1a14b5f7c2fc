//! Removes a health check; record sets that name it are healthy from now on. AWS: DeleteHealthCheck.
//!
//! Differs from AWS: nothing known.

use api::route53::operations::DeleteHealthCheck;
use api::route53::{DeleteHealthCheckRequest, DeleteHealthCheckResponse};
use domain::HealthCheckStatus;
use store::Transaction;
use store::rows_dns::health_check_key;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::health_check;
use crate::{Route53, faults};

impl Operation<DeleteHealthCheck> for Route53 {
    fn permissions(&self, _call: &Call, input: &DeleteHealthCheckRequest) -> Vec<Permission> {
        vec![Permission::new(
            "route53:DeleteHealthCheck",
            health_check::arn(input.health_check_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteHealthCheckRequest,
    ) -> Result<DeleteHealthCheckResponse, Fault> {
        let id = input.health_check_id.unwrap_or_default();
        let done = self.store.update(|snapshot| {
            let row = health_check::find(snapshot, call, &id)?;
            let mut transaction = Transaction::new();
            transaction.remove(&row);
            transaction.delete::<HealthCheckStatus>(&health_check_key(&row.id));
            Ok((transaction, ()))
        });
        done.await.map_err(faults::of_update)?;
        Ok(DeleteHealthCheckResponse {})
    }
}
