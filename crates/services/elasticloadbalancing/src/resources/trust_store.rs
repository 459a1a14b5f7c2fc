//! Trust stores, of which there are none: their certificates would come from Amazon S3.

use api::elasticloadbalancing::faults;
use wire::Fault;

use super::name;

pub(crate) fn not_found(arn_or_name: &str) -> Fault {
    faults::trust_store_not_found_exception(format!("Trust store '{arn_or_name}' not found"))
}

/// What a call gets that names a trust store.
pub(crate) fn missing(arn: Option<String>) -> Fault {
    let arn = arn.unwrap_or_default();
    name::check_arn(&arn, "truststore", "trust store").err().unwrap_or_else(|| not_found(&arn))
}
