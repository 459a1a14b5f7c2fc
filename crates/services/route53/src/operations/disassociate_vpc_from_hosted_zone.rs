//! Has a private hosted zone answer in one VPC less. AWS: DisassociateVPCFromHostedZone.
//!
//! Differs from AWS: nothing known.

use api::route53::operations::DisassociateVPCFromHostedZone;
use api::route53::{
    DisassociateVPCFromHostedZoneRequest, DisassociateVPCFromHostedZoneResponse, faults as modelled,
};
use domain::HostedZone;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{change, zone};
use crate::{Route53, faults};

impl Operation<DisassociateVPCFromHostedZone> for Route53 {
    fn permissions(&self, _call: &Call, input: &DisassociateVPCFromHostedZoneRequest) -> Vec<Permission> {
        vec![Permission::new(
            "route53:DisassociateVPCFromHostedZone",
            zone::arn(input.hosted_zone_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DisassociateVPCFromHostedZoneRequest,
    ) -> Result<DisassociateVPCFromHostedZoneResponse, Fault> {
        let id = input.hosted_zone_id.unwrap_or_default();
        let given = input.vpc.unwrap_or_default();
        let vpc = given.vpc_id.clone().unwrap_or_default();
        let done = self.store.update(|snapshot| {
            let row = zone::find_own(snapshot, call, &id)?;
            let mut next = HostedZone::clone(&row);
            next.vpcs.retain(|known| known.vpc != vpc);
            if next.vpcs.len() == row.vpcs.len() {
                // One that is gone may still be associated, so that it is only looked at here.
                zone::parse_vpc(snapshot, call, &given)?;
                let message = format!("The VPC {vpc} and the hosted zone {} are not associated.", row.id);
                return Err(modelled::vpc_association_not_found(message));
            }
            if next.vpcs.is_empty() {
                return Err(modelled::last_vpc_association(
                    "The VPC that you're trying to disassociate from the private hosted zone is the last VPC that is \
                     associated with the hosted zone.",
                ));
            }
            let mut transaction = Transaction::new();
            transaction.replace(&row, next);
            let change = change::note(self, snapshot, call, input.comment.clone(), &mut transaction);
            Ok((transaction, change))
        });
        let change = done.await.map_err(faults::of_update)?;
        Ok(DisassociateVPCFromHostedZoneResponse { change_info: Some(change) })
    }
}
