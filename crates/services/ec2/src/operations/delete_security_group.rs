//! DeleteSecurityGroup: removes a security group that nothing uses. Source: Amazon EC2 API reference, "DeleteSecurityGroup".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DeleteSecurityGroup;
use api::ec2::{DeleteSecurityGroupRequest, DeleteSecurityGroupResult};
use wire::{Call, Fault, Operation, Permission};

use store::Transaction;

use crate::Ec2;
use crate::resources::{resource_arn, security_group};

impl Operation<DeleteSecurityGroup> for Ec2 {
    fn permissions(&self, call: &Call, input: &DeleteSecurityGroupRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:DeleteSecurityGroup",
            resource_arn(call, "security-group", input.group_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteSecurityGroupRequest,
    ) -> Result<DeleteSecurityGroupResult, Fault> {
        let (id, name) = (input.group_id.as_deref(), input.group_name.as_deref());
        let group = self
            .change(call, input.dry_run, |snapshot| {
                let group = security_group::find(snapshot, &call.scope, id, name)?;
                if group.name == "default" {
                    let message = format!(
                        "the specified group: \"{}\" name: \"default\" cannot be deleted by a user",
                        group.id
                    );
                    return Err(Fault::new("CannotDelete", message, 400));
                }
                if security_group::is_used(snapshot, &group) {
                    let message = format!("resource {} has a dependent object", group.id);
                    return Err(Fault::new("DependencyViolation", message, 400));
                }
                let mut transaction = Transaction::new();
                transaction.remove(&group);
                Ok((transaction, group))
            })
            .await?;
        self.put_back_if(&group, |snapshot| security_group::has_interfaces(snapshot, &group)).await?;
        Ok(DeleteSecurityGroupResult { group_id: Some(group.id.clone()), return_: Some(true) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_group_goes_once_nothing_uses_it() {
        let server = Server::new();
        let (web, data) = (server.create_group("web", None).await, server.create_group("data", None).await);
        let rule = format!(
            "Action=AuthorizeSecurityGroupIngress&GroupId={data}&IpPermissions.1.IpProtocol=-1\
             &IpPermissions.1.Groups.1.GroupId={web}"
        );
        server.done(&rule).await;
        let delete = |id: &str| format!("Action=DeleteSecurityGroup&GroupId={id}");
        let in_use = format!("400 DependencyViolation: resource {web} has a dependent object");
        assert_eq!(server.fault(&delete(&web)).await, in_use, "a rule names it");
        assert_eq!(server.ask_for("groupId", &delete(&data)).await, [data.as_str()]);
        assert_eq!(server.ask_for("return", &delete(&web)).await, ["true"]);
        let gone = format!("400 InvalidGroup.NotFound: The security group '{web}' does not exist");
        assert_eq!(server.fault(&delete(&web)).await, gone);
    }

    #[tokio::test]
    async fn a_group_of_an_interface_stays() {
        let server = Server::new();
        let group = server.create_group("web", None).await;
        let interface = server.add_interface_in([172, 31, 0, 9].into(), &group).await;
        let fault = server.fault("Action=DeleteSecurityGroup&GroupName=web").await;
        assert_eq!(fault, format!("400 DependencyViolation: resource {group} has a dependent object"));
        server.remove_interface(&interface).await;
        assert_eq!(server.ask_for("return", "Action=DeleteSecurityGroup&GroupName=web").await, ["true"]);
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let default = server.default_vpc().await.security_group.id;
        for (query, fault) in [
            (format!("GroupId={default}"), "400 CannotDelete: the specified group: \"sg-"),
            (
                "GroupId=sg-0".to_owned(),
                "400 InvalidGroup.NotFound: The security group 'sg-0' does not exist",
            ),
            ("GroupId=x".to_owned(), "400 InvalidGroupId.Malformed: "),
            (
                "GroupName=x".to_owned(),
                "400 InvalidGroup.NotFound: The security group 'x' does not exist in default VPC",
            ),
            (
                String::new(),
                "400 MissingParameter: The request must contain the parameter GroupName or GroupId",
            ),
        ] {
            let found = server.fault(&format!("Action=DeleteSecurityGroup&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}
