//! Faults that many operations answer, with AWS's wording. EC2's model names none: source is "Error codes for the Amazon
//! EC2 API".

use store::rows_vpc::DefaultVpcError;
use store::{TransactError, UpdateError};
use wire::Fault;

/// `InvalidParameterValue`.
pub(crate) fn invalid_value(message: impl Into<String>) -> Fault {
    Fault::new("InvalidParameterValue", message, 400)
}

/// `MissingParameter`, for a parameter that the model does not demand but EC2 does.
pub(crate) fn missing(parameter: &str) -> Fault {
    Fault::new("MissingParameter", format!("The request must contain the parameter {parameter}"), 400)
}

/// What a call with `DryRun` gets that would have gone well.
pub(crate) fn dry_run() -> Fault {
    Fault::new("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
}

/// What came of a transaction that was not done.
pub(crate) fn of_update(error: UpdateError<Fault>) -> Fault {
    match error {
        UpdateError::Refused(fault) => fault,
        UpdateError::Transact(error) => of_transaction(&error),
    }
}

fn of_transaction(error: &TransactError) -> Fault {
    match error {
        TransactError::Unavailable(_) | TransactError::NoSpace => {
            tracing::error!(%error, "the store did not take a transaction");
            Fault::new("Unavailable", "The server is overloaded and can't handle the request.", 503)
        }
        _ => Fault::server(error),
    }
}

/// Why there is no default VPC.
pub(crate) fn of_default_vpc(error: &DefaultVpcError) -> Fault {
    match error {
        DefaultVpcError::NoNetworkLeft(_) => {
            Fault::new("VpcLimitExceeded", "The maximum number of VPCs has been reached.", 400)
        }
        DefaultVpcError::Store(error) => of_transaction(error),
    }
}
