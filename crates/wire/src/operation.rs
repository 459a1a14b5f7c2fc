//! [`OperationType`] (generated), [`Operation`] (written by hand, one file each), and the table that joins them.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use crate::call::{Call, Permission};
use crate::fault::Fault;
use crate::schema::{OperationSchema, ServiceSchema};
use crate::shape::Shape;

/// A generated zero-sized type for each operation of a model.
pub trait OperationType: Send + Sync + 'static {
    /// The request.
    type Input: Shape + Default;
    /// The answer.
    type Output: Shape + Default;
    /// Names, HTTP binding, faults.
    const SCHEMA: &'static OperationSchema;
}

/// What a service does for operation `O`.
pub trait Operation<O: OperationType>: Send + Sync + 'static {
    /// What the caller must be allowed to do. Asked before [`Operation::handle`].
    fn permissions(&self, call: &Call, input: &O::Input) -> Vec<Permission>;
    /// Does it. No network, no spawn, no clock but `call.now`.
    fn handle(&self, call: &Call, input: O::Input) -> impl Future<Output = Result<O::Output, Fault>> + Send;
}

/// The future of an erased operation.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Shape>, Fault>> + Send + 'a>>;

/// An operation with its types erased: what the gateway calls.
pub trait ErasedOperation: Send + Sync {
    /// Names, HTTP binding, faults.
    fn schema(&self) -> &'static OperationSchema;
    /// An empty request.
    fn empty_input(&self) -> Box<dyn Shape>;
    /// [`Operation::permissions`].
    fn permissions(&self, call: &Call, input: &dyn Shape) -> Vec<Permission>;
    /// [`Operation::handle`].
    fn handle<'a>(&'a self, call: &'a Call, input: Box<dyn Shape>) -> Answer<'a>;
}

struct Erased<S, O>(Arc<S>, PhantomData<fn() -> O>);

impl<S: Operation<O>, O: OperationType> ErasedOperation for Erased<S, O> {
    fn schema(&self) -> &'static OperationSchema {
        O::SCHEMA
    }

    fn empty_input(&self) -> Box<dyn Shape> {
        Box::new(O::Input::default())
    }

    fn permissions(&self, call: &Call, input: &dyn Shape) -> Vec<Permission> {
        let input: &dyn Any = input;
        let Some(input) = input.downcast_ref() else { unreachable!("the input comes from empty_input") };
        self.0.permissions(call, input)
    }

    fn handle<'a>(&'a self, call: &'a Call, input: Box<dyn Shape>) -> Answer<'a> {
        let input: Box<dyn Any> = input;
        let Ok(input) = input.downcast() else { unreachable!("the input comes from empty_input") };
        Box::pin(async move {
            let output = self.0.handle(call, *input).await?;
            Ok(Box::new(output) as Box<dyn Shape>)
        })
    }
}

/// A service and its operations.
pub struct ServiceTable {
    schema: &'static ServiceSchema,
    operations: BTreeMap<&'static str, Box<dyn ErasedOperation>>,
}

impl ServiceTable {
    /// A table without operations.
    pub fn new(schema: &'static ServiceSchema) -> Self {
        Self { schema, operations: BTreeMap::new() }
    }

    /// This table with operation `O`, done by `service`.
    pub fn with<O: OperationType, S: Operation<O>>(mut self, service: &Arc<S>) -> Self {
        let erased = Erased::<S, O>(Arc::clone(service), PhantomData);
        self.operations.insert(O::SCHEMA.name, Box::new(erased));
        self
    }

    /// This table with an operation that is already erased (tests with a runtime model).
    pub fn with_erased(mut self, operation: Box<dyn ErasedOperation>) -> Self {
        self.operations.insert(operation.schema().name, operation);
        self
    }

    /// The service.
    pub fn schema(&self) -> &'static ServiceSchema {
        self.schema
    }

    /// The operation called `name`, if it is served.
    pub fn operation(&self, name: &str) -> Option<&dyn ErasedOperation> {
        self.operations.get(name).map(|operation| &**operation)
    }

    /// All that are served.
    pub fn operations(&self) -> impl Iterator<Item = &dyn ErasedOperation> {
        self.operations.values().map(|operation| &**operation)
    }
}
