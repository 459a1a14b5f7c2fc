//! DescribeTags: tells the tags of resources. Source: Elastic Load Balancing API reference, "DescribeTags".
//!
//! Differs from AWS: nothing known.

use api::elasticloadbalancing::operations::DescribeTags;
use api::elasticloadbalancing::{DescribeTagsInput, DescribeTagsOutput, Tag, TagDescription};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::resources::tag;

impl Operation<DescribeTags> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &DescribeTagsInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:DescribeTags", "*")]
    }

    async fn handle(&self, call: &Call, input: DescribeTagsInput) -> Result<DescribeTagsOutput, Fault> {
        let arns = tag::resources(input.resource_arns)?;
        let snapshot = self.store.snapshot();
        let wire = |tag: base::Tag| Tag { key: Some(tag.key), value: Some(tag.value) };
        let describe = |arn: String| {
            let tags = tag::of(&snapshot, &call.scope, &arn)?;
            Ok(TagDescription { resource_arn: Some(arn), tags: Some(tags.into_iter().map(wire).collect()) })
        };
        let told = arns.into_iter().map(describe).collect::<Result<_, Fault>>()?;
        Ok(DescribeTagsOutput { tag_descriptions: Some(told) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn of_many_resources_at_once() {
        let server = Server::new().await;
        let (a, b) = (server.load_balancer("a").await, server.target_group("b").await);
        server.ok(&format!("Action=AddTags&ResourceArns.member.1={b}&Tags.member.1.Key=k")).await;
        let query = format!("Action=DescribeTags&ResourceArns.member.1={b}&ResourceArns.member.2={a}");
        assert_eq!(server.ask_for("ResourceArn", &query).await, [b, a]);
        assert_eq!(server.ask_for("Key", &query).await, ["k"]);
        let many: Vec<_> = (1..=21).map(|n| format!("ResourceArns.member.{n}=x{n}")).collect();
        for (query, fault) in [
            (many.join("&"), "ValidationError: No more than '20' resources can be specified in a call"),
            ("ResourceArns.member.1=x".to_owned(), "ValidationError: 'x' is not a valid resource ARN"),
            (
                "ResourceArns.member.1=arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/x/0"
                    .to_owned(),
                "TargetGroupNotFound: ",
            ),
        ] {
            let told = server.fault(&format!("Action=DescribeTags&{query}")).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{query}: {told}");
        }
    }
}
