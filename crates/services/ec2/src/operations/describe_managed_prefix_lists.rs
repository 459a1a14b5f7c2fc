//! DescribeManagedPrefixLists: tells the prefix lists of the account and region. Source: Amazon EC2 API reference, "DescribeManagedPrefixLists".
//!
//! Differs from AWS: there are no lists of AWS services.

use api::ec2::operations::DescribeManagedPrefixLists;
use api::ec2::{DescribeManagedPrefixListsRequest, DescribeManagedPrefixListsResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::prefix_list::{self, KIND};

impl Operation<DescribeManagedPrefixLists> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeManagedPrefixListsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeManagedPrefixLists", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeManagedPrefixListsRequest,
    ) -> Result<DescribeManagedPrefixListsResult, Fault> {
        let rows = prefix_list::all(&self.snapshot(call).await?, &call.scope);
        let question = Question {
            dry_run: input.dry_run,
            ids: input.prefix_list_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, rows)?;
        Ok(DescribeManagedPrefixListsResult {
            next_token: page.next_token,
            prefix_lists: Some(page.rows.iter().map(|list| prefix_list::describe(list)).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn lists_are_told_and_picked() {
        let server = Server::new();
        let one = server.create_prefix_list("IPv4", 2, &[]).await;
        server.create_prefix_list("IPv6", 2, &[]).await;
        let describe = "Action=DescribeManagedPrefixLists";
        assert_eq!(server.ask_for("prefixListId", describe).await.len(), 2);
        for (query, count) in [
            (format!("PrefixListId.1={one}"), 1),
            (format!("Filter.1.Name=prefix-list-id&Filter.1.Value.1={one}"), 1),
            ("Filter.1.Name=prefix-list-name&Filter.1.Value.1=list*".to_owned(), 2),
            ("Filter.1.Name=owner-id&Filter.1.Value.1=AWS".to_owned(), 0),
        ] {
            let query = format!("{describe}&{query}");
            assert_eq!(server.ask_for("prefixListId", &query).await.len(), count, "{query}");
        }
        let fault = server.fault(&format!("{describe}&PrefixListId.1=pl-0")).await;
        assert_eq!(fault, "400 InvalidPrefixListID.NotFound: The prefix list ID 'pl-0' does not exist");
    }
}
