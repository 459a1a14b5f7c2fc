//! Service Connect's part of a session with an agent: which names its tasks call, and where what they call is.
//!
//! A task is told its names and ports once, when it is ordered to run (as at AWS, names that come later are for later tasks).
//! Where the services are goes in messages of its own, a service at a time, whenever an instance comes, goes or falls ill.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use agent_protocol::payload::ServiceConnectExtension;
use agent_protocol::service_connect::{ConnectedEndpoint, ConnectedRevision, ConnectedService};
use api::ecs::ServiceConnectConfiguration;
use base::{Arn, Scope};
use domain::{
    AWS_INSTANCE_IPV4, AWS_INSTANCE_IPV6, AWS_INSTANCE_PORT, DiscoveryInstance, DiscoveryService,
    RevisionInUse, Service, ServiceDeployment, ServiceRevision, Task,
};
use store::rows::task_key;
use store::rows_service::{service_deployment_key, service_key};
use store::rows_service_discovery::{DISCOVERY_SERVICES_BY_MANAGER, DISCOVERY_SERVICES_BY_NAME};
use store::{Change, Key, Revision, Snapshot, Versioned};
use tokio::sync::Notify;

use crate::{Control, deployment_configuration};

/// Names and ports that one task is told. Ours: AWS's quota is on the services of a namespace.
const LISTENERS_MAXIMUM: usize = 1_000;
/// Names have addresses of 127.255.0.0/16, as at AWS.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 255, 0, 0);

/// The header that makes a request a test where a service names none of its own. Source: AWS, "Service Connect resources for Amazon
/// ECS blue/green deployments".
const TEST_HEADER: &str = "x-amzn-ecs-blue-green-test";

/// A namespace: account, region and id.
pub type Namespace = [String; 3];

/// The namespace that a task calls services of.
pub fn namespace_of(task: &Task) -> Option<Namespace> {
    task.connects_to.as_ref().map(|id| namespace(&task.scope, id))
}

fn namespace(scope: &Scope, id: &str) -> Namespace {
    [scope.account.as_str().to_owned(), scope.region.as_str().to_owned(), id.to_owned()]
}

fn services<'a>(
    snapshot: &'a Snapshot,
    namespace: &Namespace,
) -> impl Iterator<Item = Versioned<DiscoveryService>> + use<'a> {
    let parts: Vec<&str> = namespace.iter().map(String::as_str).collect();
    let named = snapshot.index::<DiscoveryService>(DISCOVERY_SERVICES_BY_NAME, &parts, None);
    named.filter(|service| service.connect.is_some())
}

/// What a task that is about to run may call. Where services claim the same name and port, the oldest has it.
pub fn listeners(snapshot: &Snapshot, task: &Task) -> Vec<ServiceConnectExtension> {
    let Some(namespace) = namespace_of(task) else { return Vec::new() };
    let mut oldest_first: Vec<_> = services(snapshot, &namespace).collect();
    oldest_first.sort_by_key(|service| service.created_at);
    let mut claimed: BTreeMap<(String, u16), String> = BTreeMap::new();
    for service in &oldest_first {
        for alias in service.connect.iter().flat_map(|connect| &connect.aliases) {
            claimed.entry(alias.clone()).or_insert_with(|| service.id.clone());
        }
    }
    let names: BTreeSet<&String> = claimed.keys().map(|(name, _)| name).collect();
    let addresses: BTreeMap<&String, Ipv4Addr> = names
        .into_iter()
        .zip(1_u32..)
        .map(|(name, number)| (name, Ipv4Addr::from(u32::from(FIRST_ADDRESS) + number)))
        .collect();
    let listener = |((name, port), service): (&(String, u16), &String)| ServiceConnectExtension {
        service: service.clone(),
        host_name: name.clone(),
        address: addresses.get(name).map(ToString::to_string).unwrap_or_default(),
        port: *port,
    };
    claimed.iter().take(LISTENERS_MAXIMUM).map(listener).collect()
}

/// What a session has told its agent.
#[derive(Debug, Default)]
pub struct Told {
    namespaces: BTreeSet<Namespace>,
    services: BTreeMap<String, (Revision, Vec<ConnectedRevision>)>,
}

