//! ModifySubnetAttribute: changes one attribute of a subnet. Source: Amazon EC2 API reference, "ModifySubnetAttribute".
//!
//! Differs from AWS: public addresses at launch are those of instances, as on AWS, and no instance is launched here: for a task,
//! `assignPublicIp` says. What concerns names of instances, DNS64 and Outposts cannot be turned on.

use api::ec2::operations::ModifySubnetAttribute;
use api::ec2::{AttributeBooleanValue, ModifySubnetAttributeRequest};
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::Subnet;
use store::Transaction;

use crate::resources::{resource_arn, subnet};
use crate::{Ec2, faults};

impl Operation<ModifySubnetAttribute> for Ec2 {
    fn permissions(&self, call: &Call, input: &ModifySubnetAttributeRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:ModifySubnetAttribute",
            resource_arn(call, "subnet", input.subnet_id.as_deref()),
        )]
    }

    async fn handle(&self, call: &Call, input: ModifySubnetAttributeRequest) -> Result<Unit, Fault> {
        let id = input.subnet_id.unwrap_or_default();
        let asked = |asked: Option<AttributeBooleanValue>| asked.and_then(|asked| asked.value);
        let public = asked(input.map_public_ip_on_launch);
        let ipv6 = asked(input.assign_ipv6_address_on_creation);
        let refused = [
            ("EnableDns64", asked(input.enable_dns64)),
            (
                "EnableResourceNameDnsARecordOnLaunch",
                asked(input.enable_resource_name_dns_a_record_on_launch),
            ),
            (
                "EnableResourceNameDnsAAAARecordOnLaunch",
                asked(input.enable_resource_name_dns_aaaa_record_on_launch),
            ),
            ("MapCustomerOwnedIpOnLaunch", asked(input.map_customer_owned_ip_on_launch)),
            ("CustomerOwnedIpv4Pool", input.customer_owned_ipv4_pool.map(|_| true)),
            ("EnableLniAtDeviceIndex", input.enable_lni_at_device_index.map(|_| true)),
            ("DisableLniAtDeviceIndex", asked(input.disable_lni_at_device_index)),
            (
                "PrivateDnsHostnameTypeOnLaunch",
                input.private_dns_hostname_type_on_launch.map(|asked| asked != "ip-name"),
            ),
        ];
        let given = refused.iter().filter(|(_, value)| value.is_some()).count();
        match given + [public, ipv6].iter().flatten().count() {
            0 => return Err(faults::missing("mapPublicIpOnLaunch or assignIpv6AddressOnCreation")),
            1 => {}
            _ => return Err(faults::invalid_combination("Fields for multiple attribute types specified")),
        }
        if let Some((name, _)) = refused.iter().find(|(_, value)| *value == Some(true)) {
            return Err(faults::unsupported(format!("{name} is not supported.")));
        }
        self.change(call, None, |snapshot| {
            let read = subnet::KIND.find::<Subnet>(snapshot, &call.scope, &id)?;
            if ipv6 == Some(true) && read.ipv6.is_none() {
                let message = "Invalid value 'true' for assignIpv6AddressOnCreation. The subnet does not have an IPv6 \
                               CIDR block associated with it.";
                return Err(faults::invalid_value(message));
            }
            let mut subnet = Subnet::clone(&read);
            subnet.map_public_ip_on_launch = public.unwrap_or(subnet.map_public_ip_on_launch);
            subnet.assign_ipv6_address_on_creation = ipv6.unwrap_or(subnet.assign_ipv6_address_on_creation);
            let mut transaction = Transaction::new();
            transaction.replace(&read, subnet);
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
    async fn one_attribute_changes_at_a_time() {
        let server = Server::new();
        let subnet = server.default_vpc().await.subnets[0].id.clone();
        let modify = format!("Action=ModifySubnetAttribute&SubnetId={subnet}");
        server.done(&format!("{modify}&MapPublicIpOnLaunch.Value=false")).await;
        server.done(&format!("{modify}&EnableDns64.Value=false")).await;
        let described = format!("Action=DescribeSubnets&SubnetId.1={subnet}");
        assert_eq!(server.ask_for("mapPublicIpOnLaunch", &described).await, ["false"]);
        for (query, fault) in [
            ("", "400 MissingParameter: "),
            ("&MapPublicIpOnLaunch.Value=true&EnableDns64.Value=false", "400 InvalidParameterCombination: "),
            (
                "&AssignIpv6AddressOnCreation.Value=true",
                "400 InvalidParameterValue: Invalid value 'true' for assign",
            ),
            ("&EnableDns64.Value=true", "400 UnsupportedOperation: EnableDns64 is not supported."),
            ("&PrivateDnsHostnameTypeOnLaunch=resource-name", "400 UnsupportedOperation: "),
        ] {
            let found = server.fault(&format!("{modify}{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
        let found = server
            .fault("Action=ModifySubnetAttribute&SubnetId=subnet-0&MapPublicIpOnLaunch.Value=true")
            .await;
        assert_eq!(found, "400 InvalidSubnetID.NotFound: The subnet ID 'subnet-0' does not exist");
    }
}
