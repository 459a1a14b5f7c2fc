//! Tags.

use api::elasticloadbalancing::faults;
use base::{Arn, Scope, Tag, limits};
use domain::{Listener, ListenerRule, LoadBalancer, TargetGroup};
use store::{Snapshot, Transaction, Versioned};
use wire::Fault;

use super::{listener, load_balancer, rule, target_group, trust_store};
use crate::faults::validation;
use crate::listing;

/// The tags of a call, each key once.
pub(crate) fn parse(tags: Option<Vec<api::elasticloadbalancing::Tag>>) -> Result<Vec<Tag>, Fault> {
    let mut parsed: Vec<Tag> = Vec::new();
    for tag in tags.unwrap_or_default() {
        let key = tag.key.unwrap_or_default();
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(validation(format!("Tag key '{key}' cannot begin with 'aws:'")));
        }
        if parsed.iter().any(|known| known.key == key) {
            return Err(faults::duplicate_tag_keys_exception(format!(
                "Tag key was specified more than once: '{key}'"
            )));
        }
        parsed.push(Tag { key, value: tag.value.unwrap_or_default() });
    }
    check_count(&parsed)?;
    parsed.sort();
    Ok(parsed)
}

/// Checks how many tags a resource has.
pub(crate) fn check_count(tags: &[Tag]) -> Result<(), Fault> {
    if tags.len() > limits::TAGS_PER_RESOURCE {
        let maximum = limits::TAGS_PER_RESOURCE;
        let message = format!("The maximum number of tags '{maximum}' for a resource has been reached");
        return Err(faults::too_many_tags_exception(message));
    }
    Ok(())
}

/// The resources of a call about tags, each once, in its order.
pub(crate) fn resources(arns: Option<Vec<String>>) -> Result<Vec<String>, Fault> {
    let arns = arns.unwrap_or_default();
    if arns.is_empty() {
        return Err(validation("Resource ARNs cannot be empty"));
    }
    listing::check_named(&arns, "resources")?;
    let mut once: Vec<String> = Vec::new();
    for arn in arns {
        if !once.contains(&arn) {
            once.push(arn);
        }
    }
    Ok(once)
}

/// Something with tags.
enum Tagged {
    LoadBalancer(Versioned<LoadBalancer>),
    TargetGroup(Versioned<TargetGroup>),
    Listener(Versioned<Listener>),
    Rule(Versioned<ListenerRule>),
}

impl Tagged {
    fn find(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<Self, Fault> {
        let parsed: Option<Arn> = arn.parse().ok();
        let parsed = parsed.filter(|arn| arn.aws_service() == "elasticloadbalancing");
        let kind = parsed.as_ref().and_then(|arn| arn.resource_type_and_id()).map(|(kind, _)| kind);
        match kind {
            Some("loadbalancer") => load_balancer::find(snapshot, scope, arn).map(Self::LoadBalancer),
            Some("targetgroup") => target_group::find(snapshot, scope, arn).map(Self::TargetGroup),
            Some("listener") => listener::find(snapshot, scope, arn).map(Self::Listener),
            Some("listener-rule") => rule::find(snapshot, scope, arn).map(Self::Rule),
            Some("truststore") => Err(trust_store::not_found(arn)),
            _ => Err(validation(format!("'{arn}' is not a valid resource ARN"))),
        }
    }
}

/// The tags of a resource.
pub(crate) fn of(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<Vec<Tag>, Fault> {
    Ok(match Tagged::find(snapshot, scope, arn)? {
        Tagged::LoadBalancer(row) => row.tags.clone(),
        Tagged::TargetGroup(row) => row.tags.clone(),
        Tagged::Listener(row) => row.tags.clone(),
        Tagged::Rule(row) => row.tags.clone(),
    })
}

/// Changes the tags of a resource, in `transaction`.
pub(crate) fn change(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    scope: &Scope,
    arn: &str,
    how: &dyn Fn(&mut Vec<Tag>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    match Tagged::find(snapshot, scope, arn)? {
        Tagged::LoadBalancer(found) => {
            let mut row = LoadBalancer::clone(&found);
            how(&mut row.tags)?;
            transaction.replace(&found, row);
        }
        Tagged::TargetGroup(found) => {
            let mut row = TargetGroup::clone(&found);
            how(&mut row.tags)?;
            transaction.replace(&found, row);
        }
        Tagged::Listener(found) => {
            let mut row = Listener::clone(&found);
            how(&mut row.tags)?;
            transaction.replace(&found, row);
        }
        Tagged::Rule(found) => {
            let mut row = ListenerRule::clone(&found);
            how(&mut row.tags)?;
            transaction.replace(&found, row);
        }
    }
    Ok(())
}
