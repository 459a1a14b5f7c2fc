//! What the model says of a request, checked before the operation sees it, in AWS's words.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use regex::Regex;

use crate::fault::Fault;
use crate::schema::{Constraints, Kind, Member, ServiceSchema, StructureSchema, Validation};
use crate::shape::{Shape, View};

/// At most so many violations are looked for and told.
const VIOLATIONS_MAXIMUM: usize = 10;
/// A value longer than this is not repeated in a message.
const VALUE_SHOWN_MAXIMUM: usize = 256;

/// Checks `input` against its model.
pub fn check(service: &ServiceSchema, input: &dyn Shape) -> Result<(), Fault> {
    let mut checker = Checker { violations: Vec::new(), path: Vec::new(), hidden: false };
    checker.structure(input);
    let Some(first) = checker.violations.first() else { return Ok(()) };
    match service.validation {
        Validation::Coral(code) => Err(Fault::new(code, coral(&checker.violations), 400)),
        Validation::Ec2 => Err(ec2(first)),
    }
}

fn coral(violations: &[Violation]) -> String {
    let texts: Vec<String> = violations
        .iter()
        .map(|violation| {
            let value = match &violation.value {
                Value::Absent => " null".to_owned(),
                Value::Hidden => String::new(),
                Value::Shown(text) => format!(" '{text}'"),
            };
            format!(
                "Value{value} at '{}' failed to satisfy constraint: {}",
                coral_path(&violation.path),
                violation.rule.text()
            )
        })
        .collect();
    let count = violations.len();
    let errors = if count == 1 { "error" } else { "errors" };
    format!("{count} validation {errors} detected: {}", texts.join("; "))
}

/// Coral tells members as its Java beans have them: `DefaultActions.1.member.Type` is `defaultActions.1.member.type`.
fn coral_path(path: &str) -> String {
    let lower_first = |segment: &str| {
        let mut letters = segment.chars();
        letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect::<String>()
    };
    path.split('.').map(lower_first).collect::<Vec<_>>().join(".")
}

fn ec2(violation: &Violation) -> Fault {
    let name = &violation.parameter;
    let value = match &violation.value {
        Value::Absent => {
            return Fault::new(
                "MissingParameter",
                format!("The request must contain the parameter {name}"),
                400,
            );
        }
        Value::Hidden => "",
        Value::Shown(text) => text,
    };
    let expecting = match &violation.rule {
        Rule::ValueAtMost(bound) => format!(" Expecting a value less than or equal to {bound}."),
        Rule::ValueAtLeast(bound) => format!(" Expecting a value greater than or equal to {bound}."),
        _ => String::new(),
    };
    let text = format!("Value ( {value} ) for parameter {name} is invalid.{expecting}");
    Fault::new("InvalidParameterValue", text, 400)
}

struct Violation {
    /// Coral's path: `tags.1.member.key`.
    path: String,
    /// The last member's name, as ec2Query spells it.
    parameter: String,
    value: Value,
    rule: Rule,
}

enum Value {
    Absent,
    /// Sensitive, too long, or no text.
    Hidden,
    Shown(String),
}

enum Rule {
    NotNull,
    LengthAtMost(f64),
    LengthAtLeast(f64),
    ValueAtMost(f64),
    ValueAtLeast(f64),
    Pattern(&'static str),
    Enumeration(&'static [&'static str]),
    OneMember,
}

impl Rule {
    fn text(&self) -> String {
        match self {
            Self::NotNull => "Member must not be null".to_owned(),
            Self::LengthAtMost(bound) => format!("Member must have length less than or equal to {bound}"),
            Self::LengthAtLeast(bound) => format!("Member must have length greater than or equal to {bound}"),
            Self::ValueAtMost(bound) => format!("Member must have value less than or equal to {bound}"),
            Self::ValueAtLeast(bound) => format!("Member must have value greater than or equal to {bound}"),
            Self::Pattern(pattern) => format!("Member must satisfy regular expression pattern: {pattern}"),
            Self::Enumeration(values) => {
                format!("Member must satisfy enum value set: [{}]", values.join(", "))
            }
            Self::OneMember => "Member must have exactly one union value".to_owned(),
        }
    }
}

struct Checker {
    violations: Vec<Violation>,
    path: Vec<String>,
    /// Within something sensitive: values are not repeated.
    hidden: bool,
}

impl Checker {
    fn full(&self) -> bool {
        self.violations.len() >= VIOLATIONS_MAXIMUM
    }

    fn violation(&mut self, member: &Member, value: Value, rule: Rule) {
        if !self.full() {
            let parameter = crate::protocol::query::ec2_name(member);
            self.violations.push(Violation { path: self.path.join("."), parameter, value, rule });
        }
    }

