//! Changes or removes the comment of a hosted zone. AWS: UpdateHostedZoneComment.
//!
//! Differs from AWS: nothing known.

use api::route53::operations::UpdateHostedZoneComment;
use api::route53::{UpdateHostedZoneCommentRequest, UpdateHostedZoneCommentResponse};
use domain::HostedZone;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::zone;
use crate::{Route53, faults};

impl Operation<UpdateHostedZoneComment> for Route53 {
    fn permissions(&self, _call: &Call, input: &UpdateHostedZoneCommentRequest) -> Vec<Permission> {
        vec![Permission::new("route53:UpdateHostedZoneComment", zone::arn(input.id.as_deref()))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdateHostedZoneCommentRequest,
    ) -> Result<UpdateHostedZoneCommentResponse, Fault> {
        let id = input.id.unwrap_or_default();
        let done = self.store.update(|snapshot| {
            let row = zone::find_own(snapshot, call, &id)?;
            let next = HostedZone { comment: input.comment.clone(), ..HostedZone::clone(&row) };
            let mut transaction = Transaction::new();
            transaction.replace(&row, next.clone());
            Ok((transaction, next))
        });
        let next = done.await.map_err(faults::of_update)?;
        Ok(UpdateHostedZoneCommentResponse {
            hosted_zone: Some(zone::describe(&next, next.record_set_count)),
        })
    }
}
