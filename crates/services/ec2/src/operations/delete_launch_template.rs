//! DeleteLaunchTemplate: removes a launch template with all its versions. Source: Amazon EC2 API reference, "DeleteLaunchTemplate".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DeleteLaunchTemplate;
use api::ec2::{DeleteLaunchTemplateRequest, DeleteLaunchTemplateResult};
use wire::{Call, Fault, Operation, Permission};

use domain::LaunchTemplateVersion;
use store::{Row as _, Transaction};

use crate::Ec2;
use crate::resources::{launch_template, resource_arn};

impl Operation<DeleteLaunchTemplate> for Ec2 {
    fn permissions(&self, call: &Call, input: &DeleteLaunchTemplateRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:DeleteLaunchTemplate",
            resource_arn(call, "launch-template", input.launch_template_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteLaunchTemplateRequest,
    ) -> Result<DeleteLaunchTemplateResult, Fault> {
        let (id, name) = (input.launch_template_id.as_deref(), input.launch_template_name.as_deref());
        let deleted = self
            .change(call, input.dry_run, |snapshot| {
                let read = launch_template::find(snapshot, &call.scope, id, name)?;
                let mut transaction = Transaction::new();
                transaction.remove(&read);
                for version in launch_template::versions(snapshot, &read.value) {
                    transaction.delete::<LaunchTemplateVersion>(&version.row.key());
                }
                Ok((transaction, read.value))
            })
            .await?;
        Ok(DeleteLaunchTemplateResult { launch_template: Some(launch_template::describe(&deleted)) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_template_goes_with_its_versions() {
        let server = Server::new();
        let create = "Action=CreateLaunchTemplate&LaunchTemplateName=nodes&LaunchTemplateData.ImageId=ami-1";
        let id = server.ask_for("launchTemplateId", create).await.concat();
        let delete = format!("Action=DeleteLaunchTemplate&LaunchTemplateId={id}");
        assert_eq!(server.ask_for("launchTemplateName", &delete).await, ["nodes"]);
        assert_eq!(
            server.fault(&delete).await,
            format!(
                "400 InvalidLaunchTemplateId.NotFound: The specified launch template, with template ID {id}, does not \
                 exist."
            )
        );
        server.done(create).await;
        let fault = server.fault("Action=DeleteLaunchTemplate").await;
        assert!(fault.starts_with("400 MissingParameter: "), "{fault}");
    }
}
