//! Changes a health check. AWS: UpdateHealthCheck.
//!
//! Differs from AWS: alarms and data that is missing are refused by name.

use api::route53::operations::UpdateHealthCheck;
use api::route53::{UpdateHealthCheckRequest, UpdateHealthCheckResponse, faults as modelled};
use domain::HealthCheck;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::health_check;
use crate::{Route53, faults};

impl Operation<UpdateHealthCheck> for Route53 {
    fn permissions(&self, _call: &Call, input: &UpdateHealthCheckRequest) -> Vec<Permission> {
        vec![Permission::new(
            "route53:UpdateHealthCheck",
            health_check::arn(input.health_check_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdateHealthCheckRequest,
    ) -> Result<UpdateHealthCheckResponse, Fault> {
        let id = input.health_check_id.clone().unwrap_or_default();
        let done = self.store.update(|snapshot| {
            let row = health_check::find(snapshot, call, &id)?;
            let is_expected = |version: &i64| u64::try_from(*version) == Ok(row.version);
            if input.health_check_version.as_ref().is_some_and(|version| !is_expected(version)) {
                return Err(modelled::health_check_version_mismatch(format!(
                    "The health check is of version {}.",
                    row.version
                )));
            }
            let next = changed(&row, &input)?;
            health_check::check_fields(&next)?;
            health_check::check_children(snapshot, call, &next)?;
            let mut transaction = Transaction::new();
            transaction.replace(&row, next.clone());
            Ok((transaction, next))
        });
        let next = done.await.map_err(faults::of_update)?;
        Ok(UpdateHealthCheckResponse { health_check: Some(health_check::describe(&next)) })
    }
}

/// The health check with what the call gives, and without what it resets.
fn changed(row: &HealthCheck, input: &UpdateHealthCheckRequest) -> Result<HealthCheck, Fault> {
    if input.alarm_identifier.is_some() {
        return Err(faults::unsupported("AlarmIdentifier"));
    }
    if input.insufficient_data_health_status.is_some() {
        return Err(faults::unsupported("InsufficientDataHealthStatus"));
    }
    let mut next = HealthCheck { version: row.version + 1, ..row.clone() };
    for element in input.reset_elements.iter().flatten() {
        match element.as_str() {
            "ChildHealthChecks" => next.children.clear(),
            "FullyQualifiedDomainName" => next.domain_name = None,
            "Regions" => next.regions.clear(),
            "ResourcePath" => next.resource_path = None,
            other => return Err(faults::invalid(format!("Invalid ResetElements '{other}'"))),
        }
    }
    if let Some(text) = &input.ip_address {
        let address = text.parse().map_err(|_| faults::invalid("The specified IP address is not valid."))?;
        next.address = Some(address);
    }
    fn set<T: Clone>(slot: &mut Option<T>, given: Option<&T>) {
        if given.is_some() {
            *slot = given.cloned();
        }
    }
    let number = |given: Option<i32>| given.and_then(|given| u32::try_from(given).ok());
    set(&mut next.port, input.port.and_then(|port| u16::try_from(port).ok()).as_ref());
    set(&mut next.resource_path, input.resource_path.as_ref());
    set(&mut next.domain_name, input.fully_qualified_domain_name.as_ref());
    set(&mut next.search_string, input.search_string.as_ref());
    set(&mut next.failure_threshold, number(input.failure_threshold).as_ref());
    set(&mut next.health_threshold, number(input.health_threshold).as_ref());
    set(&mut next.inverted, input.inverted.as_ref());
    set(&mut next.disabled, input.disabled.as_ref());
    set(&mut next.enable_sni, input.enable_sni.as_ref());
    if let Some(children) = &input.child_health_checks {
        next.children.clone_from(children);
    }
    if let Some(regions) = &input.regions {
        next.regions.clone_from(regions);
    }
    Ok(next)
}
