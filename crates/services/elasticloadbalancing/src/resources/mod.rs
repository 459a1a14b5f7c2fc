//! One file a noun: how it is found and checked, and what it looks like on the wire.

pub(crate) mod action;
pub(crate) mod attribute;
pub(crate) mod certificate;
pub(crate) mod condition;
pub(crate) mod health_check;
pub(crate) mod listener;
pub(crate) mod load_balancer;
pub(crate) mod name;
pub(crate) mod rule;
pub(crate) mod subnet;
pub(crate) mod tag;
pub(crate) mod target;
pub(crate) mod target_group;
pub(crate) mod trust_store;
