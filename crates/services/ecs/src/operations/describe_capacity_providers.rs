//! Describes capacity providers. AWS: DescribeCapacityProviders.
//!
//! Differs from AWS: the providers are FARGATE and FARGATE_SPOT; providers of one's own are a later release's.

use api::ecs::operations::DescribeCapacityProviders;
use api::ecs::{DescribeCapacityProvidersRequest, DescribeCapacityProvidersResponse, Failure};
use base::Arn;
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
        let all = capacity_provider::PROVIDERS.iter().map(|name| (*name).to_owned()).collect();
        let names = input.capacity_providers.clone().unwrap_or(all);
        let arn = |name: &String| match name.parse::<Arn>() {
            Ok(arn) => arn.to_string(),
            Err(_) => Arn::new("ecs", &call.scope, format!("capacity-provider/{name}")).to_string(),
        };
        names.iter().map(|name| Permission::new("ecs:DescribeCapacityProviders", arn(name))).collect()
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
        let listing = format!("DescribeCapacityProviders/{}", given.join("/"));
        let page =
            PageRequest::parse(listing, input.max_results.or(Some(PAGE)), input.next_token.as_deref())?;
        let mut names = given
            .iter()
            .map(|text| {
                if text.starts_with("arn:") {
                    identifier::own_arn(call, text, "capacity-provider")
                } else {
                    Ok(text.clone())
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            names.extend(capacity_provider::PROVIDERS.iter().map(|name| (*name).to_owned()));
        }

        if let Some(text) = &input.cluster {
            let name = cluster::name(call, Some(text))?;
            cluster::get(&self.store.snapshot(), &call.scope, &name)?;
        }
        let skip =
            page.after.as_deref().and_then(|after| after.parse::<usize>().ok()).map_or(0, |index| index + 1);
        let entries = names.into_iter().enumerate().skip(skip).map(|(index, name)| (index.to_string(), name));
        let (names, next_token) = page.take(entries);
        let (there, missing): (Vec<String>, Vec<String>) =
            names.into_iter().partition(|name| capacity_provider::PROVIDERS.contains(&name.as_str()));
        let failure = |name: &String| Failure {
            arn: Some(Arn::new("ecs", &call.scope, format!("capacity-provider/{name}")).to_string()),
            reason: Some("MISSING".to_owned()),
            detail: None,
        };
        Ok(DescribeCapacityProvidersResponse {
            capacity_providers: Some(
                there.iter().map(|name| capacity_provider::describe(&call.scope, name)).collect(),
            ),
            failures: Some(missing.iter().map(failure).collect()),
            next_token,
        })
    }
}
