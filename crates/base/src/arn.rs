//! Amazon Resource Names.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::{AccountId, Region, Scope};

/// Why a text is no ARN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an Amazon Resource Name")]
pub struct ArnError(String);

/// An Amazon Resource Name: `arn:partition:service:region:account:resource`. Cheap to clone.
///
/// Region and account may be empty (S3, IAM). The resource part is kept as written: it may hold colons and slashes.
/// Source: "Amazon Resource Names (ARNs)", AWS General Reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Arn {
    text: Arc<str>,
    /// Where partition, service, region and account end; each begins behind the colon after the one before.
    ends: [u32; 4],
}

/// Where the partition begins.
const PARTITION: usize = "arn:".len();

impl Arn {
    /// The ARN of `resource` (for example `task/default/0123…`) of `aws_service` in `scope`.
    pub fn new(aws_service: &str, scope: &Scope, resource: impl Into<String>) -> Self {
        let parts = [partition_of(&scope.region), aws_service, scope.region.as_str(), scope.account.as_str()];
        Self::of(parts, &resource.into())
    }

    fn of(parts: [&str; 4], resource: &str) -> Self {
        let [partition, aws_service, region, account] = parts;
        let text = format!("arn:{partition}:{aws_service}:{region}:{account}:{resource}");
        let mut end = PARTITION - 1;
        let ends = parts.map(|part| {
            end += 1 + part.len();
            u32::try_from(end).unwrap_or(u32::MAX)
        });
        Self { text: text.into(), ends }
    }

    /// The text between the end of the part before (or `from`) and this one's.
    fn part(&self, number: usize) -> &str {
        let from = number.checked_sub(1).map_or(PARTITION, |before| self.ends[before] as usize + 1);
        self.text.get(from..self.ends[number] as usize).unwrap_or_default()
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub fn partition(&self) -> &str {
        self.part(0)
    }

    /// The service part, such as `ecs`.
    pub fn aws_service(&self) -> &str {
        self.part(1)
    }

    /// The region part; `None` where it is empty or no region name.
    pub fn region(&self) -> Option<Region> {
        self.part(2).parse().ok()
    }

    /// The account part; `None` where it is empty or no account id.
    pub fn account(&self) -> Option<AccountId> {
        self.part(3).parse().ok()
    }

    /// Account and region together, where both are there.
    pub fn scope(&self) -> Option<Scope> {
        Some(Scope::new(self.account()?, self.region()?))
    }

    /// All behind the fifth colon, such as `task/default/0123…`.
    pub fn resource(&self) -> &str {
        self.text.get(self.ends[3] as usize + 1..).unwrap_or_default()
    }

    /// The resource's type and the rest: `("task", "default/0123…")`. `None` where it has neither slash nor colon.
    pub fn resource_type_and_id(&self) -> Option<(&str, &str)> {
        self.resource().split_once(['/', ':'])
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
        let mut next = || parts.next().ok_or_else(|| ArnError(text.to_owned()));
        let (prefix, partition, aws_service, region, account, resource) =
            (next()?, next()?, next()?, next()?, next()?, next()?);
        if prefix != "arn" || partition.is_empty() || aws_service.is_empty() || resource.is_empty() {
            return Err(ArnError(text.to_owned()));
        }
        Ok(Self::of([partition, aws_service, region, account], resource))
    }
}

/// Part by part, so that all of one service, region and account stand together.
impl Ord for Arn {
    fn cmp(&self, other: &Self) -> Ordering {
        // Where the parts end at the same places the colons between them are the same too: nearly always, so in one go.
        if self.ends == other.ends {
            return self.text.cmp(&other.text);
        }
        (0..4)
            .map(|number| self.part(number).cmp(other.part(number)))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| self.resource().cmp(other.resource()))
    }
}

impl PartialOrd for Arn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Arn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
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
        arn.text.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_order() {
        let arn: Arn = "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/hello".parse().unwrap();
        assert_eq!((arn.partition(), arn.aws_service()), ("aws", "logs"));
        assert_eq!(arn.scope().unwrap().to_string(), "123456789012/eu-west-1");
        assert_eq!(arn.resource(), "log-group:/ecs/hello");
        assert_eq!(arn.resource_type_and_id(), Some(("log-group", "/ecs/hello")));
        assert_eq!(arn, Arn::new("logs", &arn.scope().unwrap(), "log-group:/ecs/hello"));
        assert_eq!(serde_json::to_string(&arn).unwrap(), format!("\"{arn}\""));
        assert_eq!(serde_json::from_str::<Arn>(&format!("\"{arn}\"")).unwrap(), arn);
        let bucket: Arn = "arn:aws:s3:::bucket/key".parse().unwrap();
        assert_eq!((bucket.region(), bucket.account(), bucket.resource()), (None, None, "bucket/key"));
        let mut arns = ["arn:aws:ecs:a-1:1:x", "arn:aws:ecs:a:2:x", "arn:aws:ecs:a:1:y", "arn:aws:ec:a:1:x"]
            .map(|text| text.parse::<Arn>().unwrap());
        arns.sort();
        let sorted: Vec<&str> = arns.iter().map(Arn::as_str).collect();
        assert_eq!(
            sorted,
            ["arn:aws:ec:a:1:x", "arn:aws:ecs:a:1:y", "arn:aws:ecs:a:2:x", "arn:aws:ecs:a-1:1:x"]
        );
    }

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
