//! Pages of listings.

use base::PageToken;
use base::limits::PAGE_DEFAULT;
use wire::Fault;

use crate::faults::invalid;

/// Which page of a listing is asked for.
#[derive(Debug)]
pub struct PageRequest {
    listing: String,
    /// Entries on the page, 1 to 100.
    pub size: usize,
    /// Where the page starts: after this position.
    pub after: Option<String>,
}

impl PageRequest {
    /// Reads `maxResults` and `nextToken`. `listing` names the operation and the filters, which must stay the same from
    /// page to page.
    pub fn parse(listing: String, max_results: Option<i32>, next_token: Option<&str>) -> Result<Self, Fault> {
        let size = match max_results {
            None => PAGE_DEFAULT,
            Some(size) => usize::try_from(size)
                .ok()
                .filter(|size| (1..=PAGE_DEFAULT).contains(size))
                .ok_or_else(|| invalid("maxResults should be between 1 and 100"))?,
        };
        let after = match next_token {
            None | Some("") => None,
            Some(token) => {
                let token = PageToken::decode(&listing, token).map_err(|_| invalid("Invalid token."))?;
                Some(token.after)
            }
        };
        Ok(Self { listing, size, after })
    }

    /// One page of `entries`, which are `(position, value)` in the order of their positions, and the next page's token.
    pub fn take<T>(&self, entries: impl Iterator<Item = (String, T)>) -> (Vec<T>, Option<String>) {
        let mut entries = entries.peekable();
        let mut page = Vec::new();
        let mut last = None;
        while page.len() < self.size {
            let Some((position, value)) = entries.next() else { return (page, None) };
            page.push(value);
            last = Some(position);
        }
        match (entries.peek(), last) {
            (Some(_), Some(last)) => (page, Some(PageToken::encode(&self.listing, &last))),
            _ => (page, None),
        }
    }
}
