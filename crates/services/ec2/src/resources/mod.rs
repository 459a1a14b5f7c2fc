//! One file a noun: its filters, and what it looks like on the wire.

pub(crate) mod network_interface;
pub(crate) mod security_group;
pub(crate) mod security_group_rule;
pub(crate) mod subnet;
pub(crate) mod tag;
pub(crate) mod vpc;
pub(crate) mod zone;

/// One value, or none.
pub(crate) fn value(text: impl ToString) -> Vec<String> {
    vec![text.to_string()]
}
