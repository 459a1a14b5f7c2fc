//! Tells the tags of a hosted zone or a health check. AWS: ListTagsForResource.
//!
//! Differs from AWS: nothing known.

use api::route53::operations::ListTagsForResource;
use api::route53::{ListTagsForResourceRequest, ListTagsForResourceResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Route53;
use crate::resources::tag::Tagged;

impl Operation<ListTagsForResource> for Route53 {
    fn permissions(&self, _call: &Call, _input: &ListTagsForResourceRequest) -> Vec<Permission> {
        vec![Permission::new("route53:ListTagsForResource", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Fault> {
        let kind = input.resource_type.unwrap_or_default();
        let id = input.resource_id.unwrap_or_default();
        let found = Tagged::find(&self.store.snapshot(), call, &kind, &id)?;
        Ok(ListTagsForResourceResponse { resource_tag_set: Some(found.describe(&kind, &id)) })
    }
}
