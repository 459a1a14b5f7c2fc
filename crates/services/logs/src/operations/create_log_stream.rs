//! Makes a log stream in a group. AWS: CreateLogStream.
//!
//! Differs from AWS: nothing known.

use api::logs::CreateLogStreamRequest;
use api::logs::operations::CreateLogStream;
use domain::LogStream;
use store::Transaction;
use store::rows_logs::log_stream_key;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::resources::log_group;
use crate::{Logs, faults};

impl Operation<CreateLogStream> for Logs {
    fn permissions(&self, call: &Call, input: &CreateLogStreamRequest) -> Vec<Permission> {
        let arn = log_group::permission_arn(&call.scope, input.log_group_name.as_deref(), None);
        vec![Permission::new("logs:CreateLogStream", arn)]
    }

    async fn handle(&self, call: &Call, input: CreateLogStreamRequest) -> Result<Unit, Fault> {
        let group_name = faults::required(input.log_group_name, "logGroupName")?;
        let name = faults::required(input.log_stream_name, "logStreamName")?;
        let id = self.new_id();

        let outcome = self.store.update(|snapshot| {
            let group = log_group::find(snapshot, &call.scope, &group_name)?;
            if snapshot.get::<LogStream>(&log_stream_key(&group.scope, group.id, &name)).is_some() {
                return Err(faults::log_stream_exists());
            }
            let mut transaction = Transaction::new();
            transaction.require_unchanged(&group).insert(LogStream {
                scope: call.scope.clone(),
                group_id: group.id,
                name: name.clone(),
                id,
                created_at: call.now,
            });
            Ok((transaction, ()))
        });
        outcome.await.map_err(faults::commit)?;

        Ok(Unit {})
    }
}
