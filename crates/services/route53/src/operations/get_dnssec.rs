//! Tells whether a hosted zone is signed: none is. AWS: GetDNSSEC.
//!
//! Differs from AWS: zones cannot be signed.

use api::route53::operations::GetDNSSEC;
use api::route53::{DNSSECStatus, GetDNSSECRequest, GetDNSSECResponse, faults as modelled};
use wire::{Call, Fault, Operation, Permission};

use crate::Route53;
use crate::resources::zone;

impl Operation<GetDNSSEC> for Route53 {
    fn permissions(&self, _call: &Call, input: &GetDNSSECRequest) -> Vec<Permission> {
        vec![Permission::new("route53:GetDNSSEC", zone::arn(input.hosted_zone_id.as_deref()))]
    }

    async fn handle(&self, call: &Call, input: GetDNSSECRequest) -> Result<GetDNSSECResponse, Fault> {
        let row = zone::find(&self.store.snapshot(), call, &input.hosted_zone_id.unwrap_or_default())?;
        if row.is_private {
            return Err(modelled::invalid_argument("DNSSEC is not supported for private hosted zones."));
        }
        let status = DNSSECStatus { serve_signature: Some("NOT_SIGNING".to_owned()), status_message: None };
        Ok(GetDNSSECResponse { key_signing_keys: Some(Vec::new()), status: Some(status) })
    }
}
