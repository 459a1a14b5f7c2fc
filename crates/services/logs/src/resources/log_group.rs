//! Log groups.

use base::{Arn, Scope};
use domain::LogGroup;
use store::rows_logs::log_group_key;
use store::{Snapshot, Versioned};
use wire::Fault;

use crate::faults;

/// The group called `name`.
pub(crate) fn find(snapshot: &Snapshot, scope: &Scope, name: &str) -> Result<Versioned<LogGroup>, Fault> {
    snapshot.get(&log_group_key(scope, name)).ok_or_else(faults::no_log_group)
}

/// The name in a pair of `logGroupName` and `logGroupIdentifier`, of which one must be there.
pub(crate) fn name_of(scope: &Scope, name: Option<&str>, identifier: Option<&str>) -> Result<String, Fault> {
    match (name, identifier) {
        (Some(name), None) => Ok(name.to_owned()),
        (None, Some(identifier)) => name_of_identifier(scope, identifier),
        (Some(_), Some(_)) => {
            Err(faults::invalid("LogGroup name and LogGroup identifier are mutually exclusive parameters."))
        }
        (None, None) => Err(faults::invalid("Either LogGroup name or LogGroup identifier must be given.")),
    }
}

/// The name in a `logGroupIdentifier`: a name, or an ARN with or without `:*`.
pub(crate) fn name_of_identifier(scope: &Scope, identifier: &str) -> Result<String, Fault> {
    if !identifier.starts_with("arn:") {
        return Ok(identifier.to_owned());
    }
    name_of_arn(scope, identifier).ok_or_else(faults::no_log_group)
}

/// The name in a group's ARN, if it is one of this account and region.
pub(crate) fn name_of_arn(scope: &Scope, arn: &str) -> Option<String> {
    let arn: Arn = arn.parse().ok()?;
    if arn.aws_service() != "logs" || arn.scope().as_ref() != Some(scope) {
        return None;
    }
    let name = arn.resource().strip_prefix("log-group:")?;
    Some(name.strip_suffix(":*").unwrap_or(name).to_owned())
}

/// The ARN that IAM knows a group by; as a text, since an asked-for name may be anything.
pub(crate) fn permission_arn(scope: &Scope, name: Option<&str>, identifier: Option<&str>) -> String {
    match name.map(str::to_owned).or_else(|| name_of_identifier(scope, identifier?).ok()) {
        Some(name) => LogGroup::arn_of(scope, &name).to_string(),
        None => "*".to_owned(),
    }
}

/// The group as Describe shows it.
pub(crate) fn describe(group: &LogGroup, stored_bytes: u64) -> api::logs::LogGroup {
    let arn = group.arn().to_string();
    api::logs::LogGroup {
        arn: Some(format!("{arn}:*")),
        bearer_token_authentication_enabled: None,
        creation_time: Some(group.created_at.as_millis()),
        data_protection_status: None,
        deletion_protection_enabled: Some(group.deletion_protection_enabled),
        inherited_properties: None,
        kms_key_id: group.kms_key_id.clone(),
        log_group_arn: Some(arn),
        log_group_class: Some(group.class.to_string()),
        log_group_name: Some(group.name.clone()),
        metric_filter_count: Some(0),
        retention_in_days: group.retention_in_days,
        retention_policy_name: None,
        stored_bytes: Some(i64::try_from(stored_bytes).unwrap_or(i64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_in_three_ways() {
        let scope = Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap());
        let arn = "arn:aws:logs:us-east-1:000000000000:log-group:/ecs/a";
        for identifier in ["/ecs/a", arn, &format!("{arn}:*")] {
            assert_eq!(name_of(&scope, None, Some(identifier)).unwrap(), "/ecs/a");
        }
        for elsewhere in [
            "arn:aws:logs:eu-west-1:000000000000:log-group:/ecs/a",
            "arn:aws:logs:us-east-1:000000000001:log-group:/ecs/a",
            "arn:aws:ecs:us-east-1:000000000000:log-group:/ecs/a",
            "arn:aws:logs:us-east-1:000000000000:destination:a",
            "arn:",
        ] {
            assert_eq!(name_of(&scope, None, Some(elsewhere)).unwrap_err(), faults::no_log_group());
        }
        assert!(name_of(&scope, None, None).is_err());
        assert!(name_of(&scope, Some("a"), Some("a")).is_err());
    }
}
