//! DescribeSSLPolicies: tells the predefined security policies. Source: Elastic Load Balancing API reference,
//! "DescribeSSLPolicies".
//!
//! Differs from AWS: a policy tells what it offers here: TLS 1.2 and 1.3 with authenticated ciphers. TLS 1.0 and 1.1, RSA key
//! exchange and CBC ciphers are not in the TLS library, whatever a policy's name promises, and policies that would have
//! nothing left, or that AWS added for FIPS and for post-quantum key exchange, are not there.

use api::elasticloadbalancing::operations::DescribeSSLPolicies;
use api::elasticloadbalancing::{Cipher, DescribeSSLPoliciesInput, DescribeSSLPoliciesOutput, SslPolicy};
use balancer::tls::{SecurityPolicy, security_policies};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::unsupported;
use crate::listing;
use crate::resources::listener;

impl Operation<DescribeSSLPolicies> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &DescribeSSLPoliciesInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:DescribeSSLPolicies", "*")]
    }

    async fn handle(
        &self,
        _call: &Call,
        input: DescribeSSLPoliciesInput,
    ) -> Result<DescribeSSLPoliciesOutput, Fault> {
        if input.load_balancer_type.as_deref() == Some("gateway") {
            return Err(unsupported("The load balancer type 'gateway'"));
        }
        let names = input.names.unwrap_or_default();
        names.iter().try_for_each(|name| listener::check_ssl_policy(name))?;
        let mut rows = security_policies();
        rows.retain(|policy| names.is_empty() || names.iter().any(|name| name == policy.name));
        let key = |policy: &SecurityPolicy| policy.name.to_owned();
        let page = listing::page("DescribeSSLPolicies", rows, key, input.marker.as_deref(), input.page_size)?;
        Ok(DescribeSSLPoliciesOutput {
            next_marker: page.next_marker,
            ssl_policies: Some(page.rows.iter().map(describe).collect()),
        })
    }
}

fn describe(policy: &SecurityPolicy) -> SslPolicy {
    let cipher =
        |(priority, name): (i32, &&str)| Cipher { name: Some((*name).to_owned()), priority: Some(priority) };
    SslPolicy {
        ciphers: Some((1..).zip(&policy.suites).map(cipher).collect()),
        name: Some(policy.name.to_owned()),
        ssl_protocols: Some(policy.protocols.iter().map(|&protocol| protocol.to_owned()).collect()),
        supported_load_balancer_types: Some(vec!["application".to_owned(), "network".to_owned()]),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn policies_tell_what_they_offer() {
        let server = Server::new().await;
        let query = "Action=DescribeSSLPolicies&Names.member.1=ELBSecurityPolicy-TLS13-1-2-2021-06";
        let answer = server.ok(query).await;
        for text in [
            "<member>TLSv1.3</member>",
            "<member>TLSv1.2</member>",
            "<Name>TLS_AES_128_GCM_SHA256</Name>",
            "<member>network</member>",
        ] {
            assert!(answer.contains(text), "{text}: {answer}");
        }
        let all = server.ok("Action=DescribeSSLPolicies").await;
        assert!(all.contains("<Name>ELBSecurityPolicy-2016-08</Name>"), "{all}");
        assert!(!all.contains("TLSv1.1"), "{all}");
        assert_eq!(
            server.fault("Action=DescribeSSLPolicies&Names.member.1=x").await,
            "400 SSLPolicyNotFound: SSL policy 'x' not found"
        );
        assert!(!server.ask_for("NextMarker", "Action=DescribeSSLPolicies&PageSize=2").await.is_empty());
    }
}
