//! Faults that many operations answer, with AWS's wording. Source: "Common Errors", Elastic Load Balancing API reference.

use api::elasticloadbalancing::faults;
use store::{TransactError, UpdateError};
use wire::Fault;

/// `ValidationError`.
pub(crate) fn validation(message: impl Into<String>) -> Fault {
    Fault::new("ValidationError", message, 400)
}

/// What AWS has and Roadstead has not.
pub(crate) fn unsupported(what: &str) -> Fault {
    faults::invalid_configuration_request_exception(format!(
        "{what} is not supported by this release of Roadstead."
    ))
}

/// What came of a transaction that was not done.
pub(crate) fn of_update(error: UpdateError<Fault>) -> Fault {
    match error {
        UpdateError::Refused(fault) => fault,
        UpdateError::Transact(error @ (TransactError::Unavailable(_) | TransactError::NoSpace)) => {
            tracing::error!(%error, "the store did not take a transaction");
            let message = "The request has failed due to a temporary failure of the server.";
            Fault::new("ServiceUnavailable", message, 503)
        }
        UpdateError::Transact(error) => Fault::server(error),
    }
}
