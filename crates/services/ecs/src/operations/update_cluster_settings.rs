//! Changes settings of a cluster. AWS: UpdateClusterSettings. Differs from AWS: nothing known.

use api::ecs::operations::UpdateClusterSettings;
use api::ecs::{UpdateClusterSettingsRequest, UpdateClusterSettingsResponse};
use domain::Cluster;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::cluster;
use crate::{Ecs, faults};

impl Operation<UpdateClusterSettings> for Ecs {
    fn permissions(&self, call: &Call, input: &UpdateClusterSettingsRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:UpdateClusterSettings", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdateClusterSettingsRequest,
    ) -> Result<UpdateClusterSettingsResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let settings = cluster::parse_settings(input.settings.unwrap_or_default())?;

        let update = self.store.update(|snapshot| {
            let there = cluster::get(snapshot, &call.scope, &name)?;
            let mut next = Cluster::clone(&there);
            cluster::merge_settings(&mut next.settings, &settings);
            let mut transaction = Transaction::new();
            transaction.replace(&there, next.clone());
            Ok((transaction, next))
        });
        let cluster = update.await.map_err(faults::of_update)?;

        let described = cluster::describe(&self.store.snapshot(), &cluster, cluster::Include::ON_CHANGE)?;
        Ok(UpdateClusterSettingsResponse { cluster: Some(described) })
    }
}
