//! DescribeLoadBalancerAttributes: tells all attributes of a load balancer, set or not. Source: Elastic Load Balancing API
//! reference, "DescribeLoadBalancerAttributes".
//!
//! Differs from AWS: nothing known.

use api::elasticloadbalancing::operations::DescribeLoadBalancerAttributes;
use api::elasticloadbalancing::{DescribeLoadBalancerAttributesInput, DescribeLoadBalancerAttributesOutput};
use wire::{Call, Fault, Operation, Permission};

use super::modify_load_balancer_attributes::describe;
use crate::Elasticloadbalancing;
use crate::resources::load_balancer;

impl Operation<DescribeLoadBalancerAttributes> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &DescribeLoadBalancerAttributesInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:DescribeLoadBalancerAttributes", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeLoadBalancerAttributesInput,
    ) -> Result<DescribeLoadBalancerAttributesOutput, Fault> {
        let arn = input.load_balancer_arn.unwrap_or_default();
        let found = load_balancer::find(&self.store.snapshot(), &call.scope, &arn)?;
        Ok(DescribeLoadBalancerAttributesOutput { attributes: Some(describe(&found)) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn each_kind_has_its_own() {
        let server = Server::new().await;
        let told = |arn: String| {
            let server = &server;
            async move {
                let query = format!("Action=DescribeLoadBalancerAttributes&LoadBalancerArn={arn}");
                let keys = server.ask_for("Key", &query).await;
                let values = server.ask_for("Value", &query).await;
                let pairs: Vec<_> =
                    keys.iter().zip(&values).map(|(key, value)| format!("{key}={value}")).collect();
                pairs.join("\n")
            }
        };
        let (front, back) = (server.load_balancer("front").await, server.network_load_balancer("back").await);
        expect![[r"
            access_logs.s3.bucket=
            access_logs.s3.enabled=false
            access_logs.s3.prefix=
            client_keep_alive.seconds=3600
            connection_logs.s3.bucket=
            connection_logs.s3.enabled=false
            connection_logs.s3.prefix=
            deletion_protection.enabled=false
            health_check_logs.s3.bucket=
            health_check_logs.s3.enabled=false
            health_check_logs.s3.prefix=
            idle_timeout.timeout_seconds=60
            ipv6.deny_all_igw_traffic=false
            load_balancing.cross_zone.enabled=true
            routing.http.desync_mitigation_mode=defensive
            routing.http.drop_invalid_header_fields.enabled=false
            routing.http.preserve_host_header.enabled=false
            routing.http.x_amzn_tls_version_and_cipher_suite.enabled=false
            routing.http.xff_client_port.enabled=false
            routing.http.xff_header_processing.mode=append
            routing.http2.enabled=true
            waf.fail_open.enabled=false
            zonal_shift.config.enabled=false"]]
        .assert_eq(&told(front.clone()).await);
        expect![[r"
            access_logs.s3.bucket=
            access_logs.s3.enabled=false
            access_logs.s3.prefix=
            deletion_protection.enabled=false
            dns_record.client_routing_policy=any_availability_zone
            ipv6.deny_all_igw_traffic=false
            load_balancing.cross_zone.enabled=false
            secondary_ips.auto_assigned.per_subnet=0
            zonal_shift.config.enabled=false"]]
        .assert_eq(&told(back).await);
        let fault =
            server.fault(&format!("Action=DescribeLoadBalancerAttributes&LoadBalancerArn={front}0")).await;
        assert_eq!(fault, format!("400 LoadBalancerNotFound: Load balancer '{front}0' not found"));
    }
}
