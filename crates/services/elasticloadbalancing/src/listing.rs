//! What all Describe calls with markers have in common.

use base::PageToken;
use wire::Fault;

use crate::faults::validation;

/// Source: "PageSize" of DescribeLoadBalancers and its like: the largest, and what a call without one gets.
const PAGE_MAXIMUM: usize = 400;
/// Names or ARNs in one call. Source: DescribeLoadBalancers, "You can specify up to 20 load balancers in a single call".
const NAMED_MAXIMUM: usize = 20;

/// One page of rows, and the marker of the next one.
pub(crate) struct Page<R> {
    pub(crate) rows: Vec<R>,
    pub(crate) next_marker: Option<String>,
}

/// Cuts the page that `marker` and `page_size` ask for out of rows, which `key` orders and tells apart.
pub(crate) fn page<R>(
    operation: &str,
    mut rows: Vec<R>,
    key: impl Fn(&R) -> String,
    marker: Option<&str>,
    page_size: Option<i32>,
) -> Result<Page<R>, Fault> {
    let after = marker.map(|marker| PageToken::decode(operation, marker)).transpose();
    let after =
        after.map_err(|_| validation(format!("Marker '{}' is invalid", marker.unwrap_or_default())))?;
    let size = page_size.and_then(|size| usize::try_from(size).ok()).unwrap_or(PAGE_MAXIMUM);
    rows.sort_by_cached_key(&key);
    rows.retain(|row| after.as_ref().is_none_or(|after| key(row) > after.after));
    let has_more = rows.len() > size;
    rows.truncate(size);
    let last = rows.last().filter(|_| has_more);
    let next_marker = last.map(|row| PageToken::encode(operation, &key(row)));
    Ok(Page { rows, next_marker })
}

/// Checks how many names or ARNs a call has.
pub(crate) fn check_named(named: &[String], what: &str) -> Result<(), Fault> {
    if named.len() > NAMED_MAXIMUM {
        return Err(validation(format!("No more than '{NAMED_MAXIMUM}' {what} can be specified in a call")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another() {
        let rows = || (0..5).map(|n| format!("r{n}")).collect::<Vec<_>>();
        let first = page("D", rows(), Clone::clone, None, Some(3)).ok().unwrap();
        assert_eq!(first.rows, ["r0", "r1", "r2"]);
        let marker = first.next_marker.unwrap();
        let last = page("D", rows(), Clone::clone, Some(&marker), Some(3)).ok().unwrap();
        assert_eq!((last.rows, last.next_marker), (vec!["r3".to_owned(), "r4".to_owned()], None));
        for wrong in ["x", &PageToken::encode("Other", "r1")] {
            assert!(page("D", rows(), Clone::clone, Some(wrong), None).is_err());
        }
    }
}
