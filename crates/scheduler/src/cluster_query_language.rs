//! The cluster query language: expressions that select container instances.
//!
//! Source: AWS, "Create expressions to define container instances for Amazon ECS tasks". A comparison is
//! `subject operator [argument]`; comparisons join with `and` (`&&`), `or` (`||`), `not` (`!`) and parentheses.
//!
//! Differs from AWS: the patterns of `=~` are those of Rust's `regex` crate, without look-around and back-references
//! (AWS takes Java's). What AWS does with an attribute that an instance lacks is not documented: here `!=`, `!in` and
//! `!~` are true of it, as `not` of the positive form would be.

use std::fmt;

use base::Timestamp;
use domain::ContainerInstance;
use regex::Regex;

/// Characters of an expression. Source: "Amazon ECS service quotas" names 2,000 for task placement constraints.
pub const EXPRESSION_CHARACTERS: usize = 2000;
/// Depth of `not` and parentheses. Ours.
pub const EXPRESSION_DEPTH: usize = 32;
/// Bytes that a compiled pattern may take. Ours.
const PATTERN_BYTES: usize = 64 * 1024;

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Longer than [`EXPRESSION_CHARACTERS`].
    #[error("the expression is longer than {EXPRESSION_CHARACTERS} characters")]
    TooLong,
    /// Deeper than [`EXPRESSION_DEPTH`].
    #[error("the expression is nested deeper than {EXPRESSION_DEPTH}")]
    TooDeep,
    /// Something else was due at this character (counted from 0).
    #[error("expected {expected} at character {at}")]
    Expected {
        /// What was due.
        expected: &'static str,
        /// Where.
        at: usize,
    },
    /// The subject does not know the operator.
    #[error("the operator {operator} does not apply to {subject}")]
    Operator {
        /// Such as `registeredAt`.
        subject: String,
        /// Such as `in`.
        operator: String,
    },
    /// An argument of the wrong kind.
    #[error("{argument:?} is not {expected}")]
    Argument {
        /// As written.
        argument: String,
        /// Such as `a number`.
        expected: &'static str,
    },
}

/// A parsed expression.
#[derive(Clone, Debug)]
pub struct Expression {
    node: Node,
    text: String,
}

/// Expressions are alike if their texts are.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

/// What an expression is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The instance.
    pub container_instance: &'a ContainerInstance,
    /// Groups of the tasks on it that are not stopped.
    pub groups: &'a [String],
    /// How many of its tasks are RUNNING.
    pub running_tasks: usize,
}

#[derive(Clone, Debug)]
enum Node {
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
    Comparison(Comparison),
}

#[derive(Clone, Debug)]
struct Comparison {
    field: Field,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    AgentConnected,
    AgentVersion,
    Attribute(String),
    Ec2InstanceId,
    RegisteredAt,
    RunningTasksCount,
    TaskGroup,
}

