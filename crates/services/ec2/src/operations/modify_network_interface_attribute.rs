//! ModifyNetworkInterfaceAttribute: changes one attribute of a network interface that no service manages. Source: Amazon EC2 API reference, "ModifyNetworkInterfaceAttribute".
//!
//! Differs from AWS: the check of source and destination cannot be turned off. The interfaces of tasks and load balancers cannot
//! be changed, as AWS documents for those of ECS; the code of the fault is not documented.

use api::ec2::ModifyNetworkInterfaceAttributeRequest;
use api::ec2::operations::ModifyNetworkInterfaceAttribute;
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::NetworkInterface;
use store::Transaction;

use crate::resources::{network_interface, resource_arn};
use crate::{Ec2, faults};

impl Operation<ModifyNetworkInterfaceAttribute> for Ec2 {
    fn permissions(&self, call: &Call, input: &ModifyNetworkInterfaceAttributeRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:ModifyNetworkInterfaceAttribute",
            resource_arn(call, "network-interface", input.network_interface_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ModifyNetworkInterfaceAttributeRequest,
    ) -> Result<Unit, Fault> {
        let id = input.network_interface_id.unwrap_or_default();
        let refused = [
            ("AssociatePublicIpAddress", input.associate_public_ip_address.is_some()),
            ("AssociatedSubnetIds", input.associated_subnet_ids.is_some()),
            ("Attachment", input.attachment.is_some()),
            ("ConnectionTrackingSpecification", input.connection_tracking_specification.is_some()),
            ("EnaSrdSpecification", input.ena_srd_specification.is_some()),
            ("EnablePrimaryIpv6", input.enable_primary_ipv6.is_some()),
        ];
        if let Some((name, _)) = refused.iter().find(|(_, is_given)| *is_given) {
            return Err(faults::unsupported(format!("{name} is not supported.")));
        }
        let description = input.description.map(|asked| asked.value.unwrap_or_default());
        let source_dest_check = input.source_dest_check.and_then(|asked| asked.value);
        let groups = input.groups;
        let given = [description.is_some(), source_dest_check.is_some(), groups.is_some()]
            .iter()
            .filter(|given| **given)
            .count();
        match given {
            0 => return Err(faults::missing("description, groupSet or sourceDestCheck")),
            1 => {}
            _ => return Err(faults::invalid_combination("Fields for multiple attribute types specified")),
        }
        if source_dest_check == Some(false) {
            return Err(faults::unsupported("No interface can have addresses that are not its own here."));
        }
        self.change(call, input.dry_run, |snapshot| {
            let read = network_interface::find(snapshot, &call.scope, &id)?;
            network_interface::check_not_managed(&read)?;
            let mut changed = NetworkInterface::clone(&read);
            if let Some(description) = &description {
                changed.description.clone_from(description);
            }
            if let Some(groups) = &groups {
                changed.security_groups =
                    network_interface::groups(snapshot, &call.scope, &read.vpc, groups)?;
            }
            let mut transaction = Transaction::new();
            transaction.replace(&read, changed);
            Ok((transaction, ()))
        })
        .await?;
        Ok(Unit::default())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn description_and_groups_change() {
        let server = Server::new();
        let made = server.default_vpc().await;
        let web = server.create_group("web", None).await;
        let create = format!("Action=CreateNetworkInterface&SubnetId={}", made.subnets[0].id);
        let id = server.ask_for("networkInterfaceId", &create).await.concat();
        let modify = format!("Action=ModifyNetworkInterfaceAttribute&NetworkInterfaceId={id}");
        server.done(&format!("{modify}&Description.Value=spare")).await;
        server.done(&format!("{modify}&SecurityGroupId.1={web}")).await;
        server.done(&format!("{modify}&SourceDestCheck.Value=true")).await;
        let described = format!("Action=DescribeNetworkInterfaces&NetworkInterfaceId.1={id}");
        assert_eq!(server.ask_for("description", &described).await, ["spare"]);
        assert_eq!(server.ask_for("groupName", &described).await, ["web"]);
        assert!(
            server
                .fault("Action=DeleteSecurityGroup&GroupName=web")
                .await
                .starts_with("400 DependencyViolation: ")
        );
        for (query, fault) in [
            ("", "400 MissingParameter: "),
            ("&Description.Value=a&SourceDestCheck.Value=true", "400 InvalidParameterCombination: "),
            ("&SourceDestCheck.Value=false", "400 UnsupportedOperation: "),
            ("&EnablePrimaryIpv6=true", "400 UnsupportedOperation: EnablePrimaryIpv6 is not supported."),
            ("&SecurityGroupId.1=sg-0", "400 InvalidGroup.NotFound: "),
        ] {
            let found = server.fault(&format!("{modify}{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }

    #[tokio::test]
    async fn a_tasks_interface_stays_as_it_is() {
        let server = Server::new();
        let id = server.add_interface([172, 31, 0, 9].into()).await.id;
        let query =
            format!("Action=ModifyNetworkInterfaceAttribute&NetworkInterfaceId={id}&Description.Value=mine");
        let fault = server.fault(&query).await;
        assert_eq!(fault, "400 AuthFailure: You do not have permission to access the specified resource.");
    }
}
