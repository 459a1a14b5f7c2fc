//! Tags. Source: AWS, "Tagging your Amazon ECS resources".

use std::collections::BTreeSet;

use api::ecs::Tag as WireTag;
use base::Tag;
use base::limits::{TAG_KEY_CHARACTERS, TAG_VALUE_CHARACTERS, TAGS_PER_RESOURCE};
use wire::Fault;

use crate::faults::invalid;
use crate::launch::wishes::{self, On};

/// Reads and checks the tags of a call, among which there may be no reserved ones.
pub fn parse(tags: Option<Vec<WireTag>>) -> Result<Vec<Tag>, Fault> {
    parse_with_wishes(tags, On::Other)
}

/// Reads and checks the tags of a call, among which there may be reserved ones that mean something on the resource.
pub fn parse_with_wishes(tags: Option<Vec<WireTag>>, on: On) -> Result<Vec<Tag>, Fault> {
    let tags = tags.unwrap_or_default();
    if tags.len() > TAGS_PER_RESOURCE {
        return Err(invalid(format!("The maximum number of tags on a resource is {TAGS_PER_RESOURCE}.")));
    }
    let mut keys = BTreeSet::new();
    let mut parsed = Vec::with_capacity(tags.len());
    for tag in tags {
        let key = tag.key.unwrap_or_default();
        let value = tag.value.unwrap_or_default();
        check_key(&key)?;
        if value.chars().count() > TAG_VALUE_CHARACTERS || !value.chars().all(is_allowed) {
            return Err(invalid(format!("Invalid tag value for key: {key}")));
        }
        if is_reserved(&value) {
            return Err(invalid("Tag values can not start with 'aws:'."));
        }
        if !keys.insert(key.clone()) {
            return Err(invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive."));
        }
        parsed.push(Tag { key, value });
    }
    wishes::check(&parsed, on)?;
    Ok(parsed)
}

/// Checks one key.
pub fn check_key(key: &str) -> Result<(), Fault> {
    let length = key.chars().count();
    if length == 0 || length > TAG_KEY_CHARACTERS || !key.chars().all(is_allowed) {
        return Err(invalid(format!("Invalid tag key: {key}")));
    }
    if is_reserved(key) {
        return Err(invalid("aws: prefixed tag key names are not allowed for external use."));
    }
    Ok(())
}

/// Puts `new` over `tags`.
pub fn merge(tags: &mut Vec<Tag>, new: Vec<Tag>) -> Result<(), Fault> {
    for tag in new {
        match tags.iter_mut().find(|there| there.key == tag.key) {
            Some(there) => there.value = tag.value,
            None => tags.push(tag),
        }
    }
    let own = tags.iter().filter(|tag| !is_reserved(&tag.key)).count();
    if own > TAGS_PER_RESOURCE {
        return Err(invalid(format!("The maximum number of tags on a resource is {TAGS_PER_RESOURCE}.")));
    }
    Ok(())
}

/// Tags on the wire.
pub fn describe(tags: &[Tag]) -> Vec<WireTag> {
    tags.iter().map(|tag| WireTag { key: Some(tag.key.clone()), value: Some(tag.value.clone()) }).collect()
}

fn is_reserved(text: &str) -> bool {
    text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"))
}

/// Letters, separators and digits of any script, and `_.:/=+-@`.
fn is_allowed(character: char) -> bool {
    character.is_alphanumeric() || character.is_whitespace() || "_.:/=+-@".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> WireTag {
        WireTag { key: Some(key.into()), value: Some(value.into()) }
    }

    #[test]
    fn what_is_refused() {
        assert!(parse(Some(vec![tag("team", "blue"), tag("über", "1 + 1 = 2")])).is_ok());
        for bad in [
            vec![tag("", "x")],
            vec![tag("aws:x", "y")],
            vec![tag("AWS:x", "y")],
            vec![tag("a;b", "y")],
            vec![tag("a", "y"), tag("a", "z")],
            vec![tag(&"k".repeat(129), "")],
            vec![tag("k", &"v".repeat(257))],
            (0..51).map(|number| tag(&format!("k{number}"), "")).collect(),
        ] {
            assert!(parse(Some(bad.clone())).is_err(), "{bad:?}");
        }
    }
}
