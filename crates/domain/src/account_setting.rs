//! Account settings. Source: AWS, "Access Amazon ECS features with account settings".

use base::Scope;
use serde::{Deserialize, Serialize};

/// Whom a setting is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SettingPrincipal {
    /// Everyone in the account who has none of their own (PutAccountSettingDefault).
    Default,
    /// One user, role or the root user, by ARN.
    Arn(String),
}

/// One account setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSetting {
    /// Whose and where.
    pub scope: Scope,
    /// Name, such as `containerInsights`.
    pub name: String,
    /// Whom it is for.
    pub principal: SettingPrincipal,
    /// Value.
    pub value: String,
}
