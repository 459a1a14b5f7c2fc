//! ModifyTargetGroupAttributes: sets attributes of a target group; those that the call leaves out stay. Source: Elastic Load
//! Balancing API reference, "ModifyTargetGroupAttributes".
//!
//! Differs from AWS: values that would not act are refused by name: thresholds of `target_group_health` other than the
//! defaults (a load balancer sends to all targets where none is healthy), anomaly mitigation, connections that go on to
//! unhealthy targets, and balancing within a zone.

use api::elasticloadbalancing::operations::ModifyTargetGroupAttributes;
use api::elasticloadbalancing::{
    ModifyTargetGroupAttributesInput, ModifyTargetGroupAttributesOutput, TargetGroupAttribute, faults,
};
use domain::{Attributed, TargetGroup};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::{of_update, validation};
use crate::resources::{attribute, target_group};

impl Operation<ModifyTargetGroupAttributes> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &ModifyTargetGroupAttributesInput) -> Vec<Permission> {
        let arn = input.target_group_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:ModifyTargetGroupAttributes", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ModifyTargetGroupAttributesInput,
    ) -> Result<ModifyTargetGroupAttributesOutput, Fault> {
        let arn = input.target_group_arn.unwrap_or_default();
        let asked: Vec<_> =
            input.attributes.into_iter().flatten().map(|asked| (asked.key, asked.value)).collect();
        let changed = self.store.update(|snapshot| {
            let found = target_group::find(snapshot, &call.scope, &arn)?;
            let attributes = attribute::changed(&*found, asked.iter().cloned())?;
            let row = TargetGroup { attributes, ..TargetGroup::clone(&found) };
            check(&row)?;
            let mut transaction = Transaction::new();
            if *found != row {
                transaction.replace(&found, row.clone());
            }
            Ok((transaction, row))
        });
        let row = changed.await.map_err(of_update)?;
        Ok(ModifyTargetGroupAttributesOutput { attributes: Some(describe(&row)) })
    }
}

/// Checks attributes that depend on one another.
fn check(row: &TargetGroup) -> Result<(), Fault> {
    let refused = |message: &str| Err(faults::invalid_configuration_request_exception(message));
    let is = |key: &str, value: &str| row.attribute(key).is_some_and(|found| found == value);
    if row.attribute_number("slow_start.duration_seconds").unwrap_or_default() > 0
        && !is("load_balancing.algorithm.type", "round_robin")
    {
        return refused("Slow start is supported with the 'round_robin' algorithm only");
    }
    if is("stickiness.type", "app_cookie") && row.is_attribute_on("stickiness.enabled") {
        check_cookie(&row.attribute("stickiness.app_cookie.cookie_name").unwrap_or_default())?;
    }
    if row.protocol == "TLS" && row.is_attribute_on("stickiness.enabled") {
        return refused("Stickiness is not supported for target groups with the TLS protocol");
    }
    if matches!(row.protocol.as_str(), "UDP" | "TCP_UDP") {
        if !row.is_attribute_on("preserve_client_ip.enabled") {
            return refused("Client IP preservation cannot be disabled for UDP and TCP_UDP target groups");
        }
        if row.is_attribute_on("proxy_protocol_v2.enabled") && row.protocol == "UDP" {
            return refused("Proxy protocol v2 is not supported for target groups with the UDP protocol");
        }
    }
    Ok(())
}

