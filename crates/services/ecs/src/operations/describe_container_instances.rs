//! Describes container instances. AWS: DescribeContainerInstances.
//!
//! Differs from AWS: the health of an instance is what its agent's connection says.

use api::ecs::operations::DescribeContainerInstances;
use api::ecs::{DescribeContainerInstancesRequest, DescribeContainerInstancesResponse, Failure};
use base::Arn;
use base::limits::DESCRIBE_MAXIMUM;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, container_instance};
use crate::{Ecs, faults};

impl Operation<DescribeContainerInstances> for Ecs {
    fn permissions(&self, call: &Call, input: &DescribeContainerInstancesRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        let instances = input.container_instances.iter().flatten();
        instances
            .map(|text| {
                let resource = cluster::name(call, input.cluster.as_deref())
                    .and_then(|name| Ok((container_instance::id(call, &name, text)?, name)))
                    .map(|(id, name)| {
                        Arn::new("ecs", &call.scope, format!("container-instance/{name}/{id}")).to_string()
                    });
                Permission::new("ecs:DescribeContainerInstances", resource.unwrap_or_else(|_| "*".to_owned()))
                    .when("ecs:cluster", &cluster)
            })
            .collect()
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeContainerInstancesRequest,
    ) -> Result<DescribeContainerInstancesResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let given = input.container_instances.unwrap_or_default();
        if given.is_empty() {
            return Err(faults::invalid("Container instances cannot be empty."));
        }
        if given.len() > DESCRIBE_MAXIMUM {
            let message = format!("Container instances cannot have more than {DESCRIBE_MAXIMUM} elements.");
            return Err(faults::invalid(message));
        }
        let ids = given
            .iter()
            .map(|text| container_instance::id(call, &name, text))
            .collect::<Result<Vec<_>, _>>()?;
        let include = input.include.unwrap_or_default();
        let (tags, health) = (
            include.iter().any(|word| word == "TAGS"),
            include.iter().any(|word| word == "CONTAINER_INSTANCE_HEALTH"),
        );

        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &name)?;
        let (mut described, mut failures) = (Vec::new(), Vec::new());
        for id in ids {
            match container_instance::get(&snapshot, call, &name, &id) {
                Some(there) => described.push(container_instance::describe(&snapshot, &there, tags, health)),
                None => {
                    let arn = Arn::new("ecs", &call.scope, format!("container-instance/{name}/{id}"));
                    failures.push(Failure {
                        arn: Some(arn.to_string()),
                        reason: Some("MISSING".to_owned()),
                        detail: None,
                    });
                }
            }
        }
        Ok(DescribeContainerInstancesResponse {
            container_instances: Some(described),
            failures: Some(failures),
        })
    }
}