impl Told {
    /// Adds a namespace; whether it is new.
    pub fn follow(&mut self, namespace: Namespace) -> bool {
        self.namespaces.insert(namespace)
    }

    /// What is new since the last call, by the service's id.
    pub fn news(&mut self, snapshot: &Snapshot) -> BTreeMap<String, Option<ConnectedService>> {
        let mut news = BTreeMap::new();
        let mut there = BTreeSet::new();
        for service in self.namespaces.iter().flat_map(|namespace| services(snapshot, namespace)) {
            there.insert(service.id.clone());
            // Whatever happens to an instance changes its service's row.
            let now = (service.revision, shares(snapshot, &service));
            if self.services.get(&service.id) != Some(&now) {
                news.insert(service.id.clone(), Some(connected(snapshot, &service, now.1.clone())));
                self.services.insert(service.id.clone(), now);
            }
        }
        let gone: Vec<String> = self.services.keys().filter(|id| !there.contains(*id)).cloned().collect();
        for id in gone {
            self.services.remove(&id);
            news.insert(id, None);
        }
        news
    }
}

/// Revisions of an ECS service with their shares of traffic: what a deployment that shifts traffic divides it by. Empty where
/// nothing is divided, or not yet: a service that is updated in its first deployment has not given anybody a share of
/// production traffic, and it is the next step of the deployment that does. Nobody is to be refused in between.
fn shares(snapshot: &Snapshot, service: &DiscoveryService) -> Vec<ConnectedRevision> {
    let Some(managed_by) = managing(snapshot, service) else { return Vec::new() };
    // The document is only read where there is something to divide.
    let is_divided = managed_by.revisions.iter().any(|revision| revision.production_weight > 0);
    if managed_by.revisions.len() < 2 || !is_divided || !shifts_traffic(snapshot, &managed_by) {
        return Vec::new();
    }
    let share = |revision: &RevisionInUse| ConnectedRevision {
        id: revision.id.clone(),
        production_weight: revision.production_weight,
        test_weight: revision.test_weight,
    };
    managed_by.revisions.iter().map(share).collect()
}

fn managing(snapshot: &Snapshot, service: &DiscoveryService) -> Option<Versioned<Service>> {
    let arn: Arn = service.managed_by.as_ref()?.parse().ok()?;
    let (cluster, name) = arn.resource().strip_prefix("service/")?.split_once('/')?;
    snapshot.get(&service_key(&arn.scope()?, cluster, name))
}

/// Whether the deployment under way divides traffic by weights. A rolling one does not: each of its tasks serves at once.
fn shifts_traffic(snapshot: &Snapshot, service: &Service) -> bool {
    let deployment = service.current_deployment.as_ref().and_then(|id| {
        let key = service_deployment_key(&service.scope, &service.cluster, &service.name, id);
        snapshot.get::<ServiceDeployment>(&key)
    });
    let document = deployment.as_ref().map_or(&service.deployment_configuration_document, |deployment| {
        &deployment.deployment_configuration_document
    });
    deployment_configuration::parse(document, service.scheduling_strategy).side_by_side()
}

/// What the service of a task's revision says of Service Connect, where the task has a part in it.
pub fn configuration(task: &Task, revision: &ServiceRevision) -> Option<ServiceConnectConfiguration> {
    task.connects_to.as_ref()?;
    let document: api::ecs::ServiceRevision = wire::json::from_str(&revision.document)
        .inspect_err(|error| tracing::error!(%error, revision = revision.id, "a stored service revision cannot be read"))
        .ok()?;
    document.service_connect_configuration
}

