//! Conditions on events whose fields are parted by spaces: `[ip, user, ..., status = 4* || status = 5*, size > 1000]`.

use super::scan::Scanner;
use super::value::{Test, number};
use super::{Condition, PatternError};

/// What is said of one field.
#[derive(Clone, Debug)]
enum Field {
    /// It is there.
    Any,
    /// It is there and the condition holds.
    Such(Condition<Test>),
    /// Any number of fields.
    Ellipsis,
}

#[derive(Clone, Debug)]
pub(crate) struct Delimited {
    before: Vec<Field>,
    /// What follows the ellipsis; `None`: there is none, and an event has exactly the fields `before`.
    behind: Option<Vec<Field>>,
}

impl Delimited {
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut scanner = Scanner::new(text);
        scanner.expect("[", "'['")?;
        let mut fields = Vec::new();
        if !scanner.take("]") {
            loop {
                fields.push(field(&mut scanner)?);
                if scanner.take("]") {
                    break;
                }
                scanner.expect(",", "',' or ']'")?;
            }
        }
        if !scanner.at_end() {
            return Err(scanner.expected("the end"));
        }
        let mut parts = fields.split(|field| matches!(field, Field::Ellipsis));
        let before = parts.next().unwrap_or_default().to_vec();
        let behind = parts.next().map(<[Field]>::to_vec);
        if parts.next().is_some() {
            return Err(PatternError::Fields("there is more than one ellipsis"));
        }
        Ok(Self { before, behind })
    }

    pub(crate) fn matches(&self, message: &str) -> bool {
        let fields = split(message);
        let Some(behind) = &self.behind else {
            return fields.len() == self.before.len() && all_hold(&self.before, &fields);
        };
        let Some(last_start) = fields.len().checked_sub(behind.len()) else { return false };
        let (head, tail) = fields.split_at(last_start);
        head.len() >= self.before.len() && all_hold(&self.before, head) && all_hold(behind, tail)
    }
}

fn all_hold(fields: &[Field], texts: &[&str]) -> bool {
    fields.iter().zip(texts).all(|(field, text)| match field {
        Field::Any | Field::Ellipsis => true,
        Field::Such(condition) => condition.holds(&|test| test.holds_for(text, number(text))),
    })
}

fn field(scanner: &mut Scanner<'_>) -> Result<Field, PatternError> {
    if scanner.take("...") {
        return Ok(Field::Ellipsis);
    }
    let mut field_name: Option<String> = None;
    let mut named_only = false;
    let condition = Condition::parse(scanner, 0, &mut |scanner| {
        scanner.skip_spaces();
        let name = scanner.take_while(|char| !char.is_whitespace() && !"=!<>()[]{}&|,\"%".contains(char));
        if name.is_empty() {
            return Err(scanner.expected("a field's name"));
        }
        match &field_name {
            Some(other) if other != name => {
                return Err(PatternError::Fields("one condition speaks of two fields"));
            }
            Some(_) if named_only => return Err(scanner.expected("',' or ']'")),
            Some(_) => {}
            None => field_name = Some(name.to_owned()),
        }
        scanner.skip_spaces();
        if scanner.rest().starts_with([',', ']']) {
            named_only = true;
            return Ok(None);
        }
        Test::parse(scanner, &['(', ')', '&', '|', '[', ']', ',', '"', '%']).map(Some)
    })?;
    match (named_only, condition) {
        (true, Condition::One(None)) => Ok(Field::Any),
        (true, _) => Err(scanner.expected("an operator")),
        (false, condition) => {
            complete(condition).map(Field::Such).ok_or_else(|| scanner.expected("an operator"))
        }
    }
}

/// The condition, if every part of it has a test.
fn complete(condition: Condition<Option<Test>>) -> Option<Condition<Test>> {
    let all =
        |parts: Vec<Condition<Option<Test>>>| parts.into_iter().map(complete).collect::<Option<Vec<_>>>();
    Some(match condition {
        Condition::Any(parts) => Condition::Any(all(parts)?),
        Condition::All(parts) => Condition::All(all(parts)?),
        Condition::One(test) => Condition::One(test?),
    })
}

/// Splits at spaces; what stands in brackets or double quotes is one field, without them.
///
/// Linear: once a closing character was looked for in vain, it is not looked for again.
fn split(message: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut rest = message.trim_start();
    let mut open_for_good = [false; 2];
    while !rest.is_empty() {
        let enclosed =
            [('[', ']'), ('"', '"')].iter().zip(&mut open_for_good).find_map(|((open, close), in_vain)| {
                let inside = rest.strip_prefix(*open).filter(|_| !*in_vain)?;
                let found = inside.split_once(*close);
                *in_vain = found.is_none();
                found
            });
        let (field, behind) =
            enclosed.unwrap_or_else(|| rest.split_once(char::is_whitespace).unwrap_or((rest, "")));
        fields.push(field);
        rest = behind.trim_start();
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_quotes_hold_fields_together() {
        let line = r#"127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /apache_pb.gif HTTP/1.0" 200 1534"#;
        assert_eq!(
            split(line),
            [
                "127.0.0.1",
                "-",
                "frank",
                "10/Oct/2000:13:25:15 -0700",
                "GET /apache_pb.gif HTTP/1.0",
                "200",
                "1534"
            ]
        );
        assert_eq!(split("  a  [b \"c d"), ["a", "[b", "\"c", "d"]);
        assert!(split(" ").is_empty());
        let many = "[ ".repeat(200_000);
        assert_eq!(split(&many).len(), 200_000);
    }
}
