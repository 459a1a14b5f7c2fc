//! Keys: where a row stands in its table, and the prefixes under which rows are listed.

use std::fmt;
use std::sync::Arc;

use base::Scope;

/// Ends every part. Sorts before every other character, so that `["a"]` and its children stand before `["a!"]`.
const END: char = '\0';
/// Stands before an escaped [`END`] or [`ESCAPE`] within a part.
const ESCAPE: char = '\u{1}';
const ESCAPED_END: char = '\u{1}';
const ESCAPED_ESCAPE: char = '\u{2}';

/// The place of a row within its table: a list of text parts, ordered part by part.
///
/// Every part is ended by a character that cannot stand within a part, so `["ab", "c"]` and `["a", "bc"]` differ,
/// and the key of `["a"]` is a prefix of `["a", "b"]` but not of `["ab"]`. Parts may hold any text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The key of a row that belongs to an account and region.
    pub fn new(scope: &Scope, parts: &[&str]) -> Self {
        Self(encode(Some(scope), parts).into())
    }

    /// The key of a row that belongs to no account, such as an access key. Never equal to a scoped key.
    pub fn global(parts: &[&str]) -> Self {
        let mut text = String::from(END);
        push_parts(&mut text, parts);
        Self(text.into())
    }

    /// All scoped keys that begin with `parts`, as for [`Prefix::new`].
    pub fn prefix(scope: &Scope, parts: &[&str]) -> Prefix {
        Prefix::new(scope, parts)
    }

    /// A key made of `parts` alone: what index entries are ordered by.
    pub(crate) fn bare(parts: &[&str]) -> Self {
        Self(encode(None, parts).into())
    }

    /// The text form, which orders as the key does. Goes into page tokens.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key whose text form is `text`. Any text will do: one that is no row's key finds no row, and serves
    /// as well as another as the place after which a page starts.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The parts, unescaped: for a scoped key account and region come first, for a global one an empty part.
    pub fn parts(&self) -> Vec<String> {
        let mut parts = Vec::new();
        let mut part = String::new();
        let mut characters = self.0.chars();
        while let Some(character) = characters.next() {
            match character {
                END => parts.push(std::mem::take(&mut part)),
                ESCAPE => part.push(if characters.next() == Some(ESCAPED_END) { END } else { ESCAPE }),
                other => part.push(other),
            }
        }
        parts
    }
}

impl fmt::Display for Key {
    /// The parts joined by `/`: for messages, not to be read back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts().join("/"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// A set of keys: those that begin with the same parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// All keys of a table.
    pub fn everything() -> Self {
        Self(String::new())
    }

    /// The scoped keys whose first parts are `parts`; no parts: all of the account and region.
    pub fn new(scope: &Scope, parts: &[&str]) -> Self {
        Self(encode(Some(scope), parts))
    }

    /// As [`Prefix::new`], and the next part starts with `start` (such as a `familyPrefix`).
    pub fn starting(scope: &Scope, parts: &[&str], start: &str) -> Self {
        let mut text = encode(Some(scope), parts);
        push_escaped(&mut text, start);
        Self(text)
    }

    /// The global keys whose first parts are `parts`.
    pub fn global(parts: &[&str]) -> Self {
        Self(Key::global(parts).as_str().to_owned())
    }

    /// Index entries whose first parts are `parts`.
    pub(crate) fn bare(parts: &[&str]) -> Self {
        Self(encode(None, parts))
    }

    /// Whether `key` is one of the set.
    pub fn contains(&self, key: &Key) -> bool {
        key.as_str().starts_with(&self.0)
    }

    /// The place where the set starts.
    pub(crate) fn first(&self) -> Key {
        Key::from_text(&self.0)
    }
}

fn encode(scope: Option<&Scope>, parts: &[&str]) -> String {
    let length = parts.iter().map(|part| part.len() + 1).sum::<usize>();
    let mut text = String::with_capacity(length + if scope.is_some() { 46 } else { 0 });
    if let Some(scope) = scope {
        push_parts(&mut text, &[scope.account.as_str(), scope.region.as_str()]);
    }
    push_parts(&mut text, parts);
    text
}

fn push_parts(text: &mut String, parts: &[&str]) {
    for part in parts {
        push_escaped(text, part);
        text.push(END);
    }
}

fn push_escaped(text: &mut String, part: &str) {
    if !part.contains([END, ESCAPE]) {
        text.push_str(part);
        return;
    }
    for character in part.chars() {
        match character {
            END => text.extend([ESCAPE, ESCAPED_END]),
            ESCAPE => text.extend([ESCAPE, ESCAPED_ESCAPE]),
            other => text.push(other),
        }
    }
}

/// A number as a key part that orders as the number does: twenty digits.
pub fn number_part(number: u64) -> String {
    format!("{number:020}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scope() -> Scope {
        Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap())
    }

    #[test]
    fn prefixes_end_at_part_boundaries() {
        let prefix = Key::prefix(&scope(), &["default"]);
        assert!(prefix.contains(&Key::new(&scope(), &["default", "abc"])));
        assert!(!prefix.contains(&Key::new(&scope(), &["default-2", "abc"])));
        assert!(Prefix::starting(&scope(), &[], "def").contains(&Key::new(&scope(), &["default-2"])));
        assert_ne!(Key::new(&scope(), &["ab", "c"]), Key::new(&scope(), &["a", "bc"]));
        assert_ne!(Key::global(&["a"]), Key::bare(&["a"]));
        assert!(!Prefix::global(&[]).contains(&Key::new(&scope(), &["a"])));
        assert_eq!(Key::new(&scope(), &["a"]).to_string(), "123456789012/us-east-1/a");
    }

    proptest! {
        #[test]
        fn keys_order_as_their_parts_do(a in parts(), b in parts()) {
            let refs = |parts: &[String]| Key::bare(&parts.iter().map(String::as_str).collect::<Vec<_>>());
            let (key_a, key_b) = (refs(&a), refs(&b));
            prop_assert_eq!(key_a.cmp(&key_b), a.cmp(&b));
            prop_assert_eq!(key_a.parts(), a.clone());
            let prefix = Prefix(key_a.as_str().to_owned());
            prop_assert_eq!(prefix.contains(&key_b), b.starts_with(&a));
        }
    }

    fn parts() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[\u{0}\u{1}\u{2}ab]{0,3}", 0..4)
    }
}
