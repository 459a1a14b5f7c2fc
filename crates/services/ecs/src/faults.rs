//! Faults that many operations answer, with AWS's wording.

use api::ecs::faults;
use store::{TransactError, UpdateError};
use wire::Fault;

/// `ClusterNotFoundException`.
pub fn cluster_not_found() -> Fault {
    faults::cluster_not_found_exception("Cluster not found.")
}

/// `InvalidParameterException` with this message.
pub fn invalid(message: impl Into<String>) -> Fault {
    faults::invalid_parameter_exception(message)
}

/// `ClientException` with this message.
pub fn client(message: impl Into<String>) -> Fault {
    faults::client_exception(message)
}

/// `AccessDeniedException` with this message.
pub fn access_denied(message: impl Into<String>) -> Fault {
    faults::access_denied_exception(message)
}

/// What came of a transaction that was not done.
pub fn of_update(error: UpdateError<Fault>) -> Fault {
    match error {
        UpdateError::Refused(fault) => fault,
        UpdateError::Transact(error) => of_transaction(&error),
    }
}

fn of_transaction(error: &TransactError) -> Fault {
    Fault::server(error)
}
