//! Tags of log groups, for the old operations (by name) and the new ones (by ARN).

use std::collections::BTreeMap;

use api::logs::faults::too_many_tags_exception;
use base::limits::TAGS_PER_RESOURCE;
use domain::LogGroup;
use store::{Transaction, Versioned};
use wire::Fault;

use crate::{Logs, faults};

/// Changes the tags of the group that `find` finds, in one commit.
pub(crate) async fn change(
    logs: &Logs,
    find: impl Fn(&store::Snapshot) -> Result<Versioned<LogGroup>, Fault>,
    change: impl Fn(&mut BTreeMap<String, String>),
) -> Result<(), Fault> {
    let outcome = logs.store.update(|snapshot| {
        let group = find(snapshot)?;
        let mut changed = (*group.value).clone();
        change(&mut changed.tags);
        if changed.tags.len() > TAGS_PER_RESOURCE {
            let message = "The number of tags exceeds the limit of 50 tags for a resource.";
            return Err(too_many_tags_exception(message));
        }
        let mut transaction = Transaction::new();
        transaction.replace(&group, changed);
        Ok((transaction, ()))
    });
    outcome.await.map_err(faults::commit)
}

/// AWS's own keys are not for callers to set. Source: "Tagging your AWS resources".
pub(crate) fn check<'a>(keys: impl IntoIterator<Item = &'a String>) -> Result<(), Fault> {
    match keys.into_iter().find(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        Some(_) => Err(faults::invalid("aws: prefixed tag key names are not allowed for external use.")),
        None => Ok(()),
    }
}
