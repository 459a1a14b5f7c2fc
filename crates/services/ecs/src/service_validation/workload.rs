//! What a service revision or a task set runs, on what and in which network: the part that RunTask checks alike.

use api::ecs as wire_shapes;
use api::ecs::{NetworkConfiguration, RunTaskRequest};
use domain::{
    AwsVpcConfiguration, CapacityProviderStrategyItem, Cluster, LaunchType, SchedulingStrategy,
    TaskDefinition,
};
use store::{Snapshot, Versioned};
use wire::{Call, Fault};

use crate::faults::invalid;
use crate::launch;
use crate::resources::capacity_provider;

/// A checked workload.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What it runs.
    pub definition: Versioned<TaskDefinition>,
    /// On what.
    pub compute: Compute,
    /// Fargate platform version, resolved.
    pub platform_version: Option<String>,
    /// In which network.
    pub awsvpc_configuration: Option<AwsVpcConfiguration>,
}

/// What tasks run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compute {
    /// Launch type; with a strategy, that of its providers.
    pub launch_type: LaunchType,
    /// The strategy; empty where the launch type was given or defaulted.
    pub strategy: Vec<CapacityProviderStrategyItem>,
}

/// Settles `launchType` and `capacityProviderStrategy` of a call that makes something.
pub fn compute(
    snapshot: &Snapshot,
    call: &Call,
    cluster: &Cluster,
    launch_type: Option<&str>,
    strategy: Option<Vec<wire_shapes::CapacityProviderStrategyItem>>,
    scheduling: SchedulingStrategy,
) -> Result<Compute, Fault> {
    let request = RunTaskRequest {
        launch_type: launch_type.map(str::to_owned),
        capacity_provider_strategy: strategy,
        ..RunTaskRequest::default()
    };
    let compute = match launch::launch_type(&request)? {
        (Some(launch_type), _) => Compute { launch_type, strategy: Vec::new() },
        (None, Some(items)) => of_strategy(snapshot, call, cluster, items)?,
        (None, None) if cluster.default_capacity_provider_strategy.is_empty() => {
            Compute { launch_type: LaunchType::Ec2, strategy: Vec::new() }
        }
        (None, None) => {
            let strategy = cluster.default_capacity_provider_strategy.clone();
            Compute { launch_type: launch_type_of(&strategy), strategy }
        }
    };
    check_scheduling(&compute, scheduling)?;
    Ok(compute)
}

/// A strategy of a call.
pub fn of_strategy(
    _snapshot: &Snapshot,
    _call: &Call,
    cluster: &Cluster,
    items: Vec<wire_shapes::CapacityProviderStrategyItem>,
) -> Result<Compute, Fault> {
    let strategy = capacity_provider::parse_strategy(items, &cluster.capacity_providers)?;
    Ok(Compute { launch_type: launch_type_of(&strategy), strategy })
}

/// Whether a service of the scheduling strategy can run on it.
pub fn check_scheduling(compute: &Compute, scheduling: SchedulingStrategy) -> Result<(), Fault> {
    if scheduling != SchedulingStrategy::Daemon {
        return Ok(());
    }
    if !compute.strategy.is_empty() {
        return Err(invalid(
            "Specifying a capacity provider strategy is not supported when you create a service using the DAEMON scheduling \
             strategy.",
        ));
    }
    if compute.launch_type == LaunchType::Fargate {
        return Err(invalid("Fargate tasks do not support the DAEMON scheduling strategy."));
    }
    Ok(())
}

/// Fargate's own providers are known by name; all others have machines of the cluster.
fn launch_type_of(strategy: &[CapacityProviderStrategyItem]) -> LaunchType {
    let fargate = |item: &CapacityProviderStrategyItem| {
        matches!(item.capacity_provider.as_str(), "FARGATE" | "FARGATE_SPOT")
    };
    if strategy.iter().all(fargate) { LaunchType::Fargate } else { LaunchType::Ec2 }
}

/// Checks a workload as a whole.
pub fn check(
    snapshot: &Snapshot,
    call: &Call,
    definition: Versioned<TaskDefinition>,
    compute: Compute,
    platform_version: Option<&str>,
    network_configuration: Option<&NetworkConfiguration>,
) -> Result<Workload, Fault> {
    let launch_type = compute.launch_type;
    launch::compatibility(&definition, launch_type)?;
    launch::platform_version(platform_version, launch_type)?;
    // An empty configuration is none.
    let network = network_configuration.filter(|given| given.awsvpc_configuration.is_some());
    let request = RunTaskRequest { network_configuration: network.cloned(), ..RunTaskRequest::default() };
    let network = launch::check_network(snapshot, call, &request, &definition, launch_type)?;
    Ok(Workload {
        definition,
        compute,
        platform_version: (launch_type == LaunchType::Fargate).then(|| launch::PLATFORM_VERSION.to_owned()),
        awsvpc_configuration: network.map(|network| network.configuration),
    })
}

/// `platformVersion` as a service shows it: as asked for, `LATEST` where nothing was.
pub fn asked_platform_version(asked: Option<&str>, launch_type: LaunchType) -> Option<String> {
    (launch_type == LaunchType::Fargate).then(|| asked.unwrap_or("LATEST").to_owned())
}

/// `networkConfiguration` on the wire.
pub fn describe_network(configuration: &AwsVpcConfiguration) -> NetworkConfiguration {
    let assign = if configuration.assign_public_ip { "ENABLED" } else { "DISABLED" };
    NetworkConfiguration {
        awsvpc_configuration: Some(wire_shapes::AwsVpcConfiguration {
            subnets: Some(configuration.subnets.clone()),
            security_groups: Some(configuration.security_groups.clone()),
            assign_public_ip: Some(assign.to_owned()),
        }),
    }
}

/// A strategy on the wire; `None` where there is none.
pub fn describe_strategy(
    strategy: &[CapacityProviderStrategyItem],
) -> Option<Vec<wire_shapes::CapacityProviderStrategyItem>> {
    let describe = |item: &CapacityProviderStrategyItem| wire_shapes::CapacityProviderStrategyItem {
        capacity_provider: Some(item.capacity_provider.clone()),
        weight: Some(item.weight),
        base: Some(item.base),
    };
    (!strategy.is_empty()).then(|| strategy.iter().map(describe).collect())
}
