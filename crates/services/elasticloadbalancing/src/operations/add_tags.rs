//! AddTags: adds tags to resources, or changes their values. Source: Elastic Load Balancing API reference, "AddTags".
//!
//! Differs from AWS: all resources are changed or none.

use api::elasticloadbalancing::operations::AddTags;
use api::elasticloadbalancing::{AddTagsInput, AddTagsOutput};
use base::Tag;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::{of_update, validation};
use crate::resources::tag;

impl Operation<AddTags> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &AddTagsInput) -> Vec<Permission> {
        let arns = input.resource_arns.iter().flatten();
        arns.map(|arn| Permission::new("elasticloadbalancing:AddTags", arn.as_str())).collect()
    }

    async fn handle(&self, call: &Call, input: AddTagsInput) -> Result<AddTagsOutput, Fault> {
        let arns = tag::resources(input.resource_arns)?;
        let tags = tag::parse(input.tags)?;
        if tags.is_empty() {
            return Err(validation("Tags cannot be empty"));
        }
        let add = |known: &mut Vec<Tag>| {
            known.retain(|known| !tags.iter().any(|tag| tag.key == known.key));
            known.extend_from_slice(&tags);
            known.sort();
            tag::check_count(known)
        };
        let changed = self.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            for arn in &arns {
                tag::change(snapshot, &mut transaction, &call.scope, arn, &add)?;
            }
            Ok((transaction, ()))
        });
        changed.await.map_err(of_update)?;
        Ok(AddTagsOutput {})
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn every_resource_has_tags() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let group = server.target_group("web").await;
        let listener = server.listener(&front, 80, &group).await;
        let rule = server.rule(&listener, 1, "/a", &group).await;
        for arn in [&front, &group, &listener, &rule] {
            server
                .ok(&format!(
                    "Action=AddTags&ResourceArns.member.1={arn}&Tags.member.1.Key=a&Tags.member.1.Value=1"
                ))
                .await;
            server.ok(&format!("Action=AddTags&ResourceArns.member.1={arn}&Tags.member.1.Key=a&Tags.member.1.Value=2&Tags.member.2.Key=b")).await;
            let query = format!("Action=DescribeTags&ResourceArns.member.1={arn}");
            assert_eq!(server.ask_for("Key", &query).await, ["a", "b"]);
            assert_eq!(server.ask_for("Value", &query).await, ["2", ""]);
            assert_eq!(server.ask_for("ResourceArn", &query).await.concat(), *arn);
            server
                .ok(&format!(
                    "Action=RemoveTags&ResourceArns.member.1={arn}&TagKeys.member.1=a&TagKeys.member.2=x"
                ))
                .await;
            assert_eq!(server.ask_for("Key", &query).await, ["b"]);
        }
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let many: Vec<_> = (1..=51).map(|n| format!("Tags.member.{n}.Key=k{n}")).collect();
        let zero = |arn: &str| format!("arn:aws:elasticloadbalancing:us-east-1:123456789012:{arn}");
        for (query, fault) in [
            (
                format!("ResourceArns.member.1={front}&Tags.member.1.Key=a&Tags.member.2.Key=a"),
                "DuplicateTagKeys: Tag key was specified more than once: 'a'".to_owned(),
            ),
            (
                format!("ResourceArns.member.1={front}&Tags.member.1.Key=aws:a"),
                "ValidationError: Tag key 'aws:a' cannot begin with 'aws:'".to_owned(),
            ),
            (format!("ResourceArns.member.1={front}&{}", many.join("&")), "TooManyTags: ".to_owned()),
            (
                format!("ResourceArns.member.1={front}&Tags.member.1.Key=%21%00"),
                "ValidationError: ".to_owned(),
            ),
            (
                "ResourceArns.member.1=x&Tags.member.1.Key=a".to_owned(),
                "ValidationError: 'x' is not a valid resource ARN".to_owned(),
            ),
            (
                format!("ResourceArns.member.1={}&Tags.member.1.Key=a", zero("loadbalancer/app/x/0")),
                "LoadBalancerNotFound: ".to_owned(),
            ),
            (
                format!("ResourceArns.member.1={}&Tags.member.1.Key=a", zero("targetgroup/x/0")),
                "TargetGroupNotFound: ".to_owned(),
            ),
            (
                format!("ResourceArns.member.1={}&Tags.member.1.Key=a", zero("listener/app/x/0/0")),
                "ListenerNotFound: ".to_owned(),
            ),
            (
                format!("ResourceArns.member.1={}&Tags.member.1.Key=a", zero("listener-rule/app/x/0/0/0")),
                "RuleNotFound: ".to_owned(),
            ),
            (
                format!("ResourceArns.member.1={}&Tags.member.1.Key=a", zero("truststore/x/0")),
                "TrustStoreNotFound: ".to_owned(),
            ),
        ] {
            let told = server.fault(&format!("Action=AddTags&{query}")).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{query}: {told}");
        }
    }
}
