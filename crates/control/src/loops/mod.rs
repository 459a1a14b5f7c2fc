//! The loops: each gathers rows, decides, applies in one conditional transaction, and gathers again on conflict.

pub mod connectivity;
pub mod history;
pub mod task_network;
