//! GetManagedPrefixListEntries: tells the entries of a prefix list, in its present version or an earlier one. Source: Amazon EC2 API reference, "GetManagedPrefixListEntries".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::GetManagedPrefixListEntries;
use api::ec2::{GetManagedPrefixListEntriesRequest, GetManagedPrefixListEntriesResult};
use wire::{Call, Fault, Operation, Permission};

use base::PageToken;
use domain::{PrefixList, PrefixListEntry};

use crate::listing::page_size_of;
use crate::resources::{prefix_list, resource_arn};
use crate::{Ec2, faults};

const LISTING: &str = "GetManagedPrefixListEntries";
/// Source: GetManagedPrefixListEntries, `MaxResults`.
const ENTRIES_PER_PAGE: i32 = 100;

impl Operation<GetManagedPrefixListEntries> for Ec2 {
    fn permissions(&self, call: &Call, input: &GetManagedPrefixListEntriesRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:GetManagedPrefixListEntries",
            resource_arn(call, "prefix-list", input.prefix_list_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: GetManagedPrefixListEntriesRequest,
    ) -> Result<GetManagedPrefixListEntriesResult, Fault> {
        let id = input.prefix_list_id.unwrap_or_default();
        let snapshot = self.snapshot(call).await?;
        let list = prefix_list::KIND.find::<PrefixList>(&snapshot, &call.scope, &id)?;
        let mut entries = prefix_list::entries(&snapshot, &list, input.target_version)?;
        let size = page_size_of(input.max_results, 1, ENTRIES_PER_PAGE)?;
        let after = input.next_token.map(|token| PageToken::decode(LISTING, &token)).transpose();
        let after = after.map_err(|_| faults::invalid_value("Unable to parse pagination token"))?;
        if input.dry_run == Some(true) {
            return Err(faults::dry_run());
        }
        entries.sort_by_cached_key(|entry| entry.cidr.to_string());
        entries.retain(|entry| after.as_ref().is_none_or(|after| entry.cidr.to_string() > after.after));
        let has_more = entries.len() > size;
        entries.truncate(size);
        let last = entries.last().filter(|_| has_more);
        let next_token = last.map(|entry| PageToken::encode(LISTING, &entry.cidr.to_string()));
        let entry = |entry: PrefixListEntry| api::ec2::PrefixListEntry {
            cidr: Some(entry.cidr.to_string()),
            description: entry.description,
        };
        Ok(GetManagedPrefixListEntriesResult {
            entries: Some(entries.into_iter().map(entry).collect()),
            next_token,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn entries_are_told_in_pages() {
        let server = Server::new();
        let id = server.create_prefix_list("IPv4", 5, &["10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"]).await;
        let query = format!("Action=GetManagedPrefixListEntries&PrefixListId={id}&MaxResults=2");
        let answer = server.ask(&query).await;
        assert_eq!(crate::testing::texts(&answer, "cidr"), ["10.0.0.0/8", "11.0.0.0/8"]);
        let token = crate::testing::texts(&answer, "nextToken").concat();
        assert_eq!(server.ask_for("cidr", &format!("{query}&NextToken={token}")).await, ["12.0.0.0/8"]);
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let id = server.create_prefix_list("IPv4", 5, &[]).await;
        for (query, fault) in [
            (format!("PrefixListId={id}&TargetVersion=2"), "400 InvalidParameterValue: "),
            (format!("PrefixListId={id}&MaxResults=101"), "400 InvalidParameterValue: "),
            ("PrefixListId=pl-0".to_owned(), "400 InvalidPrefixListID.NotFound: "),
        ] {
            let found = server.fault(&format!("Action=GetManagedPrefixListEntries&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}
