//! Asks for a newer agent on a container instance. AWS: UpdateContainerAgent.
//!
//! Roadstead's agent is part of its binary and is replaced with it: there is never an update for it, which is what AWS
//! says of an agent that is current. Agents that are not ours (their version does not say `roadstead`) would take an order
//! with the place of a package, which there is nobody to give: they too are told that there is none.

use api::ecs::operations::UpdateContainerAgent;
use api::ecs::{UpdateContainerAgentRequest, UpdateContainerAgentResponse, faults as modelled};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, container_instance, node};
use crate::{Ecs, faults};

impl Operation<UpdateContainerAgent> for Ecs {
    fn permissions(&self, call: &Call, input: &UpdateContainerAgentRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:UpdateContainerAgent", "*").when("ecs:cluster", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdateContainerAgentRequest,
    ) -> Result<UpdateContainerAgentResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let id =
            container_instance::id(call, &name, input.container_instance.as_deref().unwrap_or_default())?;

        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &name)?;
        let instance = container_instance::get(&snapshot, call, &name, &id)
            .filter(|instance| container_instance::is_registered(instance))
            .ok_or_else(|| faults::client("The referenced container instance was not found."))?;
        node::check_instance(call, &instance)?;

        match instance.version_info.agent_version.as_deref().filter(|version| !version.is_empty()) {
            None => Err(modelled::missing_version_exception(
                "Amazon ECS can't determine the current version of the Amazon ECS container agent on the container instance \
                 and doesn't have enough information to proceed with an update.",
            )),
            Some(_) => Err(modelled::no_update_available_exception(
                "There's no update available for this Amazon ECS container agent.",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{ContainerInstance, VersionInfo};
    use serde_json::json;
    use store::{Prefix, Transaction};

    use crate::testing::World;

    #[tokio::test]
    async fn there_is_never_an_update() {
        let (world, instance) = World::with_instance(1024, 1024, &[]).await;
        let body = json!({"containerInstance": instance});
        let refusal = world.refused("UpdateContainerAgent", body.clone()).await;
        assert!(refusal.starts_with("MissingVersionException: Amazon ECS can't determine"), "{refusal}");
        let row =
            world.store.snapshot().scan::<ContainerInstance>(Prefix::everything(), None).next().unwrap();
        let mut next = ContainerInstance::clone(&row);
        next.version_info = VersionInfo { agent_version: Some("1.105.1".into()), ..VersionInfo::default() };
        let mut transaction = Transaction::new();
        transaction.replace(&row, next);
        world.store.transact(transaction).await.unwrap();
        let refusal = world.refused("UpdateContainerAgent", body).await;
        assert!(refusal.starts_with("NoUpdateAvailableException: There's no update"), "{refusal}");
        for (bad, code) in [
            (json!({"containerInstance": "0".repeat(32)}), "ClientException"),
            (json!({"containerInstance": "x"}), "InvalidParameterException"),
            (json!({"containerInstance": instance, "cluster": "ghost"}), "InvalidParameterException"),
            (json!({"containerInstance": "0".repeat(32), "cluster": "ghost"}), "ClusterNotFoundException"),
        ] {
            let refusal = world.refused("UpdateContainerAgent", bad).await;
            assert!(refusal.starts_with(code), "{refusal}");
        }
    }
}
