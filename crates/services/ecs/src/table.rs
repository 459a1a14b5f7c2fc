//! The service's table of operations.

use std::sync::Arc;

use wire::ServiceTable;

use crate::Ecs;

/// What the gateway serves of Amazon ECS: every operation that `models/ecs.operations` lists.
pub fn service(ecs: Arc<Ecs>) -> ServiceTable {
    api::ecs::service(ecs)
}
