//! Target groups.

use api::elasticloadbalancing::{Matcher, faults};
use base::Scope;
use domain::TargetGroup;
use store::{Snapshot, Transaction, Versioned, rows_load_balancing};
use wire::Fault;

use super::name;

/// The target group with this ARN.
pub(crate) fn find(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<Versioned<TargetGroup>, Fault> {
    name::check_arn(arn, "targetgroup", "target group")?;
    let found = rows_load_balancing::target_group_by_arn(snapshot, arn);
    found.filter(|found| found.scope == *scope).ok_or_else(|| not_found(arn))
}

pub(crate) fn not_found(arn_or_name: &str) -> Fault {
    faults::target_group_not_found_exception(format!("Target group '{arn_or_name}' not found"))
}

/// The ARNs of the load balancers whose rules name the group, each once.
pub(crate) fn load_balancer_arns(snapshot: &Snapshot, group: &TargetGroup) -> Vec<String> {
    let rules = rows_load_balancing::rules_of_target_group(snapshot, group);
    let mut arns: Vec<String> = rules.iter().map(|rule| rule.load_balancer_arn().to_string()).collect();
    arns.sort();
    arns.dedup();
    arns
}

/// Writes the group's row again, unchanged: whoever decides upon it meanwhile must look again.
pub(crate) fn touch(transaction: &mut Transaction, group: &Versioned<TargetGroup>) {
    transaction.replace(group, TargetGroup::clone(group));
}

/// The wire form.
pub(crate) fn describe(snapshot: &Snapshot, row: &TargetGroup) -> api::elasticloadbalancing::TargetGroup {
    let check = &row.health_check;
    let number = |value: u32| i32::try_from(value).ok();
    let is_grpc = row.protocol_version.as_deref() == Some("GRPC");
    let matcher = check.matcher.clone().map(|codes| {
        if is_grpc {
            Matcher { grpc_code: Some(codes), http_code: None }
        } else {
            Matcher { grpc_code: None, http_code: Some(codes) }
        }
    });
    api::elasticloadbalancing::TargetGroup {
        health_check_enabled: Some(check.enabled),
        health_check_interval_seconds: number(check.interval_seconds),
        health_check_path: check.path.clone(),
        health_check_port: Some(check.port.clone()),
        health_check_protocol: Some(check.protocol.clone()),
        health_check_timeout_seconds: number(check.timeout_seconds),
        healthy_threshold_count: number(check.healthy_threshold),
        ip_address_type: Some(row.ip_address_type.clone()),
        load_balancer_arns: Some(load_balancer_arns(snapshot, row)),
        matcher,
        port: Some(i32::from(row.port)),
        protocol: Some(row.protocol.clone()),
        protocol_version: row.protocol_version.clone(),
        target_control_port: None,
        target_group_arn: Some(row.arn().to_string()),
        target_group_name: Some(row.name.clone()),
        target_type: Some(row.target_type.clone()),
        unhealthy_threshold_count: number(check.unhealthy_threshold),
        vpc_id: row.vpc.clone(),
    }
}
