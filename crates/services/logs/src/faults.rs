//! The service's faults in AWS's words. The constructors of `api::logs::faults` take any text; these know the usual ones.

use std::fmt::Display;

use api::logs::faults::{
    invalid_parameter_exception, resource_already_exists_exception, resource_not_found_exception,
};
use store::UpdateError;
use wire::Fault;

/// The group is not there.
pub fn no_log_group() -> Fault {
    resource_not_found_exception("The specified log group does not exist.")
}

/// The stream is not there.
pub fn no_log_stream() -> Fault {
    resource_not_found_exception("The specified log stream does not exist.")
}

/// The resource of an ARN is not there.
pub fn no_resource() -> Fault {
    resource_not_found_exception("The specified resource does not exist.")
}

/// The group is there already.
pub fn log_group_exists() -> Fault {
    resource_already_exists_exception("The specified log group already exists")
}

/// The stream is there already.
pub fn log_stream_exists() -> Fault {
    resource_already_exists_exception("The specified log stream already exists")
}

/// A `nextToken` that was not given out, or by another operation.
pub fn bad_token() -> Fault {
    invalid_parameter_exception("The specified nextToken is invalid.")
}

/// The request makes no sense.
pub fn invalid(message: impl Into<String>) -> Fault {
    invalid_parameter_exception(message)
}

/// A member that the model calls required; the gateway has checked it, so this is for callers that bypass it.
pub fn required<T>(member: Option<T>, name: &str) -> Result<T, Fault> {
    member.ok_or_else(|| {
        invalid_parameter_exception(format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
        ))
    })
}

/// Ours: logged here, and told as AWS tells its own.
pub fn internal(error: impl Display) -> Fault {
    tracing::error!(%error, "logs: internal failure");
    Fault::new("ServiceUnavailableException", "The service cannot complete the request.", 503)
}

/// Why a commit did not happen.
pub fn commit(error: UpdateError<Fault>) -> Fault {
    match error {
        UpdateError::Refused(fault) => fault,
        UpdateError::Transact(error) => internal(error),
    }
}