    fn structure(&mut self, shape: &dyn Shape) {
        static EMPTY: StructureSchema = StructureSchema { members: &[], union: false, payload: None };
        let schema = shape.schema().structure().unwrap_or(&EMPTY);
        for (index, member) in schema.members.iter().enumerate() {
            if self.full() {
                return;
            }
            self.path.push(member.name.to_owned());
            match shape.member(index) {
                Some(view) => self.member(member, view),
                None if member.required => self.violation(member, Value::Absent, Rule::NotNull),
                None => {}
            }
            self.path.pop();
        }
    }

    fn member(&mut self, member: &Member, view: View<'_>) {
        let outer = self.hidden;
        self.hidden |= member.sensitive();
        self.value(member, view);
        self.hidden = outer;
    }

    fn value(&mut self, member: &Member, view: View<'_>) {
        let constraints = &member.shape.constraints;
        match view {
            View::String(text) => self.text(member, constraints, text),
            View::Integer(value) => self.number(member, constraints, f64::from(value)),
            View::Long(value) => self.number(member, constraints, value as f64),
            View::Float(value) => self.number(member, constraints, f64::from(value)),
            View::Double(value) => self.number(member, constraints, value),
            View::Blob(bytes) => self.length(member, constraints, bytes.len(), || Value::Hidden),
            View::List(list) => {
                let shown = || if list.count() == 0 { Value::Shown("[]".to_owned()) } else { Value::Hidden };
                self.length(member, constraints, list.count(), shown);
                let Kind::List(element) = member.shape.kind else { return };
                for index in 0..list.count() {
                    if self.full() {
                        return;
                    }
                    if let Some(view) = list.item(index) {
                        self.within(&[(index + 1).to_string(), "member".to_owned()], element, view);
                    }
                }
            }
            View::Map(map) => {
                let shown = || if map.count() == 0 { Value::Shown("{}".to_owned()) } else { Value::Hidden };
                self.length(member, constraints, map.count(), shown);
                let Kind::Map(key_member, value_member) = member.shape.kind else { return };
                for (key, view) in map.entries() {
                    if self.full() {
                        return;
                    }
                    self.within(&["key".to_owned()], key_member, View::String(key));
                    if let Some(view) = view {
                        let segment = if shown_whole(key) && !self.hidden { key } else { "value" };
                        self.within(&[segment.to_owned(), "member".to_owned()], value_member, view);
                    }
                }
            }
            View::Structure(shape) => {
                let schema = shape.schema().structure();
                if let Some(schema) = schema.filter(|schema| schema.union) {
                    let present =
                        (0..schema.members.len()).filter(|index| shape.member(*index).is_some()).count();
                    if present != 1 {
                        self.violation(member, Value::Hidden, Rule::OneMember);
                    }
                }
                self.structure(shape);
            }
            View::Boolean(_) | View::Timestamp(_) | View::Document(_) => {}
        }
    }

    fn within(&mut self, segments: &[String], member: &Member, view: View<'_>) {
        let before = self.path.len();
        self.path.extend_from_slice(segments);
        self.member(member, view);
        self.path.truncate(before);
    }

    fn length(
        &mut self,
        member: &Member,
        constraints: &Constraints,
        length: usize,
        value: impl Fn() -> Value,
    ) {
        let length = length as f64;
        if let Some(bound) = constraints.minimum.filter(|bound| length < *bound) {
            self.violation(member, value(), Rule::LengthAtLeast(bound));
        }
        if let Some(bound) = constraints.maximum.filter(|bound| length > *bound) {
            self.violation(member, value(), Rule::LengthAtMost(bound));
        }
    }

    fn number(&mut self, member: &Member, constraints: &Constraints, number: f64) {
        let hidden = self.hidden;
        let shown = || if hidden { Value::Hidden } else { Value::Shown(number.to_string()) };
        if let Some(bound) = constraints.minimum.filter(|bound| number < *bound) {
            self.violation(member, shown(), Rule::ValueAtLeast(bound));
        }
        if let Some(bound) = constraints.maximum.filter(|bound| number > *bound) {
            self.violation(member, shown(), Rule::ValueAtMost(bound));
        }
    }

    fn text(&mut self, member: &Member, constraints: &Constraints, text: &str) {
        let hidden = self.hidden || !shown_whole(text);
        let shown = || {
            if hidden { Value::Hidden } else { Value::Shown(text.to_owned()) }
        };
        self.length(member, constraints, text.chars().count(), shown);
        if !constraints.values.is_empty() && !constraints.values.contains(&text) {
            self.violation(member, shown(), Rule::Enumeration(constraints.values));
        }
        if let Some(pattern) = constraints.pattern
            && compiled(pattern).is_some_and(|regex| !regex.is_match(text))
        {
            self.violation(member, shown(), Rule::Pattern(pattern));
        }
    }
}

