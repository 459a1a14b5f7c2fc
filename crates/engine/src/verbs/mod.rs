//! What can be done with a container, one file per verb; each adds its method to [`crate::Engine`].

mod adopt;
mod create;
mod delete;
mod destroy_all;
mod exec;
mod list;
mod recreate;
mod signal;
mod start;
mod stats;
mod stop;
mod task_group;
mod update;
mod validate;
mod volume;
mod wait;

pub(crate) use adopt::adopt_all;
pub(crate) use validate::is_environment_name;
