//! The loops: each gathers rows, decides, applies in one conditional transaction, and gathers again on conflict.

pub mod capacity_providers;
pub mod connectivity;
pub mod daemons;
pub mod deadlines;
pub mod express_services;
pub mod history;
pub mod hook_tasks;
pub mod lifecycle_hooks;
pub mod load_balancers;
pub mod placement_queue;
pub mod service_discovery;
pub mod services;
mod slow_scan;
pub mod target_registration;
pub mod task_network;
