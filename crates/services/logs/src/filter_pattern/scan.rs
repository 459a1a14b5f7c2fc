//! A cursor over a pattern's text.

use super::PatternError;

pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Regular expressions met so far.
    pub regexes: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, regexes: 0 }
    }

    /// What is not read yet, spaces included.
    pub(crate) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    pub(crate) fn at_end(&mut self) -> bool {
        self.skip_spaces();
        self.rest().is_empty()
    }

    /// Reads `symbol`, after spaces, if it stands here.
    pub(crate) fn take(&mut self, symbol: &str) -> bool {
        self.skip_spaces();
        let there = self.rest().starts_with(symbol);
        if there {
            self.at += symbol.len();
        }
        there
    }

    pub(crate) fn expect(&mut self, symbol: &str, name: &'static str) -> Result<(), PatternError> {
        if self.take(symbol) { Ok(()) } else { Err(self.expected(name)) }
    }

    pub(crate) fn expected(&self, expected: &'static str) -> PatternError {
        PatternError::Expected { expected, at: self.at }
    }

    /// Reads `word`, in any case, if it stands here as a whole word.
    pub(crate) fn take_word(&mut self, word: &str) -> bool {
        self.skip_spaces();
        let rest = self.rest();
        let length = rest.find(|char: char| !char.is_alphanumeric()).unwrap_or(rest.len());
        let there = rest.get(..length).is_some_and(|found| found.eq_ignore_ascii_case(word));
        if there {
            self.at += length;
        }
        there
    }

    /// Reads characters for as long as `belongs` says so; may be empty.
    pub(crate) fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|char| !belongs(char)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// Reads a text in double quotes, whose opening one is read already; a backslash stands before a quote or a backslash.
    pub(crate) fn quoted(&mut self) -> Result<String, PatternError> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((index, char)) = chars.next() {
            match char {
                '"' => {
                    self.at += index + 1;
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    Some((_, other)) => text.extend(['\\', other]),
                    None => text.push('\\'),
                },
                other => text.push(other),
            }
        }
        Err(self.expected("a closing '\"'"))
    }

    /// Reads up to the closing percent sign of a regular expression, whose opening one is read already.
    pub(crate) fn regex_text(&mut self) -> Result<&'a str, PatternError> {
        let rest = self.rest();
        let length = rest.find('%').ok_or_else(|| self.expected("a closing '%'"))?;
        self.at += length + 1;
        self.regexes += 1;
        Ok(rest.get(..length).unwrap_or_default())
    }
}
