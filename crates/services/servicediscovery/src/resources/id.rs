//! Ids, and the ARNs that may stand in their place.

use base::{Arn, Ids, Scope};
use domain::discovery_letters;

/// A new operation's id, such as `gv4g5meo7ndmeh4fqskygvk23d2fijwa-k9302yzd`.
pub(crate) fn operation(ids: &dyn Ids) -> String {
    format!("{}-{}", discovery_letters(ids, 32), discovery_letters(ids, 8))
}

/// The id that `given` is or, as an ARN of this account and region, names. `None` is an ARN of something else.
pub(crate) fn parse(scope: &Scope, resource_type: &str, given: &str) -> Option<String> {
    if !given.starts_with("arn:") {
        return Some(given.to_owned());
    }
    let arn: Arn = given.parse().ok()?;
    let is_own = arn.aws_service() == "servicediscovery" && arn.scope().as_ref() == Some(scope);
    let (kind, id) = arn.resource_type_and_id()?;
    (is_own && kind == resource_type).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scope;

    #[test]
    fn an_arn_stands_for_its_id() {
        let arn = "arn:aws:servicediscovery:us-east-1:123456789012:namespace/ns-1";
        assert_eq!(parse(&scope(), "namespace", arn).as_deref(), Some("ns-1"));
        assert_eq!(parse(&scope(), "namespace", "ns-2").as_deref(), Some("ns-2"));
        assert_eq!(parse(&scope(), "service", arn), None);
        assert_eq!(parse(&scope(), "namespace", &arn.replace("us-east-1", "eu-west-1")), None);
    }
}
