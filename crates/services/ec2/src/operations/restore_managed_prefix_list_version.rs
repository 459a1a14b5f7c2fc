//! RestoreManagedPrefixListVersion: takes up the entries of an earlier version of a prefix list, as a new version. Source: Amazon EC2 API reference, "RestoreManagedPrefixListVersion".
//!
//! Differs from AWS: a list is restored at once.

use api::ec2::operations::RestoreManagedPrefixListVersion;
use api::ec2::{RestoreManagedPrefixListVersionRequest, RestoreManagedPrefixListVersionResult};
use wire::{Call, Fault, Operation, Permission};

use domain::{PrefixList, PrefixListState};
use store::Transaction;

use crate::Ec2;
use crate::resources::{prefix_list, resource_arn};

impl Operation<RestoreManagedPrefixListVersion> for Ec2 {
    fn permissions(&self, call: &Call, input: &RestoreManagedPrefixListVersionRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:RestoreManagedPrefixListVersion",
            resource_arn(call, "prefix-list", input.prefix_list_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: RestoreManagedPrefixListVersionRequest,
    ) -> Result<RestoreManagedPrefixListVersionResult, Fault> {
        let id = input.prefix_list_id.unwrap_or_default();
        let made = self
            .change(call, input.dry_run, |snapshot| {
                let read = prefix_list::KIND.find::<PrefixList>(snapshot, &call.scope, &id)?;
                if input.current_version != Some(read.version) {
                    return Err(prefix_list::version_mismatch());
                }
                let mut list = PrefixList::clone(&read);
                list.entries = prefix_list::entries(snapshot, &list, input.previous_version)?;
                if list.entries.len() > usize::try_from(list.max_entries).unwrap_or_default() {
                    return Err(prefix_list::too_many_entries());
                }
                list.state = PrefixListState::RestoreComplete;
                let mut transaction = Transaction::new();
                prefix_list::next_version(&mut transaction, &mut list)?;
                transaction.replace(&read, list.clone());
                Ok((transaction, list))
            })
            .await?;
        Ok(RestoreManagedPrefixListVersionResult { prefix_list: Some(prefix_list::describe(&made)) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn old_entries_are_a_new_version() {
        let server = Server::new();
        let id = server.create_prefix_list("IPv4", 2, &["10.0.0.0/8"]).await;
        let change = format!(
            "Action=ModifyManagedPrefixList&PrefixListId={id}&CurrentVersion=1&RemoveEntry.1.Cidr=10.0.0.0/8"
        );
        server.done(&change).await;
        let restore = format!("Action=RestoreManagedPrefixListVersion&PrefixListId={id}&PreviousVersion=1");
        let query = format!("{restore}&CurrentVersion=2");
        assert_eq!(server.ask_for("version", &query).await, ["3"]);
        let entries = format!("Action=GetManagedPrefixListEntries&PrefixListId={id}");
        assert_eq!(server.ask_for("cidr", &entries).await, ["10.0.0.0/8"]);
        assert!(server.fault(&query).await.starts_with("400 PrefixListVersionMismatch: "));
        let query = format!(
            "Action=RestoreManagedPrefixListVersion&PrefixListId={id}&PreviousVersion=9&CurrentVersion=3"
        );
        assert!(server.fault(&query).await.starts_with("400 InvalidParameterValue: "));
    }
}
