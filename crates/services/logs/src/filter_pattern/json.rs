//! Conditions on events that are JSON: `{ $.a.b[0] = "x*" && ($.n > 5 || $.c IS NULL) }`.

use serde_json::Value as Json;

use super::scan::Scanner;
use super::value::Test;
use super::{Condition, PatternError};

/// A comparison of one property.
#[derive(Clone, Debug)]
struct Comparison {
    selector: Vec<Step>,
    kind: ComparisonKind,
}

#[derive(Clone, Debug)]
enum ComparisonKind {
    Test(Test),
    IsTrue,
    IsFalse,
    IsNull,
    Exists,
    NotExists,
}

/// One step from a value to a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
    /// All elements or members.
    All,
}

#[derive(Clone, Debug)]
pub(crate) struct JsonCondition(Condition<Comparison>);

impl JsonCondition {
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut scanner = Scanner::new(text);
        scanner.expect("{", "'{'")?;
        let condition = Condition::parse(&mut scanner, 0, &mut comparison)?;
        scanner.expect("}", "'}'")?;
        if scanner.at_end() { Ok(Self(condition)) } else { Err(scanner.expected("the end")) }
    }

    pub(crate) fn matches(&self, message: &str) -> bool {
        // Most events that are no JSON are told by their first character. serde_json bounds the depth itself.
        if !message.trim_start().starts_with(['{', '[']) {
            return false;
        }
        let Ok(json) = serde_json::from_str::<Json>(message) else { return false };
        self.0.holds(&|comparison| comparison.holds(&json))
    }
}

impl Comparison {
    fn holds(&self, root: &Json) -> bool {
        let mut found = vec![root];
        for step in &self.selector {
            found = found.into_iter().flat_map(|value| step.from(value)).collect();
        }
        match &self.kind {
            ComparisonKind::Test(test) => found.into_iter().any(|value| holds_for(test, value)),
            ComparisonKind::IsTrue => found.contains(&&Json::Bool(true)),
            ComparisonKind::IsFalse => found.contains(&&Json::Bool(false)),
            ComparisonKind::IsNull => found.contains(&&Json::Null),
            ComparisonKind::Exists => !found.is_empty(),
            ComparisonKind::NotExists => found.is_empty(),
        }
    }
}

impl Step {
    fn from<'a>(&self, value: &'a Json) -> Vec<&'a Json> {
        match (self, value) {
            (Self::Name(name), Json::Object(members)) => members.get(name).into_iter().collect(),
            (Self::Index(index), Json::Array(items)) => items.get(*index).into_iter().collect(),
            (Self::All, Json::Array(items)) => items.iter().collect(),
            (Self::All, Json::Object(members)) => members.values().collect(),
            _ => Vec::new(),
        }
    }
}

/// Texts, numbers and truth values are compared; lists, structures and null never equal nor differ.
fn holds_for(test: &Test, value: &Json) -> bool {
    match value {
        Json::String(text) => test.holds_for(text, None),
        Json::Number(number) => test.holds_for(&number.to_string(), number.as_f64()),
        Json::Bool(truth) => test.holds_for(if *truth { "true" } else { "false" }, None),
        Json::Null | Json::Array(_) | Json::Object(_) => false,
    }
}

fn comparison(scanner: &mut Scanner<'_>) -> Result<Comparison, PatternError> {
    let selector = selector(scanner)?;
    let kind = if scanner.take_word("IS") {
        if scanner.take_word("TRUE") {
            ComparisonKind::IsTrue
        } else if scanner.take_word("FALSE") {
            ComparisonKind::IsFalse
        } else if scanner.take_word("NULL") {
            ComparisonKind::IsNull
        } else {
            return Err(scanner.expected("TRUE, FALSE or NULL"));
        }
    } else if scanner.take_word("NOT") {
        if !scanner.take_word("EXISTS") {
            return Err(scanner.expected("EXISTS"));
        }
        ComparisonKind::NotExists
    } else if scanner.take_word("EXISTS") {
        ComparisonKind::Exists
    } else {
        ComparisonKind::Test(Test::parse(scanner, &['(', ')', '&', '|', '{', '}', '"', '%'])?)
    };
    Ok(Comparison { selector, kind })
}

fn selector(scanner: &mut Scanner<'_>) -> Result<Vec<Step>, PatternError> {
    scanner.expect("$", "a property selector ('$')")?;
    let mut steps = Vec::new();
    loop {
        if scanner.rest().starts_with('.') {
            scanner.take(".");
            if scanner.rest().starts_with('[') {
                continue;
            }
            let name =
                scanner.take_while(|char| !char.is_whitespace() && !"=!<>()[]{}&|.\"'%".contains(char));
            steps.push(match name {
                "" => return Err(scanner.expected("a property's name")),
                "*" => Step::All,
                name => Step::Name(name.to_owned()),
            });
        } else if scanner.rest().starts_with('[') {
            scanner.take("[");
            steps.push(bracket(scanner)?);
            scanner.expect("]", "']'")?;
        } else {
            return Ok(steps);
        }
    }
}

/// What stands in brackets: an index, an asterisk, or a name in quotes.
fn bracket(scanner: &mut Scanner<'_>) -> Result<Step, PatternError> {
    if scanner.take("*") {
        return Ok(Step::All);
    }
    if scanner.take("\"") {
        return scanner.quoted().map(Step::Name);
    }
    if scanner.take("'") {
        let name = scanner.take_while(|char| char != '\'').to_owned();
        scanner.expect("'", "a closing \"'\"")?;
        return Ok(Step::Name(name));
    }
    scanner.skip_spaces();
    let digits = scanner.take_while(|char| char.is_ascii_digit());
    digits.parse().map(Step::Index).map_err(|_| scanner.expected("an index"))
}
