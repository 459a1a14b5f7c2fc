//! ModifyManagedPrefixList: adds entries to a prefix list and removes some, which makes a new version of it, or changes its name or size. Source: Amazon EC2 API reference, "ModifyManagedPrefixList".
//!
//! Differs from AWS: a list is changed at once.

use api::ec2::operations::ModifyManagedPrefixList;
use api::ec2::{ModifyManagedPrefixListRequest, ModifyManagedPrefixListResult};
use wire::{Call, Fault, Operation, Permission};

use domain::{PrefixList, PrefixListState, SecurityGroup, SecurityGroupPeer};
use store::{Key, Snapshot, Transaction};

use crate::resources::{permission, prefix_list, resource_arn};
use crate::{Ec2, faults};

impl Operation<ModifyManagedPrefixList> for Ec2 {
    fn permissions(&self, call: &Call, input: &ModifyManagedPrefixListRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:ModifyManagedPrefixList",
            resource_arn(call, "prefix-list", input.prefix_list_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ModifyManagedPrefixListRequest,
    ) -> Result<ModifyManagedPrefixListResult, Fault> {
        let id = input.prefix_list_id.unwrap_or_default();
        let name = input.prefix_list_name.as_deref().map(prefix_list::name).transpose()?;
        let (add, remove) = (input.add_entries.unwrap_or_default(), input.remove_entries.unwrap_or_default());
        prefix_list::check_per_call(add.len())?;
        prefix_list::check_per_call(remove.len())?;
        let changes_entries = !add.is_empty() || !remove.is_empty();
        if changes_entries && input.max_entries.is_some() {
            let message = "You cannot modify the entries and the size of a prefix list in one request";
            return Err(faults::invalid_combination(message));
        }
        if changes_entries && input.current_version.is_none() {
            return Err(faults::missing("CurrentVersion"));
        }
        if input.ipam_prefix_list_resolver_sync_enabled == Some(true) {
            return Err(faults::unsupported("There are no IPAM prefix list resolvers to synchronize with."));
        }
        let made = self
            .change(call, input.dry_run, |snapshot| {
                let read = prefix_list::KIND.find::<PrefixList>(snapshot, &call.scope, &id)?;
                if input.current_version.is_some_and(|version| version != read.version) {
                    return Err(prefix_list::version_mismatch());
                }
                let mut list = PrefixList::clone(&read);
                list.name = name.clone().unwrap_or(list.name);
                list.state = PrefixListState::ModifyComplete;
                if let Some(max_entries) = input.max_entries {
                    resize(snapshot, &mut list, max_entries)?;
                }
                let mut transaction = Transaction::new();
                if changes_entries {
                    list.entries = prefix_list::changed(&list, &add, &remove)?;
                    prefix_list::next_version(&mut transaction, &mut list)?;
                }
                transaction.replace(&read, list.clone());
                Ok((transaction, list))
            })
            .await?;
        Ok(ModifyManagedPrefixListResult { prefix_list: Some(prefix_list::describe(&made)) })
    }
}

/// Gives a list another size: the groups that name it must have room for it.
fn resize(snapshot: &Snapshot, list: &mut PrefixList, max_entries: i32) -> Result<(), Fault> {
    prefix_list::check_max_entries(max_entries)?;
    if list.entries.len() > usize::try_from(max_entries).unwrap_or_default() {
        return Err(prefix_list::too_many_entries());
    }
    let more = i64::from(max_entries) - i64::from(list.max_entries);
    let peer = SecurityGroupPeer::PrefixList(list.id.clone());
    for group in snapshot.scan::<SecurityGroup>(Key::prefix(&list.scope, &[]), None) {
        if more > 0 && group.rules.iter().any(|rule| rule.peer == peer) {
            permission::check_count_with(snapshot, &group, (&list.id, more))?;
        }
    }
    list.max_entries = max_entries;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn entries_change_with_a_new_version() {
        let server = Server::new();
        let id = server.create_prefix_list("IPv4", 2, &["10.0.0.0/8", "11.0.0.0/8"]).await;
        let modify = format!("Action=ModifyManagedPrefixList&PrefixListId={id}");
        let query = format!(
            "{modify}&CurrentVersion=1&RemoveEntry.1.Cidr=10.0.0.0/8&AddEntry.1.Cidr=12.0.0.0/8&PrefixListName=other"
        );
        let answer = server.ask(&query).await;
        assert_eq!(crate::testing::texts(&answer, "version"), ["2"]);
        assert_eq!(crate::testing::texts(&answer, "prefixListName"), ["other"]);
        let entries = format!("Action=GetManagedPrefixListEntries&PrefixListId={id}");
        assert_eq!(server.ask_for("cidr", &entries).await, ["11.0.0.0/8", "12.0.0.0/8"]);
        let old = format!("{entries}&TargetVersion=1");
        assert_eq!(server.ask_for("cidr", &old).await, ["10.0.0.0/8", "11.0.0.0/8"]);
        assert_eq!(
            server.fault(&query).await,
            "400 PrefixListVersionMismatch: The prefix list has the incorrect version number."
        );
        assert_eq!(
            server.ask_for("version", &format!("{modify}&MaxEntries=9")).await,
            ["2"],
            "its size alone"
        );
    }

    #[tokio::test]
    async fn a_list_cannot_outgrow_the_groups_that_name_it() {
        let server = Server::new();
        let id = server.create_prefix_list("IPv4", 2, &[]).await;
        let web = server.create_group("web", None).await;
        let rule = format!(
            "Action=AuthorizeSecurityGroupIngress&GroupId={web}&IpPermissions.1.IpProtocol=-1\
             &IpPermissions.1.PrefixListIds.1.PrefixListId={id}"
        );
        server.done(&rule).await;
        let resize =
            |size: u32| format!("Action=ModifyManagedPrefixList&PrefixListId={id}&MaxEntries={size}");
        assert!(server.fault(&resize(61)).await.starts_with("400 RulesPerSecurityGroupLimitExceeded: "));
        assert_eq!(server.ask_for("maxEntries", &resize(60)).await, ["60"]);
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let id = server.create_prefix_list("IPv4", 1, &["10.0.0.0/8"]).await;
        for (query, fault) in [
            ("CurrentVersion=1&AddEntry.1.Cidr=11.0.0.0/8", "400 PrefixListMaxEntriesExceeded: "),
            ("CurrentVersion=1&RemoveEntry.1.Cidr=11.0.0.0/8", "400 InvalidPrefixListModification: "),
            ("CurrentVersion=1&AddEntry.1.Cidr=x", "400 InvalidParameterValue: CIDR block x is malformed"),
            ("AddEntry.1.Cidr=11.0.0.0/8", "400 MissingParameter: "),
            ("CurrentVersion=1&AddEntry.1.Cidr=11.0.0.0/8&MaxEntries=2", "400 InvalidParameterCombination: "),
            ("MaxEntries=0", "400 InvalidParameterValue: "),
        ] {
            let found =
                server.fault(&format!("Action=ModifyManagedPrefixList&PrefixListId={id}&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
        let found = server.fault("Action=ModifyManagedPrefixList&PrefixListId=pl-0&MaxEntries=2").await;
        assert_eq!(found, "400 InvalidPrefixListID.NotFound: The prefix list ID 'pl-0' does not exist");
    }
}
