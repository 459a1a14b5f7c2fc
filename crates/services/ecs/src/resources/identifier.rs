//! Names, ids and ARNs that callers give.

use base::Arn;
use wire::{Call, Fault};

use crate::faults::{client, invalid};

/// Letters, digits, hyphens and underscores, 1 to 255 of them: clusters, families, groups of other nouns.
pub fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// An ARN of ECS in the call's account and region whose resource is of type `wanted`; its rest behind the type.
pub fn own_arn(call: &Call, text: &str, wanted: &str) -> Result<String, Fault> {
    let arn: Arn = text.parse().map_err(|_| invalid("Invalid arn syntax."))?;
    if arn.aws_service() != "ecs" {
        return Err(invalid("Invalid arn syntax."));
    }
    let (kind, rest) = arn.resource_type_and_id().ok_or_else(|| invalid("Invalid arn syntax."))?;
    if kind != wanted {
        return Err(invalid(format!("Unsupported resource type: {kind}")));
    }
    if arn.region().as_ref() != Some(&call.scope.region) {
        let region = &call.scope.region;
        return Err(invalid(format!("Region in the ARN does not match the region of the request: {region}")));
    }
    if arn.account().as_ref() != Some(&call.scope.account) {
        return Err(client("User is not authorized to perform this action on resources of another account."));
    }
    Ok(rest.to_owned())
}

/// The id of a task (`kind` is `task`) or container instance (`container-instance`) of the cluster `cluster`, from an id
/// or an ARN with or without the cluster's name.
pub fn id_in_cluster(call: &Call, cluster: &str, text: &str, kind: &str) -> Result<String, Fault> {
    let id = if text.starts_with("arn:") {
        let rest = own_arn(call, text, kind)?;
        match rest.split_once('/') {
            None => rest,
            Some((there, id)) if there == cluster => id.to_owned(),
            Some((there, _)) => {
                return Err(invalid(format!(
                    "Invalid identifier: Identifier is for cluster {there}. Your cluster is {cluster}"
                )));
            }
        }
    } else {
        match text.split_once('/') {
            Some((there, id)) if there == cluster => id.to_owned(),
            Some((there, _)) if is_name(there) => {
                return Err(invalid(format!(
                    "Invalid identifier: Identifier is for cluster {there}. Your cluster is {cluster}"
                )));
            }
            _ => text.to_owned(),
        }
    };
    let noun = if kind == "task" { "taskId" } else { "containerInstanceId" };
    if !matches!(id.len(), 32 | 36) {
        return Err(invalid(format!("{noun} length should be one of [32,36]")));
    }
    if !id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        return Err(invalid(format!("Invalid {noun}: {id}")));
    }
    Ok(id)
}
