//! Adds, changes and removes tags of a hosted zone or a health check. AWS: ChangeTagsForResource.
//!
//! Differs from AWS: nothing known.

use api::route53::operations::ChangeTagsForResource;
use api::route53::{ChangeTagsForResourceRequest, ChangeTagsForResourceResponse};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::tag::Tagged;
use crate::{Route53, faults};

impl Operation<ChangeTagsForResource> for Route53 {
    fn permissions(&self, _call: &Call, input: &ChangeTagsForResourceRequest) -> Vec<Permission> {
        vec![Permission::new("route53:ChangeTagsForResource", tagged_arn(input))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ChangeTagsForResourceRequest,
    ) -> Result<ChangeTagsForResourceResponse, Fault> {
        let kind = input.resource_type.unwrap_or_default();
        let id = input.resource_id.unwrap_or_default();
        let added = input.add_tags.unwrap_or_default();
        let removed = input.remove_tag_keys.unwrap_or_default();
        if added.is_empty() && removed.is_empty() {
            return Err(faults::invalid("AddTags or RemoveTagKeys must be given"));
        }
        let done = self.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            Tagged::find(snapshot, call, &kind, &id)?.change(&added, &removed, &mut transaction)?;
            Ok((transaction, ()))
        });
        done.await.map_err(faults::of_update)?;
        Ok(ChangeTagsForResourceResponse {})
    }
}

fn tagged_arn(input: &ChangeTagsForResourceRequest) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("arn:aws:route53:::{}/{}", part(&input.resource_type), part(&input.resource_id))
}
