//! Terms: words, phrases in quotes, regular expressions; `-` leaves out, `?` makes optional.

use regex::Regex;

use super::PatternError;
use super::scan::Scanner;
use super::value::regex;

#[derive(Clone, Debug)]
enum Term {
    Text(String),
    Regex(Regex),
}

impl Term {
    fn is_in(&self, message: &str) -> bool {
        match self {
            // A phrase of spaces is AWS's way to say "everything".
            Self::Text(text) => text.trim().is_empty() || message.contains(text.as_str()),
            Self::Regex(regex) => regex.is_match(message),
        }
    }
}

/// All of `included`, none of `excluded`; the `optional` ones count only where there are no others, and then one is enough.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    included: Vec<Term>,
    excluded: Vec<Term>,
    optional: Vec<Term>,
}

impl Terms {
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut scanner = Scanner::new(text);
        let mut terms = Self::default();
        while !scanner.at_end() {
            let into = if scanner.take("-") {
                &mut terms.excluded
            } else if scanner.take("?") {
                &mut terms.optional
            } else {
                &mut terms.included
            };
            into.push(term(&mut scanner)?);
        }
        Ok(terms)
    }

    pub(crate) fn matches(&self, message: &str) -> bool {
        if self.included.is_empty() && self.excluded.is_empty() {
            return self.optional.is_empty() || self.optional.iter().any(|term| term.is_in(message));
        }
        self.included.iter().all(|term| term.is_in(message))
            && !self.excluded.iter().any(|term| term.is_in(message))
    }
}

fn term(scanner: &mut Scanner<'_>) -> Result<Term, PatternError> {
    if scanner.rest().starts_with('"') {
        scanner.take("\"");
        return Ok(Term::Text(scanner.quoted()?));
    }
    if scanner.rest().starts_with('%') {
        scanner.take("%");
        return Ok(Term::Regex(regex(scanner.regex_text()?)?));
    }
    let word = scanner.take_while(|char| !char.is_whitespace() && char != '"');
    if word.is_empty() { Err(scanner.expected("a term")) } else { Ok(Term::Text(word.to_owned())) }
}
