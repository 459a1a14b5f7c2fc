//! AWS STS, as far as there is one identity to tell: who is calling.

mod operations;

/// The service. It keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sts;
