//! Tells how far a change is. AWS: GetChange.
//!
//! Differs from AWS: every change is INSYNC: it was in force when it was answered. Changes can be asked for at least a day.

use api::route53::operations::GetChange;
use api::route53::{GetChangeRequest, GetChangeResponse, faults as modelled};
use wire::{Call, Fault, Operation, Permission};

use crate::Route53;
use crate::resources::change;

impl Operation<GetChange> for Route53 {
    fn permissions(&self, _call: &Call, _input: &GetChangeRequest) -> Vec<Permission> {
        vec![Permission::new("route53:GetChange", "*")]
    }

    async fn handle(&self, call: &Call, input: GetChangeRequest) -> Result<GetChangeResponse, Fault> {
        let id = input.id.unwrap_or_default();
        let found = change::find(&self.store.snapshot(), call, &id);
        let found = found
            .ok_or_else(|| modelled::no_such_change(format!("Could not find resource with ID: {id}")))?;
        Ok(GetChangeResponse { change_info: Some(found) })
    }
}
