//! Patterns of rule conditions: `*` is any number of characters, `?` exactly one.
//! Source: "Rule conditions for your Application Load Balancer".

use regex::{Regex, RegexBuilder};

/// Bytes that a compiled regular expression may take.
const REGEX_BYTES: usize = 256 * 1024;

/// A pattern, ready to match in time proportional to text times stars.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Vec<u8>,
    ignore_case: bool,
    is_literal: bool,
    /// Nothing but a star at the end.
    is_prefix: bool,
    regex: Option<Regex>,
}

impl Pattern {
    /// A pattern that minds case (paths).
    pub fn new(text: &str) -> Self {
        Self::with(text, false)
    }

    /// A pattern that does not (hosts, header values, query strings).
    pub fn ignoring_case(text: &str) -> Self {
        Self::with(text, true)
    }

    fn with(text: &str, ignore_case: bool) -> Self {
        let text = if ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
        let is_prefix = text.strip_suffix('*').is_some_and(|start| !start.contains(['*', '?', '\\']));
        let is_literal = !text.contains(['*', '?', '\\']);
        Self { is_literal, is_prefix, text: text.into_bytes(), ignore_case, regex: None }
    }

    /// A regular expression; what it finds anywhere in a text counts. `None` where it is none, or one that is too large.
    pub fn regex(text: &str, ignore_case: bool) -> Option<Self> {
        let regex = RegexBuilder::new(text).case_insensitive(ignore_case).size_limit(REGEX_BYTES).build();
        Some(Self {
            text: text.into(),
            ignore_case,
            is_literal: false,
            is_prefix: false,
            regex: Some(regex.ok()?),
        })
    }

    /// Whether all of `text` matches. `\*` and `\?` stand for themselves, and so does `\\`.
    pub fn matches(&self, text: &str) -> bool {
        if let Some(regex) = &self.regex {
            return regex.is_match(text);
        }
        let text = text.as_bytes();
        if self.is_literal {
            return if self.ignore_case { text.eq_ignore_ascii_case(&self.text) } else { text == self.text };
        }
        if self.is_prefix {
            let prefix = &self.text[..self.text.len() - 1];
            let start = text.get(..prefix.len());
            return start.is_some_and(|start| {
                if self.ignore_case { start.eq_ignore_ascii_case(prefix) } else { start == prefix }
            });
        }
        self.glob(text)
    }

    fn one(&self, at: usize, byte: u8) -> Option<usize> {
        let byte = if self.ignore_case { byte.to_ascii_lowercase() } else { byte };
        match *self.text.get(at)? {
            b'?' => Some(at + 1),
            b'\\' if matches!(self.text.get(at + 1), Some(b'*' | b'?' | b'\\')) => {
                (self.text[at + 1] == byte).then_some(at + 2)
            }
            other => (other == byte).then_some(at + 1),
        }
    }

    /// Greedy with one remembered star: the last star takes in one more byte at each mismatch.
    fn glob(&self, text: &[u8]) -> bool {
        let (mut at, mut position) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while position < text.len() {
            if self.text.get(at) == Some(&b'*') {
                at += 1;
                star = Some((at, position));
            } else if let Some(next) = self.one(at, text[position]) {
                at = next;
                position += 1;
            } else if let Some((after, from)) = star {
                at = after;
                position = from + 1;
                star = Some((after, position));
            } else {
                return false;
            }
        }
        self.text[at..].iter().all(|byte| *byte == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, wanted) in [
            ("/api/*", "/api/", true),
            ("/api/*", "/api", false),
            ("/api*", "/api/x/y", true),
            ("/img/?.png", "/img/a.png", true),
            ("/img/?.png", "/img/ab.png", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c*", "xxaxxcxxbxx", false),
            ("/x\\*y", "/x*y", true),
            ("/x\\*y", "/xzy", false),
            ("\\\\*", "\\a", true),
            ("\\\\", "\\", true),
            ("\\a", "\\a", true),
            ("*", "", true),
            ("", "", true),
            ("?", "", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), wanted, "{pattern} {text}");
        }
        assert!(Pattern::ignoring_case("WWW.Example.com").matches("www.EXAMPLE.com"));
        assert!(!Pattern::new("/A").matches("/a"));
        assert!(
            Pattern::ignoring_case("API.*").matches("api.example.com")
                && !Pattern::new("API.*").matches("api.a")
        );
    }

    #[test]
    fn regular_expressions() {
        let pattern = Pattern::regex("^/v[0-9]+/", false).unwrap();
        assert!(pattern.matches("/v12/x") && !pattern.matches("/V1/x") && !pattern.matches("/x/v1/"));
        assert!(Pattern::regex("example\\.com$", true).unwrap().matches("www.EXAMPLE.com"));
        assert!(Pattern::regex("(", false).is_none() && Pattern::regex("(a{1000}){1000}", false).is_none());
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = Pattern::new(&format!("{}b", "*a".repeat(200)));
        assert!(!pattern.matches(&"a".repeat(20_000)));
    }
}
