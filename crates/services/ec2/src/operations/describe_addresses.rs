//! DescribeAddresses: tells the elastic addresses of the account and region. Source: Amazon EC2 API reference, "DescribeAddresses".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeAddresses;
use api::ec2::{DescribeAddressesRequest, DescribeAddressesResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::elastic_address::{self, KIND};

impl Operation<DescribeAddresses> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeAddressesRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeAddresses", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeAddressesRequest,
    ) -> Result<DescribeAddressesResult, Fault> {
        let mut rows = elastic_address::all(&self.snapshot(call).await?, &call.scope);
        let wanted = input.public_ips.unwrap_or_default();
        if let Some(unknown) =
            wanted.iter().find(|wanted| !rows.iter().any(|known| known.row.address.to_string() == **wanted))
        {
            return Err(elastic_address::unknown(unknown));
        }
        rows.retain(|known| wanted.is_empty() || wanted.contains(&known.row.address.to_string()));
        let question = Question {
            dry_run: input.dry_run,
            ids: input.allocation_ids,
            filters: input.filters,
            max_results: None,
            next_token: None,
        };
        let page = KIND.answer(question, rows)?;
        Ok(DescribeAddressesResult {
            addresses: Some(page.rows.iter().map(elastic_address::describe).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn addresses_are_told_and_picked() {
        let server = Server::new();
        let (one, _) = (server.allocate_address().await, server.allocate_address().await);
        let describe = "Action=DescribeAddresses";
        let answer = server.ask(&format!("{describe}&AllocationId.1={one}")).await;
        let address = crate::testing::texts(&answer, "publicIp").concat();
        for (query, count) in [
            (String::new(), 2),
            (format!("&PublicIp.1={address}"), 1),
            (format!("&Filter.1.Name=public-ip&Filter.1.Value.1={address}"), 1),
            ("&Filter.1.Name=domain&Filter.1.Value.1=vpc".to_owned(), 2),
            ("&Filter.1.Name=association-id&Filter.1.Value.1=*".to_owned(), 0),
        ] {
            assert_eq!(
                server.ask_for("publicIp", &format!("{describe}{query}")).await.len(),
                count,
                "{query}"
            );
        }
        let fault = server.fault(&format!("{describe}&AllocationId.1=eipalloc-0")).await;
        assert_eq!(fault, "400 InvalidAllocationID.NotFound: The allocation ID 'eipalloc-0' does not exist");
        let fault = server.fault(&format!("{describe}&PublicIp.1=1.2.3.4")).await;
        assert_eq!(fault, "400 InvalidAddress.NotFound: Address '1.2.3.4' not found.");
    }
}
