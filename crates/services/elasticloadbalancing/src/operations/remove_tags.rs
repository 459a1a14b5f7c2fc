//! RemoveTags: removes tags from resources by their keys. Source: Elastic Load Balancing API reference, "RemoveTags".
//!
//! Differs from AWS: all resources are changed or none.

use api::elasticloadbalancing::operations::RemoveTags;
use api::elasticloadbalancing::{RemoveTagsInput, RemoveTagsOutput};
use base::Tag;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::{of_update, validation};
use crate::resources::tag;

impl Operation<RemoveTags> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &RemoveTagsInput) -> Vec<Permission> {
        let arns = input.resource_arns.iter().flatten();
        arns.map(|arn| Permission::new("elasticloadbalancing:RemoveTags", arn.as_str())).collect()
    }

    async fn handle(&self, call: &Call, input: RemoveTagsInput) -> Result<RemoveTagsOutput, Fault> {
        let arns = tag::resources(input.resource_arns)?;
        let keys = input.tag_keys.unwrap_or_default();
        if keys.is_empty() {
            return Err(validation("Tag keys cannot be empty"));
        }
        let remove = |known: &mut Vec<Tag>| {
            known.retain(|known| !keys.contains(&known.key));
            Ok(())
        };
        let changed = self.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            for arn in &arns {
                tag::change(snapshot, &mut transaction, &call.scope, arn, &remove)?;
            }
            Ok((transaction, ()))
        });
        changed.await.map_err(of_update)?;
        Ok(RemoveTagsOutput {})
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        for (query, fault) in [
            (
                "ResourceArns.member.1=x&TagKeys.member.1=a".to_owned(),
                "ValidationError: 'x' is not a valid resource ARN",
            ),
            (
                format!("ResourceArns.member.1={front}0&TagKeys.member.1=a"),
                "LoadBalancerNotFound: Load balancer '",
            ),
            (format!("ResourceArns.member.1={front}"), "ValidationError: "),
        ] {
            let told = server.fault(&format!("Action=RemoveTags&{query}")).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{query}: {told}");
        }
    }
}
