//! Attributes of load balancers, target groups and listeners: checking and telling.

use std::collections::{BTreeMap, BTreeSet};

use api::elasticloadbalancing::faults;
use domain::{AttributeValues, Attributed, LoadBalancingAttribute};
use wire::Fault;

use crate::faults::{unsupported, validation};

/// The attributes that `resource` has after a call that sets some: those that differ from the defaults.
pub(crate) fn changed<R: Attributed>(
    resource: &R,
    asked: impl IntoIterator<Item = (Option<String>, Option<String>)>,
) -> Result<BTreeMap<String, String>, Fault> {
    let known = resource.known_attributes();
    let mut attributes = resource.set_attributes().clone();
    let mut seen = BTreeSet::new();
    for (key, value) in asked {
        let key = key.ok_or_else(|| validation("An attribute key must be specified"))?;
        let value = value.ok_or_else(|| validation("An attribute value must be specified"))?;
        if !seen.insert(key.clone()) {
            return Err(validation(format!("{} attribute key '{key}' is specified more than once", R::NOUN)));
        }
        let Some(attribute) = known.iter().find(|known| known.key == key) else {
            return Err(unknown(resource, &key));
        };
        check(R::NOUN, attribute, &value)?;
        if value == attribute.default {
            attributes.remove(&key);
        } else {
            attributes.insert(key, value);
        }
    }
    Ok(attributes)
}

fn unknown<R: Attributed>(resource: &R, key: &str) -> Fault {
    if R::is_key_of_some_kind(key) {
        let kind = resource.kind();
        return faults::invalid_configuration_request_exception(format!(
            "{} attribute key '{key}' is not supported by {kind}",
            R::NOUN
        ));
    }
    validation(format!("{} attribute key '{key}' is not recognized", R::NOUN))
}

fn check(noun: &str, attribute: &LoadBalancingAttribute, value: &str) -> Result<(), Fault> {
    let key = attribute.key;
    if !attribute.allows(value) {
        let expected = match attribute.values {
            AttributeValues::Boolean => "must be 'true' or 'false'".to_owned(),
            AttributeValues::Number(first, last) => {
                format!("must be between '{first}' and '{last}' inclusive")
            }
            AttributeValues::ZeroOrNumber(first, last) => {
                format!("must be '0' or between '{first}' and '{last}' inclusive")
            }
            AttributeValues::OffOrNumber(first, last) => {
                format!("must be 'off' or between '{first}' and '{last}' inclusive")
            }
            AttributeValues::Words(words) => format!("must be one of '{}'", words.join(", ")),
            AttributeValues::Text(characters) => format!("cannot be longer than '{characters}' characters"),
        };
        return Err(validation(format!("{noun} attribute '{key}' {expected}")));
    }
    if attribute.served.is_empty() || attribute.served.contains(&value) {
        return Ok(());
    }
    Err(unsupported(&format!("The value '{value}' of the attribute '{key}'")))
}

/// All attributes by key, set or not.
pub(crate) fn all<R: Attributed>(resource: &R) -> Vec<(Option<String>, Option<String>)> {
    let set = resource.set_attributes();
    let value = |known: LoadBalancingAttribute| {
        let value = set.get(known.key).cloned().unwrap_or_else(|| known.default.to_owned());
        (Some(known.key.to_owned()), Some(value))
    };
    resource.known_attributes().into_iter().map(value).collect()
}
