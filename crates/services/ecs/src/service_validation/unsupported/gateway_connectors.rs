//! `gatewayConnectors`: there are no gateways.

use api::ecs::GatewayConnector;
use wire::Fault;

use crate::launch::unsupported;

/// Refuses every connector; an empty list takes none away.
pub fn check(given: Option<&[GatewayConnector]>) -> Result<(), Fault> {
    match given {
        None | Some([]) => Ok(()),
        Some(_) => Err(unsupported("gatewayConnectors")),
    }
}
