//! Tells where health checks come from: loopback and the networks of this machine. AWS: GetCheckerIpRanges.
//!
//! Differs from AWS: all looks come from this machine; AWS gives the networks of its checkers.

use api::route53::operations::GetCheckerIpRanges;
use api::route53::{GetCheckerIpRangesRequest, GetCheckerIpRangesResponse};
use store::Prefix;
use store::rows_vpc::VpcCidrUse;
use wire::{Call, Fault, Operation, Permission};

use crate::Route53;

impl Operation<GetCheckerIpRanges> for Route53 {
    fn permissions(&self, _call: &Call, _input: &GetCheckerIpRangesRequest) -> Vec<Permission> {
        vec![Permission::new("route53:GetCheckerIpRanges", "*")]
    }

    async fn handle(
        &self,
        _call: &Call,
        _input: GetCheckerIpRangesRequest,
    ) -> Result<GetCheckerIpRangesResponse, Fault> {
        // Every VPC is asked from its own gateway.
        let snapshot = self.store.snapshot();
        let vpcs = snapshot.scan::<VpcCidrUse>(Prefix::everything(), None).map(|used| used.cidr.to_string());
        let ranges = std::iter::once("127.0.0.0/8".to_owned()).chain(vpcs).collect();
        Ok(GetCheckerIpRangesResponse { checker_ip_ranges: Some(ranges) })
    }
}
