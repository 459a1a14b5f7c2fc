//! The nouns: how each is named by callers, looked up, and described.

pub mod account_setting;
pub mod attribute;
pub mod capacity_provider;
pub mod client_token;
pub mod cluster;
pub mod container_instance;
pub mod daemon;
pub mod daemon_task_definition;
pub mod express_ingress;
pub mod express_service;
pub mod gateway;
pub mod identifier;
pub mod node;
pub mod page;
pub mod pending_reason;
pub mod service;
pub mod service_deployment;
pub mod service_history;
pub mod service_revision;
pub mod tag;
pub mod tagged;
pub mod task;
pub mod task_definition;
pub mod task_protection;
pub mod task_set;
pub mod turn;
