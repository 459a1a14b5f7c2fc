//! What CreateService, UpdateService and CreateTaskSet check.

pub mod availability_zone_rebalancing;
pub mod deployment_configuration;
pub mod load_balancers;
pub mod placement;
pub mod plain;
pub mod service_connect;
pub mod service_registries;
pub mod unsupported;
pub mod workload;
