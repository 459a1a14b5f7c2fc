//! Log groups and log streams. Sources: AWS, "LogGroup" and "LogStream" data types. The events themselves are no rows.

use std::collections::BTreeMap;

use base::{Arn, Scope, Timestamp};
use serde::{Deserialize, Serialize};

/// The values that a log group's retention may have, in days. Source: PutRetentionPolicy.
pub const RETENTION_DAYS: [i32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

word_enum! {
    /// What a log group can do and costs. All are stored alike here.
    LogGroupClass {
        /// Everything.
        Standard = "STANDARD",
        /// Cheaper, with fewer features.
        InfrequentAccess = "INFREQUENT_ACCESS",
        /// For delivery elsewhere.
        Delivery = "DELIVERY",
        /// Cheaper, with fewer features.
        Essentials = "ESSENTIALS",
    }
}

/// A log group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogGroup {
    /// Whose and where.
    pub scope: Scope,
    /// 1 to 512 of `a-z A-Z 0-9 _ - / . #`.
    pub name: String,
    /// Ours; never used again. A group that is deleted and made anew has another one.
    pub id: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Days that events are kept; `None`: for ever.
    #[serde(default)]
    pub retention_in_days: Option<i32>,
    /// Its class.
    pub class: LogGroupClass,
    /// The key that the caller wants it encrypted with, as given.
    #[serde(default)]
    pub kms_key_id: Option<String>,
    /// Whether it refuses to be deleted.
    #[serde(default)]
    pub deletion_protection_enabled: bool,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl LogGroup {
    /// `arn:aws:logs:REGION:ACCOUNT:log-group:NAME`.
    pub fn arn(&self) -> Arn {
        Self::arn_of(&self.scope, &self.name)
    }

    /// The ARN that the group `name` of `scope` has or would have.
    pub fn arn_of(scope: &Scope, name: &str) -> Arn {
        Arn::new("logs", scope, format!("log-group:{name}"))
    }

    /// Before which moment events are expired; `None`: never.
    pub fn expires_before(&self, now: Timestamp) -> Option<Timestamp> {
        self.retention_in_days.map(|days| now.plus_seconds(-i64::from(days) * 24 * 3600))
    }
}

/// A log stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStream {
    /// Whose and where.
    pub scope: Scope,
    /// [`LogGroup::id`] of its group.
    pub group_id: u64,
    /// 1 to 512 characters, no colon or asterisk.
    pub name: String,
    /// Ours; never used again.
    pub id: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

impl LogStream {
    /// `arn:aws:logs:REGION:ACCOUNT:log-group:GROUP:log-stream:NAME`.
    pub fn arn_of(scope: &Scope, group: &str, name: &str) -> Arn {
        Arn::new("logs", scope, format!("log-group:{group}:log-stream:{name}"))
    }
}
