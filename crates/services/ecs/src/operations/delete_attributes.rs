//! Takes custom attributes off container instances. AWS: DeleteAttributes.
//!
//! Differs from AWS: an attribute that is not there is passed over.

use api::ecs::operations::DeleteAttributes;
use api::ecs::{DeleteAttributesRequest, DeleteAttributesResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{attribute, cluster};
use crate::{Ecs, faults};

impl Operation<DeleteAttributes> for Ecs {
    fn permissions(&self, call: &Call, input: &DeleteAttributesRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:DeleteAttributes", "*").when("ecs:cluster", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteAttributesRequest,
    ) -> Result<DeleteAttributesResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let given = attribute::parse_targeted(call, &name, input.attributes.unwrap_or_default())?;

        let update = self.store.update(|snapshot| {
            let cluster = cluster::get(snapshot, &call.scope, &name)?;
            attribute::change_targets(snapshot, &cluster, &given, |instance, attribute| {
                // A value narrows the choice: the attribute goes only if it has that value.
                instance.attributes.retain(|there| {
                    there.name != attribute.name
                        || (attribute.value.is_some() && there.value != attribute.value)
                });
                Ok(())
            })
        });
        let deleted = update.await.map_err(faults::of_update)?;

        Ok(DeleteAttributesResponse { attributes: Some(deleted) })
    }
}
