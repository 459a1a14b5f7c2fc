//! Tags of hosted zones and health checks.

use std::collections::BTreeMap;

use api::route53 as shapes;
use base::Tag;
use domain::{HealthCheck, HostedZone};
use store::{Snapshot, Transaction, Versioned};
use wire::{Call, Fault};

use super::{health_check, zone};
use crate::faults;

/// Tags of one resource. Source: "ChangeTagsForResource", `AddTags`.
const TAGS_MAXIMUM: usize = 50;

/// What has tags.
pub(crate) enum Tagged {
    /// A hosted zone.
    HostedZone(Versioned<HostedZone>),
    /// A health check.
    HealthCheck(Versioned<HealthCheck>),
}

impl Tagged {
    /// The resource of a kind and id.
    pub(crate) fn find(snapshot: &Snapshot, call: &Call, kind: &str, id: &str) -> Result<Self, Fault> {
        match kind {
            "hostedzone" => zone::find(snapshot, call, id).map(Self::HostedZone),
            "healthcheck" => health_check::find(snapshot, call, id).map(Self::HealthCheck),
            other => Err(faults::invalid(format!("Invalid ResourceType '{other}'"))),
        }
    }

    fn tags(&self) -> &[Tag] {
        match self {
            Self::HostedZone(row) => &row.tags,
            Self::HealthCheck(row) => &row.tags,
        }
    }

    /// What ListTagsForResource shows.
    pub(crate) fn describe(&self, kind: &str, id: &str) -> shapes::ResourceTagSet {
        let tag = |tag: &Tag| shapes::Tag { key: Some(tag.key.clone()), value: Some(tag.value.clone()) };
        shapes::ResourceTagSet {
            resource_id: Some(zone::bare(id).to_owned()),
            resource_type: Some(kind.to_owned()),
            tags: Some(self.tags().iter().map(tag).collect()),
        }
    }

    /// Puts the resource with changed tags into `transaction`.
    pub(crate) fn change(
        &self,
        added: &[shapes::Tag],
        removed: &[String],
        transaction: &mut Transaction,
    ) -> Result<(), Fault> {
        let mut tags: BTreeMap<String, String> =
            self.tags().iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
        tags.retain(|key, _| !removed.contains(key));
        for tag in added {
            let key = tag.key.clone().unwrap_or_default();
            if key.is_empty() || key.to_ascii_lowercase().starts_with("aws:") {
                return Err(faults::invalid(format!("The tag key '{key}' is invalid")));
            }
            tags.insert(key, tag.value.clone().unwrap_or_default());
        }
        if tags.len() > TAGS_MAXIMUM {
            return Err(faults::invalid(format!("A resource cannot have more than {TAGS_MAXIMUM} tags")));
        }
        let tags = tags.into_iter().map(|(key, value)| Tag { key, value }).collect();
        match self {
            Self::HostedZone(row) => {
                transaction.replace(row, HostedZone { tags, ..HostedZone::clone(row) });
            }
            Self::HealthCheck(row) => {
                transaction.replace(row, HealthCheck { tags, ..HealthCheck::clone(row) });
            }
        }
        Ok(())
    }
}
