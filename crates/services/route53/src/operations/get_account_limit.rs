//! Tells a limit of the account, and how much of it is used. AWS: GetAccountLimit.
//!
//! Differs from AWS: there are no traffic policies and no reusable delegation sets: none of their limits is used.

use api::route53::operations::GetAccountLimit;
use api::route53::{AccountLimit, GetAccountLimitRequest, GetAccountLimitResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{health_check, zone};
use crate::{Route53, faults};

impl Operation<GetAccountLimit> for Route53 {
    fn permissions(&self, _call: &Call, _input: &GetAccountLimitRequest) -> Vec<Permission> {
        vec![Permission::new("route53:GetAccountLimit", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: GetAccountLimitRequest,
    ) -> Result<GetAccountLimitResponse, Fault> {
        // Source: "Quotas", Amazon Route 53 developer guide.
        const TRAFFIC_POLICIES: usize = 50;
        const TRAFFIC_POLICY_INSTANCES: usize = 5;
        const DELEGATION_SETS: usize = 100;
        let snapshot = self.store.snapshot();
        let (count, limit) = match input.type_.as_deref() {
            Some("MAX_HEALTH_CHECKS_BY_OWNER") => {
                (health_check::all(&snapshot, call).len(), health_check::HEALTH_CHECKS_MAXIMUM)
            }
            Some("MAX_HOSTED_ZONES_BY_OWNER") => (zone::all(&snapshot, call).len(), zone::ZONES_MAXIMUM),
            Some("MAX_TRAFFIC_POLICY_INSTANCES_BY_OWNER") => (0, TRAFFIC_POLICY_INSTANCES),
            Some("MAX_REUSABLE_DELEGATION_SETS_BY_OWNER") => (0, DELEGATION_SETS),
            Some("MAX_TRAFFIC_POLICIES_BY_OWNER") => (0, TRAFFIC_POLICIES),
            other => return Err(faults::invalid(format!("Invalid Type '{}'", other.unwrap_or_default()))),
        };
        Ok(GetAccountLimitResponse {
            count: i64::try_from(count).ok(),
            limit: Some(AccountLimit { type_: input.type_, value: i64::try_from(limit).ok() }),
        })
    }
}
