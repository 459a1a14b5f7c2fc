//! AttachNetworkInterface: refuses to attach an interface to an instance: instances here are machines that registered themselves. Source: Amazon EC2 API reference, "AttachNetworkInterface".
//!
//! Differs from AWS: it never succeeds.

use api::ec2::operations::AttachNetworkInterface;
use api::ec2::{AttachNetworkInterfaceRequest, AttachNetworkInterfaceResult};
use wire::{Call, Fault, Operation, Permission};

use domain::NetworkInterfaceStatus;

use crate::resources::{instance, network_interface, resource_arn};
use crate::{Ec2, faults};

impl Operation<AttachNetworkInterface> for Ec2 {
    fn permissions(&self, call: &Call, input: &AttachNetworkInterfaceRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:AttachNetworkInterface",
            resource_arn(call, "network-interface", input.network_interface_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: AttachNetworkInterfaceRequest,
    ) -> Result<AttachNetworkInterfaceResult, Fault> {
        let id = input.network_interface_id.unwrap_or_default();
        let instance_id = input.instance_id.unwrap_or_default();
        let snapshot = self.snapshot(call).await?;
        let interface = network_interface::find(&snapshot, &call.scope, &id)?;
        instance::find(&snapshot, &call.scope, &instance_id)?;
        if interface.status != NetworkInterfaceStatus::Available {
            return Err(faults::invalid_value(format!("Network interface '{id}' is currently in use.")));
        }
        Err(faults::unsupported(
            "Instances here are machines that registered themselves as container instances: interfaces cannot be attached \
             to them.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn it_is_refused_in_the_order_of_what_is_wrong() {
        let server = Server::new();
        server.add_instance("i-0123456789abcdef0").await;
        let subnet = server.default_vpc().await.subnets[0].id.clone();
        let create = format!("Action=CreateNetworkInterface&SubnetId={subnet}");
        let free = server.ask_for("networkInterfaceId", &create).await.concat();
        let used = server.add_interface([172, 31, 0, 9].into()).await.id;
        for (interface, instance, fault) in [
            ("eni-0", "i-0123456789abcdef0", "400 InvalidNetworkInterfaceID.NotFound: "),
            (free.as_str(), "i-0", "400 InvalidInstanceID.NotFound: The instance ID 'i-0' does not exist"),
            (used.as_str(), "i-0123456789abcdef0", "400 InvalidParameterValue: Network interface 'eni-"),
            (free.as_str(), "i-0123456789abcdef0", "400 UnsupportedOperation: "),
        ] {
            let query = format!(
                "Action=AttachNetworkInterface&DeviceIndex=1&NetworkInterfaceId={interface}&InstanceId={instance}"
            );
            let found = server.fault(&query).await;
            assert!(found.starts_with(fault), "{found}");
        }
    }
}
