//! What rules do. Source: "Action types for listener rules", "Action" data type.

use api::elasticloadbalancing::{
    Action, FixedResponseActionConfig, ForwardActionConfig, RedirectActionConfig,
    TargetGroupStickinessConfig, TargetGroupTuple, faults,
};
use domain::{LoadBalancer, LoadBalancerTargets, LoadBalancerType, RuleAction, TargetGroup};
use store::{Snapshot, Transaction, rows_load_balancing};
use wire::Fault;

use super::target_group;
use crate::faults::{unsupported, validation};
use crate::quotas;

/// Source: "TargetGroupTuple" data type, `Weight`.
const WEIGHT_MAXIMUM: i32 = 999;
/// Source: "TargetGroupStickinessConfig" data type, `DurationSeconds`.
const STICKINESS_SECONDS_MAXIMUM: i32 = 604_800;
/// Source: "FixedResponseActionConfig" data type, `ContentType`.
const CONTENT_TYPES: [&str; 5] =
    ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];

/// The action of a rule of a listener that a load balancer of this kind has.
pub(crate) fn parse(actions: Vec<Action>, kind: LoadBalancerType) -> Result<RuleAction, Fault> {
    for action in &actions {
        if let Some(refused @ ("authenticate-oidc" | "authenticate-cognito" | "jwt-validation")) =
            action.type_.as_deref()
        {
            return Err(unsupported(&format!("The action type '{refused}'")));
        }
    }
    let mut actions = actions;
    let (Some(action), true) = (actions.pop(), actions.is_empty()) else {
        return Err(validation(
            "The action list must contain exactly one 'forward', 'redirect' or 'fixed-response' action",
        ));
    };
    let type_ = action.type_.as_deref().unwrap_or_default();
    if kind == LoadBalancerType::Network && type_ != "forward" {
        return Err(faults::invalid_load_balancer_action_exception(format!(
            "The action type '{type_}' is not valid with network load balancers"
        )));
    }
    check_configurations(type_, &action)?;
    match type_ {
        "redirect" => parse_redirect(action.redirect_config),
        "fixed-response" => parse_fixed_response(action.fixed_response_config),
        _ => parse_forward(action.target_group_arn, action.forward_config, kind),
    }
}

fn check_configurations(type_: &str, action: &Action) -> Result<(), Fault> {
    let configurations = [
        ("forward", action.forward_config.is_some() || action.target_group_arn.is_some()),
        ("redirect", action.redirect_config.is_some()),
        ("fixed-response", action.fixed_response_config.is_some()),
        ("authenticate-oidc", action.authenticate_oidc_config.is_some()),
        ("authenticate-cognito", action.authenticate_cognito_config.is_some()),
        ("jwt-validation", action.jwt_validation_config.is_some()),
    ];
    match configurations.into_iter().find(|(name, is_there)| *is_there && *name != type_) {
        Some((name, _)) => Err(validation(format!(
            "The configuration of a '{name}' action cannot be specified for a '{type_}' action"
        ))),
        None => Ok(()),
    }
}

fn parse_forward(
    arn: Option<String>,
    config: Option<ForwardActionConfig>,
    kind: LoadBalancerType,
) -> Result<RuleAction, Fault> {
    let config = config.unwrap_or_default();
    let tuples = config.target_groups.unwrap_or_default();
    let mut target_groups: Vec<(String, u32)> = Vec::new();
    for tuple in tuples {
        let arn = tuple.target_group_arn.ok_or_else(|| validation("A target group ARN must be specified"))?;
        let weight = tuple.weight.unwrap_or(1);
        let is_weight = (0..=WEIGHT_MAXIMUM).contains(&weight);
        let weight = u32::try_from(weight).ok().filter(|_| is_weight).ok_or_else(|| {
            validation(format!("Target group weight '{weight}' must be between '0' and '{WEIGHT_MAXIMUM}'"))
        })?;
        if target_groups.iter().any(|(known, _)| *known == arn) {
            return Err(validation(format!("Target group '{arn}' is specified more than once in an action")));
        }
        target_groups.push((arn, weight));
    }
    match arn {
        Some(arn) if target_groups.is_empty() => target_groups.push((arn, 1)),
        Some(arn) if target_groups.len() > 1 || target_groups[0].0 != arn => {
            return Err(validation(
                "You can specify both a target group ARN and a forward configuration only if the configuration has \
                 one target group, and it is the same",
            ));
        }
        _ => {}
    }
    let maximum = quotas::TARGET_GROUPS_PER_ACTION;
    if target_groups.is_empty() {
        return Err(validation("A target group ARN must be specified"));
    }
    if target_groups.len() > maximum {
        return Err(faults::too_many_target_groups_exception(format!(
            "The maximum number of target groups '{maximum}' of an action has been reached"
        )));
    }
    let stickiness_seconds = parse_stickiness(config.target_group_stickiness_config, kind)?;
    Ok(RuleAction::Forward { target_groups, stickiness_seconds })
}

