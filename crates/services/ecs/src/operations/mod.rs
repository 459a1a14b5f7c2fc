//! One operation, one file.

mod create_cluster;
mod describe_clusters;
mod describe_container_instances;
mod describe_tasks;
mod discover_poll_endpoint;
mod list_container_instances;
mod list_tasks;
mod register_container_instance;
mod register_task_definition;
mod run_task;
mod stop_task;
mod submit_task_state_change;
