//! ModifyVpcAttribute: changes one attribute of a VPC. Source: Amazon EC2 API reference, "ModifyVpcAttribute".
//!
//! Differs from AWS: network address usage metrics cannot be turned on.

use api::ec2::ModifyVpcAttributeRequest;
use api::ec2::operations::ModifyVpcAttribute;
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::Vpc;
use store::Transaction;

use crate::resources::{resource_arn, vpc};
use crate::{Ec2, faults};

impl Operation<ModifyVpcAttribute> for Ec2 {
    fn permissions(&self, call: &Call, input: &ModifyVpcAttributeRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:ModifyVpcAttribute", resource_arn(call, "vpc", input.vpc_id.as_deref()))]
    }

    async fn handle(&self, call: &Call, input: ModifyVpcAttributeRequest) -> Result<Unit, Fault> {
        let id = input.vpc_id.unwrap_or_default();
        let (support, hostnames, metrics) = (
            input.enable_dns_support.and_then(|asked| asked.value),
            input.enable_dns_hostnames.and_then(|asked| asked.value),
            input.enable_network_address_usage_metrics.and_then(|asked| asked.value),
        );
        match [support, hostnames, metrics].iter().flatten().count() {
            0 => return Err(faults::missing("enableDnsSupport or enableDnsHostnames")),
            1 => {}
            _ => return Err(faults::invalid_combination("Fields for multiple attribute types specified")),
        }
        if metrics == Some(true) {
            return Err(faults::unsupported("The use of a VPC's addresses is not measured."));
        }
        self.change(call, None, |snapshot| {
            let read = vpc::KIND.find::<Vpc>(snapshot, &call.scope, &id)?;
            let mut vpc = Vpc::clone(&read);
            vpc.enable_dns_support = support.unwrap_or(vpc.enable_dns_support);
            vpc.enable_dns_hostnames = hostnames.unwrap_or(vpc.enable_dns_hostnames);
            let mut transaction = Transaction::new();
            transaction.replace(&read, vpc);
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
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let modify = format!("Action=ModifyVpcAttribute&VpcId={vpc}");
        server.done(&format!("{modify}&EnableDnsHostnames.Value=true")).await;
        server.done(&format!("{modify}&EnableDnsSupport.Value=false")).await;
        for (attribute, value) in [("enableDnsHostnames", "true"), ("enableDnsSupport", "false")] {
            let query = format!("Action=DescribeVpcAttribute&VpcId={vpc}&Attribute={attribute}");
            assert_eq!(server.ask_for("value", &query).await, [value]);
        }
        for (query, fault) in [
            (String::new(), "400 MissingParameter: "),
            (
                "&EnableDnsSupport.Value=true&EnableDnsHostnames.Value=true".to_owned(),
                "400 InvalidParameterComb",
            ),
            ("&EnableNetworkAddressUsageMetrics.Value=true".to_owned(), "400 UnsupportedOperation: "),
        ] {
            let found = server.fault(&format!("{modify}{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
        let found = server.fault("Action=ModifyVpcAttribute&VpcId=vpc-0&EnableDnsSupport.Value=true").await;
        assert_eq!(found, "400 InvalidVpcID.NotFound: The vpc ID 'vpc-0' does not exist");
    }
}
