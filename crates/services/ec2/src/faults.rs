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

/// What came of a transaction without a closure.
pub(crate) fn of_transaction(error: &TransactError) -> Fault {
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
        DefaultVpcError::Deleted(_) => no_default_vpc(),
        DefaultVpcError::NoNetworkLeft(_) => {
            Fault::new("VpcLimitExceeded", "The maximum number of VPCs has been reached.", 400)
        }
        DefaultVpcError::Store(error) => of_transaction(error),
    }
}

/// What a call gets that means the default VPC where there is none.
pub(crate) fn no_default_vpc() -> Fault {
    Fault::new("VPCIdNotSpecified", "No default VPC for this user", 400)
}

/// A parameter, or a value of one, that AWS knows and that cannot act here.
pub(crate) fn unsupported(message: impl Into<String>) -> Fault {
    Fault::new("UnsupportedOperation", message, 400)
}

/// `InvalidParameterCombination`.
pub(crate) fn invalid_combination(message: impl Into<String>) -> Fault {
    Fault::new("InvalidParameterCombination", message, 400)
}

/// `DependencyViolation`: what is to go is in use.
pub(crate) fn in_use(noun: &str, id: &str) -> Fault {
    Fault::new(
        "DependencyViolation",
        format!("The {noun} '{id}' has dependencies and cannot be deleted."),
        400,
    )
}
