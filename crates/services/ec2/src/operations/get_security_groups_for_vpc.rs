//! GetSecurityGroupsForVpc: tells the security groups that can be used in a VPC. Source: Amazon EC2 API reference, "GetSecurityGroupsForVpc".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::GetSecurityGroupsForVpc;
use api::ec2::{GetSecurityGroupsForVpcRequest, GetSecurityGroupsForVpcResult};
use wire::{Call, Fault, Operation, Permission};

use domain::Vpc;

use crate::Ec2;
use crate::listing::Question;
use crate::resources::security_group::{self, FOR_VPC};
use crate::resources::vpc;

impl Operation<GetSecurityGroupsForVpc> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &GetSecurityGroupsForVpcRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:GetSecurityGroupsForVpc", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: GetSecurityGroupsForVpcRequest,
    ) -> Result<GetSecurityGroupsForVpcResult, Fault> {
        let id = input.vpc_id.unwrap_or_default();
        let snapshot = self.snapshot(call).await?;
        vpc::KIND.find::<Vpc>(&snapshot, &call.scope, &id)?;
        let mut rows = security_group::all(&snapshot, &call.scope);
        rows.retain(|group| group.row.vpc == id);
        let question = Question {
            dry_run: input.dry_run,
            ids: None,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = FOR_VPC.answer(question, rows)?;
        Ok(GetSecurityGroupsForVpcResult {
            next_token: page.next_token,
            security_group_for_vpcs: Some(
                page.rows.iter().map(|group| security_group::describe_for_vpc(&group.row)).collect(),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn those_of_the_vpc_are_told() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        server.create_group("web", Some(&vpc)).await;
        server.create_group("other", None).await;
        let query = format!("Action=GetSecurityGroupsForVpc&VpcId={vpc}");
        let mut names = server.ask_for("groupName", &query).await;
        names.sort();
        assert_eq!(names, ["default", "web"]);
        for (filter, count) in [("group-name", 1), ("primary-vpc-id", 0)] {
            let query = format!("{query}&Filter.1.Name={filter}&Filter.1.Value.1=web");
            assert_eq!(server.ask_for("groupName", &query).await.len(), count);
        }
        let fault = server.fault("Action=GetSecurityGroupsForVpc&VpcId=vpc-0").await;
        assert_eq!(fault, "400 InvalidVpcID.NotFound: The vpc ID 'vpc-0' does not exist");
    }
}
