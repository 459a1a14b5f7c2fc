//! DeleteTags: takes tags from resources. Source: Amazon EC2 API reference, "DeleteTags".
//!
//! Differs from AWS: all resources are changed or none, where AWS may change some.

use api::ec2::DeleteTagsRequest;
use api::ec2::operations::DeleteTags;
use base::Tag;
use wire::{Call, Fault, Operation, Permission, Unit};

use super::create_tags::resources;
use crate::Ec2;
use crate::resources::tag;

impl Operation<DeleteTags> for Ec2 {
    fn permissions(&self, call: &Call, input: &DeleteTagsRequest) -> Vec<Permission> {
        let resources = input.resources.iter().flatten();
        resources.map(|id| Permission::new("ec2:DeleteTags", tag::resource_arn(&call.scope, id))).collect()
    }

    async fn handle(&self, call: &Call, input: DeleteTagsRequest) -> Result<Unit, Fault> {
        let resources = resources(input.resources)?;
        let tags = input.tags.unwrap_or_default();
        let remove = |known: &mut Vec<Tag>| {
            known.retain(|known| !is_meant(known, &tags));
            Ok(())
        };
        self.change(call, input.dry_run, |snapshot| {
            tag::change_all(snapshot, &call.scope, &resources, &remove).map(|transaction| (transaction, ()))
        })
        .await?;
        Ok(Unit::default())
    }
}

/// No tags mean all; a tag without a value means whatever its value is, one with an empty value just that.
fn is_meant(known: &Tag, tags: &[api::ec2::Tag]) -> bool {
    let is_it = |tag: &api::ec2::Tag| {
        tag.key.as_deref() == Some(known.key.as_str())
            && tag.value.as_ref().is_none_or(|value| *value == known.value)
    };
    tags.is_empty() || tags.iter().any(is_it)
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn tags_are_taken_away_by_key_by_value_or_all() {
        let server = Server::new();
        let vpc = server.default_vpc().await.vpc.id;
        let tags = "&Tag.1.Key=a&Tag.1.Value=1&Tag.2.Key=b&Tag.2.Value=2&Tag.3.Key=c";
        server.ask(&format!("Action=CreateTags&ResourceId.1={vpc}{tags}")).await;
        for (tags, left) in [
            ("&Tag.1.Key=a&Tag.1.Value=other", vec!["a", "b", "c"]),
            ("&Tag.1.Key=b&Tag.1.Value=", vec!["a", "b", "c"]),
            ("&Tag.1.Key=x", vec!["a", "b", "c"]),
            ("&Tag.1.Key=a&Tag.1.Value=1", vec!["b", "c"]),
            ("&Tag.1.Key=b", vec!["c"]),
            ("", vec![]),
        ] {
            let query = format!("Action=DeleteTags&ResourceId.1={vpc}{tags}");
            let dry = server.fault(&format!("{query}&DryRun=true")).await;
            assert!(dry.starts_with("412 DryRunOperation"), "{dry}");
            assert_eq!(server.ask_for("return", &query).await, ["true"]);
            assert_eq!(server.ask_for("key", "Action=DescribeVpcs").await, left, "{tags}");
        }
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let fault = server.fault("Action=DeleteTags&ResourceId.1=sg-0").await;
        assert_eq!(fault, "400 InvalidGroup.NotFound: The security group 'sg-0' does not exist");
        assert!(server.fault("Action=DeleteTags").await.starts_with("400 MissingParameter"));
    }
}