fn connected(
    snapshot: &Snapshot,
    service: &DiscoveryService,
    revisions: Vec<ConnectedRevision>,
) -> ConnectedService {
    let managed_by = managing(snapshot, service).filter(|_| !revisions.is_empty());
    let revision_of = |instance: &DiscoveryInstance| {
        let managed_by = managed_by.as_ref()?;
        let task = snapshot.get::<Task>(&task_key(&managed_by.scope, &managed_by.cluster, &instance.id))?;
        task.service_revision().map(str::to_owned)
    };
    let instances = snapshot.scan::<DiscoveryInstance>(Key::prefix(&service.scope, &[&service.id]), None);
    let endpoint = |instance: Versioned<DiscoveryInstance>| {
        let address = instance.attribute(AWS_INSTANCE_IPV4).or(instance.attribute(AWS_INSTANCE_IPV6));
        Some(ConnectedEndpoint {
            id: instance.id.clone(),
            address: address?.to_owned(),
            port: instance.attribute(AWS_INSTANCE_PORT)?.parse().ok()?,
            revision: revision_of(&instance).unwrap_or_default(),
        })
    };
    let endpoints = instances.filter(|instance| instance.is_healthy()).filter_map(endpoint).collect();
    let connect = service.connect.as_ref();
    let aws = || (TEST_HEADER.to_owned(), None);
    let (test_header, test_header_value) = if revisions.is_empty() {
        (String::new(), None)
    } else {
        connect.and_then(|connect| connect.test_header.clone()).unwrap_or_else(aws)
    };
    ConnectedService {
        app_protocol: connect.map(|connect| connect.app_protocol.clone()).unwrap_or_default(),
        idle_timeout_seconds: connect.map_or(0, |connect| connect.idle_timeout_seconds),
        request_timeout_seconds: connect.map_or(0, |connect| connect.request_timeout_seconds),
        endpoints,
        revisions,
        test_header,
        test_header_value,
    }
}

/// Which sessions are to be woken when something of a namespace changes.
#[derive(Default)]
pub struct Followers(Mutex<BTreeMap<Namespace, BTreeMap<String, Arc<Notify>>>>);

impl Followers {
    /// Enters a session, by its container instance's ARN.
    pub fn enter(&self, namespace: &Namespace, session: &str, wake: &Arc<Notify>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(namespace.clone()).or_default().insert(session.to_owned(), Arc::clone(wake));
    }

    /// Takes a session out, wherever it is. A newer one of the same container instance stays.
    pub fn leave(&self, session: &str, wake: &Arc<Notify>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, sessions| {
            if sessions.get(session).is_some_and(|there| Arc::ptr_eq(there, wake)) {
                sessions.remove(session);
            }
            !sessions.is_empty()
        });
    }

    fn wake(&self, namespace: &Namespace) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for wake in all.get(namespace).into_iter().flat_map(BTreeMap::values) {
            wake.notify_one();
        }
    }

    fn wake_all(&self) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for wake in all.values().flat_map(BTreeMap::values) {
            wake.notify_one();
        }
    }
}

/// Follows the store and wakes the sessions that a changed service concerns.
pub async fn run(control: Control) {
    let mut feed = control.store.changes(control.store.snapshot().version());
    loop {
        match feed.next().await {
            Ok(batch) => {
                let changed: BTreeSet<Namespace> =
                    batch.changes.iter().flat_map(|change| concerned(&control, change)).collect();
                for namespace in &changed {
                    control.followers.wake(namespace);
                }
            }
            Err(lagged) => {
                tracing::debug!(%lagged, "Service Connect starts again from a snapshot");
                feed = control.store.changes(control.store.snapshot().version());
                control.followers.wake_all();
            }
        }
    }
}

