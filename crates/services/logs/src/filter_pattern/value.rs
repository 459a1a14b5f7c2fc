//! What a property or a field is compared with.

use regex::{Regex, RegexBuilder};

use super::scan::Scanner;
use super::{PatternError, REGEXES_MAXIMUM};

/// Memory of one compiled regular expression. Ours.
const REGEX_BYTES_MAXIMUM: usize = 1 << 20;

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// With what.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A text in which `*` stands for any text.
    Text(Glob),
    /// A number, and the text it was written as.
    Number(f64, Glob),
    /// A regular expression.
    Regex(Regex),
}

/// A comparison's right side.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    operator: Operator,
    value: Value,
}

impl Test {
    /// Parses an operator and a value. `stops` ends a value that is not in quotes.
    pub(crate) fn parse(scanner: &mut Scanner<'_>, stops: &[char]) -> Result<Self, PatternError> {
        let operator = operator(scanner).ok_or_else(|| scanner.expected("an operator"))?;
        let value = value(scanner, stops)?;
        let orders = !matches!(operator, Operator::Equal | Operator::NotEqual);
        if orders && !matches!(value, Value::Number(..)) {
            return Err(scanner.expected("a number"));
        }
        Ok(Self { operator, value })
    }

    /// Compares a text that may be a number.
    pub(crate) fn holds_for(&self, text: &str, number: Option<f64>) -> bool {
        let equal = || match &self.value {
            Value::Text(glob) => glob.matches(text),
            Value::Number(literal, glob) => match number {
                Some(number) => number.partial_cmp(literal).is_some_and(|order| order.is_eq()),
                None => glob.matches(text),
            },
            Value::Regex(regex) => regex.is_match(text),
        };
        let compare = || match (&self.value, number) {
            (Value::Number(literal, _), Some(number)) => number.partial_cmp(literal),
            _ => None,
        };
        match self.operator {
            Operator::Equal => equal(),
            Operator::NotEqual => !equal(),
            Operator::Less => compare().is_some_and(|order| order.is_lt()),
            Operator::LessOrEqual => compare().is_some_and(|order| order.is_le()),
            Operator::Greater => compare().is_some_and(|order| order.is_gt()),
            Operator::GreaterOrEqual => compare().is_some_and(|order| order.is_ge()),
        }
    }
}

fn operator(scanner: &mut Scanner<'_>) -> Option<Operator> {
    // The longer ones first.
    [
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("!=", Operator::NotEqual),
        ("==", Operator::Equal),
        ("=", Operator::Equal),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ]
    .into_iter()
    .find_map(|(symbol, operator)| scanner.take(symbol).then_some(operator))
}

fn value(scanner: &mut Scanner<'_>, stops: &[char]) -> Result<Value, PatternError> {
    if scanner.take("\"") {
        return Ok(Value::Text(Glob::new(&scanner.quoted()?)));
    }
    if scanner.take("%") {
        let text = scanner.regex_text()?;
        if scanner.regexes > REGEXES_MAXIMUM {
            return Err(PatternError::TooManyRegexes);
        }
        return regex(text).map(Value::Regex);
    }
    let text = scanner.take_while(|char| !char.is_whitespace() && !stops.contains(&char));
    if text.is_empty() {
        return Err(scanner.expected("a value"));
    }
    Ok(match number(text) {
        Some(number) => Value::Number(number, Glob::new(text)),
        None => Value::Text(Glob::new(text)),
    })
}

/// Reads a number: digits, a sign, a fraction, an exponent; nothing else that Rust takes for one.
pub(crate) fn number(text: &str) -> Option<f64> {
    let plausible = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if plausible && text.len() <= 64 {
        text.parse().ok().filter(|number: &f64| number.is_finite())
    } else {
        None
    }
}

/// Compiles a regular expression of the language: no parentheses, no characters beyond ASCII. Source: "Supported regular
/// expressions (regex) syntax".
pub(crate) fn regex(text: &str) -> Result<Regex, PatternError> {
    let allowed = |char: char| char.is_ascii_alphanumeric() || " :_#=@/;,-^$?[]{}|\\*+.".contains(char);
    // An escaped character may be any of the printable ones.
    let mut escaped = false;
    let fine = text.chars().all(|char| {
        let this_one = allowed(char) || (escaped && char.is_ascii_graphic());
        escaped = char == '\\' && !escaped;
        this_one
    });
    if text.is_empty() || !fine {
        return Err(PatternError::Regex);
    }
    RegexBuilder::new(text).size_limit(REGEX_BYTES_MAXIMUM).build().map_err(|_| PatternError::Regex)
}

/// A text in which `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    /// What stands between the asterisks: at least one part.
    parts: Vec<String>,
}

impl Glob {
    pub(crate) fn new(text: &str) -> Self {
        Self { parts: text.split('*').map(str::to_owned).collect() }
    }

    /// Linear: every part is looked for behind the one before, and the first place is the best.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.parts.first().is_some_and(|only| only == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            let Some((_, behind)) = rest.split_once(part.as_str()) else { return false };
            rest = behind;
        }
        rest.ends_with(last.as_str())
    }
}
