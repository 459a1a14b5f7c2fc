//! Faults that many operations answer. Codes are the model's; wordings are AWS's where users have reported them.

use api::route53::faults as modelled;
use store::{TransactError, UpdateError};
use wire::Fault;

/// `InvalidInput`.
pub(crate) fn invalid(message: impl Into<String>) -> Fault {
    modelled::invalid_input(message)
}

/// A field, or a value of one, that AWS knows and that cannot act here.
pub(crate) fn unsupported(what: &str) -> Fault {
    invalid(format!("{what} is not supported by Roadstead"))
}

/// `NoSuchHostedZone`.
pub(crate) fn no_zone(id: &str) -> Fault {
    modelled::no_such_hosted_zone(format!("No hosted zone found with ID: {id}"))
}

/// `NoSuchHealthCheck`.
pub(crate) fn no_health_check(id: &str) -> Fault {
    modelled::no_such_health_check(format!("A health check with id {id} does not exist."))
}

/// What came of a transaction that was not done.
pub(crate) fn of_update(error: UpdateError<Fault>) -> Fault {
    match error {
        UpdateError::Refused(fault) => fault,
        UpdateError::Transact(error @ (TransactError::Unavailable(_) | TransactError::NoSpace)) => {
            tracing::error!(%error, "the store did not take a transaction");
            Fault::new("ServiceUnavailable", "Service is temporarily unavailable.", 503)
        }
        UpdateError::Transact(error) => Fault::server(error),
    }
}
