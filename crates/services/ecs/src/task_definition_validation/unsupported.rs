//! What this release cannot do anywhere.

use api::ecs::{ContainerDefinition, RegisterTaskDefinitionRequest, Volume};
use wire::Fault;

use crate::launch::unsupported;

/// Refuses the first field that nothing here could honour.
pub fn check(request: &RegisterTaskDefinitionRequest) -> Result<(), Fault> {
    if request.proxy_configuration.is_some() {
        return Err(unsupported("proxyConfiguration"));
    }
    if has(request.inference_accelerators.as_ref()) {
        return Err(unsupported("inferenceAccelerators"));
    }
    if request.enable_fault_injection == Some(true) {
        return Err(unsupported("enableFaultInjection"));
    }
    if let Some(trusted) = &request.trusted_execution_configuration
        && (trusted.isolation_mode.as_deref() != Some("SHARED") || trusted.attestation_policy.is_some())
    {
        return Err(unsupported("trustedExecutionConfiguration beyond the isolation mode SHARED"));
    }
    request.volumes.iter().flatten().try_for_each(check_volume)?;
    request.container_definitions.iter().flatten().try_for_each(check_container)
}

fn check_volume(volume: &Volume) -> Result<(), Fault> {
    if volume.efs_volume_configuration.is_some() {
        return Err(unsupported("volumes.efsVolumeConfiguration"));
    }
    if volume.s3files_volume_configuration.is_some() {
        return Err(unsupported("volumes.s3filesVolumeConfiguration"));
    }
    if volume.fsx_windows_file_server_volume_configuration.is_some() {
        return Err(unsupported("volumes.fsxWindowsFileServerVolumeConfiguration"));
    }
    if volume.configured_at_launch == Some(true) {
        return Err(unsupported("volumes.configuredAtLaunch"));
    }
    Ok(())
}

fn check_container(container: &ContainerDefinition) -> Result<(), Fault> {
    let log = container.log_configuration.as_ref();
    let refused = [
        ("repositoryCredentials", container.repository_credentials.is_some()),
        ("environmentFiles", has(container.environment_files.as_ref())),
        ("secrets", has(container.secrets.as_ref())),
        ("logConfiguration.secretOptions", log.is_some_and(|log| has(log.secret_options.as_ref()))),
        ("firelensConfiguration", container.firelens_configuration.is_some()),
        ("credentialSpecs", has(container.credential_specs.as_ref())),
        (
            "logConfiguration.logDriver awsfirelens",
            log.is_some_and(|log| log.log_driver.as_deref() == Some("awsfirelens")),
        ),
    ];
    for (field, given) in refused {
        if given {
            return Err(unsupported(&format!("containerDefinitions.{field}")));
        }
    }
    for requirement in container.resource_requirements.iter().flatten() {
        crate::launch::gpus_of(requirement)?;
    }
    Ok(())
}

fn has<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}
