//! `serviceConnectConfiguration`: the services of AWS Cloud Map that a service's tasks are and call.
//!
//! Source: AWS, "ServiceConnectConfiguration" and "ServiceConnectService" data types, "Amazon ECS Service Connect
//! components". AWS documents what is refused, not in which words: the sentences are ours. What the proxy of this release
//! cannot do (TLS, log drivers that are none of ours) is refused by name.

use std::collections::BTreeSet;

use api::ecs::{
    ClusterServiceConnectDefaults, ServiceConnectConfiguration, ServiceConnectService,
    TaskDefinition as Document, faults as modelled,
};
use base::{Arn, Ids, Timestamp};
use domain::{
    Cluster, DeploymentControllerType, DiscoveryConnect, DiscoveryNamespace, DiscoveryNamespaceType,
    DiscoveryService, DiscoveryServiceType, LaunchType, NetworkMode, RegistryState, RevisionConnect,
    TaskRegistry, discovery_id,
};
use store::rows_service_discovery::{
    DISCOVERY_SERVICES_BY_NAME, NAMESPACES_BY_NAME, discovery_namespace_key,
};
use store::{Snapshot, Transaction, Versioned};
use wire::{Call, Fault};

use super::workload::Workload;
use crate::faults::invalid;
use crate::launch::unsupported;

/// Seconds for which a connection may carry nothing, where the caller does not say. Source: "TimeoutConfiguration" data type.
const IDLE_SECONDS: u32 = 300;
/// The same for TCP.
const TCP_IDLE_SECONDS: u32 = 3600;
/// Seconds for a whole answer. Source: the same.
const REQUEST_SECONDS: u32 = 15;
/// Aliases of one service. Source: "ServiceConnectService" data type.
const ALIASES_MAXIMUM: usize = 1;
/// A header's name. Ours: AWS does not say.
const HEADER_NAME_BYTES: usize = 256;
/// Services of one configuration. Ours: AWS does not say.
const SERVICES_MAXIMUM: usize = 50;

/// What Service Connect is configured for.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The service's ARN.
    pub service: &'a Arn,
    /// Who leads its deployments.
    pub controller: DeploymentControllerType,
    /// What its tasks are.
    pub workload: Option<&'a Workload>,
    /// Their task definition.
    pub definition: Option<&'a Document>,
}

/// What is to be made for a revision.
#[derive(Clone, Debug)]
pub struct Wish {
    namespace: Versioned<DiscoveryNamespace>,
    services: Vec<Serves>,
}

#[derive(Clone, Debug)]
struct Serves {
    name: String,
    there: Option<Versioned<DiscoveryService>>,
    connect: DiscoveryConnect,
    container: String,
    container_port: u16,
    ingress_port: Option<u16>,
}

/// Checks a configuration; `None` is one that is off.
pub fn check(
    snapshot: &Snapshot,
    call: &Call,
    given: Option<&ServiceConnectConfiguration>,
    of: Of<'_>,
) -> Result<Option<Wish>, Fault> {
    let Some(given) = given.filter(|given| given.enabled == Some(true)) else { return Ok(None) };
    if given.container_configurations.as_ref().is_some_and(|all| !all.is_empty()) {
        return Err(unsupported("serviceConnectConfiguration.containerConfigurations"));
    }
    if of.controller != DeploymentControllerType::Ecs {
        return Err(invalid("Service Connect is supported with the ECS deployment controller only."));
    }
    let (Some(workload), Some(definition)) = (of.workload, of.definition) else { return Ok(None) };
    let namespace = namespace(snapshot, call, given.namespace.as_deref(), of.cluster)?;
    check_workload(workload)?;
    check_logs(given, workload)?;
    let services = given.services.as_deref().unwrap_or_default();
    if services.len() > SERVICES_MAXIMUM {
        return Err(invalid(format!("Service Connect can have at most {SERVICES_MAXIMUM} services.")));
    }
    let (mut names, mut aliases) = (BTreeSet::new(), BTreeSet::new());
    let mut wish = Wish { namespace, services: Vec::with_capacity(services.len()) };
    for service in services {
        let serves = serves(snapshot, service, definition, &wish.namespace, of.service)?;
        check_ingress(&serves, definition, workload, &wish.services)?;
        if !names.insert(serves.name.to_ascii_lowercase()) {
            return Err(invalid(format!("The discoveryName {} is given twice.", serves.name)));
        }
        for alias in &serves.connect.aliases {
            if !aliases.insert(alias.clone()) {
                return Err(invalid(format!("The client alias {}:{} is given twice.", alias.0, alias.1)));
            }
        }
        wish.services.push(serves);
    }
    Ok(Some(wish))
}

