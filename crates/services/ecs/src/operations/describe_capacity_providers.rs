//! Describes capacity providers. AWS: DescribeCapacityProviders.
//!
//! A provider that was deleted is described for a while when it is named, and is not listed.

use api::ecs::operations::DescribeCapacityProviders;
use api::ecs::{
    CapacityProvider as WireProvider, DescribeCapacityProvidersRequest, DescribeCapacityProvidersResponse,
    Failure,
};
use domain::{CapacityProvider, CapacityProviderStatus};
use store::{Key, Snapshot};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::page::PageRequest;
use crate::resources::{capacity_provider, cluster, identifier};
use crate::{Ecs, faults};

/// Entries of one page. Source: DescribeCapacityProviders, `maxResults`.
const PAGE: i32 = 10;
/// Capacity providers in one call. Source: DescribeCapacityProviders.
const PROVIDERS: usize = 100;

impl Operation<DescribeCapacityProviders> for Ecs {
    fn permissions(&self, call: &Call, input: &DescribeCapacityProvidersRequest) -> Vec<Permission> {
        let named = input.capacity_providers.clone().unwrap_or_default();
        if named.is_empty() {
            return vec![Permission::new("ecs:DescribeCapacityProviders", "*")];
        }
        let permission = |text: &String| {
            let arn = capacity_provider::arn_for_permission(call, text);
            Permission::new("ecs:DescribeCapacityProviders", arn)
        };
        named.iter().map(permission).collect()
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeCapacityProvidersRequest,
    ) -> Result<DescribeCapacityProvidersResponse, Fault> {
        let given = input.capacity_providers.unwrap_or_default();
        if given.len() > PROVIDERS {
            return Err(faults::invalid(format!(
                "Capacity providers cannot have more than {PROVIDERS} elements."
            )));
        }
        if input.max_results.is_some_and(|size| !(1..=PAGE).contains(&size)) {
            return Err(faults::invalid(format!("maxResults should be between 1 and {PAGE}")));
        }
        let mut with_tags = false;
        for word in input.include.unwrap_or_default() {
            match word.as_str() {
                "TAGS" => with_tags = true,
                other => return Err(faults::invalid(format!("Unknown include: {other}"))),
            }
        }
        let of_cluster = input.cluster.map(|text| cluster::name(call, Some(&text))).transpose()?;
        let listing = format!(
            "DescribeCapacityProviders/{}/{}",
            of_cluster.as_deref().unwrap_or_default(),
            given.join("/")
        );
        let page =
            PageRequest::parse(listing, input.max_results.or(Some(PAGE)), input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        let of_cluster = match &of_cluster {
            None => None,
            Some(name) => Some(cluster::get(&snapshot, &call.scope, name)?.capacity_providers.clone()),
        };
        let is_listed =
            |name: &String| of_cluster.as_ref().is_none_or(|of_cluster| of_cluster.contains(name));
        let names = if given.is_empty() {
            all(&snapshot, call)
        } else {
            given.iter().map(|text| named(call, text)).collect::<Result<Vec<_>, _>>()?
        };
        let skip =
            page.after.as_deref().and_then(|after| after.parse::<usize>().ok()).map_or(0, |index| index + 1);
        let entries = names.into_iter().enumerate().skip(skip).map(|(index, name)| (index.to_string(), name));
        let (names, next_token) = page.take(entries.filter(|(_, name)| !given.is_empty() || is_listed(name)));

        let (mut there, mut failures) = (Vec::new(), Vec::new());
        for name in names {
            match describe(&snapshot, call, &name, with_tags).filter(|_| is_listed(&name)) {
                Some(described) => there.push(described),
                None => failures.push(Failure {
                    arn: Some(CapacityProvider::arn_of(&call.scope, &name).to_string()),
                    reason: Some("MISSING".to_owned()),
                    detail: None,
                }),
            }
        }
        Ok(DescribeCapacityProvidersResponse {
            capacity_providers: Some(there),
            failures: Some(failures),
            next_token,
        })
    }
}

/// A name that no provider can have is one that is missing; only an ARN can be malformed.
fn named(call: &Call, text: &str) -> Result<String, Fault> {
    if text.starts_with("arn:") {
        identifier::own_arn(call, text, "capacity-provider")
    } else {
        Ok(text.to_owned())
    }
}

fn all(snapshot: &Snapshot, call: &Call) -> Vec<String> {
    let own = snapshot
        .scan::<CapacityProvider>(Key::prefix(&call.scope, &[]), None)
        .filter(|provider| provider.status != CapacityProviderStatus::Inactive)
        .map(|provider| provider.name.clone());
    capacity_provider::PROVIDERS.iter().map(|name| (*name).to_owned()).chain(own).collect()
}

fn describe(snapshot: &Snapshot, call: &Call, name: &str, with_tags: bool) -> Option<WireProvider> {
    if capacity_provider::is_fargate(name) {
        return Some(capacity_provider::describe_fargate(&call.scope, name));
    }
    let provider = capacity_provider::find(snapshot, &call.scope, name)?;
    Some(capacity_provider::describe(&provider, with_tags))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn pages_filters_and_failures() {
        let world = World::new();
        for number in 0..12 {
            let name = format!("mine-{number:02}");
            let group = json!({"autoScalingGroupArn": format!("group-{number}")});
            let tags = json!([{"key": "n", "value": number.to_string()}]);
            world
                .ok(
                    "CreateCapacityProvider",
                    json!({"name": name, "autoScalingGroupProvider": group, "tags": tags}),
                )
                .await;
        }
        let (mut names, mut token) = (Vec::new(), None);
        loop {
            let mut body = json!({"maxResults": 5});
            if let Some(token) = token {
                body["nextToken"] = token;
            }
            let page = world.ok("DescribeCapacityProviders", body).await;
            let providers = page["capacityProviders"].as_array().unwrap();
            assert!(providers.len() <= 5);
            names.extend(providers.iter().map(|provider| text(provider, "/name")));
            token = page.get("nextToken").cloned();
            if token.is_none() {
                break;
            }
        }
        assert_eq!(names.len(), 14);
        assert_eq!(names[..3], ["FARGATE", "FARGATE_SPOT", "mine-00"]);
        let first = world.ok("DescribeCapacityProviders", json!({})).await;
        assert_eq!(first["capacityProviders"].as_array().unwrap().len(), 10);

        world
            .ok("CreateCluster", json!({"clusterName": "web", "capacityProviders": ["FARGATE", "mine-03"]}))
            .await;
        let of_web = world.ok("DescribeCapacityProviders", json!({"cluster": "web"})).await;
        assert_eq!(of_web["capacityProviders"].as_array().unwrap().len(), 2);
        assert_eq!(of_web["failures"], json!([]));
        let named =
            ["mine-03", "mine-04", "ghost", "arn:aws:ecs:us-east-1:000000000000:capacity-provider/FARGATE"];
        let some = world
            .ok(
                "DescribeCapacityProviders",
                json!({"cluster": "web", "capacityProviders": named, "include": ["TAGS"]}),
            )
            .await;
        assert_eq!(text(&some, "/capacityProviders/0/tags/0/value"), "3");
        assert_eq!(text(&some, "/capacityProviders/1/name"), "FARGATE");
        assert_eq!(some["failures"].as_array().unwrap().len(), 2);
        assert_eq!(text(&some, "/failures/1/reason"), "MISSING");
        let plain = world.ok("DescribeCapacityProviders", json!({"capacityProviders": ["mine-03"]})).await;
        assert_eq!(plain["capacityProviders"][0]["tags"], json!([]));
        for bad in [
            json!({"maxResults": 11}),
            json!({"maxResults": 0}),
            json!({"include": ["COLOUR"]}),
            json!({"nextToken": "x"}),
            json!({"cluster": "ghost"}),
            json!({"capacityProviders": ["arn:aws:ecs:us-east-1:000000000000:cluster/web"]}),
        ] {
            world.refused("DescribeCapacityProviders", bad).await;
        }
    }
}
