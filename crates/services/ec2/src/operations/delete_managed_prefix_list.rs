//! DeleteManagedPrefixList: removes a prefix list that nothing names. Source: Amazon EC2 API reference, "DeleteManagedPrefixList".
//!
//! Differs from AWS: a list is gone at once. The code of the fault for a list in use is not documented.

use api::ec2::operations::DeleteManagedPrefixList;
use api::ec2::{DeleteManagedPrefixListRequest, DeleteManagedPrefixListResult};
use wire::{Call, Fault, Operation, Permission};

use domain::{PrefixList, PrefixListVersion};
use store::{Key, Row as _, Transaction};

use crate::resources::{prefix_list, resource_arn};
use crate::{Ec2, faults};

impl Operation<DeleteManagedPrefixList> for Ec2 {
    fn permissions(&self, call: &Call, input: &DeleteManagedPrefixListRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:DeleteManagedPrefixList",
            resource_arn(call, "prefix-list", input.prefix_list_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteManagedPrefixListRequest,
    ) -> Result<DeleteManagedPrefixListResult, Fault> {
        let id = input.prefix_list_id.unwrap_or_default();
        let list = self
            .change(call, input.dry_run, |snapshot| {
                let list = prefix_list::KIND.find::<PrefixList>(snapshot, &call.scope, &id)?;
                if !prefix_list::users(snapshot, &list).is_empty() {
                    return Err(faults::in_use("prefix list", &id));
                }
                let mut transaction = Transaction::new();
                transaction.remove(&list);
                for version in snapshot.scan::<PrefixListVersion>(Key::prefix(&call.scope, &[&id]), None) {
                    transaction.delete::<PrefixListVersion>(&version.key());
                }
                Ok((transaction, list))
            })
            .await?;
        let told = api::ec2::ManagedPrefixList {
            state: Some("delete-complete".to_owned()),
            ..prefix_list::describe(&list)
        };
        Ok(DeleteManagedPrefixListResult { prefix_list: Some(told) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_list_goes_once_no_rule_names_it() {
        let server = Server::new();
        let id = server.create_prefix_list("IPv4", 2, &["10.0.0.0/8"]).await;
        let web = server.create_group("web", None).await;
        let rule = |action: &str| {
            format!(
                "Action={action}&GroupId={web}&IpPermissions.1.IpProtocol=-1\
                 &IpPermissions.1.PrefixListIds.1.PrefixListId={id}"
            )
        };
        server.done(&rule("AuthorizeSecurityGroupIngress")).await;
        let delete = format!("Action=DeleteManagedPrefixList&PrefixListId={id}");
        assert!(server.fault(&delete).await.starts_with("400 DependencyViolation: "));
        let users = format!("Action=GetManagedPrefixListAssociations&PrefixListId={id}");
        assert_eq!(server.ask_for("resourceId", &users).await, [web.as_str()]);
        server.done(&rule("RevokeSecurityGroupIngress")).await;
        assert_eq!(server.ask_for("state", &delete).await, ["delete-complete"]);
        let gone = format!("400 InvalidPrefixListID.NotFound: The prefix list ID '{id}' does not exist");
        assert_eq!(server.fault(&delete).await, gone);
    }
}
