//! One file a noun: how it is found and checked, and what it looks like on the wire.

pub(crate) mod certificate;
pub(crate) mod tag;
