//! DescribePrefixLists: tells the prefix lists of the AWS services that a VPC can have gateway endpoints for: none, for there are no
//! endpoints. Source: Amazon EC2 API reference, "DescribePrefixLists".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribePrefixLists;
use api::ec2::{DescribePrefixListsRequest, DescribePrefixListsResult};
use wire::{Call, Fault, Operation, Permission};

use std::sync::Arc;

use crate::Ec2;
use crate::listing::{Kind, Question};
use crate::resources::prefix_list;

const KIND: Kind = Kind {
    operation: "DescribePrefixLists",
    filters: &[("prefix-list-id", &[]), ("prefix-list-name", &[])],
    has_tags: false,
    ..prefix_list::KIND
};

impl Operation<DescribePrefixLists> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribePrefixListsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribePrefixLists", "*")]
    }

    async fn handle(
        &self,
        _call: &Call,
        input: DescribePrefixListsRequest,
    ) -> Result<DescribePrefixListsResult, Fault> {
        let question = Question {
            dry_run: input.dry_run,
            ids: input.prefix_list_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, Vec::<Arc<domain::PrefixList>>::new())?;
        Ok(DescribePrefixListsResult { next_token: page.next_token, prefix_lists: Some(Vec::new()) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn there_are_none() {
        let server = Server::new();
        server.create_prefix_list("IPv4", 2, &[]).await;
        assert_eq!(server.ask_for("prefixListId", "Action=DescribePrefixLists").await, [""; 0]);
        let fault = server.fault("Action=DescribePrefixLists&PrefixListId.1=pl-0").await;
        assert_eq!(fault, "400 InvalidPrefixListID.NotFound: The prefix list ID 'pl-0' does not exist");
    }
}
