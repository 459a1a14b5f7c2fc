//! Who calls, from where, and what they must be allowed to do.

use std::net::IpAddr;

use base::{AccountId, Arn, Scope, Timestamp};

/// One API call, authenticated.
#[derive(Clone, Debug)]
pub struct Call {
    /// Account and region.
    pub scope: Scope,
    /// The moment of arrival; operations know no other clock.
    pub now: Timestamp,
    /// The id that the answer carries as `x-amzn-RequestId`.
    pub request_id: String,
    /// Who calls.
    pub principal: Principal,
    /// The peer's address, where the transport has one.
    pub source_ip: Option<IpAddr>,
    /// `scheme://host` as the client used it, such as `http://127.0.0.1:4566`.
    pub endpoint: String,
}

/// An authenticated identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Such as `arn:aws:iam::000000000000:root`.
    pub arn: Arn,
    /// Its account.
    pub account: AccountId,
    /// IAM's unique id; for the root it is the account id.
    pub user_id: String,
    /// The access key that signed.
    pub access_key_id: String,
    /// What it may be.
    pub kind: PrincipalKind,
}

impl Principal {
    /// The root of `account`, signing with `access_key_id`.
    pub fn root(account: &AccountId, access_key_id: impl Into<String>) -> Self {
        let text = format!("arn:aws:iam::{account}:root");
        let Ok(arn) = text.parse::<Arn>() else { unreachable!("an account id always makes a root ARN") };
        Self {
            arn,
            account: account.clone(),
            user_id: account.to_string(),
            access_key_id: access_key_id.into(),
            kind: PrincipalKind::Root,
        }
    }

    /// A node (container instance) of `account`, signing with its own `access_key_id`.
    pub fn node(account: &AccountId, node: &str, access_key_id: impl Into<String>) -> Self {
        let access_key_id = access_key_id.into();
        let safe: String = node
            .chars()
            .filter(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.'))
            .collect();
        let text = format!("arn:aws:sts::{account}:assumed-role/ecsInstanceRole/{safe}");
        let Ok(arn) = text.parse::<Arn>() else { unreachable!("an account id always makes a role ARN") };
        Self {
            arn,
            account: account.clone(),
            user_id: format!("{access_key_id}:{safe}"),
            access_key_id,
            kind: PrincipalKind::Node,
        }
    }
}

/// What a principal may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    /// The account's root: may do everything in the account.
    Root,
    /// An agent with a key of its own: only the operations that an agent needs.
    Node,
}

/// One thing that a call must be allowed to do: an IAM action on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Such as `ecs:RunTask`.
    pub action: &'static str,
    /// The ARN, or `*` where the action has no resource.
    pub resource: String,
    /// Condition keys and values, such as (`ecs:cluster`, ARN).
    pub conditions: Vec<(String, String)>,
}

impl Permission {
    /// `action` on `resource`, no condition keys.
    pub fn new(action: &'static str, resource: impl Into<String>) -> Self {
        Self { action, resource: resource.into(), conditions: Vec::new() }
    }

    /// The same with one more condition key.
    pub fn when(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.conditions.push((key.into(), value.into()));
        self
    }
}

/// Decides whether a call may do what it needs to.
pub trait Authorizer: Send + Sync + 'static {
    /// The first of `permissions` that the caller lacks; `None` if it has them all.
    fn denied<'p>(&self, call: &Call, permissions: &'p [Permission]) -> Option<&'p Permission>;
}

/// Root may do everything; a node only what an agent needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct RootAndNodes;

/// What the stock agent's instance role allows (AWS: AmazonEC2ContainerServiceforEC2Role), less pulling images from ECR, and
/// what it calls in the name of a task (which there has a role for it).
const NODE_ACTIONS: &[&str] = &[
    "ecs:CreateCluster",
    "ecs:DiscoverPollEndpoint",
    "ecs:GetTaskProtection",
    "ecs:ListTagsForResource",
    "ecs:Poll",
    "ecs:RegisterContainerInstance",
    "ecs:DeregisterContainerInstance",
    "ecs:StartTelemetrySession",
    "ecs:SubmitAttachmentStateChanges",
    "ecs:SubmitContainerStateChange",
    "ecs:SubmitTaskStateChange",
    "ecs:TagResource",
    "ecs:UpdateContainerInstancesState",
    "ecs:UpdateTaskProtection",
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sts:GetCallerIdentity",
];

impl Authorizer for RootAndNodes {
    fn denied<'p>(&self, call: &Call, permissions: &'p [Permission]) -> Option<&'p Permission> {
        match call.principal.kind {
            PrincipalKind::Root => None,
            PrincipalKind::Node => {
                permissions.iter().find(|permission| !NODE_ACTIONS.contains(&permission.action))
            }
        }
    }
}