/// The namespaces that a change concerns: where a service of AWS Cloud Map changed, or the shares of traffic of an ECS service.
fn concerned(control: &Control, change: &Change) -> Vec<Namespace> {
    if let Some(row) = change.of::<DiscoveryService>() {
        let row = row.after.or(row.before).filter(|row| row.connect.is_some());
        return row.iter().map(|row| namespace(&row.scope, &row.namespace)).collect();
    }
    let Some(row) = change.of::<Service>() else { return Vec::new() };
    let weights = |service: &Service| -> Vec<(String, u16, u16)> {
        let weight = |there: &RevisionInUse| (there.id.clone(), there.production_weight, there.test_weight);
        service.revisions.iter().map(weight).collect()
    };
    let before = row.before.as_deref().map(weights);
    let Some(after) = row.after.filter(|after| before.as_ref() != Some(&weights(after))) else {
        return Vec::new();
    };
    let snapshot = control.store.snapshot();
    let arn = after.arn().to_string();
    let made = snapshot.index::<DiscoveryService>(DISCOVERY_SERVICES_BY_MANAGER, &[&arn], None);
    made.map(|made| namespace(&made.scope, &made.namespace)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Timestamp;
    use domain::{DiscoveryConnect, DiscoveryServiceType};
    use store::rows_service_discovery::change_instances;
    use store::{Options, Store, Transaction};

    fn scope() -> Scope {
        Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap())
    }

    fn service(id: &str, made: i64, aliases: &[(&str, u16)]) -> DiscoveryService {
        DiscoveryService {
            scope: scope(),
            id: id.to_owned(),
            name: id.to_owned(),
            namespace: "ns-1".to_owned(),
            service_type: DiscoveryServiceType::Http,
            description: None,
            routing_policy: None,
            records: Vec::new(),
            health_check: None,
            custom_health: true,
            attributes: BTreeMap::new(),
            creator_request_id: None,
            instance_count: 0,
            instances_revision: 0,
            managed_by: None,
            connect: Some(DiscoveryConnect {
                app_protocol: "http".to_owned(),
                aliases: aliases.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect(),
                idle_timeout_seconds: 300,
                request_timeout_seconds: 15,
                test_header: None,
            }),
            created_at: Timestamp::from_millis(made),
            tags: Vec::new(),
        }
    }

    fn instance(id: &str, healthy: bool) -> DiscoveryInstance {
        let attributes = [(AWS_INSTANCE_IPV4, "10.0.0.1"), (AWS_INSTANCE_PORT, "80")];
        DiscoveryInstance {
            scope: scope(),
            service: "srv-a".to_owned(),
            id: id.to_owned(),
            attributes: attributes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            creator_request_id: None,
            custom_health: Some(healthy),
            registered_at: Timestamp::from_millis(0),
        }
    }

    #[tokio::test]
    async fn news_are_what_changed_and_only_healthy_endpoints_are_told() {
        let store = Store::ephemeral(store::rows::register(Options::ephemeral()));
        let mut transaction = Transaction::new();
        transaction.insert(service("srv-a", 1, &[("backend", 80)]));
        transaction.insert(service("srv-b", 2, &[("backend", 80), ("other", 81)]));
        store.transact(transaction).await.unwrap();
        let mut told = Told::default();
        assert!(told.news(&store.snapshot()).is_empty());
        assert!(told.follow(namespace(&scope(), "ns-1")));
        assert_eq!(told.news(&store.snapshot()).len(), 2);
        assert!(told.news(&store.snapshot()).is_empty());
        let snapshot = store.snapshot();
        let row = snapshot.get::<DiscoveryService>(&store::rows_service_discovery::discovery_service_key(
            &scope(),
            "srv-a",
        ));
        let mut transaction = Transaction::new();
        let put = vec![instance("one", true), instance("two", false)];
        change_instances(&snapshot, &mut transaction, &row.unwrap(), put, &[]);
        store.transact(transaction).await.unwrap();
        let news = told.news(&store.snapshot());
        let endpoints = &news["srv-a"].as_ref().unwrap().endpoints;
        assert_eq!((news.len(), endpoints.len(), endpoints[0].id.as_str()), (1, 1, "one"));
        let mut transaction = Transaction::new();
        transaction.delete::<DiscoveryService>(&store::rows_service_discovery::discovery_service_key(
            &scope(),
            "srv-b",
        ));
        store.transact(transaction).await.unwrap();
        assert_eq!(told.news(&store.snapshot()), BTreeMap::from([("srv-b".to_owned(), None)]));
    }

    #[tokio::test]
    async fn a_name_has_one_address_and_the_oldest_service_has_a_claimed_port() {
        let store = Store::ephemeral(store::rows::register(Options::ephemeral()));
        let mut transaction = Transaction::new();
        transaction.insert(service("srv-a", 2, &[("backend", 80)]));
        transaction.insert(service("srv-b", 1, &[("backend", 80), ("backend", 81)]));
        transaction.insert(service("srv-c", 3, &[("a", 80)]));
        store.transact(transaction).await.unwrap();
        let mut claimed = BTreeMap::new();
        let mut task = crate::payload::tests::task("");
        assert!(listeners(&store.snapshot(), &task).is_empty());
        task.scope = scope();
        task.connects_to = Some("ns-1".to_owned());
        for there in listeners(&store.snapshot(), &task) {
            claimed.insert((there.host_name, there.port), (there.service, there.address));
        }
        let of = |name: &str, port| claimed[&(name.to_owned(), port)].clone();
        assert_eq!(of("a", 80), ("srv-c".to_owned(), "127.255.0.1".to_owned()));
        assert_eq!(of("backend", 80), ("srv-b".to_owned(), "127.255.0.2".to_owned()));
        assert_eq!(of("backend", 81), ("srv-b".to_owned(), "127.255.0.2".to_owned()));
    }

    /// An ECS service `web` with a blue and a green revision, which has these shares of production traffic.
    fn managing(strategy: &str, green: u16) -> Service {
        let revision = |id: &str, status: &str, production_weight: u16| {
            serde_json::json!({"id": id, "status": status, "desired_count": 1, "created_at": 0, "updated_at": 0,
                "rollout_state": "IN_PROGRESS", "rollout_state_reason": "", "production_weight": production_weight,
                "test_weight": if status == "PRIMARY" { 1000 } else { 0 }})
        };
        serde_json::from_value(serde_json::json!({
            "scope": serde_json::to_value(scope()).unwrap(), "cluster": "default", "name": "web", "id": "s",
            "status": "ACTIVE", "scheduling_strategy": "REPLICA", "deployment_controller": "ECS", "desired_count": 1,
            "created_at": 0,
            "deployment_configuration_document": format!(r#"{{"strategy":"{strategy}"}}"#),
            "revisions": [revision("green", "PRIMARY", green), revision("blue", "ACTIVE", 1000 - green)],
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn shares_are_told_while_a_deployment_shifts_traffic() {
        let store = Store::ephemeral(store::rows::register(Options::ephemeral()));
        let mut discovery = service("srv-a", 1, &[("backend", 80)]);
        discovery.managed_by = Some(managing("CANARY", 0).arn().to_string());
        let mut transaction = Transaction::new();
        transaction.insert(discovery);
        transaction.insert(managing("CANARY", 0));
        let mut tasks = [crate::payload::tests::task(""), crate::payload::tests::task("")];
        for (task, revision) in tasks.iter_mut().zip(["blue", "green"]) {
            task.scope = scope();
            task.id = revision.to_owned();
            task.started_by = Some(format!("ecs-svc/{revision}"));
            transaction.insert(task.clone());
        }
        store.transact(transaction).await.unwrap();
        let snapshot = store.snapshot();
        let key = store::rows_service_discovery::discovery_service_key(&scope(), "srv-a");
        let row = snapshot.get::<DiscoveryService>(&key).unwrap();
        let mut transaction = Transaction::new();
        let put = vec![instance("blue", true), instance("green", true)];
        change_instances(&snapshot, &mut transaction, &row, put, &[]);
        store.transact(transaction).await.unwrap();

        let mut told = Told::default();
        told.follow(namespace(&scope(), "ns-1"));
        let news = told.news(&store.snapshot());
        let connected = news["srv-a"].as_ref().unwrap();
        let weights: Vec<_> = connected
            .revisions
            .iter()
            .map(|there| (there.id.as_str(), there.production_weight, there.test_weight))
            .collect();
        assert_eq!(weights, [("green", 0, 1000), ("blue", 1000, 0)]);
        assert_eq!(connected.test_header, TEST_HEADER);
        assert!(connected.endpoints.iter().all(|endpoint| endpoint.revision == endpoint.id), "{connected:?}");
        assert!(told.news(&store.snapshot()).is_empty());

        // The shares move, and nothing else does. Nobody has one in an update of a service that is in its first deployment.
        let mut unshared = managing("CANARY", 100);
        unshared.revisions.iter_mut().for_each(|revision| revision.production_weight = 0);
        let key = service_key(&scope(), "default", "web");
        let steps = [
            (managing("CANARY", 100), 2),
            (unshared, 0),
            (managing("CANARY", 200), 2),
            (managing("ROLLING", 100), 0),
        ];
        for (next, expected) in steps {
            let snapshot = store.snapshot();
            let mut transaction = Transaction::new();
            transaction.replace(&snapshot.get::<Service>(&key).unwrap(), next);
            store.transact(transaction).await.unwrap();
            let news = told.news(&store.snapshot());
            assert_eq!(news["srv-a"].as_ref().unwrap().revisions.len(), expected);
        }
    }
}
