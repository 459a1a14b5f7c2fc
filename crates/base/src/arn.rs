//! Amazon Resource Names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{AccountId, Region, Scope};

/// Why a text is no ARN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an Amazon Resource Name")]
pub struct ArnError(String);

/// An Amazon Resource Name: `arn:partition:service:region:account:resource`.
///
/// Region and account may be empty (S3, IAM). The resource part is kept as written: it may hold colons and slashes.
/// Source: "Amazon Resource Names (ARNs)", AWS General Reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Arn {
    partition: String,
    aws_service: String,
    region: String,
    account: String,
    resource: String,
}

impl Arn {
    /// The ARN of `resource` (for example `task/default/0123…`) of `aws_service` in `scope`.
    pub fn new(aws_service: &str, scope: &Scope, resource: impl Into<String>) -> Self {
        Self {
            partition: partition_of(&scope.region).to_owned(),
            aws_service: aws_service.to_owned(),
            region: scope.region.to_string(),
            account: scope.account.to_string(),
            resource: resource.into(),
        }
    }

    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// The service part, such as `ecs`.
    pub fn aws_service(&self) -> &str {
        &self.aws_service
    }

    /// The region part; `None` where it is empty or no region name.
    pub fn region(&self) -> Option<Region> {
        self.region.parse().ok()
    }

    /// The account part; `None` where it is empty or no account id.
    pub fn account(&self) -> Option<AccountId> {
        self.account.parse().ok()
    }

    /// Account and region together, where both are there.
    pub fn scope(&self) -> Option<Scope> {
        Some(Scope::new(self.account()?, self.region()?))
    }

    /// All behind the fifth colon, such as `task/default/0123…`.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The resource's type and the rest: `("task", "default/0123…")`. `None` where it has neither slash nor colon.
    pub fn resource_type_and_id(&self) -> Option<(&str, &str)> {
        self.resource.split_once(['/', ':'])
    }
}

/// The partition that a region lies in.
fn partition_of(region: &Region) -> &'static str {
    if region.as_str().starts_with("cn-") {
        "aws-cn"
    } else if region.as_str().starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

impl FromStr for Arn {
    type Err = ArnError;
    fn from_str(text: &str) -> Result<Self, ArnError> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().map(str::to_owned).ok_or_else(|| ArnError(text.to_owned()));
        let (prefix, partition, aws_service, region, account, resource) =
            (next()?, next()?, next()?, next()?, next()?, next()?);
        if prefix != "arn" || partition.is_empty() || aws_service.is_empty() || resource.is_empty() {
            return Err(ArnError(text.to_owned()));
        }
        Ok(Self { partition, aws_service, region, account, resource })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, aws_service, region, account, resource } = self;
        write!(f, "arn:{partition}:{aws_service}:{region}:{account}:{resource}")
    }
}

impl TryFrom<String> for Arn {
    type Error = ArnError;
    fn try_from(text: String) -> Result<Self, ArnError> {
        text.parse()
    }
}

impl From<Arn> for String {
    fn from(arn: Arn) -> Self {
        arn.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_read_and_written_alike() {
        for text in [
            "arn:aws:ecs:us-east-1:000000000000:task/default/0123456789abcdef0123456789abcdef",
            "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/hello:log-stream:a/b:c",
            "arn:aws:s3:::bucket/key",
        ] {
            assert_eq!(text.parse::<Arn>().unwrap().to_string(), text);
        }
        for bad in ["", "arn", "arn:aws:ecs:us-east-1:000000000000", "arn:aws:ecs:::", "x:aws:ecs:::y"] {
            assert!(bad.parse::<Arn>().is_err(), "{bad}");
        }
    }
}
