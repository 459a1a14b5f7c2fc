//! DescribeDhcpOptions: tells the DHCP options of the region's VPCs: AWS's default ones. Source: Amazon EC2 API reference, "DescribeDhcpOptions".
//!
//! Differs from AWS: there are no other options than the default ones. They have no tags.

use api::ec2::operations::DescribeDhcpOptions;
use api::ec2::{DescribeDhcpOptionsRequest, DescribeDhcpOptionsResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::dhcp_options::{self, KIND};

impl Operation<DescribeDhcpOptions> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeDhcpOptionsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeDhcpOptions", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeDhcpOptionsRequest,
    ) -> Result<DescribeDhcpOptionsResult, Fault> {
        let rows = dhcp_options::all(&self.snapshot(call).await?, &call.scope);
        let question = Question {
            dry_run: input.dry_run,
            ids: input.dhcp_options_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, rows)?;
        Ok(DescribeDhcpOptionsResult {
            next_token: page.next_token,
            dhcp_options: Some(page.rows.iter().map(dhcp_options::describe).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn all_vpcs_share_them() {
        let server = Server::new();
        server.create_vpc("10.0.0.0/16").await;
        let answer = server.ask("Action=DescribeDhcpOptions").await;
        assert_eq!(crate::testing::texts(&answer, "value"), ["ec2.internal", "AmazonProvidedDNS"]);
        let id = server.default_vpc().await.vpc.dhcp_options_id;
        assert_eq!(crate::testing::texts(&answer, "dhcpOptionsId"), [id]);
        for (name, value, count) in
            [("key", "domain-name", 1), ("value", "Amazon*", 1), ("dhcp-options-id", "x", 0)]
        {
            let query = format!("Action=DescribeDhcpOptions&Filter.1.Name={name}&Filter.1.Value.1={value}");
            assert_eq!(server.ask_for("dhcpOptionsId", &query).await.len(), count, "{name}");
        }
        let fault = server.fault("Action=DescribeDhcpOptions&DhcpOptionsId.1=dopt-0").await;
        assert_eq!(fault, "400 InvalidDhcpOptionID.NotFound: The dhcpOption ID 'dopt-0' does not exist");
    }
}
