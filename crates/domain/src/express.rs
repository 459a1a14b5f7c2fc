//! Express services: a plain service, and what was asked for beside it. Source: AWS, "ECSExpressGatewayService" and
//! "ExpressGatewayServiceConfiguration" data types.

use base::{Scope, Timestamp};
use serde::{Deserialize, Serialize};

/// What an Express service is beside its [`crate::Service`] of the same name. Without a service it means nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpressService {
    /// Whose and where.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// The service's name.
    pub service: String,
    /// The infrastructure role's ARN.
    pub infrastructure_role_arn: String,
    /// `ExpressGatewayServiceConfiguration` with its defaults filled in, in awsJson, less the moments and the service
    /// revision.
    pub configuration_document: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}
