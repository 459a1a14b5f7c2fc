//! Tags of namespaces and services. Source: "Tagging your AWS Cloud Map resources".

use api::servicediscovery::{Tag as WireTag, TooManyTagsException, faults as modelled};
use base::limits::TAGS_PER_RESOURCE;
use base::{Scope, Tag};
use domain::{DiscoveryNamespace, DiscoveryService};
use store::rows_service_discovery::{discovery_namespace_key, discovery_service_key};
use store::{Snapshot, Transaction, Versioned};
use wire::Fault;

use super::id;
use crate::faults;

/// Reads the tags of a call.
pub(crate) fn parse(tags: Option<Vec<WireTag>>) -> Result<Vec<Tag>, Fault> {
    let mut parsed: Vec<Tag> = Vec::new();
    for tag in tags.unwrap_or_default() {
        let tag = Tag { key: tag.key.unwrap_or_default(), value: tag.value.unwrap_or_default() };
        if tag.key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
            return Err(faults::invalid("aws: prefixed tag key names are not allowed for external use."));
        }
        if parsed.iter().any(|there| there.key == tag.key) {
            return Err(faults::invalid(format!("The tag key {} is given twice.", tag.key)));
        }
        parsed.push(tag);
    }
    check_count(&parsed, None)?;
    Ok(parsed)
}

fn check_count(tags: &[Tag], arn: Option<&str>) -> Result<(), Fault> {
    if tags.len() <= TAGS_PER_RESOURCE {
        return Ok(());
    }
    let message =
        format!("The maximum number of tags that can be applied to a resource is {TAGS_PER_RESOURCE}.");
    let details =
        TooManyTagsException { message: Some(message.clone()), resource_name: arn.map(ToOwned::to_owned) };
    Err(modelled::too_many_tags_exception(message).with_details(details))
}

/// Tags on the wire.
pub(crate) fn describe(tags: &[Tag]) -> Vec<WireTag> {
    tags.iter().map(|tag| WireTag { key: Some(tag.key.clone()), value: Some(tag.value.clone()) }).collect()
}

/// Puts `new` over `tags` of the resource `arn`.
pub(crate) fn merge(tags: &mut Vec<Tag>, new: &[Tag], arn: &str) -> Result<(), Fault> {
    for tag in new {
        match tags.iter_mut().find(|there| there.key == tag.key) {
            Some(there) => there.value.clone_from(&tag.value),
            None => tags.push(tag.clone()),
        }
    }
    check_count(tags, Some(arn))
}

/// Something with tags.
pub(crate) enum Tagged {
    Namespace(Versioned<DiscoveryNamespace>),
    Service(Versioned<DiscoveryService>),
}

impl Tagged {
    /// What the ARN names.
    pub(crate) fn find(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<Self, Fault> {
        let of = |resource_type| id::parse(scope, resource_type, arn).filter(|_| arn.starts_with("arn:"));
        let namespace = of("namespace").and_then(|id| snapshot.get(&discovery_namespace_key(scope, &id)));
        let service = of("service").and_then(|id| snapshot.get(&discovery_service_key(scope, &id)));
        namespace.map(Self::Namespace).or(service.map(Self::Service)).ok_or_else(|| {
            modelled::resource_not_found_exception(format!("The resource {arn} was not found."))
        })
    }

    /// Its tags.
    pub(crate) fn tags(&self) -> &[Tag] {
        match self {
            Self::Namespace(namespace) => &namespace.tags,
            Self::Service(service) => &service.tags,
        }
    }

    /// Gives it these tags.
    pub(crate) fn replace(&self, tags: Vec<Tag>) -> Transaction {
        let mut transaction = Transaction::new();
        match self {
            Self::Namespace(row) => {
                transaction.replace(row, DiscoveryNamespace { tags, ..DiscoveryNamespace::clone(row) });
            }
            Self::Service(row) => {
                transaction.replace(row, DiscoveryService { tags, ..DiscoveryService::clone(row) });
            }
        }
        transaction
    }
}
