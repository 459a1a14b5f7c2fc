//! A shape as JSON text in its awsJson form: how registered documents are stored.

use crate::protocol;
use crate::shape::{DecodeError, Shape};

/// `shape` as awsJson 1.1 writes it.
pub fn to_string(shape: &dyn Shape) -> String {
    protocol::json::write(shape)
}

/// Reads what [`to_string`] wrote; members that the model no longer has are passed over.
pub fn from_str<T: Shape + Default>(text: &str) -> Result<T, DecodeError> {
    let mut shape = T::default();
    protocol::json::read(text.as_bytes(), &mut shape)?;
    Ok(shape)
}