/// Whether a text may be repeated in a message: short, and no control characters.
fn shown_whole(text: &str) -> bool {
    text.len() <= VALUE_SHOWN_MAXIMUM && !text.chars().any(char::is_control)
}

type Cache = HashMap<&'static str, Option<Arc<Regex>>>;

/// The model's pattern as a regular expression over the whole text; `None` if it cannot be expressed (a test in crate
/// `api` says that there is none such in the models we serve).
pub fn compiled(pattern: &'static str) -> Option<Arc<Regex>> {
    static COMPILED: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    compiled
        .entry(pattern)
        .or_insert_with(|| Regex::new(&format!(r"\A(?:{})\z", translated(pattern))).ok().map(Arc::new))
        .clone()
}

/// Java's dialect to ours: `\w`, `\d` and `\s` are ASCII there, and a hyphen behind one of them in a class is itself.
fn translated(pattern: &str) -> String {
    let mut output = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                let Some(escaped) = chars.next() else { break };
                let set = match escaped {
                    'w' => "A-Za-z0-9_",
                    'd' => "0-9",
                    's' => r" \t\n\x0B\f\r",
                    _ => "",
                };
                if set.is_empty() {
                    output.push('\\');
                    output.push(escaped);
                    continue;
                }
                if in_class {
                    output.push_str(set);
                    if chars.next_if_eq(&'-').is_some() {
                        output.push_str(r"\-");
                    }
                } else {
                    output.push('[');
                    output.push_str(set);
                    output.push(']');
                }
            }
            '[' if !in_class => {
                in_class = true;
                output.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    output.push('^');
                }
            }
            '[' => output.push_str(r"\["),
            ']' => {
                in_class = false;
                output.push(']');
            }
            other => output.push(other),
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ShapeSchema, Traits};

    #[derive(Clone, Default, PartialEq)]
    struct Login {
        inner: Option<Box<Login>>,
        password: Option<String>,
        user: Option<String>,
    }
    crate::structure!(Login: &LOGIN; 0 inner, 1 password, 2 user);

    static TEXT: ShapeSchema = ShapeSchema {
        name: "Text",
        kind: Kind::String,
        traits: Traits::NONE,
        constraints: Constraints { maximum: Some(3.0), ..Constraints::NONE },
    };
    static LOGIN: ShapeSchema = ShapeSchema {
        name: "Login",
        kind: Kind::Structure(&StructureSchema {
            members: &[
                Member { name: "inner", shape: &LOGIN, traits: HIDDEN, required: false },
                Member { name: "password", shape: &TEXT, traits: HIDDEN, required: false },
                Member { name: "user", shape: &TEXT, traits: Traits::NONE, required: true },
            ],
            union: false,
            payload: None,
        }),
        traits: Traits::NONE,
        constraints: Constraints::NONE,
    };
    const HIDDEN: Traits = Traits { sensitive: true, ..Traits::NONE };

    fn service(validation: Validation) -> ServiceSchema {
        ServiceSchema {
            name: "test",
            service_id: "Test",
            api_version: "1",
            protocols: &[],
            target_prefix: "",
            xml_namespace: None,
            query_compatible: false,
            validation,
            operations: &[],
        }
    }

    #[test]
    fn secrets_are_not_repeated() {
        let inner = Login { user: Some("secret user".to_owned()), ..Login::default() };
        let login = Login {
            inner: Some(Box::new(inner)),
            password: Some("secret".to_owned()),
            user: Some("open".to_owned()),
        };
        let fault = check(&service(Validation::Coral("ValidationException")), &login).unwrap_err();
        assert_eq!(
            fault.message(),
            "3 validation errors detected: \
             Value at 'inner.user' failed to satisfy constraint: Member must have length less than or equal to 3; \
             Value at 'password' failed to satisfy constraint: Member must have length less than or equal to 3; \
             Value 'open' at 'user' failed to satisfy constraint: Member must have length less than or equal to 3"
        );
        assert_eq!(
            format!("{login:?}"),
            r#"Login { inner: <sensitive>, password: <sensitive>, user: "open" }"#
        );
        let fault = check(&service(Validation::Ec2), &Login::default()).unwrap_err();
        assert_eq!(
            (fault.code(), fault.message()),
            ("MissingParameter", "The request must contain the parameter User")
        );
    }

    #[test]
    fn patterns_are_javas() {
        assert!(compiled(r"[\w-_]*").unwrap().is_match("a-b_c"));
        assert!(!compiled(r"[\w-_]*").unwrap().is_match("é"));
        assert!(compiled(r"^\d{12}$").unwrap().is_match("123456789012"));
        assert!(!compiled(r"[^:*]*").unwrap().is_match("a:b"));
        assert!(compiled(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)").unwrap().is_match("é-1 @"));
        assert!(!compiled(r"\S{2,4}").unwrap().is_match("a b"));
    }
}
