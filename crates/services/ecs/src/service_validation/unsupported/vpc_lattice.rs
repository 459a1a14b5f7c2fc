//! `vpcLatticeConfigurations`: there is no Amazon VPC Lattice.

use api::ecs::VpcLatticeConfiguration;
use wire::Fault;

use crate::launch::unsupported;

/// Refuses every configuration; an empty list takes none away.
pub fn check(given: Option<&[VpcLatticeConfiguration]>) -> Result<(), Fault> {
    match given {
        None | Some([]) => Ok(()),
        Some(_) => Err(unsupported("vpcLatticeConfigurations")),
    }
}
