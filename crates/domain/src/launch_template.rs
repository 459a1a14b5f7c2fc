//! Launch templates: descriptions of instances, kept in versions.

use std::fmt;

use base::{Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

/// A launch template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchTemplate {
    /// Whose, where.
    pub scope: Scope,
    /// Such as `lt-0123456789abcdef0`.
    pub id: String,
    /// Unique in the account and region.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// The version that is meant where none is named.
    pub default_version: i64,
    /// The newest version. Numbers are not used twice.
    pub latest_version: i64,
    /// In order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// One version of a launch template. It is never changed. Its user data may hold secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchTemplateVersion {
    /// Whose, where.
    pub scope: Scope,
    /// The template's id.
    pub launch_template: String,
    /// From 1.
    pub version: i64,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// The launch template data: a JSON document with AWS's member names.
    pub document: String,
}

impl fmt::Debug for LaunchTemplateVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaunchTemplateVersion")
            .field("launch_template", &self.launch_template)
            .field("version", &self.version)
            .field("bytes", &self.document.len())
            .finish_non_exhaustive()
    }
}
