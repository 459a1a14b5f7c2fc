//! Has a private hosted zone answer in one more VPC. AWS: AssociateVPCWithHostedZone.
//!
//! Differs from AWS: VPCs of other accounts cannot be associated.

use api::route53::operations::AssociateVPCWithHostedZone;
use api::route53::{
    AssociateVPCWithHostedZoneRequest, AssociateVPCWithHostedZoneResponse, faults as modelled,
};
use domain::HostedZone;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{change, zone};
use crate::{Route53, faults};

impl Operation<AssociateVPCWithHostedZone> for Route53 {
    fn permissions(&self, _call: &Call, input: &AssociateVPCWithHostedZoneRequest) -> Vec<Permission> {
        vec![Permission::new(
            "route53:AssociateVPCWithHostedZone",
            zone::arn(input.hosted_zone_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: AssociateVPCWithHostedZoneRequest,
    ) -> Result<AssociateVPCWithHostedZoneResponse, Fault> {
        let id = input.hosted_zone_id.unwrap_or_default();
        let given = input.vpc.unwrap_or_default();
        let done = self.store.update(|snapshot| {
            let row = zone::find_own(snapshot, call, &id)?;
            if !row.is_private {
                return Err(modelled::public_zone_vpc_association(
                    "You're trying to associate a VPC with a public hosted zone. Amazon Route 53 doesn't support \
                     associating a VPC with a public hosted zone.",
                ));
            }
            let vpc = zone::parse_vpc(snapshot, call, &given)?;
            zone::check_conflict(snapshot, &vpc, &row.name)?;
            let mut next = HostedZone::clone(&row);
            next.vpcs.push(vpc);
            if next.vpcs.len() > zone::VPCS_MAXIMUM {
                let message = format!("A hosted zone can be associated with {} VPCs.", zone::VPCS_MAXIMUM);
                return Err(modelled::limits_exceeded(message));
            }
            let mut transaction = Transaction::new();
            transaction.replace(&row, next);
            let change = change::note(self, snapshot, call, input.comment.clone(), &mut transaction);
            Ok((transaction, change))
        });
        let change = done.await.map_err(faults::of_update)?;
        Ok(AssociateVPCWithHostedZoneResponse { change_info: Some(change) })
    }
}
