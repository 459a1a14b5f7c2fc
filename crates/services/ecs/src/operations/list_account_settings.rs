//! Lists account settings. AWS: ListAccountSettings. Differs from AWS: nothing known.

use api::ecs::operations::ListAccountSettings;
use api::ecs::{ListAccountSettingsRequest, ListAccountSettingsResponse};
use domain::AccountSetting;
use store::rows::account_setting_key;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::account_setting::{self, DEFINITIONS};
use crate::resources::page::PageRequest;
use crate::{Ecs, faults};

/// Entries of one page. Source: ListAccountSettings, `maxResults`.
const PAGE: i32 = 10;

impl Operation<ListAccountSettings> for Ecs {
    fn permissions(&self, _call: &Call, _input: &ListAccountSettingsRequest) -> Vec<Permission> {
        vec![Permission::new("ecs:ListAccountSettings", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListAccountSettingsRequest,
    ) -> Result<ListAccountSettingsResponse, Fault> {
        if let Some(name) = input.name.as_deref() {
            account_setting::definition(name)?;
        }
        if input.value.is_some() && input.name.is_none() {
            return Err(faults::invalid("If a value is specified, a name must also be specified."));
        }
        if input.max_results.is_some_and(|size| !(1..=PAGE).contains(&size)) {
            return Err(faults::invalid(format!("maxResults should be between 1 and {PAGE}")));
        }
        let (principal, principal_arn) = account_setting::principal(call, input.principal_arn.as_deref())?;
        let effective = input.effective_settings.unwrap_or(false);
        let listing = format!(
            "ListAccountSettings/{}/{}/{principal_arn}/{effective}",
            input.name.as_deref().unwrap_or_default(),
            input.value.as_deref().unwrap_or_default()
        );
        let page =
            PageRequest::parse(listing, input.max_results.or(Some(PAGE)), input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        let value_of = |name: &str| {
            if effective {
                return Some(account_setting::effective(&snapshot, &call.scope, &principal_arn, name));
            }
            let key = account_setting_key(&call.scope, name, &principal);
            snapshot.get::<AccountSetting>(&key).map(|row| row.value.value.clone())
        };
        let settings = DEFINITIONS
            .iter()
            .filter(|definition| input.name.as_deref().is_none_or(|name| definition.name == name))
            .filter(|definition| page.after.as_deref().is_none_or(|after| definition.name > after))
            .filter_map(|definition| Some((definition, value_of(definition.name)?)))
            .filter(|(_, value)| input.value.as_ref().is_none_or(|wanted| wanted == value))
            .map(|(definition, value)| {
                let setting = account_setting::describe(definition, &value, &principal_arn);
                (definition.name.to_owned(), setting)
            });
        let (settings, next_token) = page.take(settings);
        Ok(ListAccountSettingsResponse { settings: Some(settings), next_token })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn own_default_and_effective() {
        let world = World::with_cluster().await;
        let effective = world.ok("ListAccountSettings", json!({"effectiveSettings": true})).await;
        assert_eq!(effective["settings"].as_array().unwrap().len(), 10);
        let rest = world
            .ok(
                "ListAccountSettings",
                json!({"effectiveSettings": true, "nextToken": effective["nextToken"]}),
            )
            .await;
        assert_eq!(rest["settings"].as_array().unwrap().len(), 1);
        assert_eq!(world.ok("ListAccountSettings", json!({})).await["settings"], json!([]));

        let put = world
            .ok("PutAccountSettingDefault", json!({"name": "containerInsights", "value": "enhanced"}))
            .await;
        let setting = json!({
            "name": "containerInsights", "value": "enhanced",
            "principalArn": "arn:aws:iam::000000000000:root", "type": "user",
        });
        assert_eq!(put["setting"], setting);
        assert_eq!(world.ok("ListAccountSettings", json!({})).await["settings"], json!([setting]));
        let cluster = world.ok("CreateCluster", json!({"clusterName": "new"})).await;
        assert_eq!(cluster["cluster"]["settings"][0]["value"], json!("enhanced"));
        let gone = world.ok("DeleteAccountSetting", json!({"name": "containerInsights"})).await;
        assert_eq!(text(&gone, "/setting/value"), "disabled");

        world.ok("PutAccountSetting", json!({"name": "defaultLogDriverMode", "value": "blocking"})).await;
        let named = world
            .ok("ListAccountSettings", json!({"name": "defaultLogDriverMode", "effectiveSettings": true}))
            .await;
        assert_eq!(text(&named, "/settings/0/value"), "blocking");
        for bad in [
            json!({"name": "colour", "value": "red"}),
            json!({"name": "containerInsights", "value": "maybe"}),
            json!({"name": "guardDutyActivate", "value": "on"}),
            json!({"name": "taskLongArnFormat", "value": "disabled"}),
            json!({"name": "containerInsights", "value": "enabled", "principalArn": "arn:aws:iam::999999999999:root"}),
        ] {
            world.refused("PutAccountSetting", bad).await;
        }
        world.refused("ListAccountSettings", json!({"value": "enabled"})).await;
    }
}
