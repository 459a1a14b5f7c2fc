//! `monitoring`: the metrics of services go nowhere yet, at whatever resolution.

use api::ecs::MonitoringConfiguration;
use wire::Fault;

use crate::launch::unsupported;

/// Refuses every metric configuration; none at all is the default.
pub fn check(given: Option<&MonitoringConfiguration>) -> Result<(), Fault> {
    let metrics = given.and_then(|given| given.metric_configurations.as_deref());
    match metrics {
        None | Some([]) => Ok(()),
        Some(_) => Err(unsupported("monitoring.metricConfigurations")),
    }
}
