//! Lists attributes of container instances. AWS: ListAttributes. Differs from AWS: nothing known.

use api::ecs::operations::ListAttributes;
use api::ecs::{ListAttributesRequest, ListAttributesResponse};
use domain::ContainerInstance;
use store::Key;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::page::PageRequest;
use crate::resources::{attribute, cluster, container_instance};
use crate::{Ecs, faults};

impl Operation<ListAttributes> for Ecs {
    fn permissions(&self, call: &Call, input: &ListAttributesRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:ListAttributes", "*").when("ecs:cluster", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListAttributesRequest,
    ) -> Result<ListAttributesResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        if input.target_type.as_deref() != Some("container-instance") {
            return Err(faults::invalid("targetType must be container-instance."));
        }
        let (wanted_name, wanted_value) = (input.attribute_name.as_deref(), input.attribute_value.as_deref());
        let listing = format!(
            "ListAttributes/{name}/{}/{}",
            wanted_name.unwrap_or_default(),
            wanted_value.unwrap_or_default()
        );
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &name)?;
        let mut entries = Vec::new();
        for instance in snapshot.scan::<ContainerInstance>(Key::prefix(&call.scope, &[&name]), None) {
            if !container_instance::is_registered(&instance) {
                continue;
            }
            let arn = instance.arn().to_string();
            for attribute in &instance.attributes {
                let wanted = wanted_name.is_none_or(|wanted| attribute.name == wanted)
                    && wanted_value.is_none_or(|wanted| attribute.value.as_deref() == Some(wanted));
                let position = format!("{}/{}", instance.id, attribute.name);
                if wanted && page.after.as_ref().is_none_or(|after| position > *after) {
                    entries.push((position, attribute::describe(attribute, Some(arn.clone()))));
                }
            }
        }
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        let (attributes, next_token) = page.take(entries.into_iter());
        Ok(ListAttributesResponse { attributes: Some(attributes), next_token })
    }
}
