//! Makes a namespace whose instances DiscoverInstances finds. AWS: CreateHttpNamespace.
//!
//! Differs from AWS: it is made in the transaction of the call, so that no request meets another one under way
//! (DuplicateRequest). The same CreatorRequestId again is answered with the operation that made it.

use api::servicediscovery::operations::CreateHttpNamespace;
use api::servicediscovery::{CreateHttpNamespaceRequest, CreateHttpNamespaceResponse};
use domain::{DiscoveryNamespace, DiscoveryNamespaceType};
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::{namespace, tag};

impl Operation<CreateHttpNamespace> for Servicediscovery {
    fn permissions(&self, call: &Call, _input: &CreateHttpNamespaceRequest) -> Vec<Permission> {
        let arn = DiscoveryNamespace::arn_of(&call.scope, "*").to_string();
        vec![Permission::new("servicediscovery:CreateHttpNamespace", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateHttpNamespaceRequest,
    ) -> Result<CreateHttpNamespaceResponse, Fault> {
        let name = input.name.unwrap_or_default();
        namespace::check_http_name(&name)?;
        let new = DiscoveryNamespace {
            scope: call.scope.clone(),
            id: domain::discovery_id(&*self.ids, "ns"),
            name,
            namespace_type: DiscoveryNamespaceType::Http,
            description: input.description,
            vpc: None,
            hosted_zone: None,
            soa_ttl_seconds: None,
            creator_request_id: input.creator_request_id,
            made_by: None,
            service_count: 0,
            created_at: call.now,
            tags: tag::parse(input.tags)?,
        };

        let operation_id = self.create_namespace(new).await?;

        Ok(CreateHttpNamespaceResponse { operation_id: Some(operation_id) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn a_namespace_is_made_once() {
        let world = World::new();
        let body = json!({"Name": "web", "CreatorRequestId": "one", "Description": "d", "Tags": [{"Key": "a", "Value": "b"}]});
        let first = world.ok("CreateHttpNamespace", body.clone()).await;
        assert_eq!(world.ok("CreateHttpNamespace", body).await, first);
        let operation = world.ok("GetOperation", first).await["Operation"].clone();
        assert_eq!(operation["Status"], "SUCCESS");
        assert_eq!(operation["Type"], "CREATE_NAMESPACE");
        let id = operation["Targets"]["NAMESPACE"].as_str().unwrap();
        assert!(id.starts_with("ns-") && id.len() == 19, "{id}");
        let (status, answer) = world.ask("CreateHttpNamespace", json!({"Name": "WEB"})).await;
        assert_eq!((status, &answer["NamespaceId"]), (400, &json!(id)));
        assert_eq!(answer["CreatorRequestId"], "one");
        assert_eq!(
            world.refused("CreateHttpNamespace", json!({"Name": "web", "CreatorRequestId": "two"})).await,
            "NamespaceAlreadyExists: Namespace already exists: web"
        );
    }

    #[tokio::test]
    async fn what_is_too_much_is_refused() {
        let world = World::new();
        let tags: Vec<_> = (0..51).map(|number| json!({"Key": format!("k{number}"), "Value": ""})).collect();
        let refused = world.refused("CreateHttpNamespace", json!({"Name": "web", "Tags": tags})).await;
        assert!(refused.starts_with("TooManyTagsException: "), "{refused}");
        let refused = world
            .refused("CreateHttpNamespace", json!({"Name": "w", "Tags": [{"Key": "aws:x", "Value": ""}]}))
            .await;
        assert!(refused.starts_with("InvalidInput: "), "{refused}");
        for number in 0..50 {
            world.made("CreateHttpNamespace", json!({"Name": format!("n{number}")})).await;
        }
        assert_eq!(
            world.refused("CreateHttpNamespace", json!({"Name": "n50"})).await,
            "ResourceLimitExceeded: The maximum number of namespaces is 50."
        );
    }
}
