//! `volumeConfigurations`: there is no Amazon EBS.

use api::ecs::ServiceVolumeConfiguration;
use domain::SchedulingStrategy;
use wire::Fault;

use crate::faults::invalid;
use crate::launch::unsupported;

/// Refuses every volume; an empty list takes none away. As at AWS a daemon service can have none at all.
pub fn check(
    given: Option<&[ServiceVolumeConfiguration]>,
    scheduling: SchedulingStrategy,
) -> Result<(), Fault> {
    match given {
        None | Some([]) => Ok(()),
        Some(_) if scheduling == SchedulingStrategy::Daemon => {
            Err(invalid("volumeConfigurations is not supported with the DAEMON scheduling strategy."))
        }
        Some(_) => Err(unsupported("volumeConfigurations")),
    }
}
