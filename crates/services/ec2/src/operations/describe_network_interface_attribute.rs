//! DescribeNetworkInterfaceAttribute: tells one attribute of a network interface. Source: Amazon EC2 API reference, "DescribeNetworkInterfaceAttribute".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeNetworkInterfaceAttribute;
use api::ec2::{
    AttributeBooleanValue, AttributeValue, DescribeNetworkInterfaceAttributeRequest,
    DescribeNetworkInterfaceAttributeResult,
};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::network_interface::{self, DescribedInterface};
use crate::resources::resource_arn;
use crate::{Ec2, faults};

impl Operation<DescribeNetworkInterfaceAttribute> for Ec2 {
    fn permissions(&self, call: &Call, input: &DescribeNetworkInterfaceAttributeRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:DescribeNetworkInterfaceAttribute",
            resource_arn(call, "network-interface", input.network_interface_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeNetworkInterfaceAttributeRequest,
    ) -> Result<DescribeNetworkInterfaceAttributeResult, Fault> {
        let id = input.network_interface_id.unwrap_or_default();
        let snapshot = self.snapshot(call).await?;
        let row = network_interface::find(&snapshot, &call.scope, &id)?;
        if input.dry_run == Some(true) {
            return Err(faults::dry_run());
        }
        let wire = network_interface::describe(&DescribedInterface::of(&snapshot, row.value));
        let mut told =
            DescribeNetworkInterfaceAttributeResult { network_interface_id: Some(id), ..Default::default() };
        match input.attribute.as_deref().ok_or_else(|| faults::missing("attribute"))? {
            "description" => told.description = Some(AttributeValue { value: wire.description }),
            "groupSet" => told.groups = wire.groups,
            "sourceDestCheck" => {
                told.source_dest_check = Some(AttributeBooleanValue { value: wire.source_dest_check });
            }
            "attachment" => told.attachment = wire.attachment,
            "associatePublicIpAddress" => told.associate_public_ip_address = Some(wire.association.is_some()),
            other => {
                let message =
                    format!("Value ({other}) for parameter attribute is invalid. Unknown attribute.");
                return Err(faults::invalid_value(message));
            }
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn attributes_are_told_one_by_one() {
        let server = Server::new();
        let interface = server.add_interface([172, 31, 0, 9].into()).await;
        let describe =
            format!("Action=DescribeNetworkInterfaceAttribute&NetworkInterfaceId={}", interface.id);
        for (attribute, element, text) in [
            ("description", "value", interface.description.as_str()),
            ("groupSet", "groupName", "default"),
            ("sourceDestCheck", "value", "true"),
            ("attachment", "status", "attached"),
            ("associatePublicIpAddress", "associatePublicIpAddress", "false"),
        ] {
            let query = format!("{describe}&Attribute={attribute}");
            assert_eq!(server.ask_for(element, &query).await, [text], "{attribute}");
        }
        assert!(server.fault(&describe).await.starts_with("400 MissingParameter: "));
        assert!(
            server.fault(&format!("{describe}&Attribute=x")).await.starts_with("400 InvalidParameterValue: ")
        );
        let query = "Action=DescribeNetworkInterfaceAttribute&NetworkInterfaceId=eni-0&Attribute=description";
        assert!(server.fault(query).await.starts_with("400 InvalidNetworkInterfaceID.NotFound: "));
    }
}