fn check_workload(workload: &Workload) -> Result<(), Fault> {
    if workload.compute.launch_type == LaunchType::External {
        return Err(invalid("Service Connect is not supported for services with the EXTERNAL launch type."));
    }
    match workload.definition.projection.network_mode {
        NetworkMode::AwsVpc | NetworkMode::Bridge => Ok(()),
        mode => Err(invalid(format!("Service Connect does not support the network mode {mode}."))),
    }
}

/// As for a container of the task; no secrets.
fn check_logs(given: &ServiceConnectConfiguration, workload: &Workload) -> Result<(), Fault> {
    if let Some(access) = &given.access_log_configuration {
        if given.log_configuration.is_none() {
            return Err(invalid("accessLogConfiguration needs a logConfiguration."));
        }
        if !matches!(access.format.as_deref(), Some("TEXT" | "JSON")) {
            return Err(invalid("The format of accessLogConfiguration must be TEXT or JSON."));
        }
    }
    let Some(log) = &given.log_configuration else { return Ok(()) };
    let driver = log.log_driver.as_deref().unwrap_or_default();
    if !matches!(driver, "awslogs" | "json-file" | "none") {
        return Err(unsupported(&format!("serviceConnectConfiguration.logConfiguration.logDriver {driver}")));
    }
    if log.secret_options.as_ref().is_some_and(|all| !all.is_empty()) {
        return Err(unsupported("serviceConnectConfiguration.logConfiguration.secretOptions"));
    }
    let is_fargate = workload.compute.launch_type == LaunchType::Fargate;
    let needed: &[&str] = match driver {
        "awslogs" if is_fargate => &["awslogs-group", "awslogs-region", "awslogs-stream-prefix"],
        "awslogs" => &["awslogs-group", "awslogs-region"],
        _ => &[],
    };
    let is_missing = |option: &&&str| {
        let options = log.options.as_ref();
        options.and_then(|options| options.get(**option)).is_none_or(String::is_empty)
    };
    let missing: Vec<&str> = needed.iter().filter(is_missing).copied().collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(invalid(format!("Log driver awslogs requires options: {}", missing.join(", "))))
    }
}

/// The namespace that is given, or the cluster's default one.
fn namespace(
    snapshot: &Snapshot,
    call: &Call,
    given: Option<&str>,
    cluster: &Cluster,
) -> Result<Versioned<DiscoveryNamespace>, Fault> {
    let default = cluster_default(cluster)?;
    let wanted = given.filter(|given| !given.is_empty()).or(default.as_deref()).ok_or_else(|| {
        invalid("serviceConnectConfiguration needs a namespace: the cluster has no default Service Connect namespace.")
    })?;
    find_namespace(snapshot, call, wanted).ok_or_else(no_namespace)
}

/// The fault for a namespace that is not there.
pub fn no_namespace() -> Fault {
    modelled::namespace_not_found_exception("The specified namespace was not found.")
}

/// The namespace with this name or ARN; of several with the name, the oldest.
pub fn find_namespace(
    snapshot: &Snapshot,
    call: &Call,
    given: &str,
) -> Option<Versioned<DiscoveryNamespace>> {
    if given.starts_with("arn:") {
        let arn: Arn = given.parse().ok()?;
        let (kind, id) = arn.resource_type_and_id()?;
        let is_own = arn.aws_service() == "servicediscovery" && arn.scope().as_ref() == Some(&call.scope);
        return snapshot
            .get(&discovery_namespace_key(&call.scope, id))
            .filter(|_| is_own && kind == "namespace");
    }
    let name = given.to_ascii_lowercase();
    let parts = [call.scope.account.as_str(), call.scope.region.as_str(), &name];
    let named = snapshot.index::<DiscoveryNamespace>(NAMESPACES_BY_NAME, &parts, None);
    named.min_by_key(|namespace| namespace.created_at)
}

