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
