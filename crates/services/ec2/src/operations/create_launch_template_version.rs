//! CreateLaunchTemplateVersion: adds a version to a launch template. Source: Amazon EC2 API reference, "CreateLaunchTemplateVersion".
//!
//! Differs from AWS: as for CreateLaunchTemplate. Aliases of images are not resolved.

use api::ec2::operations::CreateLaunchTemplateVersion;
use api::ec2::{CreateLaunchTemplateVersionRequest, CreateLaunchTemplateVersionResult};
use wire::{Call, Fault, Operation, Permission};

use std::sync::Arc;

use domain::{LaunchTemplate, LaunchTemplateVersion};
use store::Transaction;

use crate::resources::launch_template::{self, DescribedVersion, VERSIONS_PER_TEMPLATE};
use crate::resources::resource_arn;
use crate::{Ec2, faults};

impl Operation<CreateLaunchTemplateVersion> for Ec2 {
    fn permissions(&self, call: &Call, input: &CreateLaunchTemplateVersionRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:CreateLaunchTemplateVersion",
            resource_arn(call, "launch-template", input.launch_template_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateLaunchTemplateVersionRequest,
    ) -> Result<CreateLaunchTemplateVersionResult, Fault> {
        let (id, name) = (input.launch_template_id.as_deref(), input.launch_template_name.as_deref());
        if input.resolve_alias == Some(true) {
            return Err(faults::unsupported("There are no Systems Manager parameters to resolve."));
        }
        let description = launch_template::checked_description(input.version_description)?;
        let data = input.launch_template_data.unwrap_or_default();
        let made = self
            .change(call, input.dry_run, |snapshot| {
                let read = launch_template::find(snapshot, &call.scope, id, name)?;
                if launch_template::versions(snapshot, &read.value).len() >= VERSIONS_PER_TEMPLATE {
                    let message = "The maximum number of versions of the launch template has been reached.";
                    return Err(Fault::new("VersionLimitExceeded", message, 400));
                }
                let source = match &input.source_version {
                    Some(text) => {
                        let number = launch_template::number(&read, text)?;
                        Some(launch_template::version(snapshot, &read, number)?)
                    }
                    None => None,
                };
                let source = source.as_ref().map(|source| source.document.as_str());
                let version = LaunchTemplateVersion {
                    scope: call.scope.clone(),
                    launch_template: read.id.clone(),
                    version: read.latest_version + 1,
                    description: description.clone(),
                    created_at: call.now,
                    created_by: call.principal.arn.to_string(),
                    document: launch_template::document(&data, source)?,
                };
                let latest =
                    LaunchTemplate { latest_version: version.version, ..LaunchTemplate::clone(&read) };
                let mut transaction = Transaction::new();
                transaction.replace(&read, latest.clone()).insert(version.clone());
                Ok((transaction, DescribedVersion::of(Arc::new(latest), Arc::new(version))))
            })
            .await?;
        Ok(CreateLaunchTemplateVersionResult {
            launch_template_version: Some(launch_template::describe_version(&made)?),
            warning: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_version_is_made_over_its_source() {
        let server = Server::new();
        server
            .done(
                "Action=CreateLaunchTemplate&LaunchTemplateName=nodes&LaunchTemplateData.InstanceType=m5.large\
                 &LaunchTemplateData.ImageId=ami-1",
            )
            .await;
        let create =
            "Action=CreateLaunchTemplateVersion&LaunchTemplateName=nodes&LaunchTemplateData.ImageId=ami-2";
        let answer = server.ask(&format!("{create}&SourceVersion=1")).await;
        let texts = |name| crate::testing::texts(&answer, name).concat();
        assert_eq!((texts("versionNumber"), texts("imageId")), ("2".to_owned(), "ami-2".to_owned()));
        assert_eq!(
            (texts("instanceType"), texts("defaultVersion")),
            ("m5.large".to_owned(), "false".to_owned())
        );
        let alone = server.ask(create).await;
        assert!(!alone.contains("<instanceType>"), "{alone}");
        for (query, fault) in [
            (
                format!("{create}&SourceVersion=9"),
                "400 InvalidLaunchTemplateId.VersionNotFound: Could not find",
            ),
            (format!("{create}&SourceVersion=x"), "400 InvalidParameterValue: "),
            (format!("{create}&LaunchTemplateId=lt-0"), "400 InvalidParameterCombination: "),
            (format!("{create}&ResolveAlias=true"), "400 UnsupportedOperation: "),
        ] {
            let found = server.fault(&query).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
        let query =
            "Action=CreateLaunchTemplateVersion&LaunchTemplateName=other&LaunchTemplateData.ImageId=ami-2";
        assert_eq!(
            server.fault(query).await,
            "400 InvalidLaunchTemplateName.NotFoundException: The specified launch template, with template name other, \
             does not exist."
        );
    }
}
