//! `Filter.N`: which rows a Describe call wants. Values of one filter are alternatives, filters are all to hold; `*` and
//! `?` stand for any text and any character. Source: "List and filter using the CLI and API", EC2 user guide.

use api::ec2::Filter;
use base::Tag;
use wire::Fault;

use crate::faults;

/// Source: "Filter" data type, `Values`.
const VALUES_MAXIMUM: usize = 200;
/// Ours: no operation has as many filters.
const FILTERS_MAXIMUM: usize = 200;

/// What filters ask of a row.
pub(crate) trait Filterable {
    /// The row's values under a filter's name: any of them may match. The name is one of the listing's.
    fn filter_values(&self, name: &str) -> Vec<String>;
    /// The row's tags, for `tag:KEY` and `tag-key`.
    fn filter_tags(&self) -> &[Tag];
}

/// The name of a filter and other spellings that EC2 takes for it.
pub(crate) type FilterName = (&'static str, &'static [&'static str]);

/// Filters whose names were checked.
#[derive(Debug)]
pub(crate) struct Filters(Vec<(Wanted, Vec<String>)>);

#[derive(Debug)]
enum Wanted {
    Tag(String),
    TagKey,
    Named(&'static str),
}

impl Filters {
    /// Reads the filters of a call that knows those in `names`, and tags if `has_tags`.
    pub(crate) fn parse(
        filters: Option<Vec<Filter>>,
        names: &[FilterName],
        has_tags: bool,
    ) -> Result<Self, Fault> {
        let filters = filters.unwrap_or_default();
        if filters.len() > FILTERS_MAXIMUM {
            return Err(limit_exceeded("filters", FILTERS_MAXIMUM));
        }
        let mut parsed = Vec::new();
        for filter in filters {
            let name = filter.name.unwrap_or_else(|| "null".to_owned());
            let wanted = match name.strip_prefix("tag:") {
                Some(key) if has_tags => Wanted::Tag(key.to_owned()),
                _ if name == "tag-key" && has_tags => Wanted::TagKey,
                _ => Wanted::Named(
                    canonical(&name, names)
                        .ok_or_else(|| faults::invalid_value(format!("The filter '{name}' is invalid")))?,
                ),
            };
            let values = filter.values.unwrap_or_default();
            if values.is_empty() {
                return Err(faults::missing("Filter.Value"));
            }
            if values.len() > VALUES_MAXIMUM {
                return Err(limit_exceeded("filter values", VALUES_MAXIMUM));
            }
            parsed.push((wanted, values));
        }
        Ok(Self(parsed))
    }

    /// Whether `row` is wanted.
    pub(crate) fn match_row(&self, row: &impl Filterable) -> bool {
        self.0.iter().all(|(wanted, patterns)| {
            let values = match wanted {
                Wanted::Tag(key) => tag_values(row.filter_tags(), key),
                Wanted::TagKey => row.filter_tags().iter().map(|tag| tag.key.clone()).collect(),
                Wanted::Named(name) => row.filter_values(name),
            };
            values.iter().any(|value| patterns.iter().any(|pattern| is_like(value, pattern)))
        })
    }
}

fn limit_exceeded(what: &str, maximum: usize) -> Fault {
    let message = format!("The maximum number of {what} specified on a single call is {maximum}");
    Fault::new("FilterLimitExceeded", message, 400)
}

fn canonical(name: &str, names: &[FilterName]) -> Option<&'static str> {
    let known = names.iter().find(|(known, others)| *known == name || others.contains(&name));
    known.map(|(known, _)| *known)
}

fn tag_values(tags: &[Tag], key: &str) -> Vec<String> {
    tags.iter().filter(|tag| tag.key == key).map(|tag| tag.value.clone()).collect()
}

/// Whether `value` is like `pattern`, with `*`, `?`, and `\` before what is to be taken as it is.
///
/// Takes time proportional to the product of the lengths: on a mismatch only the last `*` is tried further on.
fn is_like(value: &str, pattern: &str) -> bool {
    let (value, pattern): (Vec<char>, Vec<Step>) = (value.chars().collect(), steps(pattern));
    let (mut at, mut step) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < value.len() {
        match pattern.get(step) {
            Some(Step::Any) => {
                star = Some((step, at));
                step += 1;
            }
            Some(Step::One) => (at, step) = (at + 1, step + 1),
            Some(Step::Exactly(character)) if *character == value[at] => (at, step) = (at + 1, step + 1),
            _ => match &mut star {
                Some((star_step, star_at)) => {
                    *star_at += 1;
                    (at, step) = (*star_at, *star_step + 1);
                }
                None => return false,
            },
        }
    }
    pattern[step..].iter().all(|step| *step == Step::Any)
}

#[derive(PartialEq)]
enum Step {
    Any,
    One,
    Exactly(char),
}

fn steps(pattern: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        steps.push(match character {
            '*' => Step::Any,
            '?' => Step::One,
            '\\' => Step::Exactly(characters.next().unwrap_or('\\')),
            other => Step::Exactly(other),
        });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_at_aws() {
        for (value, pattern, is_match) in [
            ("vpc-1", "vpc-1", true),
            ("vpc-1", "vpc-2", false),
            ("vpc-12", "vpc-?", false),
            ("vpc-1", "vpc-?", true),
            ("anything", "*", true),
            ("", "*", true),
            ("", "", true),
            ("x", "", false),
            ("ababab", "*ab", true),
            ("ababac", "*ab", false),
            ("ababac", "a*b*c", true),
            ("a*c", r"a\*c", true),
            ("abc", r"a\*c", false),
            ("a\\", r"a\", true),
            ("Name", "name", false),
            ("größe", "gr??e", true),
        ] {
            assert_eq!(is_like(value, pattern), is_match, "{value} like {pattern}");
        }
    }

    #[test]
    fn a_hostile_pattern_costs_little() {
        let started = std::time::Instant::now();
        assert!(!is_like(&"a".repeat(5000), &format!("{}b", "a*".repeat(500))));
        assert!(started.elapsed().as_secs() < 5);
    }
}
