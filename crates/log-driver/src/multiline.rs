//! Where a multi-line event begins: `awslogs-multiline-pattern` and `awslogs-datetime-format`.

use log_spool::OptionError;
use regex::bytes::{Regex, RegexBuilder};

/// Memory of one compiled pattern. Ours: a task definition is hostile input.
const PATTERN_BYTES_MAXIMUM: usize = 1 << 20;
/// Characters of a pattern. Ours.
const PATTERN_CHARACTERS_MAXIMUM: usize = 4096;

/// A line that matches begins an event; the lines behind it that do not match belong to it.
#[derive(Clone, Debug)]
pub struct MultilinePattern(Regex);

impl PartialEq for MultilinePattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}
impl Eq for MultilinePattern {}

impl MultilinePattern {
    /// From the value of `awslogs-multiline-pattern`: a regular expression.
    pub fn parse(value: &str) -> Result<Self, OptionError> {
        compile("awslogs-multiline-pattern", value)
    }

    /// From the value of `awslogs-datetime-format`: directives of Python's strftime; what stands between them is a
    /// regular expression too, as with Docker.
    pub fn parse_datetime_format(value: &str) -> Result<Self, OptionError> {
        const OPTION: &str = "awslogs-datetime-format";
        let mut pattern = String::new();
        let mut chars = value.chars();
        while let Some(char) = chars.next() {
            if char != '%' {
                pattern.push(char);
                continue;
            }
            let directive = chars.next();
            let Some(expression) = directive.and_then(directive_expression) else {
                let shown: String = directive.into_iter().collect();
                return Err(OptionError::invalid(OPTION, format!("unsupported directive '%{shown}'")));
            };
            pattern.push_str(expression);
        }
        compile(OPTION, &pattern)
    }

    /// Whether `line` begins an event.
    pub fn begins(&self, line: &[u8]) -> bool {
        self.0.is_match(line)
    }
}

fn compile(option: &str, pattern: &str) -> Result<MultilinePattern, OptionError> {
    if pattern.is_empty() || pattern.len() > PATTERN_CHARACTERS_MAXIMUM {
        return Err(OptionError::invalid(option, "the pattern is empty or too long"));
    }
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAXIMUM).build().map(MultilinePattern).map_err(
        |error| {
            OptionError::invalid(option, format!("could not parse multiline pattern '{pattern}': {error}"))
        },
    )
}

/// What a strftime directive matches. Source: "Amazon CloudWatch Logs logging driver", Docker.
fn directive_expression(directive: char) -> Option<&'static str> {
    Some(match directive {
        'a' => "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)",
        'A' => "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)",
        'b' => "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)",
        'B' => "(?:January|February|March|April|May|June|July|August|September|October|November|December)",
        'w' => "[0-6]",
        'd' | 'H' | 'I' | 'm' | 'M' | 'S' | 'y' => "[0-9]{2}",
        'Y' => "[0-9]{4}",
        'j' => "[0-9]{3}",
        'f' => "[0-9]{6}",
        'L' => r"\.[0-9]{3}",
        'p' => "[AP]M",
        'z' => "[+-][0-9]{4}",
        'Z' => "[A-Z]{1,4}T",
        '%' => "%",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datetime_formats_find_their_lines() {
        for (format, line) in [
            ("%Y-%m-%d %H:%M:%S", "2026-11-22 14:40:17 started"),
            (r"\[%b %d, %Y %H:%M:%S\]", "[Nov 22, 2026 14:40:17] started"),
            ("%A %d %B %y %I:%M %p", "Sunday 22 November 26 02:40 PM"),
            ("%H:%M:%S%L %z", "14:40:17.123 +0100"),
            ("%j %f %w 100%%", "326 123456 0 100%"),
            ("%a %Z", "Sun CEST"),
        ] {
            let pattern = MultilinePattern::parse_datetime_format(format).unwrap();
            assert!(pattern.begins(line.as_bytes()), "{format}");
            assert!(!pattern.begins(b"  at com.example.Main(Main.java:1)"), "{format}");
        }
    }

    #[test]
    fn bad_patterns_are_refused_with_the_options_name() {
        for (error, option) in [
            (MultilinePattern::parse("("), "awslogs-multiline-pattern"),
            (MultilinePattern::parse(""), "awslogs-multiline-pattern"),
            (MultilinePattern::parse(&"a".repeat(5000)), "awslogs-multiline-pattern"),
            (MultilinePattern::parse("((a{1000}){1000}){1000}"), "awslogs-multiline-pattern"),
            (MultilinePattern::parse_datetime_format("%Q"), "awslogs-datetime-format"),
            (MultilinePattern::parse_datetime_format("%Y %"), "awslogs-datetime-format"),
        ] {
            assert!(error.unwrap_err().to_string().contains(option));
        }
    }
}
