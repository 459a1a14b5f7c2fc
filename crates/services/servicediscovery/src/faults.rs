//! Faults that many operations answer. AWS documents their codes; wordings that users have reported are theirs.

use api::servicediscovery::faults as modelled;
use store::{TransactError, UpdateError};
use wire::Fault;

/// `InvalidInput`.
pub(crate) fn invalid(message: impl Into<String>) -> Fault {
    modelled::invalid_input(message)
}

/// `NamespaceNotFound`.
pub(crate) fn no_namespace(given: &str) -> Fault {
    modelled::namespace_not_found(format!("Namespace not found: {given}"))
}

/// `ServiceNotFound`.
pub(crate) fn no_service(given: &str) -> Fault {
    modelled::service_not_found(format!("Service not found: {given}"))
}

/// `InstanceNotFound`.
pub(crate) fn no_instance(given: &str) -> Fault {
    modelled::instance_not_found(format!("Instance not found: {given}"))
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
            Fault::new("ServiceUnavailable", "The request has failed due to a temporary failure.", 503)
        }
        _ => Fault::server(error),
    }
}
