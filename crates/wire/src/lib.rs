//! The AWS protocols, written by hand: shapes by reflection, one codec per protocol, SigV4, validation from the
//! model, and the [`Gateway`] that turns an HTTP request into a call of an [`Operation`] and its answer back.
//!
//! What an operation's request looks like on the wire is known only here. Generated structures (crate `api`) carry
//! a static [`schema`]; no codec knows a service, and no service knows a codec.

mod call;
mod fault;
pub mod gateway;
pub mod json;
mod operation;
pub mod protocol;
mod refusal;
mod route;
pub mod schema;
mod shape;
pub mod sigv4;
pub mod validate;

pub use call::{Authorizer, Call, Permission, Principal, PrincipalKind, RootAndNodes};
pub use fault::Fault;
pub use gateway::{Authentication, Gateway, GatewaySettings};
pub use operation::{Answer, ErasedOperation, Operation, OperationType, ServiceTable};
/// Untyped JSON, where a model says `document`.
pub use serde_json::Value as Document;
pub use shape::{
    Blob, DecodeError, Field, Fill, ListSlot, ListView, MapSlot, MapView, Shape, Slot, StructureField,
    StructureSlot, Unit, View, debug,
};
