//! DescribeAccountLimits: tells what the account may have in the region. Source: Elastic Load Balancing API reference,
//! "DescribeAccountLimits".
//!
//! Differs from AWS: what there is none of (gateway load balancers, trust stores) is not listed. All that is listed is enforced.

use api::elasticloadbalancing::operations::DescribeAccountLimits;
use api::elasticloadbalancing::{DescribeAccountLimitsInput, DescribeAccountLimitsOutput, Limit};
use wire::{Call, Fault, Operation, Permission};

use crate::{Elasticloadbalancing, listing, quotas};

/// Source: "Limit" data type, `Name`.
const LIMITS: [(&str, usize); 17] = [
    ("application-load-balancers", quotas::LOAD_BALANCERS),
    ("certificates-per-application-load-balancer", quotas::CERTIFICATES_PER_LOAD_BALANCER),
    ("certificates-per-network-load-balancer", quotas::CERTIFICATES_PER_LOAD_BALANCER),
    ("condition-values-per-alb-rule", quotas::CONDITION_VALUES_PER_RULE),
    ("condition-wildcards-per-alb-rule", quotas::CONDITION_WILDCARDS_PER_RULE),
    ("listeners-per-application-load-balancer", quotas::LISTENERS_PER_LOAD_BALANCER),
    ("listeners-per-network-load-balancer", quotas::LISTENERS_PER_LOAD_BALANCER),
    ("network-load-balancers", quotas::LOAD_BALANCERS),
    ("rules-per-application-load-balancer", quotas::RULES_PER_LOAD_BALANCER),
    ("target-groups", quotas::TARGET_GROUPS),
    ("target-groups-per-action-on-application-load-balancer", quotas::TARGET_GROUPS_PER_ACTION),
    ("target-groups-per-action-on-network-load-balancer", quotas::TARGET_GROUPS_PER_ACTION),
    ("target-groups-per-application-load-balancer", quotas::TARGET_GROUPS_PER_LOAD_BALANCER),
    ("targets-per-application-load-balancer", quotas::TARGETS_PER_APPLICATION_LOAD_BALANCER),
    (
        "targets-per-availability-zone-per-network-load-balancer",
        quotas::TARGETS_PER_ZONE_OF_NETWORK_LOAD_BALANCER,
    ),
    ("targets-per-network-load-balancer", quotas::TARGETS_PER_NETWORK_LOAD_BALANCER),
    ("targets-per-target-group", quotas::TARGETS_PER_TARGET_GROUP),
];

impl Operation<DescribeAccountLimits> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &DescribeAccountLimitsInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:DescribeAccountLimits", "*")]
    }

    async fn handle(
        &self,
        _call: &Call,
        input: DescribeAccountLimitsInput,
    ) -> Result<DescribeAccountLimitsOutput, Fault> {
        let key = |(name, _): &(&str, usize)| (*name).to_owned();
        let operation = "DescribeAccountLimits";
        let page = listing::page(operation, LIMITS.to_vec(), key, input.marker.as_deref(), input.page_size)?;
        let told = |(name, maximum): (&str, usize)| Limit {
            max: Some(maximum.to_string()),
            name: Some(name.to_owned()),
        };
        Ok(DescribeAccountLimitsOutput {
            limits: Some(page.rows.into_iter().map(told).collect()),
            next_marker: page.next_marker,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn quotas_are_told() {
        let server = Server::new().await;
        let names = server.ask_for("Name", "Action=DescribeAccountLimits").await;
        let maxima = server.ask_for("Max", "Action=DescribeAccountLimits").await;
        let at = names.iter().position(|name| name == "target-groups").unwrap();
        assert_eq!(maxima[at], "3000");
        assert_eq!(server.ask_for("Name", "Action=DescribeAccountLimits&PageSize=3").await, names[..3]);
    }
}
