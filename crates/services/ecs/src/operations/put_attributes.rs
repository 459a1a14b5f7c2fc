//! Puts custom attributes on container instances. AWS: PutAttributes. Differs from AWS: nothing known.

use api::ecs::operations::PutAttributes;
use api::ecs::{PutAttributesRequest, PutAttributesResponse, faults as modelled};
use domain::ContainerInstance;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{attribute, cluster};
use crate::{Ecs, faults};

impl Operation<PutAttributes> for Ecs {
    fn permissions(&self, call: &Call, input: &PutAttributesRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:PutAttributes", "*").when("ecs:cluster", cluster)]
    }

    async fn handle(&self, call: &Call, input: PutAttributesRequest) -> Result<PutAttributesResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let given = attribute::parse_targeted(call, &name, input.attributes.unwrap_or_default())?;

        let update = self.store.update(|snapshot| {
            let cluster = cluster::get(snapshot, &call.scope, &name)?;
            attribute::change_targets(snapshot, &cluster, &given, |instance, attribute| {
                match instance.attributes.iter_mut().find(|there| there.name == attribute.name) {
                    Some(there) => there.value.clone_from(&attribute.value),
                    None => instance.attributes.push(attribute.clone()),
                }
                within_limit(instance)
            })
        });
        let put = update.await.map_err(faults::of_update)?;

        Ok(PutAttributesResponse { attributes: Some(put) })
    }
}

fn within_limit(instance: &ContainerInstance) -> Result<(), Fault> {
    let custom =
        instance.attributes.iter().filter(|attribute| !attribute::is_reserved(&attribute.name)).count();
    if custom > attribute::CUSTOM_PER_INSTANCE {
        return Err(modelled::attribute_limit_exceeded_exception(format!(
            "You can apply up to {} custom attributes for each resource.",
            attribute::CUSTOM_PER_INSTANCE
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn put_list_place_delete() {
        let (world, instance) = World::with_instance(1024, 1024, &[]).await;
        world.register("web").await;
        let stack = json!({"name": "stack", "value": "prod", "targetId": instance});
        let put = world.ok("PutAttributes", json!({"attributes": [stack]})).await;
        assert_eq!(put["attributes"], json!([stack]));
        let listed = world
            .ok("ListAttributes", json!({"targetType": "container-instance", "attributeName": "stack"}))
            .await;
        assert_eq!(listed["attributes"], json!([stack]));
        let run = |expression: &str| json!({"taskDefinition": "web", "placementConstraints": [{"type": "memberOf", "expression": expression}]});
        assert_eq!(world.ok("RunTask", run("attribute:stack == prod")).await["failures"], json!([]));
        assert_eq!(
            world.ok("RunTask", run("attribute:stack == test")).await["failures"],
            json!([{"arn": instance, "reason": "MemberOf placement constraint unsatisfied."}])
        );
        let filtered = world.ok("ListContainerInstances", json!({"filter": "attribute:stack exists"})).await;
        assert_eq!(filtered["containerInstanceArns"], json!([instance]));
        world.refused("ListContainerInstances", json!({"filter": "attribute:"})).await;
        world.ok("DeleteAttributes", json!({"attributes": [{"name": "stack", "targetId": instance}]})).await;
        let listed = world
            .ok("ListAttributes", json!({"targetType": "container-instance", "attributeName": "stack"}))
            .await;
        assert_eq!(listed["attributes"], json!([]));

        let many: Vec<_> =
            (0..6).map(|number| json!({"name": format!("a{number}"), "targetId": instance})).collect();
        world.ok("PutAttributes", json!({"attributes": many})).await;
        let more: Vec<_> =
            (0..5).map(|number| json!({"name": format!("b{number}"), "targetId": instance})).collect();
        assert_eq!(
            world.refused("PutAttributes", json!({"attributes": more})).await,
            "AttributeLimitExceededException: You can apply up to 10 custom attributes for each resource."
        );
        let ghost = json!({"name": "a", "targetId": "0".repeat(32)});
        assert!(
            world
                .refused("PutAttributes", json!({"attributes": [ghost]}))
                .await
                .starts_with("TargetNotFoundException")
        );
        world
            .refused("PutAttributes", json!({"attributes": [{"name": "ecs.a", "targetId": instance}]}))
            .await;
        world.refused("PutAttributes", json!({"attributes": []})).await;
        world.refused("ListAttributes", json!({"targetType": "other"})).await;
    }
}
