//! What the operations share about each noun: its row, its ARN, its description.

pub(crate) mod log_group;
pub(crate) mod log_stream;
pub(crate) mod tags;
