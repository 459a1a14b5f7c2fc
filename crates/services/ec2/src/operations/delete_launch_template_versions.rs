//! DeleteLaunchTemplateVersions: removes versions of a launch template, each by itself; the default one stays. Source: Amazon EC2 API reference, "DeleteLaunchTemplateVersions".
//!
//! Differs from AWS: the code for the default version is not documented.

use api::ec2::operations::DeleteLaunchTemplateVersions;
use api::ec2::{
    DeleteLaunchTemplateVersionsRequest, DeleteLaunchTemplateVersionsResponseErrorItem,
    DeleteLaunchTemplateVersionsResponseSuccessItem, DeleteLaunchTemplateVersionsResult, ResponseError,
};
use wire::{Call, Fault, Operation, Permission};

use store::Transaction;

use crate::resources::{launch_template, resource_arn};
use crate::{Ec2, faults};

/// Source: DeleteLaunchTemplateVersions, `LaunchTemplateVersion`.
const VERSIONS_PER_CALL: usize = 200;

impl Operation<DeleteLaunchTemplateVersions> for Ec2 {
    fn permissions(&self, call: &Call, input: &DeleteLaunchTemplateVersionsRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:DeleteLaunchTemplateVersions",
            resource_arn(call, "launch-template", input.launch_template_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteLaunchTemplateVersionsRequest,
    ) -> Result<DeleteLaunchTemplateVersionsResult, Fault> {
        let (id, name) = (input.launch_template_id.as_deref(), input.launch_template_name.as_deref());
        let wanted = input.versions.unwrap_or_default();
        if wanted.len() > VERSIONS_PER_CALL {
            let message = format!("At most {VERSIONS_PER_CALL} versions can be deleted in one request.");
            return Err(faults::invalid_value(message));
        }
        let (deleted, kept) = self
            .change(call, input.dry_run, |snapshot| {
                let template = launch_template::find(snapshot, &call.scope, id, name)?;
                let mut transaction = Transaction::new();
                transaction.require_unchanged(&template);
                let (mut deleted, mut kept) = (Vec::new(), Vec::new());
                for text in &wanted {
                    let number = launch_template::number(&template, text)?;
                    let found = launch_template::version(snapshot, &template, number);
                    let refused = match &found {
                        Err(fault) => Some(("launchTemplateVersionDoesNotExist", fault.message().to_owned())),
                        Ok(_) if number == template.default_version => {
                            Some(("unexpectedError", "The default version cannot be deleted.".to_owned()))
                        }
                        Ok(version) => {
                            transaction.remove(version);
                            None
                        }
                    };
                    match refused {
                        None => deleted.push(DeleteLaunchTemplateVersionsResponseSuccessItem {
                            launch_template_id: Some(template.id.clone()),
                            launch_template_name: Some(template.name.clone()),
                            version_number: Some(number),
                        }),
                        Some((code, message)) => kept.push(DeleteLaunchTemplateVersionsResponseErrorItem {
                            launch_template_id: Some(template.id.clone()),
                            launch_template_name: Some(template.name.clone()),
                            response_error: Some(ResponseError {
                                code: Some(code.to_owned()),
                                message: Some(message),
                            }),
                            version_number: Some(number),
                        }),
                    }
                }
                Ok((transaction, (deleted, kept)))
            })
            .await?;
        Ok(DeleteLaunchTemplateVersionsResult {
            successfully_deleted_launch_template_versions: Some(deleted),
            unsuccessfully_deleted_launch_template_versions: Some(kept),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn versions_go_one_by_one() {
        let server = Server::new();
        let data = "LaunchTemplateName=nodes&LaunchTemplateData.ImageId=ami-1";
        server.done(&format!("Action=CreateLaunchTemplate&{data}")).await;
        server.done(&format!("Action=CreateLaunchTemplateVersion&{data}")).await;
        let query = "Action=DeleteLaunchTemplateVersions&LaunchTemplateName=nodes&LaunchTemplateVersion.1=1\
             &LaunchTemplateVersion.2=2&LaunchTemplateVersion.3=9";
        let answer = server.ask(query).await;
        assert_eq!(crate::testing::texts(&answer, "versionNumber"), ["2", "1", "9"], "deleted, then kept");
        let codes = crate::testing::texts(&answer, "code");
        assert_eq!(codes, ["unexpectedError", "launchTemplateVersionDoesNotExist"]);
        server.done(&format!("Action=CreateLaunchTemplateVersion&{data}")).await;
        let query = "Action=DescribeLaunchTemplateVersions&LaunchTemplateName=nodes";
        assert_eq!(server.ask_for("versionNumber", query).await, ["1", "3"], "numbers are not used twice");
        let fault = server
            .fault("Action=DeleteLaunchTemplateVersions&LaunchTemplateName=xyz&LaunchTemplateVersion.1=1");
        assert!(fault.await.starts_with("400 InvalidLaunchTemplateName.NotFoundException: "));
    }
}
