//! [`Fault`]: what an operation answers when it does not do what was asked.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::schema::FaultSchema;
use crate::shape::Shape;

/// An answer that is an error, with AWS's code, wording and HTTP status.
#[derive(Clone)]
pub struct Fault {
    code: Cow<'static, str>,
    query_code: Option<Cow<'static, str>>,
    message: String,
    status: u16,
    sender: bool,
    message_key: &'static str,
    details: Option<Arc<dyn Shape>>,
}

impl Fault {
    /// A fault with `code` (such as `ClientException`), `message` and the HTTP `status`; from 500 on the server is to blame.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>, status: u16) -> Self {
        Self {
            code: code.into(),
            query_code: None,
            message: message.into(),
            status,
            sender: status < 500,
            message_key: "message",
            details: None,
        }
    }

    /// A fault of the model. The `faults` module of a generated service has one constructor for each.
    pub fn modelled(schema: &'static FaultSchema, message: impl Into<String>) -> Self {
        Self {
            code: Cow::Borrowed(schema.name),
            query_code: (schema.code != schema.name).then_some(Cow::Borrowed(schema.code)),
            message: message.into(),
            status: schema.status,
            sender: schema.sender,
            message_key: message_key(schema),
            details: None,
        }
    }

    /// Our own failure. `detail` goes to the log; the caller learns only that it was ours.
    pub fn server(detail: impl fmt::Display) -> Self {
        tracing::error!(%detail, "internal failure");
        Self::new("ServerException", "Service Unavailable. Please try again later.", 500)
    }

    /// This fault with the further members of its exception structure (such as `resourceIds`).
    pub fn with_details(mut self, details: impl Shape) -> Self {
        self.details = Some(Arc::new(details));
        self
    }

    /// This fault with a code of its own for awsQuery and ec2Query, such as `IDPRejectedClaim`.
    pub fn with_query_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.query_code = Some(code.into());
        self
    }

    /// The exception's name, such as `ClusterNotFoundException`: `__type` in JSON.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The code in awsQuery and ec2Query; most often the name.
    pub fn query_code(&self) -> &str {
        self.query_code.as_deref().unwrap_or(&self.code)
    }

    /// For people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The message's key: `message`, or `Message` where the model spells it so.
    pub fn message_key(&self) -> &'static str {
        self.message_key
    }

    /// The message, unless it is empty or among the details.
    pub(crate) fn message_to_write(&self) -> Option<&str> {
        let index =
            self.details().and_then(|details| details.schema().structure()?.index_of(self.message_key));
        let detailed =
            index.is_some_and(|index| self.details().is_some_and(|all| all.member(index).is_some()));
        (!self.message.is_empty() && !detailed).then_some(self.message.as_str())
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the caller is to blame.
    pub fn sender(&self) -> bool {
        self.sender
    }

    /// Further members of the exception structure.
    pub fn details(&self) -> Option<&dyn Shape> {
        self.details.as_deref()
    }
}

fn message_key(schema: &FaultSchema) -> &'static str {
    let capital = schema.shape.structure().is_some_and(|structure| structure.index_of("Message").is_some());
    if capital { "Message" } else { "message" }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.status, self.message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Fault {}

impl PartialEq for Fault {
    /// Equal by code, message and status: what a caller can tell apart.
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code && self.message == other.message && self.status == other.status
    }
}