fn parse_stickiness(
    config: Option<TargetGroupStickinessConfig>,
    kind: LoadBalancerType,
) -> Result<Option<u32>, Fault> {
    let config = config.unwrap_or_default();
    let is_enabled = config.enabled == Some(true);
    if is_enabled && kind == LoadBalancerType::Network {
        return Err(validation("Target group stickiness is not supported for network load balancers"));
    }
    let seconds = match config.duration_seconds {
        Some(seconds @ 1..=STICKINESS_SECONDS_MAXIMUM) => u32::try_from(seconds).ok(),
        Some(seconds) => {
            return Err(validation(format!(
                "Target group stickiness duration '{seconds}' must be between '1' and '{STICKINESS_SECONDS_MAXIMUM}' \
                 seconds"
            )));
        }
        None if is_enabled => {
            return Err(validation("A target group stickiness duration must be specified"));
        }
        None => None,
    };
    Ok(seconds.filter(|_| is_enabled))
}

fn parse_redirect(config: Option<RedirectActionConfig>) -> Result<RuleAction, Fault> {
    let config = config.ok_or_else(|| validation("A redirect configuration must be specified"))?;
    let or = |value: Option<String>, default: &str| value.unwrap_or_else(|| default.to_owned());
    let (protocol, host, port, path, query) = (
        or(config.protocol, "#{protocol}"),
        or(config.host, "#{host}"),
        or(config.port, "#{port}"),
        or(config.path, "/#{path}"),
        or(config.query, "#{query}"),
    );
    if port != "#{port}" && port.parse::<u16>().map_or(0, |port| port) == 0 {
        return Err(validation(format!(
            "Redirect port '{port}' must be in the range 1-65535 inclusive or '#{{port}}'"
        )));
    }
    if !path.starts_with('/') {
        return Err(validation(format!("Redirect path '{path}' must begin with a '/' character")));
    }
    for (what, text) in [("host", &host), ("path", &path), ("query", &query)] {
        // It goes into a header of the answer.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(validation(format!(
                "Redirect {what} '{text}' contains a character that is not valid"
            )));
        }
        check_keywords(what, text)?;
    }
    let is_loop = protocol == "#{protocol}" && host == "#{host}" && port == "#{port}" && path == "/#{path}";
    if is_loop {
        return Err(faults::invalid_load_balancer_action_exception(
            "The redirect configuration is not valid because it creates a loop.",
        ));
    }
    let status = if config.status_code.as_deref() == Some("HTTP_302") { 302 } else { 301 };
    Ok(RuleAction::Redirect { protocol, host, port, path, query, status })
}

/// Checks that every `#{…}` is one that the balancer fills in.
fn check_keywords(what: &str, text: &str) -> Result<(), Fault> {
    for part in text.split("#{").skip(1) {
        let keyword = part.split_once('}').map(|(keyword, _)| keyword);
        let is_known = keyword.is_some_and(|keyword| match what {
            "host" => keyword == "host",
            "path" => matches!(keyword, "host" | "path" | "port"),
            _ => matches!(keyword, "host" | "path" | "port" | "query" | "protocol"),
        });
        if !is_known {
            return Err(validation(format!("Redirect {what} '{text}' contains a keyword that is not valid")));
        }
    }
    Ok(())
}

fn parse_fixed_response(config: Option<FixedResponseActionConfig>) -> Result<RuleAction, Fault> {
    let config = config.ok_or_else(|| validation("A fixed response configuration must be specified"))?;
    let status = config.status_code.and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| validation("A fixed response status code must be specified"))?;
    let content_type = config.content_type.filter(|text| !text.is_empty());
    if let Some(text) = content_type.as_deref().filter(|text| !CONTENT_TYPES.contains(text)) {
        let message =
            format!("Fixed response content type '{text}' must be one of '{}'", CONTENT_TYPES.join(", "));
        return Err(validation(message));
    }
    let body = config.message_body.unwrap_or_default();
    Ok(RuleAction::FixedResponse { status, content_type, body })
}

