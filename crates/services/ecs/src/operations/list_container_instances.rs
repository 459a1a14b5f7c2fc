//! Lists container instances. AWS: ListContainerInstances. Differs from AWS: nothing known.

use api::ecs::operations::ListContainerInstances;
use api::ecs::{ListContainerInstancesRequest, ListContainerInstancesResponse};
use domain::{ContainerInstance, ContainerInstanceStatus, TaskStatus};
use scheduler::cluster_query_language::{Expression, Subject};
use store::{Key, Snapshot};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::page::PageRequest;
use crate::resources::{cluster, container_instance};
use crate::{Ecs, faults};

impl Operation<ListContainerInstances> for Ecs {
    fn permissions(&self, call: &Call, input: &ListContainerInstancesRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:ListContainerInstances", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListContainerInstancesRequest,
    ) -> Result<ListContainerInstancesResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let status = match input.status.as_deref() {
            None => None,
            Some(word) => Some(
                word.parse::<ContainerInstanceStatus>()
                    .map_err(|_| faults::invalid(format!("Invalid status: {word}")))?,
            ),
        };
        let filter = match input.filter.as_deref().filter(|text| !text.trim().is_empty()) {
            None => None,
            Some(text) => Some(
                Expression::parse(text)
                    .map_err(|error| faults::invalid(format!("Invalid filter expression: {error}")))?,
            ),
        };
        let listing = format!(
            "ListContainerInstances/{name}/{}/{}",
            input.status.as_deref().unwrap_or_default(),
            input.filter.as_deref().unwrap_or_default()
        );
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &name)?;
        let after = page.after.as_deref().map(|id| Key::new(&call.scope, &[&name, id]));
        let instances = snapshot
            .scan::<ContainerInstance>(Key::prefix(&call.scope, &[&name]), after.as_ref())
            .filter(|instance| match status {
                None => container_instance::is_registered(instance),
                Some(status) => instance.status == status,
            })
            .filter(|instance| filter.as_ref().is_none_or(|filter| selects(&snapshot, filter, instance)))
            .map(|instance| (instance.id.clone(), instance.arn().to_string()));
        let (arns, next_token) = page.take(instances);
        Ok(ListContainerInstancesResponse { container_instance_arns: Some(arns), next_token })
    }
}

fn selects(snapshot: &Snapshot, filter: &Expression, instance: &ContainerInstance) -> bool {
    let tasks = container_instance::tasks(snapshot, instance);
    let groups: Vec<String> = tasks.iter().map(|task| task.group.clone()).collect();
    let running_tasks = tasks.iter().filter(|task| task.last_status == TaskStatus::Running).count();
    filter.selects(Subject { container_instance: instance, groups: &groups, running_tasks })
}
