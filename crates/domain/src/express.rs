//! Express services: a plain service, what was asked for beside it, and what ECS makes in front of it: an ingress path on a
//! load balancer that several of them share. Source: AWS, "ECSExpressGatewayService", "ExpressGatewayServiceConfiguration"
//! and "ManagedIngressPath" data types.

use base::{Arn, Scope, Timestamp};
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
    /// revision: that of every revision which `older` does not name.
    pub configuration_document: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// What earlier revisions that are still in use were made from.
    #[serde(default)]
    pub older: Vec<ExpressRevision>,
    /// Where its ingress path is. Those that were made before there were any have none.
    #[serde(default)]
    pub ingress: Option<ExpressIngressReference>,
}

/// What a revision of an Express service was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpressRevision {
    /// The service revision's id.
    pub revision: String,
    /// As [`ExpressService::configuration_document`].
    pub configuration_document: String,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// Names an [`ExpressIngress`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpressIngressReference {
    /// The name of its [`ExpressLoadBalancer`].
    pub load_balancer: String,
    /// Its endpoint.
    pub endpoint: String,
}

/// A load balancer that Express services share: which one is wished for, with the ids that it is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpressLoadBalancer {
    /// Whose and where.
    pub scope: Scope,
    /// The load balancer's name.
    pub name: String,
    /// The load balancer's id.
    pub id: String,
    /// Its listener's id.
    pub listener: String,
    /// The id of its security group.
    pub security_group: String,
    /// `internet-facing` or `internal`.
    pub scheme: String,
    /// The VPC's id.
    pub vpc: String,
    /// Its subnets, one a zone: id and zone.
    pub subnets: Vec<(String, String)>,
    /// The endpoints of its ingress paths, in the order in which they were made.
    pub endpoints: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

word_enum! {
    /// How far something that ECS manages is. Source: "ManagedResourceStatus".
    ManagedResourceStatus {
        /// It is being made.
        Provisioning = "PROVISIONING",
        /// It is there.
        Active = "ACTIVE",
        /// It is on its way out.
        Deprovisioning = "DEPROVISIONING",
        /// It is gone.
        Deleted = "DELETED",
        /// It cannot be made for now.
        Failed = "FAILED",
    }
}

/// The ingress path of an Express service: which one is wished for, with the ids that its parts are to have. It goes when its
/// parts are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpressIngress {
    /// Whose and where.
    pub scope: Scope,
    /// The name of its [`ExpressLoadBalancer`].
    pub load_balancer: String,
    /// Host name, in lower case.
    pub endpoint: String,
    /// The cluster of its service.
    pub cluster: String,
    /// Its service's name.
    pub service: String,
    /// The id of its listener rule.
    pub rule: String,
    /// Priority of that rule.
    pub priority: u32,
    /// Its target groups: name and id. Deployments shift traffic from one to the other.
    pub target_groups: [(String, String); 2],
    /// The id of the certificate.
    pub certificate: String,
    /// The id of the security group that the service's tasks have.
    pub security_group: String,
    /// How far it is.
    pub status: ManagedResourceStatus,
    /// Why.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When `status` changed last.
    pub updated_at: Timestamp,
}

impl ExpressService {
    /// What the revision with this id was made from, and when that was asked for.
    pub fn configuration_of(&self, revision: &str) -> (&str, Timestamp) {
        match self.older.iter().find(|older| older.revision == revision) {
            Some(older) => (&older.configuration_document, older.created_at),
            None => (&self.configuration_document, self.updated_at),
        }
    }
}

impl ExpressLoadBalancer {
    /// The load balancer's ARN.
    pub fn load_balancer_arn(&self) -> Arn {
        self.arn_of(format!("loadbalancer/app/{}/{}", self.name, self.id))
    }

    /// The listener's ARN.
    pub fn listener_arn(&self) -> Arn {
        self.arn_of(format!("listener/app/{}/{}/{}", self.name, self.id, self.listener))
    }

    /// The ARN of the rule with this id.
    pub fn rule_arn(&self, rule: &str) -> Arn {
        self.arn_of(format!("listener-rule/app/{}/{}/{}/{rule}", self.name, self.id, self.listener))
    }

    fn arn_of(&self, resource: String) -> Arn {
        Arn::new("elasticloadbalancing", &self.scope, resource)
    }
}

impl ExpressIngress {
    /// The ARNs of its target groups.
    pub fn target_group_arns(&self) -> [Arn; 2] {
        let arn = |(name, id): &(String, String)| {
            Arn::new("elasticloadbalancing", &self.scope, format!("targetgroup/{name}/{id}"))
        };
        [arn(&self.target_groups[0]), arn(&self.target_groups[1])]
    }

    /// The certificate's ARN.
    pub fn certificate_arn(&self) -> Arn {
        Arn::new("acm", &self.scope, format!("certificate/{}", self.certificate))
    }
}
