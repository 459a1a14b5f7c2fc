//! Account settings: names, values, and what AWS sets where nobody did.
//!
//! Source: AWS, "Access Amazon ECS features with account settings", PutAccountSetting.

use api::ecs::Setting;
use base::{AccountId, Arn, Scope};
use domain::{AccountSetting, SettingPrincipal};
use store::Snapshot;
use store::rows::account_setting_key;
use wire::{Call, Fault};

use crate::faults::{client, invalid};

/// A setting that there is.
#[derive(Debug)]
pub struct Definition {
    /// Its name.
    pub name: &'static str,
    /// What holds where nobody set it.
    pub default: &'static str,
    /// What it can be set to.
    values: &'static [&'static str],
}

/// An on-or-off setting takes both pairs of words.
const SWITCH: &[&str] = &["enabled", "disabled", "on", "off"];

/// All of them, by name.
pub const DEFINITIONS: &[Definition] = &[
    Definition { name: "awsvpcTrunking", default: "disabled", values: &["enabled", "disabled"] },
    Definition {
        name: "containerInsights",
        default: "disabled",
        values: &["enabled", "enhanced", "disabled"],
    },
    Definition { name: "containerInstanceLongArnFormat", default: "enabled", values: &["enabled"] },
    Definition {
        name: "defaultLogDriverMode",
        default: "non-blocking",
        values: &["blocking", "non-blocking"],
    },
    Definition { name: "fargateEventWindows", default: "disabled", values: &["enabled", "disabled"] },
    Definition { name: "fargateFIPSMode", default: "disabled", values: &["enabled", "disabled"] },
    Definition { name: "fargateTaskRetirementWaitPeriod", default: "7", values: &["0", "7", "14"] },
    Definition { name: "guardDutyActivate", default: "off", values: &[] },
    Definition { name: "serviceLongArnFormat", default: "enabled", values: &["enabled"] },
    Definition { name: "tagResourceAuthorization", default: "off", values: SWITCH },
    Definition { name: "taskLongArnFormat", default: "enabled", values: &["enabled"] },
];

/// The setting called `name`.
pub fn definition(name: &str) -> Result<&'static Definition, Fault> {
    DEFINITIONS
        .iter()
        .find(|definition| definition.name == name)
        .ok_or_else(|| invalid(format!("Invalid setting name: {name}")))
}

impl Definition {
    /// Whether AWS alone sets it.
    pub fn is_aws_managed(&self) -> bool {
        self.values.is_empty()
    }

    /// Checks a value that a caller wants.
    pub fn check(&self, value: &str) -> Result<(), Fault> {
        if self.is_aws_managed() {
            return Err(invalid(format!("The account setting {} is managed by AWS.", self.name)));
        }
        if self.values.contains(&value) {
            return Ok(());
        }
        if self.name.ends_with("LongArnFormat") && value == "disabled" {
            return Err(invalid(
                "You can no longer opt out of the new ARN and resource ID format for Amazon ECS tasks, container \
                 instances, and services.",
            ));
        }
        Err(invalid(format!("Invalid value for account setting {}: {value}", self.name)))
    }
}

/// What holds for `principal`: its own value, else the account's, else AWS's.
pub fn effective(snapshot: &Snapshot, scope: &Scope, principal: &str, name: &str) -> String {
    let value_of = |principal: &SettingPrincipal| {
        let row = snapshot.get::<AccountSetting>(&account_setting_key(scope, name, principal))?;
        Some(row.value.value.clone())
    };
    value_of(&SettingPrincipal::Arn(principal.to_owned()))
        .or_else(|| value_of(&SettingPrincipal::Default))
        .unwrap_or_else(|| {
            definition(name).map(|definition| definition.default).unwrap_or_default().to_owned()
        })
}

/// A setting on the wire.
pub fn describe(definition: &Definition, value: &str, principal_arn: &str) -> Setting {
    Setting {
        name: Some(definition.name.to_owned()),
        value: Some(value.to_owned()),
        principal_arn: Some(principal_arn.to_owned()),
        type_: Some(if definition.is_aws_managed() { "aws_managed" } else { "user" }.to_owned()),
    }
}

/// The ARN of an account's root user.
pub fn root_arn(account: &AccountId) -> String {
    format!("arn:aws:iam::{account}:root")
}

/// Whose setting a call is about, and the ARN that the answer shows. The root user stands for the account.
pub fn principal(call: &Call, given: Option<&str>) -> Result<(SettingPrincipal, String), Fault> {
    let root = root_arn(&call.scope.account);
    let caller = call.principal.arn.to_string();
    let arn = match given {
        None => caller.clone(),
        Some(given) => {
            let parsed = given.parse::<Arn>().ok().filter(|arn| matches!(arn.aws_service(), "iam" | "sts"));
            let of_account = parsed.filter(|arn| arn.account().as_ref() == Some(&call.scope.account));
            of_account.ok_or_else(|| invalid(format!("Invalid principal arn: {given}")))?.to_string()
        }
    };
    if arn != caller && caller != root {
        return Err(client("Only the root user can change the account settings of another principal."));
    }
    let principal = if arn == root { SettingPrincipal::Default } else { SettingPrincipal::Arn(arn.clone()) };
    Ok((principal, arn))
}