#[derive(Clone, Debug)]
enum Test {
    Equals(String),
    NotEquals(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Matches(Regex),
    NotMatches(Regex),
    Exists,
    NotExists,
    Compare(Order, Ordered),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

#[derive(Clone, Debug)]
enum Ordered {
    Version(Vec<u64>),
    Moment(Timestamp),
    Count(u64),
}

impl Expression {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.chars().count() > EXPRESSION_CHARACTERS {
            return Err(ExpressionError::TooLong);
        }
        let mut parser = Parser { characters: text.chars().collect(), at: 0 };
        let node = parser.any(0)?;
        parser.blanks();
        if parser.at < parser.characters.len() {
            return Err(parser.expected("the end, `and` or `or`"));
        }
        Ok(Self { node, text: text.to_owned() })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it may select an instance now and not later, though the instance's row is the same: it speaks of tasks.
    pub fn depends_on_tasks(&self) -> bool {
        self.node.depends_on_tasks()
    }

    /// Whether the expression selects the instance.
    pub fn selects(&self, subject: Subject<'_>) -> bool {
        self.node.selects(subject)
    }
}

impl Node {
    fn selects(&self, subject: Subject<'_>) -> bool {
        match self {
            Self::Any(nodes) => nodes.iter().any(|node| node.selects(subject)),
            Self::All(nodes) => nodes.iter().all(|node| node.selects(subject)),
            Self::Not(node) => !node.selects(subject),
            Self::Comparison(comparison) => comparison.holds(subject),
        }
    }

    fn depends_on_tasks(&self) -> bool {
        match self {
            Self::Any(nodes) | Self::All(nodes) => nodes.iter().any(Self::depends_on_tasks),
            Self::Not(node) => node.depends_on_tasks(),
            Self::Comparison(comparison) => {
                matches!(comparison.field, Field::TaskGroup | Field::RunningTasksCount)
            }
        }
    }
}

impl Comparison {
    fn holds(&self, subject: Subject<'_>) -> bool {
        let instance = subject.container_instance;
        if let Test::Compare(order, argument) = &self.test {
            return match argument {
                Ordered::Version(wanted) => instance
                    .version_info
                    .agent_version
                    .as_deref()
                    .and_then(version)
                    .is_some_and(|there| order.holds(&there, wanted)),
                Ordered::Moment(wanted) => order.holds(&instance.registered_at, wanted),
                Ordered::Count(wanted) => order.holds(&(subject.running_tasks as u64), wanted),
            };
        }
        let connected = if instance.agent_connected { "true" } else { "false" };
        let values: Vec<&str> = match &self.field {
            Field::AgentConnected => vec![connected],
            Field::Ec2InstanceId => vec![&instance.ec2_instance_id],
            Field::Attribute(name) => match instance.attribute(name) {
                Some(value) => vec![value.unwrap_or_default()],
                None => Vec::new(),
            },
            Field::TaskGroup => subject.groups.iter().map(String::as_str).collect(),
            Field::AgentVersion | Field::RegisteredAt | Field::RunningTasksCount => Vec::new(),
        };
        match &self.test {
            Test::Equals(wanted) => values.iter().any(|value| value == wanted),
            Test::NotEquals(wanted) => !values.iter().any(|value| value == wanted),
            Test::In(list) => values.iter().any(|value| list.iter().any(|wanted| wanted == value)),
            Test::NotIn(list) => !values.iter().any(|value| list.iter().any(|wanted| wanted == value)),
            Test::Matches(pattern) => values.iter().any(|value| pattern.is_match(value)),
            Test::NotMatches(pattern) => !values.iter().any(|value| pattern.is_match(value)),
            Test::Exists => !values.is_empty(),
            Test::NotExists => values.is_empty(),
            Test::Compare(..) => false,
        }
    }
}

impl Order {
    fn holds<T: Ord>(self, there: &T, wanted: &T) -> bool {
        match self {
            Self::Equal => there == wanted,
            Self::NotEqual => there != wanted,
            Self::Greater => there > wanted,
            Self::GreaterOrEqual => there >= wanted,
            Self::Less => there < wanted,
            Self::LessOrEqual => there <= wanted,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AgentConnected => f.write_str("agentConnected"),
            Self::AgentVersion => f.write_str("agentVersion"),
            Self::Attribute(name) => write!(f, "attribute:{name}"),
            Self::Ec2InstanceId => f.write_str("ec2InstanceId"),
            Self::RegisteredAt => f.write_str("registeredAt"),
            Self::RunningTasksCount => f.write_str("runningTasksCount"),
            Self::TaskGroup => f.write_str("task:group"),
        }
    }
}

/// Symbols stand before the words that they begin.
const OPERATORS: &[(&str, &str)] = &[
    ("==", "equals"),
    ("!=", "not_equals"),
    (">=", "greater_than_equal"),
    (">", "greater_than"),
    ("<=", "less_than_equal"),
    ("<", "less_than"),
    ("!exists", "not_exists"),
    ("exists", "exists"),
    ("!in", "not_in"),
    ("in", "in"),
    ("=~", "matches"),
    ("!~", "not_matches"),
];

struct Parser {
    characters: Vec<char>,
    at: usize,
}

impl Parser {
    fn any(&mut self, depth: usize) -> Result<Node, ExpressionError> {
        let mut nodes = vec![self.all(depth)?];
        while self.symbol("||") || self.word("or") {
            nodes.push(self.all(depth)?);
        }
        Ok(if nodes.len() == 1 { nodes.swap_remove(0) } else { Node::Any(nodes) })
    }

    fn all(&mut self, depth: usize) -> Result<Node, ExpressionError> {
        let mut nodes = vec![self.factor(depth)?];
        while self.symbol("&&") || self.word("and") {
            nodes.push(self.factor(depth)?);
        }
        Ok(if nodes.len() == 1 { nodes.swap_remove(0) } else { Node::All(nodes) })
    }

    fn factor(&mut self, depth: usize) -> Result<Node, ExpressionError> {
        if depth >= EXPRESSION_DEPTH {
            return Err(ExpressionError::TooDeep);
        }
        if self.symbol("!") || self.word("not") {
            return Ok(Node::Not(Box::new(self.factor(depth + 1)?)));
        }
        if self.symbol("(") {
            let node = self.any(depth + 1)?;
            return if self.symbol(")") { Ok(node) } else { Err(self.expected("`)`")) };
        }
        self.comparison().map(Node::Comparison)
    }

    fn comparison(&mut self) -> Result<Comparison, ExpressionError> {
        let start = self.at;
        let subject = self.bare("a subject, such as attribute:ecs.instance-type", false)?;
        let field = match subject.as_str() {
            "agentConnected" => Field::AgentConnected,
            "agentVersion" => Field::AgentVersion,
            "ec2InstanceId" => Field::Ec2InstanceId,
            "registeredAt" => Field::RegisteredAt,
            "runningTasksCount" => Field::RunningTasksCount,
            "task:group" => Field::TaskGroup,
            other => match other.strip_prefix("attribute:") {
                Some(name) if !name.is_empty() => Field::Attribute(name.to_owned()),
                _ => {
                    self.at = start;
                    return Err(self.expected("a subject, such as attribute:ecs.instance-type"));
                }
            },
        };
        let operator = self.operator()?;
        let test = self.test(&field, operator)?;
        Ok(Comparison { field, test })
    }

    fn operator(&mut self) -> Result<&'static str, ExpressionError> {
        for (symbol, word) in OPERATORS {
            if symbol.ends_with(|last: char| last.is_ascii_alphabetic()) {
                if self.word(symbol) {
                    return Ok(word);
                }
            } else if self.symbol(symbol) {
                return Ok(word);
            }
        }
        for (_, word) in OPERATORS {
            if self.word(word) {
                return Ok(word);
            }
        }
        Err(self.expected("an operator"))
    }

    fn test(&mut self, field: &Field, operator: &str) -> Result<Test, ExpressionError> {
        let ordered = matches!(field, Field::AgentVersion | Field::RegisteredAt | Field::RunningTasksCount);
        let order = match operator {
            "equals" => Some(Order::Equal),
            "not_equals" => Some(Order::NotEqual),
            "greater_than" => Some(Order::Greater),
            "greater_than_equal" => Some(Order::GreaterOrEqual),
            "less_than" => Some(Order::Less),
            "less_than_equal" => Some(Order::LessOrEqual),
            _ => None,
        };
        let refused = || {
            let (subject, operator) = (field.to_string(), operator.to_owned());
            Err(ExpressionError::Operator { subject, operator })
        };
        match (ordered, order, operator) {
            (true, Some(order), _) => {
                let argument = self.argument(false)?;
                Ok(Test::Compare(order, ordered_argument(field, argument)?))
            }
            (false, Some(Order::Equal), _) => Ok(Test::Equals(self.argument(false)?)),
            (false, Some(Order::NotEqual), _) => Ok(Test::NotEquals(self.argument(false)?)),
            (false, None, "in") => Ok(Test::In(self.list()?)),
            (false, None, "not_in") => Ok(Test::NotIn(self.list()?)),
            (false, None, "matches") => Ok(Test::Matches(pattern(&self.argument(false)?)?)),
            (false, None, "not_matches") => Ok(Test::NotMatches(pattern(&self.argument(false)?)?)),
            (false, None, "exists") if matches!(field, Field::Attribute(_)) => Ok(Test::Exists),
            (false, None, "not_exists") if matches!(field, Field::Attribute(_)) => Ok(Test::NotExists),
            _ => refused(),
        }
    }

    fn list(&mut self) -> Result<Vec<String>, ExpressionError> {
        if !self.symbol("[") {
            return Err(self.expected("`[`"));
        }
        let mut list = vec![self.argument(true)?];
        while self.symbol(",") {
            list.push(self.argument(true)?);
        }
        if self.symbol("]") { Ok(list) } else { Err(self.expected("`,` or `]`")) }
    }

    fn argument(&mut self, in_list: bool) -> Result<String, ExpressionError> {
        self.blanks();
        let Some(quote) = self.characters.get(self.at).copied().filter(|next| matches!(next, '"' | '\''))
        else {
            return self.bare("an argument", in_list);
        };
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.characters.get(self.at).copied() {
                None => return Err(self.expected("the closing quote")),
                Some(next) if next == quote => break,
                Some('\\') if self.characters.get(self.at + 1).is_some_and(|next| *next == quote) => {
                    text.push(quote);
                    self.at += 1;
                }
                Some(next) => text.push(next),
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(text)
    }

    /// A run of characters that need no quotes. Parentheses may stand in it as long as they pair up, and brackets
    /// outside of a list (a pattern has both).
    fn bare(&mut self, expected: &'static str, in_list: bool) -> Result<String, ExpressionError> {
        self.blanks();
        let mut text = String::new();
        let mut open = 0_usize;
        while let Some(next) = self.characters.get(self.at).copied() {
            let ends = next.is_whitespace()
                || matches!(next, '"' | '\'' | '=' | '!' | '<' | '>' | '&')
                || (in_list && matches!(next, ',' | '[' | ']'))
                || (next == '|' && self.characters.get(self.at + 1) == Some(&'|'))
                || (next == ')' && open == 0);
            if ends && (open == 0 || next.is_whitespace()) {
                break;
            }
            match next {
                '(' => open += 1,
                ')' => open = open.saturating_sub(1),
                _ => {}
            }
            text.push(next);
            self.at += 1;
        }
        if text.is_empty() { Err(self.expected(expected)) } else { Ok(text) }
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        self.blanks();
        let mut at = self.at;
        for wanted in symbol.chars() {
            if self.characters.get(at) != Some(&wanted) {
                return false;
            }
            at += 1;
        }
        self.at = at;
        true
    }

    /// A symbol that no letter, digit or the like may follow.
    fn word(&mut self, word: &str) -> bool {
        self.blanks();
        let start = self.at;
        let ends = |next: Option<&char>| {
            next.is_none_or(|next| !(next.is_alphanumeric() || matches!(next, '_' | ':' | '.' | '-')))
        };
        if self.symbol(word) && ends(self.characters.get(self.at)) {
            return true;
        }
        self.at = start;
        false
    }

    fn blanks(&mut self) {
        while self.characters.get(self.at).is_some_and(|next| next.is_whitespace()) {
            self.at += 1;
        }
    }

    fn expected(&self, expected: &'static str) -> ExpressionError {
        ExpressionError::Expected { expected, at: self.at }
    }
}

fn pattern(text: &str) -> Result<Regex, ExpressionError> {
    regex::RegexBuilder::new(&format!("^(?:{text})$"))
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES)
        .nest_limit(32)
        .build()
        .map_err(|_| ExpressionError::Argument { argument: text.to_owned(), expected: "a pattern" })
}

fn ordered_argument(field: &Field, argument: String) -> Result<Ordered, ExpressionError> {
    let (parsed, expected) = match field {
        Field::AgentVersion => (version(&argument).map(Ordered::Version), "a version such as 1.105.1"),
        Field::RegisteredAt => {
            (moment(&argument).map(Ordered::Moment), "a date such as 2018-06-18T22:28:28Z")
        }
        _ => (argument.parse().ok().map(Ordered::Count), "a number"),
    };
    parsed.ok_or(ExpressionError::Argument { argument, expected })
}

fn version(text: &str) -> Option<Vec<u64>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

/// `2018-06-18`, `2018-06-18T22:28:28`, and the latter with `Z` or an offset such as `+00:00`.
fn moment(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_once('T').map_or((text, None), |(date, rest)| (date, Some(rest)));
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    if date.next().is_some()
        || !(1970..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
    {
        return None;
    }
    let mut seconds = days_from_civil(year, month, day) * 86_400;
    if let Some(rest) = rest {
        let (clock, offset_seconds) = match rest.find(['Z', '+', '-']) {
            None => (rest, 0),
            Some(at) => {
                let (clock, offset) = rest.split_at(at);
                (clock, offset_of(offset)?)
            }
        };
        let mut clock = clock.split(':').map(|part| part.parse::<i64>().ok());
        let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
        if clock.next().is_some()
            || !(0..24).contains(&hour)
            || !(0..60).contains(&minute)
            || !(0..61).contains(&second)
        {
            return None;
        }
        seconds += hour * 3600 + minute * 60 + second - offset_seconds;
    }
    Some(Timestamp::from_millis(seconds * 1000))
}

fn offset_of(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    ((0..24).contains(&hours) && (0..60).contains(&minutes)).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Days since 1970-01-01 of a civil date, by Howard Hinnant's algorithm (public domain).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::tests::instance;
    use proptest::prelude::*;

    fn selects(text: &str) -> bool {
        let mut container_instance = instance(1, 1024, 1024);
        container_instance.agent_connected = true;
        container_instance.ec2_instance_id = "i-0abc".into();
        container_instance.version_info.agent_version = Some("1.105.1".into());
        container_instance.registered_at = Timestamp::from_millis(1_529_360_908_000); // 2018-06-18T22:28:28Z
        container_instance.attributes = vec![
            domain::Attribute { name: "ecs.instance-type".into(), value: Some("g2.xlarge".into()) },
            domain::Attribute { name: "stack".into(), value: None },
        ];
        let groups = ["family:web".to_owned(), "database".to_owned()];
        let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        expression.selects(Subject {
            container_instance: &container_instance,
            groups: &groups,
            running_tasks: 2,
        })
    }

    #[test]
    fn every_form_in_the_documentation() {
        for text in [
            "attribute:ecs.instance-type == g2.xlarge",
            "attribute:ecs.instance-type =~ g2.* and runningTasksCount == 2",
            "attribute:ecs.instance-type in [t2.small, g2.xlarge]",
            "attribute:ecs.instance-type =~ g2.* && attribute:ecs.instance-type != g2.2xlarge",
            "attribute:ecs.instance-type !~ t2.*",
            "attribute:ecs.instance-type matches \"(g2|t2)\\..*\"",
            "attribute:ecs.instance-type =~ (g2|t2)[.]xlarge",
            "attribute:stack exists",
            "attribute:prod !exists",
            "attribute:prod not_exists",
            "attribute:prod != yes",
            "task:group == database",
            "not(task:group == cache)",
            "!(task:group == cache) and (agentConnected == true or agentConnected == false)",
            "task:group in [cache, 'family:web']",
            "agentVersion >= 1.9.0",
            "agentVersion less_than 1.200",
            "ec2InstanceId in ['i-0abc', 'i-other']",
            "ec2InstanceId !in [i-other]",
            "registeredAt == 2018-06-18T22:28:28Z",
            "registeredAt == 2018-06-18T23:28:28+01:00",
            "registeredAt > 2018-06-18",
            "registeredAt <= 2018-06-18T22:28:28",
            "runningTasksCount greater_than_equal 2",
            "runningTasksCount < 3 || runningTasksCount > 5",
        ] {
            assert!(selects(text), "{text}");
        }
        for text in
            ["attribute:ecs.instance-type =~ g2", "task:group != database", "not attribute:stack exists"]
        {
            assert!(!selects(text), "{text}");
        }
    }

    #[test]
    fn odd_texts_are_refused() {
        let deep = format!("{}agentConnected == true{}", "(".repeat(40), ")".repeat(40));
        let long = "a".repeat(2001);
        for text in [
            "",
            " ",
            "attribute:",
            "attribute:a",
            "attribute:a ==",
            "attribute:a == b c",
            "colour == red",
            "attribute:a in []",
            "attribute:a in [b",
            "attribute:a =~ (",
            "attribute:a =~ (a{1000}){1000}",
            "attribute:a > 3",
            "registeredAt == yesterday",
            "registeredAt in [2018-06-18]",
            "runningTasksCount == many",
            "agentConnected exists",
            "(agentConnected == true",
            "attribute:a == 'b",
            deep.as_str(),
            long.as_str(),
        ] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z:.!=~<>&|()\\[\\],'\" \\\\0-9é-]{0,60}") {
            let _ = Expression::parse(&text);
        }
    }
}
