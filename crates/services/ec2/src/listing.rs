//! What all Describe calls with ids, filters and pages have in common.

use api::ec2::Filter;
use base::{PageToken, Scope};
use store::{Key, Row, Snapshot, Versioned};
use wire::Fault;

use crate::faults;
use crate::filter::{FilterName, Filterable, Filters};

/// Ids in one call. Ours; AWS documents 1,000 for those that it documents.
const IDS_MAXIMUM: usize = 1000;
/// Source: DescribeVpcs and its like, `MaxResults`.
const PAGE_MINIMUM: i32 = 5;
/// Source: as above.
const PAGE_MAXIMUM: i32 = 1000;

/// A kind of resource that can be listed.
pub(crate) struct Kind {
    /// The operation: what page tokens are for.
    pub(crate) operation: &'static str,
    /// How ids start, such as `vpc-`.
    pub(crate) prefix: &'static str,
    /// The fault for an id of another kind.
    pub(crate) malformed: &'static str,
    /// The fault for an id that is not there.
    pub(crate) not_found: &'static str,
    /// What EC2 calls the id in that fault.
    pub(crate) noun: &'static str,
    /// The filters.
    pub(crate) filters: &'static [FilterName],
    /// Whether `tag:KEY` and `tag-key` are filters too.
    pub(crate) has_tags: bool,
}

/// A row that can be listed.
pub(crate) trait Listed: Filterable {
    /// Its id: rows are listed in the order of their ids.
    fn id(&self) -> &str;
}

/// The members that Describe requests share.
pub(crate) struct Question {
    pub(crate) dry_run: Option<bool>,
    pub(crate) ids: Option<Vec<String>>,
    pub(crate) filters: Option<Vec<Filter>>,
    pub(crate) max_results: Option<i32>,
    pub(crate) next_token: Option<String>,
}

/// One page of rows, and the token of the next one.
pub(crate) struct Page<R> {
    pub(crate) rows: Vec<R>,
    pub(crate) next_token: Option<String>,
}

impl Kind {
    /// Answers `question` from `rows`: checks it, picks the rows, and cuts out the page.
    pub(crate) fn answer<R: Listed>(&self, question: Question, rows: Vec<R>) -> Result<Page<R>, Fault> {
        let filters = Filters::parse(question.filters, self.filters, self.has_tags)?;
        let ids = question.ids.unwrap_or_default();
        self.check_ids(&ids)?;
        let size = page_size(question.max_results)?;
        let after = question.next_token.map(|token| self.read_token(&token)).transpose()?;
        if question.dry_run == Some(true) {
            return Err(faults::dry_run());
        }
        for id in &ids {
            if !rows.iter().any(|row| row.id() == id) {
                return Err(self.not_found(id));
            }
        }
        let mut rows = rows;
        rows.retain(|row| ids.is_empty() || ids.iter().any(|id| id == row.id()));
        rows.retain(|row| filters.match_row(row));
        rows.sort_by(|one, other| one.id().cmp(other.id()));
        rows.retain(|row| after.as_ref().is_none_or(|after| row.id() > after.as_str()));
        let has_more = rows.len() > size;
        rows.truncate(size);
        let last = rows.last().filter(|_| has_more);
        let next_token = last.map(|row| PageToken::encode(self.operation, row.id()));
        Ok(Page { rows, next_token })
    }

    /// The fault for an id that is not there.
    pub(crate) fn not_found(&self, id: &str) -> Fault {
        Fault::new(self.not_found, format!("The {} '{id}' does not exist", self.noun), 400)
    }

    /// The row of an id, which is its key.
    pub(crate) fn find<R: Row>(
        &self,
        snapshot: &Snapshot,
        scope: &Scope,
        id: &str,
    ) -> Result<Versioned<R>, Fault> {
        self.check_id(id)?;
        snapshot.get::<R>(&Key::new(scope, &[id])).ok_or_else(|| self.not_found(id))
    }

    /// Checks that an id is one of this kind.
    pub(crate) fn check_id(&self, id: &str) -> Result<(), Fault> {
        if id.starts_with(self.prefix) {
            return Ok(());
        }
        let message = format!("Invalid id: \"{id}\" (expecting \"{}...\")", self.prefix);
        Err(Fault::new(self.malformed, message, 400))
    }

    fn check_ids(&self, ids: &[String]) -> Result<(), Fault> {
        if ids.len() > IDS_MAXIMUM {
            let message = format!("The maximum number of ids specified on a single call is {IDS_MAXIMUM}");
            return Err(faults::invalid_value(message));
        }
        ids.iter().try_for_each(|id| self.check_id(id))
    }

    fn read_token(&self, token: &str) -> Result<String, Fault> {
        let token = PageToken::decode(self.operation, token);
        token.map(|token| token.after).map_err(|_| faults::invalid_value("Unable to parse pagination token"))
    }
}

/// How many rows a page has. The minimum is not in the model.
pub(crate) fn page_size(max_results: Option<i32>) -> Result<usize, Fault> {
    page_size_of(max_results, PAGE_MINIMUM, PAGE_MAXIMUM)
}

/// As [`page_size`], for an operation with bounds of its own.
pub(crate) fn page_size_of(max_results: Option<i32>, minimum: i32, maximum: i32) -> Result<usize, Fault> {
    let refused = |asked: i32, rest: String| {
        Err(faults::invalid_value(format!("Value ( {asked} ) for parameter maxResults is invalid. {rest}")))
    };
    match max_results {
        Some(asked) if asked < minimum => {
            refused(asked, format!("Expecting a value greater than {minimum}."))
        }
        Some(asked) if asked > maximum => refused(asked, format!("Expecting a value less than {maximum}.")),
        asked => Ok(usize::try_from(asked.unwrap_or(maximum)).unwrap_or_default()),
    }
}
