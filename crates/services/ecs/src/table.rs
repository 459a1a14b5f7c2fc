//! The service's table of operations.

use std::sync::Arc;

use api::ecs::{SERVICE, operations};
use wire::ServiceTable;

use crate::Ecs;

/// What the gateway serves of Amazon ECS.
pub fn service(ecs: Arc<Ecs>) -> ServiceTable {
    ServiceTable::new(&SERVICE)
        .with::<operations::CreateCluster, Ecs>(&ecs)
        .with::<operations::DescribeClusters, Ecs>(&ecs)
        .with::<operations::DescribeContainerInstances, Ecs>(&ecs)
        .with::<operations::DescribeTasks, Ecs>(&ecs)
        .with::<operations::DiscoverPollEndpoint, Ecs>(&ecs)
        .with::<operations::ListContainerInstances, Ecs>(&ecs)
        .with::<operations::ListTasks, Ecs>(&ecs)
        .with::<operations::RegisterContainerInstance, Ecs>(&ecs)
        .with::<operations::RegisterTaskDefinition, Ecs>(&ecs)
        .with::<operations::RunTask, Ecs>(&ecs)
        .with::<operations::StopTask, Ecs>(&ecs)
        .with::<operations::SubmitTaskStateChange, Ecs>(&ecs)
}
