//! ModifyLaunchTemplate: makes another version of a launch template its default one. Source: Amazon EC2 API reference, "ModifyLaunchTemplate".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::ModifyLaunchTemplate;
use api::ec2::{ModifyLaunchTemplateRequest, ModifyLaunchTemplateResult};
use wire::{Call, Fault, Operation, Permission};

use domain::LaunchTemplate;
use store::Transaction;

use crate::resources::{launch_template, resource_arn};
use crate::{Ec2, faults};

impl Operation<ModifyLaunchTemplate> for Ec2 {
    fn permissions(&self, call: &Call, input: &ModifyLaunchTemplateRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:ModifyLaunchTemplate",
            resource_arn(call, "launch-template", input.launch_template_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ModifyLaunchTemplateRequest,
    ) -> Result<ModifyLaunchTemplateResult, Fault> {
        let (id, name) = (input.launch_template_id.as_deref(), input.launch_template_name.as_deref());
        let asked = input.default_version.ok_or_else(|| faults::missing("SetDefaultVersion"))?;
        let changed = self
            .change(call, input.dry_run, |snapshot| {
                let read = launch_template::find(snapshot, &call.scope, id, name)?;
                let number = launch_template::number(&read, &asked)?;
                launch_template::version(snapshot, &read, number)?;
                let changed = LaunchTemplate { default_version: number, ..LaunchTemplate::clone(&read) };
                let mut transaction = Transaction::new();
                transaction.replace(&read, changed.clone());
                Ok((transaction, changed))
            })
            .await?;
        Ok(ModifyLaunchTemplateResult { launch_template: Some(launch_template::describe(&changed)) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn another_version_becomes_the_default() {
        let server = Server::new();
        let data = "LaunchTemplateName=nodes&LaunchTemplateData.ImageId=ami-1";
        server.done(&format!("Action=CreateLaunchTemplate&{data}")).await;
        server.done(&format!("Action=CreateLaunchTemplateVersion&{data}")).await;
        let modify = "Action=ModifyLaunchTemplate&LaunchTemplateName=nodes&SetDefaultVersion";
        assert_eq!(server.ask_for("defaultVersionNumber", &format!("{modify}=2")).await, ["2"]);
        let query =
            "Action=DescribeLaunchTemplateVersions&LaunchTemplateName=nodes&LaunchTemplateVersion.1=$Default";
        assert_eq!(server.ask_for("versionNumber", query).await, ["2"]);
        let fault = server.fault(&format!("{modify}=3")).await;
        assert!(fault.starts_with("400 InvalidLaunchTemplateId.VersionNotFound: "), "{fault}");
        let fault = server.fault("Action=ModifyLaunchTemplate&LaunchTemplateName=nodes").await;
        assert!(fault.starts_with("400 MissingParameter: "), "{fault}");
    }
}
