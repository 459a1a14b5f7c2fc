//! CreateManagedPrefixList: makes a prefix list. Source: Amazon EC2 API reference, "CreateManagedPrefixList".
//!
//! Differs from AWS: a list is complete at once. `ClientToken` does not keep a call from being done twice. The code of the fault
//! for too many lists is not documented.

use api::ec2::operations::CreateManagedPrefixList;
use api::ec2::{CreateManagedPrefixListRequest, CreateManagedPrefixListResult};
use wire::{Call, Fault, Operation, Permission};

use domain::{AddressFamily, PrefixList, PrefixListEntry, PrefixListState};
use store::{Key, Transaction};

use crate::resources::tag::{self, TaggedKind};
use crate::resources::{prefix_list, resource_arn};
use crate::{Ec2, faults};

/// Source: "Amazon VPC quotas", prefix lists per Region.
const LISTS_PER_REGION: usize = 100;

impl Operation<CreateManagedPrefixList> for Ec2 {
    fn permissions(&self, call: &Call, _input: &CreateManagedPrefixListRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:CreateManagedPrefixList", resource_arn(call, "prefix-list", Some("*")))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateManagedPrefixListRequest,
    ) -> Result<CreateManagedPrefixListResult, Fault> {
        let name = prefix_list::name(&input.prefix_list_name.unwrap_or_default())?;
        let family = input.address_family.unwrap_or_default();
        let address_family: AddressFamily = family.parse().map_err(|_| {
            faults::invalid_value(format!("Value ({family}) for parameter AddressFamily is invalid."))
        })?;
        let max_entries = input.max_entries.unwrap_or_default();
        prefix_list::check_max_entries(max_entries)?;
        let tags = tag::of_specifications(input.tag_specifications, TaggedKind::PrefixList)?;
        let mut entries: Vec<PrefixListEntry> = Vec::new();
        for asked in input.entries.unwrap_or_default() {
            let entry = prefix_list::entry(address_family, asked.cidr.as_deref(), asked.description)?;
            if entries.iter().any(|known| known.cidr == entry.cidr) {
                return Err(prefix_list::twice(&entry.cidr));
            }
            entries.push(entry);
        }
        prefix_list::check_per_call(entries.len())?;
        if entries.len() > usize::try_from(max_entries).unwrap_or_default() {
            return Err(prefix_list::too_many_entries());
        }
        let made = self
            .change(call, input.dry_run, |snapshot| {
                let known = snapshot.scan::<PrefixList>(Key::prefix(&call.scope, &[]), None);
                if known.count() >= LISTS_PER_REGION {
                    let message = "You have reached the limit on the number of prefix lists in this region.";
                    return Err(Fault::new("PrefixListLimitExceeded", message, 400));
                }
                let made = PrefixList {
                    scope: call.scope.clone(),
                    id: format!("pl-{}", self.ids.hex(17)),
                    name: name.clone(),
                    address_family,
                    max_entries,
                    version: 1,
                    state: PrefixListState::CreateComplete,
                    entries: entries.clone(),
                    tags: tags.clone(),
                };
                let mut transaction = Transaction::new();
                transaction.insert(prefix_list::version_of(&made)).insert(made.clone());
                Ok((transaction, made))
            })
            .await?;
        Ok(CreateManagedPrefixListResult { prefix_list: Some(prefix_list::describe(&made)) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    const CREATE: &str = "Action=CreateManagedPrefixList";

    #[tokio::test]
    async fn a_list_is_made() {
        let server = Server::new();
        let query = format!(
            "{CREATE}&PrefixListName=office&AddressFamily=IPv4&MaxEntries=5&Entry.1.Cidr=10.1.2.3/16\
             &Entry.1.Description=one&TagSpecification.1.ResourceType=prefix-list&TagSpecification.1.Tag.1.Key=a"
        );
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <CreateManagedPrefixListResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <prefixList>
                <addressFamily>IPv4</addressFamily>
                <maxEntries>5</maxEntries>
                <ownerId>123456789012</ownerId>
                <prefixListArn>arn:aws:ec2:us-east-1:123456789012:prefix-list/pl-822d5fe3b5885a806</prefixListArn>
                <prefixListId>pl-822d5fe3b5885a806</prefixListId>
                <prefixListName>office</prefixListName>
                <state>create-complete</state>
                <tagSet>
                  <item>
                    <key>a</key>
                    <value></value>
                  </item>
                </tagSet>
                <version>1</version>
              </prefixList>
            </CreateManagedPrefixListResponse>"#]].assert_eq(&server.ask(&query).await);
        let id = server.ask_for("prefixListId", "Action=DescribeManagedPrefixLists").await.concat();
        let query = format!("Action=GetManagedPrefixListEntries&PrefixListId={id}");
        assert_eq!(server.ask_for("cidr", &query).await, ["10.1.0.0/16"], "cut off behind the prefix");
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        for (query, fault) in [
            (
                "AddressFamily=IPv5&MaxEntries=5",
                "400 InvalidParameterValue: Value (IPv5) for parameter AddressFamily",
            ),
            (
                "AddressFamily=IPv4&MaxEntries=0",
                "400 InvalidParameterValue: Value (0) for parameter MaxEntries",
            ),
            (
                "AddressFamily=IPv4&MaxEntries=1001",
                "400 InvalidParameterValue: Value (1001) for parameter MaxEntries",
            ),
            (
                "AddressFamily=IPv4&MaxEntries=1&Entry.1.Cidr=10.0.0.0/8&Entry.2.Cidr=11.0.0.0/8",
                "400 PrefixListMaxEntriesExceeded: ",
            ),
            (
                "AddressFamily=IPv4&MaxEntries=5&Entry.1.Cidr=10.0.0.0/8&Entry.2.Cidr=10.0.0.0/8",
                "400 InvalidParameterValue: ",
            ),
            (
                "AddressFamily=IPv6&MaxEntries=5&Entry.1.Cidr=10.0.0.0/8",
                "400 InvalidParameterValue: CIDR block ",
            ),
            ("AddressFamily=IPv6&MaxEntries=5&DryRun=true", "412 DryRunOperation: "),
        ] {
            let found = server.fault(&format!("{CREATE}&PrefixListName=x&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
        let query = format!("{CREATE}&PrefixListName=com.amazonaws.x&AddressFamily=IPv4&MaxEntries=1");
        let found = server.fault(&query);
        assert!(found.await.starts_with("400 InvalidParameterValue: Prefix list names cannot start with"));
        assert_eq!(server.ask_for("prefixListId", "Action=DescribeManagedPrefixLists").await, [""; 0]);
    }
}
