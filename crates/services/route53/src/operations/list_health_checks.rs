//! Lists the health checks of the account, page by page. AWS: ListHealthChecks.
//!
//! Differs from AWS: nothing known.

use api::route53::operations::ListHealthChecks;
use api::route53::{ListHealthChecksRequest, ListHealthChecksResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Route53;
use crate::resources::{health_check, page};

impl Operation<ListHealthChecks> for Route53 {
    fn permissions(&self, _call: &Call, _input: &ListHealthChecksRequest) -> Vec<Permission> {
        vec![Permission::new("route53:ListHealthChecks", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListHealthChecksRequest,
    ) -> Result<ListHealthChecksResponse, Fault> {
        let size = page::size(input.max_items.as_deref(), page::ZONES)?;
        let mut checks = health_check::all(&self.store.snapshot(), call);
        checks.retain(|row| row.id.as_str() >= input.marker.as_deref().unwrap_or_default());
        let next = checks.get(size).map(|row| row.id.clone());
        checks.truncate(size);
        Ok(ListHealthChecksResponse {
            health_checks: Some(checks.iter().map(|row| health_check::describe(row)).collect()),
            is_truncated: Some(next.is_some()),
            marker: Some(input.marker.unwrap_or_default()),
            max_items: Some(size.to_string()),
            next_marker: next,
        })
    }
}
