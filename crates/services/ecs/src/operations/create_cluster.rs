//! Makes a cluster, or gives the one that is there. AWS: CreateCluster.
//!
//! Differs from AWS: what needs AWS KMS or ECS Exec is refused by name.

use api::ecs::operations::CreateCluster;
use api::ecs::{CreateClusterRequest, CreateClusterResponse};
use domain::{Cluster, ClusterSetting, ClusterStatus};
use store::Transaction;
use store::rows::cluster_key;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{account_setting, capacity_provider, cluster, identifier, tag};
use crate::service_validation::service_connect;
use crate::{Ecs, faults, launch};

impl Operation<CreateCluster> for Ecs {
    fn permissions(&self, call: &Call, input: &CreateClusterRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ecs:CreateCluster",
            cluster::arn_for_permission(call, input.cluster_name.as_deref()),
        )]
    }

    async fn handle(&self, call: &Call, input: CreateClusterRequest) -> Result<CreateClusterResponse, Fault> {
        let name = input.cluster_name.unwrap_or_else(|| cluster::DEFAULT.to_owned());
        if !identifier::is_name(&name) {
            return Err(faults::invalid(
                "Invalid parameter at 'clusterName': the name may have up to 255 letters, numbers, hyphens and underscores.",
            ));
        }
        let tags = tag::parse_with_wishes(input.tags, launch::On::Cluster)?;
        let settings = input.settings.map(cluster::parse_settings).transpose()?;
        let configuration = input.configuration.as_ref().map(cluster::parse_configuration).transpose()?;
        let providers =
            input.capacity_providers.map(|names| capacity_provider::parse_names(call, names)).transpose()?;
        let strategy = input
            .default_capacity_provider_strategy
            .map(|items| capacity_provider::parse_strategy(items, providers.as_deref().unwrap_or_default()))
            .transpose()?;
        let connect = input.service_connect_defaults.and_then(|defaults| defaults.namespace);

        let update = self.store.update(|snapshot| {
            let key = cluster_key(&call.scope, &name);
            capacity_provider::check_there(snapshot, &call.scope, providers.as_deref().unwrap_or_default())?;
            let there = snapshot.get::<Cluster>(&key);
            let mut transaction = Transaction::new();
            if let Some(there) = there.as_ref().filter(|there| there.status == ClusterStatus::Active) {
                let same = settings.as_ref().is_none_or(|settings| *settings == there.settings)
                    && (configuration.is_none() || configuration == there.configuration_document)
                    && providers.as_ref().is_none_or(|providers| *providers == there.capacity_providers)
                    && strategy
                        .as_ref()
                        .is_none_or(|strategy| *strategy == there.default_capacity_provider_strategy)
                    && connect.as_deref().map_or(Ok(true), |given| {
                        service_connect::is_default(snapshot, call, there, given)
                    })?;
                if !same {
                    return Err(faults::invalid(
                        "Arguments on this idempotent request are inconsistent with arguments used in previous \
                         request(s).",
                    ));
                }
                return Ok((transaction, there.value.as_ref().clone()));
            }
            let connect = match &connect {
                Some(given) => {
                    service_connect::default_namespace(snapshot, call, &*self.ids, given, &mut transaction)?
                }
                None => None,
            };
            let insights = || {
                let principal = call.principal.arn.to_string();
                let value = account_setting::effective(snapshot, &call.scope, &principal, "containerInsights");
                vec![ClusterSetting { name: "containerInsights".to_owned(), value }]
            };
            let new = Cluster {
                scope: call.scope.clone(),
                name: name.clone(),
                status: ClusterStatus::Active,
                settings: settings.clone().filter(|settings| !settings.is_empty()).unwrap_or_else(insights),
                configuration_document: configuration.clone(),
                service_connect_defaults_document: connect,
                capacity_providers: providers.clone().unwrap_or_default(),
                default_capacity_provider_strategy: strategy.clone().unwrap_or_default(),
                tags: tags.clone(),
                created_at: call.now,
            };
            match &there {
                Some(there) => transaction.replace(there, new.clone()),
                None => transaction.insert(new.clone()),
            };
            let place = (&call.scope, name.as_str(), call.now);
            let providers = (&[][..], new.capacity_providers.as_slice());
            capacity_provider::associate(snapshot, &mut transaction, self.ids.as_ref(), place, providers);
            Ok((transaction, new))
        });
        let cluster = update.await.map_err(faults::of_update)?;

        let described = cluster::describe(&self.store.snapshot(), &cluster, cluster::Include::ON_CHANGE)?;
        Ok(CreateClusterResponse { cluster: Some(described) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn a_cluster_is_made_once() {
        let world = World::new();
        let made = world
            .ok("CreateCluster", json!({"clusterName": "web", "tags": [{"key": "a", "value": "b"}]}))
            .await;
        assert_eq!(
            made["cluster"],
            json!({
                "clusterArn": "arn:aws:ecs:us-east-1:000000000000:cluster/web",
                "clusterName": "web",
                "status": "ACTIVE",
                "registeredContainerInstancesCount": 0,
                "runningTasksCount": 0,
                "pendingTasksCount": 0,
                "activeServicesCount": 0,
                "statistics": [],
                "tags": [{"key": "a", "value": "b"}],
                "settings": [{"name": "containerInsights", "value": "disabled"}],
                "capacityProviders": [],
                "defaultCapacityProviderStrategy": [],
                "attachments": [],
            })
        );
        let again = world.ok("CreateCluster", json!({"clusterName": "web"})).await;
        assert_eq!(again, made);
        assert_eq!(
            world
                .refused("CreateCluster", json!({"clusterName": "web", "capacityProviders": ["FARGATE"]}))
                .await,
            "InvalidParameterException: Arguments on this idempotent request are inconsistent with arguments used in \
             previous request(s)."
        );
        for bad in [
            json!({"clusterName": "a b"}),
            json!({"clusterName": ""}),
            json!({"clusterName": "x".repeat(256)}),
            json!({"capacityProviders": ["mine"]}),
            json!({"settings": [{"name": "containerInsights", "value": "maybe"}]}),
            json!({"defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE", "weight": 1}]}),
            json!({"configuration": {"managedStorageConfiguration": {"kmsKeyId": "k"}}}),
        ] {
            world.refused("CreateCluster", bad).await;
        }
    }

    #[tokio::test]
    async fn a_default_namespace_is_made_where_there_is_none() {
        let world = World::new();
        let with = |name: &str, namespace: &str| json!({"clusterName": name, "serviceConnectDefaults": {"namespace": namespace}});
        let made = world.ok("CreateCluster", with("web", "n")).await;
        let arn = text(&made, "/cluster/serviceConnectDefaults/namespace");
        assert!(arn.contains(":namespace/ns-"), "{arn}");
        let again = world.ok("CreateCluster", with("web", &arn)).await;
        assert_eq!(text(&again, "/cluster/serviceConnectDefaults/namespace"), arn);
        let other = world.ok("CreateCluster", with("other", "N")).await;
        assert_eq!(text(&other, "/cluster/serviceConnectDefaults/namespace"), arn, "names have no case");
        assert!(world.refused("CreateCluster", with("web", "m")).await.contains("are inconsistent"));
        let ghost = "arn:aws:servicediscovery:us-east-1:000000000000:namespace/ns-none";
        assert!(world.refused("CreateCluster", with("third", ghost)).await.starts_with("NamespaceNotFound"));
    }
}