fn cluster_default(cluster: &Cluster) -> Result<Option<String>, Fault> {
    let Some(document) = &cluster.service_connect_defaults_document else { return Ok(None) };
    let defaults: ClusterServiceConnectDefaults = wire::json::from_str(document).map_err(Fault::server)?;
    Ok(defaults.namespace)
}

/// The document of a cluster whose default namespace is `given`: an ARN, or a name, for which an HTTP namespace is made where
/// there is none. An empty name takes the default away. Source: "ClusterServiceConnectDefaultsRequest" data type.
pub fn default_namespace(
    snapshot: &Snapshot,
    call: &Call,
    ids: &dyn Ids,
    given: &str,
    transaction: &mut Transaction,
) -> Result<Option<String>, Fault> {
    if given.is_empty() {
        return Ok(None);
    }
    let arn = match find_namespace(snapshot, call, given) {
        Some(there) => there.arn(),
        None if given.starts_with("arn:") => return Err(no_namespace()),
        None => {
            if !given.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(invalid("The name of a namespace consists of printable ASCII characters."));
            }
            let made = DiscoveryNamespace {
                scope: call.scope.clone(),
                id: discovery_id(ids, "ns"),
                name: given.to_owned(),
                namespace_type: DiscoveryNamespaceType::Http,
                description: None,
                vpc: None,
                hosted_zone: None,
                soa_ttl_seconds: None,
                creator_request_id: None,
                made_by: None,
                service_count: 0,
                created_at: call.now,
                tags: Vec::new(),
            };
            let arn = made.arn();
            transaction.insert(made);
            arn
        }
    };
    let defaults = ClusterServiceConnectDefaults { namespace: Some(arn.to_string()) };
    Ok(Some(wire::json::to_string(&defaults)))
}

/// Whether a cluster's default namespace is the one given.
pub fn is_default(snapshot: &Snapshot, call: &Call, cluster: &Cluster, given: &str) -> Result<bool, Fault> {
    let default = cluster_default(cluster)?;
    let wanted = find_namespace(snapshot, call, given).map(|namespace| namespace.arn().to_string());
    Ok(if given.is_empty() { default.is_none() } else { wanted.is_some() && default == wanted })
}

fn serves(
    snapshot: &Snapshot,
    given: &ServiceConnectService,
    definition: &Document,
    namespace: &DiscoveryNamespace,
    of: &Arn,
) -> Result<Serves, Fault> {
    if given.tls.is_some() {
        return Err(unsupported("serviceConnectConfiguration.services.tls"));
    }
    let port_name = given.port_name.as_deref().unwrap_or_default();
    let (container, container_port, app_protocol) = port(definition, port_name)?;
    let name = given.discovery_name.clone().filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| port_name.to_owned());
    if !is_discovery_name(&name) {
        return Err(invalid(format!(
            "The discoveryName {name} can have up to 64 lowercase letters, numbers, underscores and hyphens, and can't start \
             with a hyphen."
        )));
    }
    let scope = &namespace.scope;
    let parts = [scope.account.as_str(), scope.region.as_str(), &namespace.id, &name];
    let there = snapshot.index::<DiscoveryService>(DISCOVERY_SERVICES_BY_NAME, &parts, None).next();
    if there.as_ref().is_some_and(|there| there.managed_by.as_deref() != Some(of.as_str())) {
        return Err(invalid(format!(
            "The discoveryName {name} is already used by another service in the namespace {}.",
            namespace.name
        )));
    }
    let connect = DiscoveryConnect {
        aliases: aliases(given, &name, namespace)?,
        idle_timeout_seconds: 0,
        request_timeout_seconds: 0,
        test_header: test_header(given, &app_protocol)?,
        app_protocol,
    };
    let connect = with_timeouts(connect, given)?;
    let ingress_port = match given.ingress_port_override {
        None => None,
        Some(port) => {
            let port = u16::try_from(port).ok().filter(|port| *port > 0);
            Some(port.ok_or_else(|| invalid("ingressPortOverride must be between 1 and 65535."))?)
        }
    };
    Ok(Serves { name, there, connect, container, container_port, ingress_port })
}

