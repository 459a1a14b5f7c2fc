//! DescribeInstanceAttribute: tells one attribute of an instance. Source: Amazon EC2 API reference, "DescribeInstanceAttribute".
//!
//! Differs from AWS: of a machine that registered itself only the type is known; other attributes are empty or off.

use api::ec2::operations::DescribeInstanceAttribute;
use api::ec2::{AttributeBooleanValue, AttributeValue, DescribeInstanceAttributeRequest, InstanceAttribute};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{instance, resource_arn};
use crate::{Ec2, faults};

impl Operation<DescribeInstanceAttribute> for Ec2 {
    fn permissions(&self, call: &Call, input: &DescribeInstanceAttributeRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:DescribeInstanceAttribute",
            resource_arn(call, "instance", input.instance_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeInstanceAttributeRequest,
    ) -> Result<InstanceAttribute, Fault> {
        let id = input.instance_id.unwrap_or_default();
        let instance = instance::find(&self.snapshot(call).await?, &call.scope, &id)?;
        if input.dry_run == Some(true) {
            return Err(faults::dry_run());
        }
        let off = || Some(AttributeBooleanValue { value: Some(false) });
        let none = || Some(AttributeValue { value: None });
        let mut told = InstanceAttribute { instance_id: Some(id), ..Default::default() };
        match input.attribute.unwrap_or_default().as_str() {
            "instanceType" => told.instance_type = Some(AttributeValue { value: instance.instance_type() }),
            "disableApiTermination" => told.disable_api_termination = off(),
            "disableApiStop" => told.disable_api_stop = off(),
            "ebsOptimized" => told.ebs_optimized = off(),
            "sourceDestCheck" => told.source_dest_check = off(),
            "enaSupport" => told.ena_support = off(),
            "userData" => told.user_data = none(),
            "kernel" => told.kernel_id = none(),
            "ramdisk" => told.ramdisk_id = none(),
            "rootDeviceName" => told.root_device_name = none(),
            "sriovNetSupport" => told.sriov_net_support = none(),
            "groupSet" => told.groups = Some(Vec::new()),
            "productCodes" => told.product_codes = Some(Vec::new()),
            "blockDeviceMapping" => told.block_device_mappings = Some(Vec::new()),
            "instanceInitiatedShutdownBehavior" => {
                told.instance_initiated_shutdown_behavior =
                    Some(AttributeValue { value: Some("stop".to_owned()) });
            }
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
    async fn the_type_is_known() {
        let server = Server::new();
        server.add_instance("i-0123456789abcdef0").await;
        let describe = "Action=DescribeInstanceAttribute&InstanceId=i-0123456789abcdef0&Attribute";
        assert_eq!(server.ask_for("value", &format!("{describe}=instanceType")).await, ["m5.large"]);
        assert_eq!(server.ask_for("value", &format!("{describe}=disableApiTermination")).await, ["false"]);
        assert!(server.ask(&format!("{describe}=userData")).await.starts_with("200"));
        let query = "Action=DescribeInstanceAttribute&InstanceId=i-0&Attribute=instanceType";
        let fault = server.fault(query).await;
        assert_eq!(fault, "400 InvalidInstanceID.NotFound: The instance ID 'i-0' does not exist");
    }
}
