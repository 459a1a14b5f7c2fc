//! DetachNetworkInterface: refuses to detach an interface: those that are attached are of tasks and load balancers. Source: Amazon EC2 API reference, "DetachNetworkInterface".
//!
//! Differs from AWS: it never succeeds.

use api::ec2::DetachNetworkInterfaceRequest;
use api::ec2::operations::DetachNetworkInterface;
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::NetworkInterface;
use store::Key;

use crate::Ec2;

impl Operation<DetachNetworkInterface> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DetachNetworkInterfaceRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DetachNetworkInterface", "*")]
    }

    async fn handle(&self, call: &Call, input: DetachNetworkInterfaceRequest) -> Result<Unit, Fault> {
        let id = input.attachment_id.unwrap_or_default();
        let snapshot = self.snapshot(call).await?;
        let mut all = snapshot.scan::<NetworkInterface>(Key::prefix(&call.scope, &[]), None);
        let is_it = |interface: &NetworkInterface| {
            interface.attachment.as_ref().is_some_and(|attachment| attachment.id == id)
        };
        if all.any(|interface| is_it(&interface)) {
            let message = "You are not allowed to manage 'ela-attach' attachments.";
            return Err(Fault::new("OperationNotPermitted", message, 400));
        }
        let message = format!("The attachment '{id}' does not exist");
        Err(Fault::new("InvalidAttachmentID.NotFound", message, 400))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_tasks_interface_stays() {
        let server = Server::new();
        let interface = server.add_interface([172, 31, 0, 9].into()).await;
        let attachment = interface.attachment.unwrap().id;
        let detach = |id: &str| format!("Action=DetachNetworkInterface&AttachmentId={id}");
        let fault = server.fault(&detach(&attachment)).await;
        assert_eq!(
            fault,
            "400 OperationNotPermitted: You are not allowed to manage 'ela-attach' attachments."
        );
        let fault = server.fault(&detach("eni-attach-0")).await;
        assert_eq!(fault, "400 InvalidAttachmentID.NotFound: The attachment 'eni-attach-0' does not exist");
    }
}