/// The proxy and the containers of a task share its ports.
fn check_ingress(
    serves: &Serves,
    definition: &Document,
    workload: &Workload,
    others: &[Serves],
) -> Result<(), Fault> {
    let Some(port) = serves.ingress_port else { return Ok(()) };
    if workload.definition.projection.network_mode != NetworkMode::AwsVpc {
        return Err(unsupported(
            "serviceConnectConfiguration.services.ingressPortOverride with the network mode bridge",
        ));
    }
    let containers = definition.container_definitions.iter().flatten();
    let mut mappings = containers.flat_map(|container| container.port_mappings.iter().flatten());
    let is_a_containers = mappings.any(|mapping| mapping.container_port == Some(i32::from(port)));
    if is_a_containers || others.iter().any(|other| other.ingress_port == Some(port)) {
        return Err(invalid(format!("The ingressPortOverride {port} is already in use in the task.")));
    }
    Ok(())
}

/// The header that makes a request a test while traffic is shifted, and its value. Source: "ServiceConnectTestTrafficRules" data
/// type.
fn test_header(
    given: &ServiceConnectService,
    app_protocol: &str,
) -> Result<Option<(String, Option<String>)>, Fault> {
    let rules = given.client_aliases.iter().flatten().find_map(|alias| alias.test_traffic_rules.as_ref());
    let Some(header) = rules.and_then(|rules| rules.header.as_ref()) else { return Ok(None) };
    if app_protocol == "tcp" {
        return Err(invalid("testTrafficRules are not supported for the appProtocol TCP."));
    }
    let name = header.name.clone().unwrap_or_default();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > HEADER_NAME_BYTES || !name.bytes().all(is_token) {
        return Err(invalid(format!("The name {name} of a header for test traffic is not a valid name.")));
    }
    Ok(Some((name.to_ascii_lowercase(), header.value.as_ref().and_then(|value| value.exact.clone()))))
}

/// The port mapping called so: its container, its port, and what is spoken.
fn port(definition: &Document, port_name: &str) -> Result<(String, u16, String), Fault> {
    let containers = definition.container_definitions.iter().flatten();
    let mappings = containers.flat_map(|container| {
        container.port_mappings.iter().flatten().map(|mapping| (container.name.clone(), mapping))
    });
    let mut named = mappings.filter(|(_, mapping)| mapping.name.as_deref() == Some(port_name));
    let found = named.next().and_then(|(container, mapping)| {
        let port = u16::try_from(mapping.container_port?).ok()?;
        Some((container?, port, mapping))
    });
    let (container, port, mapping) = found.ok_or_else(|| {
        invalid(format!(
            "The portName {port_name} does not match any named port mapping in the task definition."
        ))
    })?;
    if mapping.protocol.as_deref() == Some("udp") {
        return Err(invalid(format!("The port mapping {port_name} must have the protocol tcp.")));
    }
    Ok((container, port, mapping.app_protocol.clone().unwrap_or_else(|| "tcp".to_owned())))
}

fn is_discovery_name(name: &str) -> bool {
    name.len() <= 64
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
}

fn aliases(
    given: &ServiceConnectService,
    discovery_name: &str,
    namespace: &DiscoveryNamespace,
) -> Result<Vec<(String, u16)>, Fault> {
    let given = given.client_aliases.as_deref().unwrap_or_default();
    if given.len() > ALIASES_MAXIMUM {
        return Err(invalid(format!("A service can have at most {ALIASES_MAXIMUM} client alias.")));
    }
    let alias = |alias: &api::ecs::ServiceConnectClientAlias| {
        let port = alias.port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        let port = port.ok_or_else(|| invalid("The port of a client alias must be between 1 and 65535."))?;
        let name = alias.dns_name.clone().filter(|name| !name.is_empty());
        let name =
            name.unwrap_or_else(|| format!("{discovery_name}.{}", namespace.name)).to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if name.len() > 127 || !name.split('.').all(is_label) {
            return Err(invalid(format!("The dnsName {name} of a client alias is not a valid name.")));
        }
        Ok((name, port))
    };
    given.iter().map(alias).collect()
}

