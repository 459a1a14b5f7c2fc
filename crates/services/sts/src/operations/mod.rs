//! One operation, one file.

mod get_caller_identity;
