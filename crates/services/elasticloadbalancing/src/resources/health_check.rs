//! How a target group's targets are checked: defaults by protocol, and what can be set. Source: CreateTargetGroup,
//! "Health checks for your target groups", "Health checks for Network Load Balancer target groups".

use api::elasticloadbalancing::Matcher;
use domain::TargetGroupHealthCheck;
use wire::Fault;

use crate::faults::validation;

/// What a call says of the health check.
#[derive(Clone, Debug, Default)]
pub(crate) struct HealthCheckWish {
    pub(crate) enabled: Option<bool>,
    pub(crate) interval_seconds: Option<i32>,
    pub(crate) path: Option<String>,
    pub(crate) port: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) timeout_seconds: Option<i32>,
    pub(crate) healthy_threshold: Option<i32>,
    pub(crate) unhealthy_threshold: Option<i32>,
    pub(crate) matcher: Option<Matcher>,
}

/// Whether targets of a protocol are those of application load balancers.
pub(crate) fn is_http(protocol: &str) -> bool {
    matches!(protocol, "HTTP" | "HTTPS")
}

/// The check of a new group.
pub(crate) fn of_new_group(
    wish: HealthCheckWish,
    protocol: &str,
    protocol_version: Option<&str>,
) -> Result<TargetGroupHealthCheck, Fault> {
    let checked = wish.protocol.clone();
    let checked = checked.unwrap_or_else(|| if is_http(protocol) { "HTTP" } else { "TCP" }.to_owned());
    let defaults = TargetGroupHealthCheck {
        enabled: true,
        port: "traffic-port".to_owned(),
        interval_seconds: 30,
        timeout_seconds: default_timeout(protocol, &checked),
        healthy_threshold: 5,
        unhealthy_threshold: 2,
        path: None,
        matcher: None,
        protocol: checked,
    };
    changed(&defaults, wish, protocol, protocol_version)
}

fn default_timeout(protocol: &str, checked: &str) -> u32 {
    match (is_http(protocol), checked) {
        (true, _) => 5,
        (false, "HTTP") => 6,
        (false, _) => 10,
    }
}

/// `known` with what a call says; what it leaves out stays.
pub(crate) fn changed(
    known: &TargetGroupHealthCheck,
    wish: HealthCheckWish,
    protocol: &str,
    protocol_version: Option<&str>,
) -> Result<TargetGroupHealthCheck, Fault> {
    if wish.enabled == Some(false) {
        return Err(validation(
            "Health check enabled must be true for target groups whose targets are not Lambda functions",
        ));
    }
    let mut check = known.clone();
    if let Some(checked) = wish.protocol {
        check.protocol = checked;
    }
    let possible: &[&str] = if is_http(protocol) { &["HTTP", "HTTPS"] } else { &["HTTP", "HTTPS", "TCP"] };
    if !possible.contains(&check.protocol.as_str()) {
        let message =
            format!("Health check protocol '{}' must be one of '{}'", check.protocol, possible.join(", "));
        return Err(validation(message));
    }
    if let Some(port) = wish.port {
        check_port(&port)?;
        check.port = port;
    }
    let number = |value: i32| u32::try_from(value).unwrap_or_default();
    check.interval_seconds = wish.interval_seconds.map_or(check.interval_seconds, number);
    check.timeout_seconds = wish.timeout_seconds.map_or(check.timeout_seconds, number);
    check.healthy_threshold = wish.healthy_threshold.map_or(check.healthy_threshold, number);
    check.unhealthy_threshold = wish.unhealthy_threshold.map_or(check.unhealthy_threshold, number);
    if check.timeout_seconds >= check.interval_seconds {
        let (timeout, interval) = (check.timeout_seconds, check.interval_seconds);
        let message =
            format!("Health check timeout '{timeout}' must be smaller than the interval '{interval}'");
        return Err(validation(message));
    }
    let is_grpc = protocol_version == Some("GRPC");
    if is_http(&check.protocol) {
        let default_path = if is_grpc { "/AWS.ALB/healthcheck" } else { "/" };
        let path = wish.path.or(check.path.take()).unwrap_or_else(|| default_path.to_owned());
        check_path(&path)?;
        check.path = Some(path);
        let default = if is_grpc {
            "12"
        } else if is_http(protocol) {
            "200"
        } else {
            "200-399"
        };
        let asked = wish.matcher.map(|matcher| matcher_text(matcher, is_grpc)).transpose()?;
        let matcher = asked.or(check.matcher.take()).unwrap_or_else(|| default.to_owned());
        check_matcher(&matcher, is_http(protocol), is_grpc)?;
        check.matcher = Some(matcher);
    } else {
        if wish.path.is_some() {
            return Err(validation("A health check path cannot be specified for TCP health checks"));
        }
        if wish.matcher.is_some() {
            return Err(validation("A matcher cannot be specified for TCP health checks"));
        }
        (check.path, check.matcher) = (None, None);
    }
    Ok(check)
}