fn with_timeouts(
    connect: DiscoveryConnect,
    given: &ServiceConnectService,
) -> Result<DiscoveryConnect, Fault> {
    let is_tcp = connect.app_protocol == "tcp";
    let given = given.timeout.clone().unwrap_or_default();
    if is_tcp && given.per_request_timeout_seconds.is_some() {
        return Err(invalid("perRequestTimeoutSeconds is not supported for the appProtocol TCP."));
    }
    let seconds = |field: &str, given: Option<i32>, default: u32| match given {
        None => Ok(default),
        Some(seconds) => {
            u32::try_from(seconds).map_err(|_| invalid(format!("{field} can't be less than 0.")))
        }
    };
    let idle = if is_tcp { TCP_IDLE_SECONDS } else { IDLE_SECONDS };
    Ok(DiscoveryConnect {
        idle_timeout_seconds: seconds("idleTimeoutSeconds", given.idle_timeout_seconds, idle)?,
        request_timeout_seconds: seconds(
            "perRequestTimeoutSeconds",
            given.per_request_timeout_seconds,
            if is_tcp { 0 } else { REQUEST_SECONDS },
        )?,
        ..connect
    })
}

impl Wish {
    /// Puts the services of AWS Cloud Map into `transaction`, new or changed, and says what the revision's tasks are.
    pub fn make(
        self,
        ids: &dyn Ids,
        now: Timestamp,
        of: &Arn,
        transaction: &mut Transaction,
    ) -> RevisionConnect {
        let mut serves = Vec::with_capacity(self.services.len());
        let mut namespace = DiscoveryNamespace::clone(&self.namespace);
        for service in self.services {
            let row = match &service.there {
                Some(there) => {
                    let next =
                        DiscoveryService { connect: Some(service.connect), ..DiscoveryService::clone(there) };
                    if next != *there.value {
                        transaction.replace(there, next.clone());
                    }
                    next
                }
                None => {
                    namespace.service_count += 1;
                    let new = new_service(ids, now, of, &namespace, &service);
                    transaction.insert(new.clone());
                    new
                }
            };
            let registry = TaskRegistry {
                service: row.arn(),
                port: None,
                container: Some(service.container),
                container_port: Some(service.container_port),
                ingress_port: service.ingress_port,
                state: RegistryState::Unregistered,
                told_healthy: None,
            };
            serves.push((service.name, registry));
        }
        let id = namespace.id.clone();
        if namespace != *self.namespace.value {
            transaction.replace(&self.namespace, namespace);
        }
        RevisionConnect { namespace: id, serves }
    }
}

