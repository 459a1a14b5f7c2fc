//! Tags.

use api::acm::faults;
use base::{Tag, limits};
use wire::Fault;

/// The tags of a call, each key once; a tag may have no value.
pub(crate) fn parse(tags: Option<Vec<api::acm::Tag>>) -> Result<Vec<(String, Option<String>)>, Fault> {
    let mut parsed: Vec<(String, Option<String>)> = Vec::new();
    for tag in tags.unwrap_or_default() {
        let key = tag.key.unwrap_or_default();
        if key.to_ascii_lowercase().starts_with("aws:") {
            let message = format!("Tag key '{key}' is invalid: the prefix aws: is reserved.");
            return Err(faults::invalid_tag_exception(message));
        }
        if parsed.iter().any(|(known, _)| *known == key) {
            return Err(faults::invalid_tag_exception(format!(
                "Tag key '{key}' is specified more than once."
            )));
        }
        parsed.push((key, tag.value));
    }
    Ok(parsed)
}

/// Adds tags to those that a certificate has.
pub(crate) fn add(known: &mut Vec<Tag>, tags: &[(String, Option<String>)]) -> Result<(), Fault> {
    known.retain(|known| !tags.iter().any(|(key, _)| *key == known.key));
    let tag = |(key, value): &(String, Option<String>)| Tag {
        key: key.clone(),
        value: value.clone().unwrap_or_default(),
    };
    known.extend(tags.iter().map(tag));
    known.sort();
    if known.len() > limits::TAGS_PER_RESOURCE {
        let maximum = limits::TAGS_PER_RESOURCE;
        let message = format!("The certificate cannot have more than {maximum} tags.");
        return Err(faults::too_many_tags_exception(message));
    }
    Ok(())
}

/// The wire form.
pub(crate) fn describe(tags: &[Tag]) -> Vec<api::acm::Tag> {
    let wire = |tag: &Tag| api::acm::Tag { key: Some(tag.key.clone()), value: Some(tag.value.clone()) };
    tags.iter().map(wire).collect()
}