fn check_port(port: &str) -> Result<(), Fault> {
    let is_port = port == "traffic-port" || port.parse::<u16>().is_ok_and(|port| port > 0);
    if is_port {
        return Ok(());
    }
    let message =
        format!("Health check port '{port}' must be in the range 1-65535 inclusive or 'traffic-port'");
    Err(validation(message))
}

fn check_path(path: &str) -> Result<(), Fault> {
    // The rest of the line would be the target's to interpret.
    if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(validation(format!(
        "Health check path '{path}' must begin with a '/' character, and can only contain printable ASCII characters, \
         without spaces"
    )))
}

fn matcher_text(matcher: Matcher, is_grpc: bool) -> Result<String, Fault> {
    match (matcher.http_code, matcher.grpc_code) {
        (Some(_), Some(_)) => Err(validation("You cannot specify both HTTP codes and gRPC codes")),
        (None, None) => Err(validation("A matcher must have HTTP codes or gRPC codes")),
        (Some(_), None) if is_grpc => {
            Err(validation("You cannot specify HTTP codes for a target group with protocol version GRPC"))
        }
        (None, Some(_)) if !is_grpc => {
            Err(validation("You can specify gRPC codes for a target group with protocol version GRPC only"))
        }
        (Some(codes), None) | (None, Some(codes)) => Ok(codes),
    }
}

/// Codes such as `200`, `200,202` or `200-299`, within what the kind of load balancer takes.
fn check_matcher(text: &str, is_application: bool, is_grpc: bool) -> Result<(), Fault> {
    let (first, last) = match (is_grpc, is_application) {
        (true, _) => (0, 99),
        (false, true) => (200, 499),
        (false, false) => (200, 599),
    };
    let code = |part: &str| {
        let is_number = !part.is_empty() && part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u16>().ok().filter(|code| is_number && (first..=last).contains(code))
    };
    let is_good = |part: &str| match part.split_once('-') {
        Some((from, to)) => code(from).zip(code(to)).is_some_and(|(from, to)| from <= to),
        None => code(part).is_some(),
    };
    if text.split(',').all(is_good) {
        return Ok(());
    }
    let kind = if is_grpc { "gRPC" } else { "HTTP" };
    Err(validation(format!(
        "Health check matcher {kind} code '{text}' must be within '{first}-{last}' inclusive"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(protocol: &str, version: Option<&str>, wish: HealthCheckWish) -> Result<String, Fault> {
        let check = of_new_group(wish, protocol, version)?;
        let (path, matcher) = (check.path.unwrap_or_default(), check.matcher.unwrap_or_default());
        Ok(format!(
            "{} {path} {matcher} {}s {}s",
            check.protocol, check.interval_seconds, check.timeout_seconds
        ))
    }

    #[test]
    fn defaults_go_by_protocol() {
        let over =
            |protocol: &str| HealthCheckWish { protocol: Some(protocol.to_owned()), ..Default::default() };
        for (protocol, version, wish, told) in [
            ("HTTP", Some("HTTP1"), HealthCheckWish::default(), "HTTP / 200 30s 5s"),
            ("HTTPS", Some("HTTP2"), HealthCheckWish::default(), "HTTP / 200 30s 5s"),
            ("HTTP", Some("GRPC"), HealthCheckWish::default(), "HTTP /AWS.ALB/healthcheck 12 30s 5s"),
            ("TCP", None, HealthCheckWish::default(), "TCP   30s 10s"),
            ("UDP", None, over("HTTP"), "HTTP / 200-399 30s 6s"),
            ("TLS", None, over("HTTPS"), "HTTPS / 200-399 30s 10s"),
        ] {
            assert_eq!(made(protocol, version, wish).unwrap(), told, "{protocol}");
        }
    }

    #[test]
    fn matchers_are_checked() {
        let matcher = |text: &str| HealthCheckWish {
            matcher: Some(Matcher { http_code: Some(text.to_owned()), grpc_code: None }),
            ..Default::default()
        };
        for text in ["200", "200,202", "200-299,301", "200-499"] {
            assert!(made("HTTP", None, matcher(text)).is_ok(), "{text}");
        }
        for text in ["", "200,", "199", "500", "300-200", "2oo", "+200", "200-"] {
            assert!(made("HTTP", None, matcher(text)).is_err(), "{text}");
        }
        assert!(made("TCP", None, matcher("200")).is_err(), "TCP checks have none");
    }
}
