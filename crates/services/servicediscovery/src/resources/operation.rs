//! Operations: what GetOperation tells of a change.

use api::servicediscovery as wire_shapes;
use base::{Ids, Scope, Timestamp};
use domain::{DiscoveryOperation, DiscoveryOperationStatus, DiscoveryOperationType};

use super::id;

/// An operation that is done, in the transaction that does it.
pub(crate) fn done(
    ids: &dyn Ids,
    scope: &Scope,
    operation_type: DiscoveryOperationType,
    now: Timestamp,
) -> DiscoveryOperation {
    DiscoveryOperation {
        scope: scope.clone(),
        id: id::operation(ids),
        operation_type,
        status: DiscoveryOperationStatus::Success,
        error: None,
        namespace: None,
        service: None,
        instance: None,
        created_at: now,
        updated_at: now,
    }
}

/// On the wire.
pub(crate) fn describe(operation: &DiscoveryOperation) -> wire_shapes::Operation {
    let targets = [
        ("NAMESPACE", &operation.namespace),
        ("SERVICE", &operation.service),
        ("INSTANCE", &operation.instance),
    ];
    let targets = targets.into_iter().filter_map(|(kind, id)| Some((kind.to_owned(), id.clone()?)));
    let (error_code, error_message) = operation.error.clone().unzip();
    wire_shapes::Operation {
        create_date: Some(operation.created_at),
        error_code,
        error_message,
        id: Some(operation.id.clone()),
        owner_account: Some(operation.scope.account.to_string()),
        status: Some(operation.status.to_string()),
        targets: Some(targets.collect()),
        type_: Some(operation.operation_type.to_string()),
        update_date: Some(operation.updated_at),
    }
}
