//! Deletes a log stream with its events. AWS: DeleteLogStream.
//!
//! Differs from AWS: nothing known.

use api::logs::DeleteLogStreamRequest;
use api::logs::faults::validation_exception;
use api::logs::operations::DeleteLogStream;
use domain::LogStream;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::resources::{log_group, log_stream};
use crate::{Deleted, Logs, faults};

impl Operation<DeleteLogStream> for Logs {
    fn permissions(&self, call: &Call, input: &DeleteLogStreamRequest) -> Vec<Permission> {
        let names = input.log_group_name.as_deref().zip(input.log_stream_name.as_deref());
        let arn = names.map(|(group, stream)| LogStream::arn_of(&call.scope, group, stream).to_string());
        vec![Permission::new("logs:DeleteLogStream", arn.unwrap_or_else(|| "*".to_owned()))]
    }

    async fn handle(&self, call: &Call, input: DeleteLogStreamRequest) -> Result<Unit, Fault> {
        let group_name = faults::required(input.log_group_name, "logGroupName")?;
        let name = faults::required(input.log_stream_name, "logStreamName")?;

        let outcome = self.store.update(|snapshot| {
            let group = log_group::find(snapshot, &call.scope, &group_name)?;
            let stream = log_stream::find(snapshot, &group, &name)?;
            if group.deletion_protection_enabled {
                return Err(validation_exception("The specified log group has deletion protection enabled."));
            }
            let mut transaction = Transaction::new();
            transaction.remove(&stream);
            Ok((transaction, log_stream::storage_id(&stream)))
        });
        let id = outcome.await.map_err(faults::commit)?;
        self.clear_away(Deleted::Stream(id));

        Ok(Unit {})
    }
}