/// Checks that the load balancer can forward to the action's groups, and writes their rows again, so that none is deleted
/// or taken by another load balancer meanwhile.
pub(crate) fn join_groups(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    load_balancer: &LoadBalancer,
    listener_protocol: &str,
    action: &RuleAction,
) -> Result<(), Fault> {
    let arn = load_balancer.arn().to_string();
    let mut named =
        rows_load_balancing::target_groups_of(snapshot, &load_balancer.scope, &load_balancer.name);
    for (group_arn, _) in action.target_groups() {
        let group = target_group::find(snapshot, &load_balancer.scope, group_arn)?;
        check_group(load_balancer, listener_protocol, &group)?;
        if target_group::load_balancer_arns(snapshot, &group).iter().any(|other| *other != arn) {
            return Err(faults::target_group_association_limit_exception(format!(
                "The following target groups cannot be associated with more than one load balancer: {group_arn}"
            )));
        }
        named.insert(group_arn.clone());
        target_group::touch(transaction, &group);
    }
    let mut targets = LoadBalancerTargets::new(arn, load_balancer.load_balancer_type);
    rows_load_balancing::count_targets(snapshot, &mut targets, &named);
    targets.check_all().map_err(|quota| quotas::of_targets(&quota))?;
    if named.len() > quotas::TARGET_GROUPS_PER_LOAD_BALANCER {
        let maximum = quotas::TARGET_GROUPS_PER_LOAD_BALANCER;
        return Err(faults::too_many_unique_target_groups_per_load_balancer_exception(format!(
            "The maximum number of unique target groups '{maximum}' of a load balancer has been reached"
        )));
    }
    Ok(())
}

fn check_group(load_balancer: &LoadBalancer, protocol: &str, group: &TargetGroup) -> Result<(), Fault> {
    let arn = group.arn();
    if group.vpc.as_ref() != Some(&load_balancer.vpc) {
        return Err(faults::invalid_configuration_request_exception(format!(
            "The following target groups are not in the same VPC as the load balancer: {arn}"
        )));
    }
    let possible: &[&str] = match protocol {
        "HTTP" | "HTTPS" => &["HTTP", "HTTPS"],
        "TLS" => &["TCP", "TLS"],
        "TCP" => &["TCP", "TCP_UDP"],
        "UDP" => &["UDP", "TCP_UDP"],
        _ => &["TCP_UDP"],
    };
    if !possible.contains(&group.protocol.as_str()) {
        return Err(faults::incompatible_protocols_exception(format!(
            "The protocol '{}' of target group '{arn}' is incompatible with the listener protocol '{protocol}'",
            group.protocol
        )));
    }
    let version = group.protocol_version.as_deref();
    if protocol == "HTTP" && matches!(version, Some("GRPC")) {
        return Err(faults::invalid_configuration_request_exception(
            "Listener protocol 'HTTP' is not supported with a target group with the protocol-version 'GRPC'",
        ));
    }
    Ok(())
}

/// The wire form: a list of one.
pub(crate) fn describe(action: &RuleAction) -> Vec<Action> {
    let told = match action {
        RuleAction::Forward { target_groups, stickiness_seconds } => {
            let tuple = |(arn, weight): &(String, u32)| TargetGroupTuple {
                target_group_arn: Some(arn.clone()),
                weight: i32::try_from(*weight).ok(),
            };
            let only = match target_groups.as_slice() {
                [(arn, _)] => Some(arn.clone()),
                _ => None,
            };
            Action {
                type_: Some("forward".to_owned()),
                target_group_arn: only,
                forward_config: Some(ForwardActionConfig {
                    target_group_stickiness_config: Some(TargetGroupStickinessConfig {
                        duration_seconds: stickiness_seconds.and_then(|seconds| i32::try_from(seconds).ok()),
                        enabled: Some(stickiness_seconds.is_some()),
                    }),
                    target_groups: Some(target_groups.iter().map(tuple).collect()),
                }),
                ..Default::default()
            }
        }
        RuleAction::Redirect { protocol, host, port, path, query, status } => Action {
            type_: Some("redirect".to_owned()),
            redirect_config: Some(RedirectActionConfig {
                host: Some(host.clone()),
                path: Some(path.clone()),
                port: Some(port.clone()),
                protocol: Some(protocol.clone()),
                query: Some(query.clone()),
                status_code: Some(format!("HTTP_{status}")),
            }),
            ..Default::default()
        },
        RuleAction::FixedResponse { status, content_type, body } => Action {
            type_: Some("fixed-response".to_owned()),
            fixed_response_config: Some(FixedResponseActionConfig {
                content_type: content_type.clone(),
                message_body: Some(body.clone()).filter(|body| !body.is_empty()),
                status_code: Some(status.to_string()),
            }),
            ..Default::default()
        },
    };
    vec![told]
}
