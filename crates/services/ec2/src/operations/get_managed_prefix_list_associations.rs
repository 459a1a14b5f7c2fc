//! GetManagedPrefixListAssociations: tells what names a prefix list: security groups and route tables. Source: Amazon EC2 API reference, "GetManagedPrefixListAssociations".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::GetManagedPrefixListAssociations;
use api::ec2::{
    GetManagedPrefixListAssociationsRequest, GetManagedPrefixListAssociationsResult, PrefixListAssociation,
};
use wire::{Call, Fault, Operation, Permission};

use base::PageToken;
use domain::PrefixList;

use crate::listing::page_size;
use crate::resources::{prefix_list, resource_arn};
use crate::{Ec2, faults};

const LISTING: &str = "GetManagedPrefixListAssociations";

impl Operation<GetManagedPrefixListAssociations> for Ec2 {
    fn permissions(&self, call: &Call, input: &GetManagedPrefixListAssociationsRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:GetManagedPrefixListAssociations",
            resource_arn(call, "prefix-list", input.prefix_list_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: GetManagedPrefixListAssociationsRequest,
    ) -> Result<GetManagedPrefixListAssociationsResult, Fault> {
        let id = input.prefix_list_id.unwrap_or_default();
        let snapshot = self.snapshot(call).await?;
        let list = prefix_list::KIND.find::<PrefixList>(&snapshot, &call.scope, &id)?;
        let size = page_size(input.max_results)?;
        let after = input.next_token.map(|token| PageToken::decode(LISTING, &token)).transpose();
        let after = after.map_err(|_| faults::invalid_value("Unable to parse pagination token"))?;
        if input.dry_run == Some(true) {
            return Err(faults::dry_run());
        }
        let mut users = prefix_list::users(&snapshot, &list);
        users.retain(|user| after.as_ref().is_none_or(|after| *user > after.after));
        let has_more = users.len() > size;
        users.truncate(size);
        let last = users.last().filter(|_| has_more);
        let next_token = last.map(|user| PageToken::encode(LISTING, user));
        let association = |user: String| PrefixListAssociation {
            resource_id: Some(user),
            resource_owner: Some(call.scope.account.to_string()),
        };
        Ok(GetManagedPrefixListAssociationsResult {
            next_token,
            prefix_list_associations: Some(users.into_iter().map(association).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_new_list_has_none() {
        let server = Server::new();
        let id = server.create_prefix_list("IPv4", 5, &[]).await;
        let query = format!("Action=GetManagedPrefixListAssociations&PrefixListId={id}");
        assert_eq!(server.ask_for("resourceId", &query).await, [""; 0]);
        let fault = server.fault("Action=GetManagedPrefixListAssociations&PrefixListId=pl-0").await;
        assert_eq!(fault, "400 InvalidPrefixListID.NotFound: The prefix list ID 'pl-0' does not exist");
    }
}
