//! Faults that many operations answer, with AWS's wording.

use store::{TransactError, UpdateError};
use wire::Fault;

/// `ValidationException`.
pub(crate) fn validation(message: impl Into<String>) -> Fault {
    api::acm::faults::validation_exception(message)
}

/// What AWS has and Roadstead has not.
pub(crate) fn unsupported(what: &str) -> Fault {
    let message = format!("{what} is not supported by this release of Roadstead.");
    api::acm::faults::invalid_parameter_exception(message)
}

/// What came of a transaction that was not done.
pub(crate) fn of_update(error: UpdateError<Fault>) -> Fault {
    match error {
        UpdateError::Refused(fault) => fault,
        UpdateError::Transact(error @ (TransactError::Unavailable(_) | TransactError::NoSpace)) => {
            tracing::error!(%error, "the store did not take a transaction");
            let message = "The request has failed due to a temporary failure of the server.";
            Fault::new("ServiceUnavailableException", message, 503)
        }
        UpdateError::Transact(error) => Fault::server(error),
    }
}
