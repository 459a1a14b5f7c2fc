//! `MaxItems`, which the model has as text.

use wire::Fault;

use crate::faults;

/// Items of a page at most, and where the caller does not say. Source: "ListHostedZones", `MaxItems`.
pub(crate) const ZONES: usize = 100;
/// The same of record sets. Source: "ListResourceRecordSets", `MaxItems`.
pub(crate) const RECORD_SETS: usize = 300;

/// How many items a page has: more than the maximum is the maximum, as documented.
pub(crate) fn size(given: Option<&str>, maximum: usize) -> Result<usize, Fault> {
    match given.map(str::parse::<usize>) {
        None => Ok(maximum),
        Some(Ok(size)) if size > 0 => Ok(size.min(maximum)),
        Some(_) => Err(faults::invalid("MaxItems must be a number greater than 0")),
    }
}
