//! Tells the tags of up to ten hosted zones or health checks. AWS: ListTagsForResources.
//!
//! Differs from AWS: nothing known.

use api::route53::operations::ListTagsForResources;
use api::route53::{ListTagsForResourcesRequest, ListTagsForResourcesResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Route53;
use crate::resources::tag::Tagged;

impl Operation<ListTagsForResources> for Route53 {
    fn permissions(&self, _call: &Call, _input: &ListTagsForResourcesRequest) -> Vec<Permission> {
        vec![Permission::new("route53:ListTagsForResources", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListTagsForResourcesRequest,
    ) -> Result<ListTagsForResourcesResponse, Fault> {
        let kind = input.resource_type.unwrap_or_default();
        let snapshot = self.store.snapshot();
        let ids = input.resource_ids.unwrap_or_default();
        let sets = ids.iter().map(|id| Ok(Tagged::find(&snapshot, call, &kind, id)?.describe(&kind, id)));
        Ok(ListTagsForResourcesResponse { resource_tag_sets: Some(sets.collect::<Result<_, Fault>>()?) })
    }
}