fn new_service(
    ids: &dyn Ids,
    now: Timestamp,
    of: &Arn,
    namespace: &DiscoveryNamespace,
    service: &Serves,
) -> DiscoveryService {
    DiscoveryService {
        scope: namespace.scope.clone(),
        id: discovery_id(ids, "srv"),
        name: service.name.clone(),
        namespace: namespace.id.clone(),
        service_type: DiscoveryServiceType::Http,
        description: Some(format!("Managed by {of}")),
        routing_policy: None,
        records: Vec::new(),
        health_check: None,
        custom_health: true,
        attributes: std::collections::BTreeMap::new(),
        creator_request_id: None,
        instance_count: 0,
        instances_revision: 0,
        managed_by: Some(of.to_string()),
        connect: Some(service.connect.clone()),
        created_at: now,
        tags: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{World, scope, text};

    async fn world() -> World {
        let world = World::with_fargate().await;
        let definition = json!({
            "family": "web", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
            "containerDefinitions": [{"name": "app", "image": "busybox", "portMappings": [
                {"containerPort": 80, "name": "http", "appProtocol": "http"},
                {"containerPort": 81, "name": "raw"}, {"containerPort": 82, "name": "datagrams", "protocol": "udp"}]}],
        });
        world.ok("RegisterTaskDefinition", definition).await;
        world
    }

    fn service(world: &World, name: &str, configuration: &Value) -> Value {
        let vpc = store::rows_vpc::find_default_vpc(&world.store.snapshot(), &scope()).unwrap();
        json!({"serviceName": name, "taskDefinition": "web", "desiredCount": 0, "launchType": "FARGATE",
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": [vpc.subnets[0].id]}},
            "serviceConnectConfiguration": configuration})
    }

    fn serving(change: &Value) -> Value {
        let mut item = json!({"portName": "http", "clientAliases": [{"port": 80, "dnsName": "backend"}]});
        for (key, value) in change.as_object().unwrap() {
            item[key] = value.clone();
        }
        json!({"enabled": true, "namespace": "n", "services": [item]})
    }

    fn logging(more: &Value) -> Value {
        let mut configuration = json!({"enabled": true, "namespace": "n"});
        configuration.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        configuration
    }

    fn testing(port_name: &str, header: &str) -> Value {
        let rules = json!({"header": {"name": header, "value": {"exact": "1"}}});
        serving(&json!({"portName": port_name, "clientAliases": [{"port": 80, "testTrafficRules": rules}]}))
    }

    #[tokio::test]
    async fn what_is_refused() {
        let world = world().await;
        let defaults = json!({"cluster": "default", "serviceConnectDefaults": {"namespace": "n"}});
        assert_eq!(
            world.refused("CreateService", service(&world, "s", &json!({"enabled": true}))).await,
            "InvalidParameterException: serviceConnectConfiguration needs a namespace: the cluster has no default Service \
             Connect namespace."
        );
        let ghost = json!({"enabled": true, "namespace": "ghost"});
        assert!(
            world
                .refused("CreateService", service(&world, "s", &ghost))
                .await
                .starts_with("NamespaceNotFound")
        );
        world.ok("UpdateCluster", defaults).await;
        for (configuration, refusal) in [
            (serving(&json!({"portName": "x"})), "The portName x does not match"),
            (
                serving(&json!({"portName": "datagrams"})),
                "The port mapping datagrams must have the protocol tcp.",
            ),
            (serving(&json!({"discoveryName": "A"})), "The discoveryName A can have"),
            (serving(&json!({"clientAliases": [{"port": 0}]})), "The port of a client alias"),
            (
                serving(&json!({"clientAliases": [{"port": 1}, {"port": 2}]})),
                "A service can have at most 1 client alias.",
            ),
            (serving(&json!({"clientAliases": [{"port": 1, "dnsName": "a..b"}]})), "The dnsName a..b"),
            (
                serving(&json!({"portName": "raw", "timeout": {"perRequestTimeoutSeconds": 1}})),
                "perRequestTimeoutSeconds is",
            ),
            (
                serving(&json!({"tls": {"issuerCertificateAuthority": {}}})),
                "serviceConnectConfiguration.services.tls is not",
            ),
            (
                serving(&json!({"ingressPortOverride": 81})),
                "The ingressPortOverride 81 is already in use in the task.",
            ),
            (serving(&json!({"ingressPortOverride": 0})), "ingressPortOverride must be between 1 and 65535."),
            (
                logging(
                    &json!({"logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g"}}}),
                ),
                "Log driver awslogs requires options: awslogs-region, awslogs-stream-prefix",
            ),
            (
                logging(&json!({"logConfiguration": {"logDriver": "awsfirelens"}})),
                "serviceConnectConfiguration.logConfiguration.logDriver awsfirelens is not",
            ),
            (
                logging(&json!({"accessLogConfiguration": {"format": "TEXT"}})),
                "accessLogConfiguration needs a logConfiguration.",
            ),
            (testing("raw", "x-test"), "testTrafficRules are not supported for the appProtocol TCP."),
            (testing("http", "x test"), "The name x test of a header for test traffic is not a valid name."),
        ] {
            let refused = world.refused("CreateService", service(&world, "s", &configuration)).await;
            let message = refused.split_once(": ").map_or("", |(_, message)| message);
            assert!(message.starts_with(refusal), "{configuration}: {refused}");
        }
        let twice = json!({"enabled": true, "services": [{"portName": "http"}, {"portName": "http"}]});
        assert!(
            world.refused("CreateService", service(&world, "s", &twice)).await.contains("is given twice")
        );
        world.register("host").await;
        let mut host = service(&world, "s", &serving(&json!({})));
        host["taskDefinition"] = json!("host");
        host["launchType"] = json!("EC2");
        host.as_object_mut().unwrap().remove("networkConfiguration");
        let refused = world.refused("CreateService", host).await;
        assert!(refused.contains("does not support the network mode host"), "{refused}");
    }

    #[tokio::test]
    async fn what_the_proxy_is_to_know_is_kept() {
        let world = world().await;
        let defaults = json!({"cluster": "default", "serviceConnectDefaults": {"namespace": "n"}});
        world.ok("UpdateCluster", defaults).await;
        let mut on = testing("http", "X-Test");
        on["services"][0]["ingressPortOverride"] = json!(9000);
        on["logConfiguration"] = json!({"logDriver": "awslogs", "options": {"awslogs-group": "g",
            "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}});
        on["accessLogConfiguration"] = json!({"format": "JSON", "includeQueryParameters": "ENABLED"});
        let mut wanted = service(&world, "s", &on);
        wanted["deploymentConfiguration"] = json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0});
        let made = world.ok("CreateService", wanted).await;
        assert_eq!(made["service"]["deployments"][0]["serviceConnectConfiguration"], on);
        let snapshot = world.store.snapshot();
        let made = snapshot
            .scan::<domain::DiscoveryService>(store::Key::prefix(&scope(), &[]), None)
            .next()
            .unwrap();
        let connect = made.connect.clone().unwrap();
        assert_eq!(connect.test_header, Some(("x-test".to_owned(), Some("1".to_owned()))));
        let revision =
            snapshot.scan::<domain::ServiceRevision>(store::Key::prefix(&scope(), &[]), None).next().unwrap();
        let (_, registry) = &revision.connect.as_ref().unwrap().serves[0];
        assert_eq!((registry.container_port, registry.ingress_port), (Some(80), Some(9000)));
    }

    #[tokio::test]
    async fn services_of_aws_cloud_map_are_made_and_shown() {
        let world = world().await;
        let update = json!({"cluster": "default", "serviceConnectDefaults": {"namespace": "n"}});
        let cluster = world.ok("UpdateCluster", update).await;
        let namespace = text(&cluster, "/cluster/serviceConnectDefaults/namespace");
        assert!(namespace.contains(":namespace/ns-"), "{namespace}");
        let on = serving(&json!({"discoveryName": "api"}));
        let made = world.ok("CreateService", service(&world, "s", &on)).await;
        let deployment = &made["service"]["deployments"][0];
        assert_eq!(deployment["serviceConnectConfiguration"], on);
        assert_eq!(deployment["serviceConnectResources"][0]["discoveryName"], "api");
        let arn = deployment["serviceConnectResources"][0]["discoveryArn"].clone();
        let refused = world.refused("CreateService", service(&world, "t", &on)).await;
        assert!(refused.contains("The discoveryName api is already used"), "{refused}");
        // Another port of the same service: another revision, the same name.
        let other = serving(&json!({"discoveryName": "api", "portName": "raw"}));
        let updated =
            world.ok("UpdateService", json!({"service": "s", "serviceConnectConfiguration": other})).await;
        assert_eq!(updated["service"]["deployments"][0]["serviceConnectResources"][0]["discoveryArn"], arn);
        for given in [&json!("n"), &json!(namespace)] {
            let listed = world.ok("ListServicesByNamespace", json!({"namespace": given})).await;
            let arns = listed["serviceArns"].as_array().unwrap();
            assert!(arns.len() == 1 && arns[0].as_str().unwrap().ends_with("service/default/s"), "{listed}");
        }
        let off = json!({"service": "s", "serviceConnectConfiguration": {"enabled": false}});
        world.ok("UpdateService", off).await;
        assert_eq!(
            world.ok("ListServicesByNamespace", json!({"namespace": "n"})).await["serviceArns"],
            json!([])
        );
        let cleared = json!({"cluster": "default", "serviceConnectDefaults": {"namespace": ""}});
        let cleared = world.ok("UpdateCluster", cleared).await;
        assert_eq!(cleared["cluster"].get("serviceConnectDefaults"), None);
    }
}
