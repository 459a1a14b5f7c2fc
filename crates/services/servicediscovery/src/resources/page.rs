//! Pages of listings.

use base::PageToken;
use wire::Fault;

use crate::faults;

/// Entries of a page. Source: ListNamespaces and its like, `MaxResults`; the model allows 1 to 100.
const PAGE: usize = 100;

/// Which page of a listing is asked for.
pub(crate) struct PageRequest {
    listing: String,
    size: usize,
    /// Where the page starts: after this position.
    pub(crate) after: Option<String>,
}

impl PageRequest {
    /// Reads `MaxResults` and `NextToken`. `listing` names the operation and the filters, which must stay the same from
    /// page to page.
    pub(crate) fn parse(
        listing: String,
        max_results: Option<i32>,
        next_token: Option<&str>,
    ) -> Result<Self, Fault> {
        let size = max_results.and_then(|size| usize::try_from(size).ok()).unwrap_or(PAGE).clamp(1, PAGE);
        let after = match next_token {
            None | Some("") => None,
            Some(token) => {
                let token = PageToken::decode(&listing, token);
                Some(token.map_err(|_| faults::invalid("The specified NextToken is invalid."))?.after)
            }
        };
        Ok(Self { listing, size, after })
    }

    /// One page of `entries`, which are `(position, value)` in the order of their positions, and the next page's token.
    pub(crate) fn take<T>(&self, entries: impl Iterator<Item = (String, T)>) -> (Vec<T>, Option<String>) {
        let mut entries = entries.peekable();
        let mut page = Vec::new();
        let mut last = None;
        while page.len() < self.size {
            let Some((position, value)) = entries.next() else { return (page, None) };
            page.push(value);
            last = Some(position);
        }
        let next = entries.peek().and(last).map(|last| PageToken::encode(&self.listing, &last));
        (page, next)
    }
}
