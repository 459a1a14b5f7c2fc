//! Removes a hosted zone that has no record sets but its own SOA and NS. AWS: DeleteHostedZone.
//!
//! Differs from AWS: nothing known.

use api::route53::operations::DeleteHostedZone;
use api::route53::{DeleteHostedZoneRequest, DeleteHostedZoneResponse, faults as modelled};
use store::Transaction;
use store::rows_dns::remove_hosted_zone;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{change, zone};
use crate::{Route53, faults};

impl Operation<DeleteHostedZone> for Route53 {
    fn permissions(&self, _call: &Call, input: &DeleteHostedZoneRequest) -> Vec<Permission> {
        vec![Permission::new("route53:DeleteHostedZone", zone::arn(input.id.as_deref()))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteHostedZoneRequest,
    ) -> Result<DeleteHostedZoneResponse, Fault> {
        let id = input.id.unwrap_or_default();
        let done = self.store.update(|snapshot| {
            let row = zone::find_own(snapshot, call, &id)?;
            // The SOA and the NS records at its top.
            const OWN: u64 = 2;
            if row.record_set_count > OWN {
                return Err(modelled::hosted_zone_not_empty(
                    "The specified hosted zone contains non-required resource record sets and so cannot be deleted.",
                ));
            }
            let mut transaction = Transaction::new();
            remove_hosted_zone(snapshot, &row, &mut transaction);
            let change = change::note(self, snapshot, call, None, &mut transaction);
            Ok((transaction, change))
        });
        let change = done.await.map_err(faults::of_update)?;
        Ok(DeleteHostedZoneResponse { change_info: Some(change) })
    }
}
