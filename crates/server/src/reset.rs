//! `POST /_roadstead/reset`: back to the state after the first start, for test suites that share one server.

use domain::{Cluster, ContainerInstance};
use store::rows::cluster_key;
use store::{Prefix, Store, Transaction};

use crate::commands::with_causes;

/// Stops every task at once, then empties the state. What stays: this machine as a container instance, with the cluster
/// that it is in, and the default VPCs, whose addresses are set up on the machine.
pub async fn run(store: &Store, logs: &logs::Logs, agent: &agent::AgentHandle) -> Result<(), String> {
    agent.stop_all_tasks().await;
    let snapshot = store.snapshot();
    let mut kept = Transaction::new();
    let mut clusters = Vec::new();
    for instance in snapshot.scan::<ContainerInstance>(Prefix::everything(), None) {
        if instance.agent_connected {
            clusters.push(cluster_key(&instance.scope, &instance.cluster));
            kept.put_shared(instance.value);
        }
    }
    for key in clusters {
        if let Some(cluster) = snapshot.get::<Cluster>(&key) {
            // As it was made: settings and tags of a test do not outlive it.
            kept.put(Cluster {
                settings: Vec::new(),
                configuration_document: None,
                service_connect_defaults_document: None,
                capacity_providers: Vec::new(),
                default_capacity_provider_strategy: Vec::new(),
                tags: Vec::new(),
                ..Cluster::clone(&cluster)
            });
        }
    }
    store::rows_vpc::keep_networks(&snapshot, &mut kept, &base::RandomIds);
    store.clear().await.map_err(|error| with_causes(&error))?;
    store.transact(kept).await.map_err(|error| with_causes(&error))?;
    logs.clear().await.map_err(|fault| fault.message().to_owned())
}