fn check_cookie(name: &str) -> Result<(), Fault> {
    if name.is_empty() {
        return Err(validation("A cookie name must be specified for stickiness of type 'app_cookie'"));
    }
    // Source: "Application-based stickiness".
    if ["AWSALB", "AWSALBAPP", "AWSALBTG"].iter().any(|reserved| name.starts_with(reserved)) {
        return Err(validation(format!("Cookie name '{name}' is reserved for use by the load balancer")));
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !name.bytes().all(is_token) {
        return Err(validation(format!("Cookie name '{name}' contains a character that is not valid")));
    }
    Ok(())
}

/// The wire form of all attributes.
pub(super) fn describe(row: &TargetGroup) -> Vec<TargetGroupAttribute> {
    attribute::all(row).into_iter().map(|(key, value)| TargetGroupAttribute { key, value }).collect()
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    fn asked(arn: &str, attributes: &[(&str, &str)]) -> String {
        let attributes = (1..).zip(attributes).map(|(n, (key, value))| {
            format!("&Attributes.member.{n}.Key={key}&Attributes.member.{n}.Value={value}")
        });
        let attributes: String = attributes.collect();
        format!("Action=ModifyTargetGroupAttributes&TargetGroupArn={arn}{attributes}")
    }

    #[tokio::test]
    async fn what_is_set_is_told() {
        let server = Server::new().await;
        let arn = server.target_group("web").await;
        let answer = server
            .ok(&asked(
                &arn,
                &[
                    ("stickiness.enabled", "true"),
                    ("stickiness.type", "app_cookie"),
                    ("stickiness.app_cookie.cookie_name", "session"),
                    ("deregistration_delay.timeout_seconds", "0"),
                ],
            ))
            .await;
        assert!(answer.contains("<Value>session</Value>"), "{answer}");
        assert!(answer.contains("<Value>app_cookie</Value>"), "{answer}");
        let query = format!("Action=DescribeTargetGroupAttributes&TargetGroupArn={arn}");
        assert!(server.ask_for("Value", &query).await.contains(&"session".to_owned()));
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let web = server.target_group("web").await;
        let tls = server.target_group_with("tls", "Protocol=TLS&Port=9&TargetType=ip").await;
        let udp = server.target_group_with("udp", "Protocol=UDP&Port=9&TargetType=ip").await;
        for (arn, attributes, fault) in [
            (&web, &[("x", "1")][..], "ValidationError: Target group attribute key 'x' is not recognized"),
            (
                &web,
                &[("proxy_protocol_v2.enabled", "true")],
                "InvalidConfigurationRequest: Target group attribute key 'proxy_protocol_v2.enabled' is not supported by target groups with the HTTP protocol",
            ),
            (
                &web,
                &[("deregistration_delay.timeout_seconds", "3601")],
                "ValidationError: Target group attribute 'deregistration_delay.timeout_seconds' must be between '0' and '3600' inclusive",
            ),
            (
                &web,
                &[("slow_start.duration_seconds", "10")],
                "ValidationError: Target group attribute 'slow_start.duration_seconds' must be '0' or between '30' and '900' inclusive",
            ),
            (
                &web,
                &[
                    ("slow_start.duration_seconds", "30"),
                    ("load_balancing.algorithm.type", "least_outstanding_requests"),
                ],
                "InvalidConfigurationRequest: Slow start is supported with",
            ),
            (
                &web,
                &[("stickiness.enabled", "true"), ("stickiness.type", "app_cookie")],
                "ValidationError: A cookie name must be specified",
            ),
            (
                &web,
                &[
                    ("stickiness.enabled", "true"),
                    ("stickiness.type", "app_cookie"),
                    ("stickiness.app_cookie.cookie_name", "AWSALBX"),
                ],
                "ValidationError: Cookie name 'AWSALBX' is reserved",
            ),
            (
                &web,
                &[
                    ("stickiness.enabled", "true"),
                    ("stickiness.type", "app_cookie"),
                    ("stickiness.app_cookie.cookie_name", "a;b"),
                ],
                "ValidationError: Cookie name 'a;b' contains",
            ),
            (
                &web,
                &[("stickiness.type", "source_ip")],
                "ValidationError: Target group attribute 'stickiness.type' must be one of 'lb_cookie, app_cookie'",
            ),
            (
                &web,
                &[("target_group_health.dns_failover.minimum_healthy_targets.count", "2")],
                "InvalidConfigurationRequest: The value '2' of the attribute 'target_group_health.dns_failover.minimum_healthy_targets.count' is not supported by",
            ),
            (
                &tls,
                &[("stickiness.enabled", "true")],
                "InvalidConfigurationRequest: Stickiness is not supported for target groups with the TLS protocol",
            ),
            (
                &udp,
                &[("preserve_client_ip.enabled", "false")],
                "InvalidConfigurationRequest: Client IP preservation cannot be disabled",
            ),
        ] {
            let told = server.fault(&asked(arn, attributes)).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{attributes:?}: {told}");
        }
        let gone = asked(&format!("{web}0"), &[("stickiness.enabled", "true")]);
        assert_eq!(
            server.fault(&gone).await,
            format!("400 TargetGroupNotFound: Target group '{web}0' not found")
        );
    }
}
