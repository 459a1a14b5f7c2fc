//! ModifyLoadBalancerAttributes: sets attributes of a load balancer; those that the call leaves out stay. Source: Elastic
//! Load Balancing API reference, "ModifyLoadBalancerAttributes".
//!
//! Differs from AWS: values that would not act are refused by name: connection logs, health check logs, fail-open of WAF,
//! zonal shift, client routing policies, secondary addresses, denying gateways to IPv6. Access logs go to files (see the
//! README).

use api::elasticloadbalancing::operations::ModifyLoadBalancerAttributes;
use api::elasticloadbalancing::{
    LoadBalancerAttribute, ModifyLoadBalancerAttributesInput, ModifyLoadBalancerAttributesOutput, faults,
};
use domain::{Attributed, LoadBalancer};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::of_update;
use crate::resources::{attribute, load_balancer};

impl Operation<ModifyLoadBalancerAttributes> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &ModifyLoadBalancerAttributesInput) -> Vec<Permission> {
        let arn = input.load_balancer_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:ModifyLoadBalancerAttributes", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ModifyLoadBalancerAttributesInput,
    ) -> Result<ModifyLoadBalancerAttributesOutput, Fault> {
        let arn = input.load_balancer_arn.unwrap_or_default();
        let asked: Vec<_> =
            input.attributes.into_iter().flatten().map(|asked| (asked.key, asked.value)).collect();
        let changed = self.store.update(|snapshot| {
            let found = load_balancer::find(snapshot, &call.scope, &arn)?;
            let attributes = attribute::changed(&*found, asked.iter().cloned())?;
            let row = LoadBalancer { attributes, ..LoadBalancer::clone(&found) };
            check(&row)?;
            let mut transaction = Transaction::new();
            if *found != row {
                transaction.replace(&found, row.clone());
            }
            Ok((transaction, row))
        });
        let row = changed.await.map_err(of_update)?;
        Ok(ModifyLoadBalancerAttributesOutput { attributes: Some(describe(&row)) })
    }
}

fn check(row: &LoadBalancer) -> Result<(), Fault> {
    let has_bucket = row.attribute("access_logs.s3.bucket").is_some_and(|bucket| !bucket.is_empty());
    if row.is_attribute_on("access_logs.s3.enabled") && !has_bucket {
        return Err(faults::invalid_configuration_request_exception(
            "The value of 'access_logs.s3.bucket' cannot be empty when access logs are enabled",
        ));
    }
    Ok(())
}

/// The wire form of all attributes.
pub(super) fn describe(row: &LoadBalancer) -> Vec<LoadBalancerAttribute> {
    attribute::all(row).into_iter().map(|(key, value)| LoadBalancerAttribute { key, value }).collect()
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    fn asked(arn: &str, attributes: &[(&str, &str)]) -> String {
        let attributes = (1..).zip(attributes).map(|(n, (key, value))| {
            format!("&Attributes.member.{n}.Key={key}&Attributes.member.{n}.Value={value}")
        });
        let attributes: String = attributes.collect();
        format!("Action=ModifyLoadBalancerAttributes&LoadBalancerArn={arn}{attributes}")
    }

    #[tokio::test]
    async fn what_is_set_is_told_and_the_rest_stays() {
        let server = Server::new().await;
        let arn = server.load_balancer("front").await;
        server.ok(&asked(&arn, &[("idle_timeout.timeout_seconds", "7")])).await;
        server
            .ok(&asked(&arn, &[("deletion_protection.enabled", "true"), ("routing.http2.enabled", "false")]))
            .await;
        let query = format!("Action=DescribeLoadBalancerAttributes&LoadBalancerArn={arn}");
        let (keys, values) = (server.ask_for("Key", &query).await, server.ask_for("Value", &query).await);
        let value = |key: &str| values[keys.iter().position(|known| known == key).unwrap()].clone();
        assert_eq!(value("idle_timeout.timeout_seconds"), "7");
        assert_eq!(value("deletion_protection.enabled"), "true");
        assert_eq!(value("routing.http2.enabled"), "false");
        assert_eq!(value("client_keep_alive.seconds"), "3600");
        assert!(
            server
                .fault(&format!("Action=DeleteLoadBalancer&LoadBalancerArn={arn}"))
                .await
                .contains("protection")
        );
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let (front, back) = (server.load_balancer("front").await, server.network_load_balancer("back").await);
        for (arn, key, value, fault) in [
            (&front, "x", "1", "ValidationError: Load balancer attribute key 'x' is not recognized"),
            (
                &front,
                "idle_timeout.timeout_seconds",
                "4001",
                "ValidationError: Load balancer attribute 'idle_timeout.timeout_seconds' must be between '1' and '4000' inclusive",
            ),
            (
                &front,
                "idle_timeout.timeout_seconds",
                "",
                "ValidationError: Load balancer attribute 'idle_timeout.timeout_seconds' must be",
            ),
            (
                &front,
                "routing.http2.enabled",
                "yes",
                "ValidationError: Load balancer attribute 'routing.http2.enabled' must be 'true' or 'false'",
            ),
            (
                &front,
                "routing.http.desync_mitigation_mode",
                "x",
                "ValidationError: Load balancer attribute 'routing.http.desync_mitigation_mode' must be one of 'monitor, defensive, strictest'",
            ),
            (
                &front,
                "load_balancing.cross_zone.enabled",
                "false",
                "ValidationError: Load balancer attribute 'load_balancing.cross_zone.enabled' must be one of 'true'",
            ),
            (
                &back,
                "idle_timeout.timeout_seconds",
                "7",
                "InvalidConfigurationRequest: Load balancer attribute key 'idle_timeout.timeout_seconds' is not supported by load balancers of type 'network'",
            ),
            (
                &front,
                "waf.fail_open.enabled",
                "true",
                "InvalidConfigurationRequest: The value 'true' of the attribute 'waf.fail_open.enabled' is not supported by this release of Roadstead.",
            ),
            (
                &front,
                "access_logs.s3.enabled",
                "true",
                "InvalidConfigurationRequest: The value of 'access_logs.s3.bucket' cannot be empty",
            ),
        ] {
            let told = server.fault(&asked(arn, &[(key, value)])).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{key}={value}: {told}");
        }
        let twice = asked(&front, &[("routing.http2.enabled", "true"), ("routing.http2.enabled", "false")]);
        assert!(server.fault(&twice).await.contains("is specified more than once"));
        let gone = asked(&format!("{front}0"), &[("routing.http2.enabled", "true")]);
        assert_eq!(
            server.fault(&gone).await,
            format!("400 LoadBalancerNotFound: Load balancer '{front}0' not found")
        );
    }
}
