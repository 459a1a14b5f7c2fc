//! DescribeAddressesAttribute: tells the reverse DNS names of elastic addresses: none has one. Source: Amazon EC2 API reference, "DescribeAddressesAttribute".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeAddressesAttribute;
use api::ec2::{AddressAttribute, DescribeAddressesAttributeRequest, DescribeAddressesAttributeResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::{Kind, Question};
use crate::resources::elastic_address;

const KIND: Kind = Kind { operation: "DescribeAddressesAttribute", ..elastic_address::KIND };

impl Operation<DescribeAddressesAttribute> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeAddressesAttributeRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeAddressesAttribute", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeAddressesAttributeRequest,
    ) -> Result<DescribeAddressesAttributeResult, Fault> {
        let rows = elastic_address::all(&self.snapshot(call).await?, &call.scope);
        let question = Question {
            dry_run: input.dry_run,
            ids: input.allocation_ids,
            filters: None,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, rows)?;
        let told = |address: &elastic_address::DescribedAddress| AddressAttribute {
            allocation_id: Some(address.row.allocation_id.clone()),
            public_ip: Some(address.row.address.to_string()),
            ..Default::default()
        };
        Ok(DescribeAddressesAttributeResult {
            addresses: Some(page.rows.iter().map(told).collect()),
            next_token: page.next_token,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn none_has_a_name() {
        let server = Server::new();
        let id = server.allocate_address().await;
        let query = format!("Action=DescribeAddressesAttribute&Attribute=domain-name&AllocationId.1={id}");
        let answer = server.ask(&query).await;
        assert_eq!(crate::testing::texts(&answer, "allocationId"), [id]);
        assert!(!answer.contains("ptrRecord"), "{answer}");
        let fault = server.fault("Action=DescribeAddressesAttribute&AllocationId.1=eipalloc-0").await;
        assert_eq!(fault, "400 InvalidAllocationID.NotFound: The allocation ID 'eipalloc-0' does not exist");
    }
}
