//! DescribeInstanceTypes: tells the types of the machines that registered as container instances. Source: Amazon EC2 API reference, "DescribeInstanceTypes".
//!
//! Differs from AWS: it tells the types of the machines that registered themselves, with what they registered, and no others.

use api::ec2::operations::DescribeInstanceTypes;
use api::ec2::{DescribeInstanceTypesRequest, DescribeInstanceTypesResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::{instance, instance_type};

impl Operation<DescribeInstanceTypes> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeInstanceTypesRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeInstanceTypes", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeInstanceTypesRequest,
    ) -> Result<DescribeInstanceTypesResult, Fault> {
        let instances = instance::all(&self.snapshot(call).await?, &call.scope);
        let types = instance_type::of(&instances);
        let wanted = input.instance_types.unwrap_or_default();
        instance_type::check_known(&wanted, &types)?;
        let rows = types.into_iter().filter(|one| wanted.is_empty() || wanted.contains(&one.name)).collect();
        let question = Question {
            dry_run: input.dry_run,
            ids: None,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = instance_type::KIND.answer(question, rows)?;
        Ok(DescribeInstanceTypesResult {
            instance_types: Some(page.rows.iter().map(instance_type::describe).collect()),
            next_token: page.next_token,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn types_are_those_of_machines() {
        let server = Server::new();
        assert_eq!(server.ask_for("instanceType", "Action=DescribeInstanceTypes").await, [""; 0]);
        server.add_instance("i-0123456789abcdef0").await;
        server.add_instance("i-0123456789abcdef1").await;
        let answer = server.ask("Action=DescribeInstanceTypes&InstanceType.1=m5.large").await;
        let texts = |name| crate::testing::texts(&answer, name);
        assert_eq!(texts("instanceType"), ["m5.large"]);
        assert_eq!(
            (texts("defaultVCpus"), texts("sizeInMiB")),
            (vec!["2".to_owned()], vec!["7680".to_owned()])
        );
        let query = "Action=DescribeInstanceTypes&Filter.1.Name=processor-info.supported-architecture";
        assert_eq!(server.ask_for("instanceType", &format!("{query}&Filter.1.Value.1=arm64")).await, [""; 0]);
        let fault = server.fault("Action=DescribeInstanceTypes&InstanceType.1=c5.large").await;
        assert_eq!(
            fault,
            "400 InvalidInstanceType: The following supplied instance types do not exist: [c5.large]"
        );
    }
}
