//! Names of load balancers and target groups, and the form of ARNs.

use base::Arn;
use wire::Fault;

use crate::faults::validation;

/// Source: CreateLoadBalancer, CreateTargetGroup, `Name`.
const NAME_CHARACTERS: usize = 32;

/// Checks the name of a `what`, such as `load balancer`.
pub(crate) fn check(what: &str, name: &str) -> Result<(), Fault> {
    let title = || {
        let mut letters = what.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    if name.is_empty() {
        return Err(validation(format!("{} name cannot be empty", title())));
    }
    if name.len() > NAME_CHARACTERS {
        let message =
            format!("{} name '{name}' cannot be longer than '{NAME_CHARACTERS}' characters", title());
        return Err(validation(message));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        let message = format!(
            "{} name '{name}' can only contain characters that are alphanumeric characters and hyphens(-)",
            title()
        );
        return Err(validation(message));
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Err(validation(format!("{} name '{name}' cannot begin or end with a hyphen(-)", title())));
    }
    Ok(())
}

/// Checks that `arn` is one of a resource whose type is `kind`, such as `loadbalancer`; `what` is its name in words.
pub(crate) fn check_arn(arn: &str, kind: &str, what: &str) -> Result<(), Fault> {
    let parsed: Option<Arn> = arn.parse().ok();
    let is_right = parsed.is_some_and(|arn| {
        arn.aws_service() == "elasticloadbalancing"
            && arn.resource_type_and_id().is_some_and(|(found, _)| found == kind)
    });
    if is_right { Ok(()) } else { Err(validation(format!("'{arn}' is not a valid {what} ARN"))) }
}
