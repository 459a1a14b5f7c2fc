//! DescribeTargetGroupAttributes: tells all attributes of a target group, set or not. Source: Elastic Load Balancing API
//! reference, "DescribeTargetGroupAttributes".
//!
//! Differs from AWS: nothing known.

use api::elasticloadbalancing::operations::DescribeTargetGroupAttributes;
use api::elasticloadbalancing::{DescribeTargetGroupAttributesInput, DescribeTargetGroupAttributesOutput};
use wire::{Call, Fault, Operation, Permission};

use super::modify_target_group_attributes::describe;
use crate::Elasticloadbalancing;
use crate::resources::target_group;

impl Operation<DescribeTargetGroupAttributes> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &DescribeTargetGroupAttributesInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:DescribeTargetGroupAttributes", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeTargetGroupAttributesInput,
    ) -> Result<DescribeTargetGroupAttributesOutput, Fault> {
        let arn = input.target_group_arn.unwrap_or_default();
        let found = target_group::find(&self.store.snapshot(), &call.scope, &arn)?;
        Ok(DescribeTargetGroupAttributesOutput { attributes: Some(describe(&found)) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn each_protocol_has_its_own() {
        let server = Server::new().await;
        let told = |arn: String| {
            let server = &server;
            async move {
                let query = format!("Action=DescribeTargetGroupAttributes&TargetGroupArn={arn}");
                let keys = server.ask_for("Key", &query).await;
                let values = server.ask_for("Value", &query).await;
                let pairs: Vec<_> =
                    keys.iter().zip(&values).map(|(key, value)| format!("{key}={value}")).collect();
                pairs.join("\n")
            }
        };
        let web = server.target_group("web").await;
        expect![[r"
            deregistration_delay.timeout_seconds=300
            load_balancing.algorithm.anomaly_mitigation=off
            load_balancing.algorithm.type=round_robin
            load_balancing.cross_zone.enabled=use_load_balancer_configuration
            slow_start.duration_seconds=0
            stickiness.app_cookie.cookie_name=
            stickiness.app_cookie.duration_seconds=86400
            stickiness.enabled=false
            stickiness.lb_cookie.duration_seconds=86400
            stickiness.type=lb_cookie
            target_group_health.dns_failover.minimum_healthy_targets.count=1
            target_group_health.dns_failover.minimum_healthy_targets.percentage=off
            target_group_health.unhealthy_state_routing.minimum_healthy_targets.count=1
            target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage=off"]]
        .assert_eq(&told(web.clone()).await);
        let tcp = server.target_group_with("tcp", "Protocol=TCP&Port=9&TargetType=ip").await;
        expect![[r"
            deregistration_delay.connection_termination.enabled=false
            deregistration_delay.timeout_seconds=300
            load_balancing.cross_zone.enabled=use_load_balancer_configuration
            preserve_client_ip.enabled=false
            proxy_protocol_v2.enabled=false
            stickiness.enabled=false
            stickiness.type=source_ip
            target_group_health.dns_failover.minimum_healthy_targets.count=1
            target_group_health.dns_failover.minimum_healthy_targets.percentage=off
            target_group_health.unhealthy_state_routing.minimum_healthy_targets.count=1
            target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage=off
            target_health_state.unhealthy.connection_termination.enabled=true
            target_health_state.unhealthy.draining_interval_seconds=0"]]
        .assert_eq(&told(tcp).await);
        let udp = server.target_group_with("udp", "Protocol=UDP&Port=9&TargetType=ip").await;
        assert!(told(udp).await.contains("preserve_client_ip.enabled=true"));
        let fault =
            server.fault(&format!("Action=DescribeTargetGroupAttributes&TargetGroupArn={web}0")).await;
        assert_eq!(fault, format!("400 TargetGroupNotFound: Target group '{web}0' not found"));
    }
}
