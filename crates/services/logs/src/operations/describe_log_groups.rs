//! Lists log groups, in order of their names. AWS: DescribeLogGroups.
//!
//! Differs from AWS: there are no linked accounts; asked for, only the own account's groups are listed.

use api::logs::operations::DescribeLogGroups;
use api::logs::{DescribeLogGroupsRequest, DescribeLogGroupsResponse};
use base::{PageToken, Scope};
use domain::LogGroup;
use store::rows_logs::log_group_key;
use store::{Prefix, Snapshot, Versioned};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::log_group;
use crate::storage::EventStore;
use crate::{Logs, faults};

/// Groups of a page. Source: DescribeLogGroups, `limit`.
const PAGE_GROUPS: usize = 50;
const LISTING: &str = "DescribeLogGroups";

impl Operation<DescribeLogGroups> for Logs {
    fn permissions(&self, call: &Call, _input: &DescribeLogGroupsRequest) -> Vec<Permission> {
        vec![Permission::new("logs:DescribeLogGroups", LogGroup::arn_of(&call.scope, "*").to_string())]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeLogGroupsRequest,
    ) -> Result<DescribeLogGroupsResponse, Fault> {
        if input.log_group_name_prefix.is_some() && input.log_group_name_pattern.is_some() {
            return Err(faults::invalid(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
            ));
        }
        let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_GROUPS);
        let after = input.next_token.as_deref().map(|token| PageToken::decode(LISTING, token));
        let after = after.transpose().map_err(|_| faults::bad_token())?.map(|token| token.after);

        let snapshot = self.store.snapshot();
        let limit = limit.clamp(1, PAGE_GROUPS);
        let mut groups = matching(&snapshot, &call.scope, &input, after.as_deref(), limit + 1)?;
        let more = groups.len() > limit;
        groups.truncate(limit);

        let ids: Vec<u64> = groups.iter().map(|group| group.id).collect();
        let bytes = move |events: &EventStore| {
            ids.into_iter().map(|id| events.group_bytes(id)).collect::<std::io::Result<Vec<u64>>>()
        };
        let bytes = self.blocking(bytes).await?.map_err(faults::internal)?;
        let next_token = groups.last().filter(|_| more).map(|last| PageToken::encode(LISTING, &last.name));
        let by_pattern = input.log_group_name_pattern.is_some();
        let described = groups.iter().zip(bytes).map(|(group, bytes)| {
            let described = log_group::describe(group, bytes);
            if by_pattern { briefly(described) } else { described }
        });
        Ok(DescribeLogGroupsResponse { log_groups: Some(described.collect()), next_token })
    }
}

fn matching(
    snapshot: &Snapshot,
    scope: &Scope,
    input: &DescribeLogGroupsRequest,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Versioned<LogGroup>>, Fault> {
    let pattern = input.log_group_name_pattern.as_deref().unwrap_or_default();
    let identifiers = match &input.log_group_identifiers {
        Some(identifiers) => Some(
            identifiers
                .iter()
                .map(|identifier| log_group::name_of_identifier(scope, identifier))
                .collect::<Result<Vec<String>, Fault>>()?,
        ),
        None => None,
    };
    let prefix = Prefix::starting(scope, &[], input.log_group_name_prefix.as_deref().unwrap_or_default());
    let after = after.map(|name| log_group_key(scope, name));
    let wanted = |group: &Versioned<LogGroup>| {
        group.name.contains(pattern)
            && input.log_group_class.as_deref().is_none_or(|class| class == group.class.as_str())
            && identifiers.as_ref().is_none_or(|names| names.contains(&group.name))
    };
    Ok(snapshot.scan(prefix, after.as_ref()).filter(wanted).take(limit).collect())
}

/// What a search by pattern shows. Source: DescribeLogGroups, `logGroupNamePattern`.
fn briefly(group: api::logs::LogGroup) -> api::logs::LogGroup {
    api::logs::LogGroup {
        arn: group.arn,
        creation_time: group.creation_time,
        log_group_name: group.log_group_name,
        ..api::logs::LogGroup::default()
    }
}
