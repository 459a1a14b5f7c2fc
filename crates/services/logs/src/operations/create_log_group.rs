//! Makes a log group. AWS: CreateLogGroup.
//!
//! Differs from AWS: a KMS key is kept and shown, and nothing is encrypted with it; the classes differ in name only.

use api::logs::CreateLogGroupRequest;
use api::logs::operations::CreateLogGroup;
use domain::{LogGroup, LogGroupClass};
use store::Transaction;
use store::rows_logs::log_group_key;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::resources::{log_group, tags};
use crate::{Logs, faults};

impl Operation<CreateLogGroup> for Logs {
    fn permissions(&self, call: &Call, input: &CreateLogGroupRequest) -> Vec<Permission> {
        let arn = log_group::permission_arn(&call.scope, input.log_group_name.as_deref(), None);
        let mut permissions = vec![Permission::new("logs:CreateLogGroup", arn.clone())];
        if input.tags.is_some() {
            permissions.push(Permission::new("logs:TagResource", arn));
        }
        permissions
    }

    async fn handle(&self, call: &Call, input: CreateLogGroupRequest) -> Result<Unit, Fault> {
        let name = faults::required(input.log_group_name, "logGroupName")?;
        if name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws/")) {
            return Err(faults::invalid("Log groups starting with AWS/ are reserved for AWS."));
        }
        let class = input.log_group_class.as_deref().unwrap_or(LogGroupClass::Standard.as_str());
        let class =
            class.parse().map_err(|_| faults::invalid("The specified log group class is invalid."))?;
        let tags = input.tags.unwrap_or_default();
        tags::check(tags.keys())?;
        let group = LogGroup {
            scope: call.scope.clone(),
            name,
            id: self.new_id(),
            created_at: call.now,
            retention_in_days: None,
            class,
            kms_key_id: input.kms_key_id,
            deletion_protection_enabled: input.deletion_protection_enabled.unwrap_or_default(),
            tags,
        };

        let outcome = self.store.update(|snapshot| {
            if snapshot.get::<LogGroup>(&log_group_key(&group.scope, &group.name)).is_some() {
                return Err(faults::log_group_exists());
            }
            let mut transaction = Transaction::new();
            transaction.insert(group.clone());
            Ok((transaction, ()))
        });
        outcome.await.map_err(faults::commit)?;

        Ok(Unit {})
    }
}
