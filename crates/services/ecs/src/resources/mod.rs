//! The nouns: how each is named by callers, looked up, and described.

pub mod account_setting;
pub mod attribute;
pub mod capacity_provider;
pub mod cluster;
pub mod container_instance;
pub mod identifier;
pub mod node;
pub mod page;
pub mod tag;
pub mod tagged;
pub mod task;
pub mod task_definition;
