//! CreateLaunchTemplate: makes a launch template with its first version. Source: Amazon EC2 API reference, "CreateLaunchTemplate".
//!
//! Differs from AWS: what the template names is not looked up, and nothing is launched from it here. `ClientToken` does not keep a
//! call from being done twice.

use api::ec2::operations::CreateLaunchTemplate;
use api::ec2::{CreateLaunchTemplateRequest, CreateLaunchTemplateResult};
use wire::{Call, Fault, Operation, Permission};

use domain::{LaunchTemplate, LaunchTemplateVersion};
use store::Transaction;

use crate::resources::launch_template::{self, TEMPLATES_PER_REGION};
use crate::resources::resource_arn;
use crate::resources::tag::{self, TaggedKind};
use crate::{Ec2, faults};

impl Operation<CreateLaunchTemplate> for Ec2 {
    fn permissions(&self, call: &Call, _input: &CreateLaunchTemplateRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:CreateLaunchTemplate", resource_arn(call, "launch-template", Some("*")))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateLaunchTemplateRequest,
    ) -> Result<CreateLaunchTemplateResult, Fault> {
        if input.operator.is_some() {
            return Err(faults::unsupported("Operator is not supported."));
        }
        let name = launch_template::checked_name(input.launch_template_name.unwrap_or_default())?;
        let description = launch_template::checked_description(input.version_description)?;
        let document = launch_template::document(&input.launch_template_data.unwrap_or_default(), None)?;
        let tags = tag::of_specifications(input.tag_specifications, TaggedKind::LaunchTemplate)?;
        let created_by = call.principal.arn.to_string();
        let made = self
            .change(call, input.dry_run, |snapshot| {
                if launch_template::named(snapshot, &call.scope, &name).is_some() {
                    let message = "Launch template name already in use.";
                    return Err(Fault::new("InvalidLaunchTemplateName.AlreadyExistsException", message, 400));
                }
                if launch_template::all(snapshot, &call.scope).len() >= TEMPLATES_PER_REGION {
                    let message = "The maximum number of launch templates has been reached.";
                    return Err(Fault::new("LaunchTemplateLimitExceeded", message, 400));
                }
                let made = LaunchTemplate {
                    scope: call.scope.clone(),
                    id: format!("lt-{}", self.ids.hex(17)),
                    name: name.clone(),
                    created_at: call.now,
                    created_by: created_by.clone(),
                    default_version: 1,
                    latest_version: 1,
                    tags: tags.clone(),
                };
                let first = LaunchTemplateVersion {
                    scope: call.scope.clone(),
                    launch_template: made.id.clone(),
                    version: 1,
                    description: description.clone(),
                    created_at: call.now,
                    created_by: created_by.clone(),
                    document: document.clone(),
                };
                let mut transaction = Transaction::new();
                transaction.insert(made.clone()).insert(first);
                Ok((transaction, made))
            })
            .await?;
        Ok(CreateLaunchTemplateResult {
            launch_template: Some(launch_template::describe(&made)),
            warning: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    const CREATE: &str = "Action=CreateLaunchTemplate&LaunchTemplateData.InstanceType=m5.large";

    #[tokio::test]
    async fn a_template_has_its_first_version() {
        let server = Server::new();
        let query = format!(
            "{CREATE}&LaunchTemplateName=nodes&VersionDescription=first&LaunchTemplateData.SecurityGroupId.1=sg-1\
             &LaunchTemplateData.BlockDeviceMapping.1.DeviceName=/dev/xvda\
             &LaunchTemplateData.BlockDeviceMapping.1.Ebs.VolumeSize=30\
             &LaunchTemplateData.TagSpecification.1.ResourceType=instance\
             &LaunchTemplateData.TagSpecification.1.Tag.1.Key=a&LaunchTemplateData.TagSpecification.1.Tag.1.Value=b"
        );
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <CreateLaunchTemplateResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <launchTemplate>
                <createTime>2023-11-14T22:13:20Z</createTime>
                <createdBy>arn:aws:iam::123456789012:root</createdBy>
                <defaultVersionNumber>1</defaultVersionNumber>
                <latestVersionNumber>1</latestVersionNumber>
                <launchTemplateId>lt-822d5fe3b5885a806</launchTemplateId>
                <launchTemplateName>nodes</launchTemplateName>
              </launchTemplate>
            </CreateLaunchTemplateResponse>"#]]
        .assert_eq(&server.ask(&query).await);
        let query = "Action=DescribeLaunchTemplateVersions&LaunchTemplateName=nodes";
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeLaunchTemplateVersionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <launchTemplateVersionSet>
                <item>
                  <createTime>2023-11-14T22:13:20Z</createTime>
                  <createdBy>arn:aws:iam::123456789012:root</createdBy>
                  <defaultVersion>true</defaultVersion>
                  <launchTemplateData>
                    <blockDeviceMappingSet>
                      <item>
                        <deviceName>/dev/xvda</deviceName>
                        <ebs>
                          <volumeSize>30</volumeSize>
                        </ebs>
                      </item>
                    </blockDeviceMappingSet>
                    <instanceType>m5.large</instanceType>
                    <securityGroupIdSet>
                      <item>sg-1</item>
                    </securityGroupIdSet>
                    <tagSpecificationSet>
                      <item>
                        <resourceType>instance</resourceType>
                        <tagSet>
                          <item>
                            <key>a</key>
                            <value>b</value>
                          </item>
                        </tagSet>
                      </item>
                    </tagSpecificationSet>
                  </launchTemplateData>
                  <launchTemplateId>lt-822d5fe3b5885a806</launchTemplateId>
                  <launchTemplateName>nodes</launchTemplateName>
                  <versionDescription>first</versionDescription>
                  <versionNumber>1</versionNumber>
                </item>
              </launchTemplateVersionSet>
            </DescribeLaunchTemplateVersionsResponse>"#]]
        .assert_eq(&server.ask(query).await);
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        server.done(&format!("{CREATE}&LaunchTemplateName=nodes")).await;
        let long = "a".repeat(256);
        for (query, fault) in [
            (
                "LaunchTemplateName=nodes",
                "400 InvalidLaunchTemplateName.AlreadyExistsException: Launch template name already in use.",
            ),
            ("LaunchTemplateName=ab", "400 InvalidLaunchTemplateName.MalformedException: "),
            ("LaunchTemplateName=a+b+c", "400 InvalidLaunchTemplateName.MalformedException: "),
            ("LaunchTemplateName=abc&Operator.Principal=x", "400 UnsupportedOperation: "),
            (&format!("LaunchTemplateName=abc&VersionDescription={long}"), "400 InvalidParameterValue: "),
            ("LaunchTemplateName=abc&DryRun=true", "412 DryRunOperation: "),
        ] {
            let found = server.fault(&format!("{CREATE}&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}
