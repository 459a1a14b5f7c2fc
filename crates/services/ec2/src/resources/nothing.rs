//! Kinds of which there are none here.

use base::Tag;

use crate::filter::Filterable;
use crate::listing::Listed;

/// A row that there is none of.
pub(crate) enum Nothing {}

impl Filterable for Nothing {
    fn filter_values(&self, _name: &str) -> Vec<String> {
        match *self {}
    }

    fn filter_tags(&self) -> &[Tag] {
        match *self {}
    }
}

impl Listed for Nothing {
    fn id(&self) -> &str {
        match *self {}
    }
}
