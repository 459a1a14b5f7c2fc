//! The filter pattern language of CloudWatch Logs. Source: "Filter pattern syntax for metric filters, subscription filters,
//! filter log events, and Live Tail".
//!
//! A pattern is terms (`ERROR -"not this"`), a condition on JSON events (`{ $.status >= 500 }`), or one on events whose fields are
//! parted by spaces (`[ip, ..., status = 4*, size]`). Text goes through two stages: [`FilterPattern::parse`], which may refuse, and
//! [`FilterPattern::matches`], which may not. Both are linear in their text, and neither recurses deeper than [`DEPTH_MAXIMUM`].
//!
//! Differs from AWS: terms need no quotes for other characters than letters, digits and underscores. A comparison with
//! a property that is not there is false, `!=` too.

mod delimited;
mod json;
mod scan;
mod terms;
mod value;

use delimited::Delimited;
use json::JsonCondition;
use terms::Terms;

/// Bytes of a pattern. Source: FilterLogEvents, `filterPattern`.
pub const PATTERN_BYTES_MAXIMUM: usize = 4 * 1024;
/// Parentheses within parentheses. Ours.
pub const DEPTH_MAXIMUM: usize = 32;
/// Regular expressions in one pattern. Source: as above (two for JSON and space-delimited patterns).
pub const REGEXES_MAXIMUM: usize = 2;

/// Why a text is no filter pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Something else was expected here.
    #[error("{expected} expected at character {at}")]
    Expected {
        /// What.
        expected: &'static str,
        /// Bytes from the beginning.
        at: usize,
    },
    /// More than [`PATTERN_BYTES_MAXIMUM`].
    #[error("the pattern is too long")]
    TooLong,
    /// More than [`DEPTH_MAXIMUM`].
    #[error("parentheses are nested too deeply")]
    TooDeep,
    /// More than [`REGEXES_MAXIMUM`].
    #[error("there are more than two regular expressions")]
    TooManyRegexes,
    /// A regular expression with characters that the language leaves out, or none at all.
    #[error("the regular expression is not supported")]
    Regex,
    /// More than one ellipsis, or a condition on two fields at once.
    #[error("{0}")]
    Fields(&'static str),
}

/// A parsed pattern.
#[derive(Clone, Debug)]
pub struct FilterPattern(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Everything,
    Terms(Terms),
    Json(JsonCondition),
    Delimited(Delimited),
}

impl FilterPattern {
    /// Reads a pattern. The empty one matches everything.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAXIMUM {
            return Err(PatternError::TooLong);
        }
        Ok(Self(match text.trim_start().chars().next() {
            None => Kind::Everything,
            Some('{') => Kind::Json(JsonCondition::parse(text)?),
            Some('[') => Kind::Delimited(Delimited::parse(text)?),
            Some(_) => Kind::Terms(Terms::parse(text)?),
        }))
    }

    /// Whether an event's message matches.
    pub fn matches(&self, message: &str) -> bool {
        match &self.0 {
            Kind::Everything => true,
            Kind::Terms(terms) => terms.matches(message),
            Kind::Json(condition) => condition.matches(message),
            Kind::Delimited(delimited) => delimited.matches(message),
        }
    }
}

/// Several conditions, one of which must hold (each of them: all of its parts). What `||` and `&&` make.
#[derive(Clone, Debug)]
pub(crate) enum Condition<T> {
    /// `||`.
    Any(Vec<Condition<T>>),
    /// `&&`.
    All(Vec<Condition<T>>),
    /// A single comparison.
    One(T),
}

impl<T> Condition<T> {
    /// Whether it holds, given which single ones do.
    pub(crate) fn holds(&self, one: &impl Fn(&T) -> bool) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.holds(one)),
            Self::All(parts) => parts.iter().all(|part| part.holds(one)),
            Self::One(single) => one(single),
        }
    }

    /// Parses `single` comparisons joined by `||`, `&&` (which binds closer) and parentheses.
    pub(crate) fn parse(
        scanner: &mut scan::Scanner<'_>,
        depth: usize,
        single: &mut impl FnMut(&mut scan::Scanner<'_>) -> Result<T, PatternError>,
    ) -> Result<Self, PatternError> {
        if depth > DEPTH_MAXIMUM {
            return Err(PatternError::TooDeep);
        }
        let mut any = Vec::new();
        loop {
            let mut all = Vec::new();
            loop {
                all.push(if scanner.take("(") {
                    let inner = Self::parse(scanner, depth + 1, single)?;
                    scanner.expect(")", "')'")?;
                    inner
                } else {
                    Self::One(single(scanner)?)
                });
                if !scanner.take("&&") {
                    break;
                }
            }
            any.push(if all.len() == 1 { all.remove(0) } else { Self::All(all) });
            if !scanner.take("||") {
                break;
            }
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Self::Any(any) })
    }
}

#[cfg(test)]
mod tests;
