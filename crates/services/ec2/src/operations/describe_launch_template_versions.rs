//! DescribeLaunchTemplateVersions: tells versions of a launch template, or `$Latest` and `$Default` of all. Source: Amazon EC2 API reference, "DescribeLaunchTemplateVersions".
//!
//! Differs from AWS: versions are told in the order of their numbers, where AWS tells the newest first.

use api::ec2::operations::DescribeLaunchTemplateVersions;
use api::ec2::{DescribeLaunchTemplateVersionsRequest, DescribeLaunchTemplateVersionsResult};
use wire::{Call, Fault, Operation, Permission};

use store::Snapshot;

use crate::listing::Question;
use crate::resources::launch_template::{self, DescribedVersion, VERSIONS};
use crate::{Ec2, faults};

impl Operation<DescribeLaunchTemplateVersions> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeLaunchTemplateVersionsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeLaunchTemplateVersions", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeLaunchTemplateVersionsRequest,
    ) -> Result<DescribeLaunchTemplateVersionsResult, Fault> {
        let (id, name) = (input.launch_template_id.as_deref(), input.launch_template_name.as_deref());
        if input.resolve_alias == Some(true) {
            return Err(faults::unsupported("There are no Systems Manager parameters to resolve."));
        }
        let wanted = input.versions.unwrap_or_default();
        let snapshot = self.snapshot(call).await?;
        let rows = if id.is_none() && name.is_none() {
            of_all(&snapshot, call, &wanted)?
        } else {
            let template = launch_template::find(&snapshot, &call.scope, id, name)?.value;
            let bound = |text: &Option<String>| {
                text.as_deref().map(|text| launch_template::number(&template, text)).transpose()
            };
            let (minimum, maximum) = (bound(&input.min_version)?, bound(&input.max_version)?);
            let mut numbers = Vec::new();
            for text in &wanted {
                let number = launch_template::number(&template, text)?;
                launch_template::version(&snapshot, &template, number)?;
                numbers.push(number);
            }
            let mut rows = launch_template::versions(&snapshot, &template);
            rows.retain(|version| {
                let number = version.row.version;
                (numbers.is_empty() || numbers.contains(&number))
                    && minimum.is_none_or(|minimum| number >= minimum)
                    && maximum.is_none_or(|maximum| number <= maximum)
            });
            rows
        };
        let question = Question {
            dry_run: input.dry_run,
            ids: None,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = VERSIONS.answer(question, rows)?;
        let told =
            page.rows.iter().map(launch_template::describe_version).collect::<Result<Vec<_>, Fault>>()?;
        Ok(DescribeLaunchTemplateVersionsResult {
            launch_template_versions: Some(told),
            next_token: page.next_token,
        })
    }
}

/// Without a template, versions can be named by `$Latest` and `$Default` alone.
fn of_all(snapshot: &Snapshot, call: &Call, wanted: &[String]) -> Result<Vec<DescribedVersion>, Fault> {
    if wanted.is_empty() || !wanted.iter().all(|text| text == "$Latest" || text == "$Default") {
        return Err(faults::missing("LaunchTemplateId or LaunchTemplateName"));
    }
    let mut rows = Vec::new();
    for template in launch_template::all(snapshot, &call.scope) {
        let numbers = wanted.iter().map(|text| launch_template::number(&template, text));
        let numbers = numbers.collect::<Result<Vec<_>, Fault>>()?;
        let mut versions = launch_template::versions(snapshot, &template);
        versions.retain(|version| numbers.contains(&version.row.version));
        rows.extend(versions);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn versions_are_told_and_picked() {
        let server = Server::new();
        let data = "LaunchTemplateName=nodes&LaunchTemplateData.ImageId=ami";
        server.done(&format!("Action=CreateLaunchTemplate&{data}-1")).await;
        for number in 2..=12 {
            server.done(&format!("Action=CreateLaunchTemplateVersion&{data}-{number}")).await;
        }
        let of_all = "Action=DescribeLaunchTemplateVersions";
        let describe = format!("{of_all}&LaunchTemplateName=nodes");
        let numbers = |query: String| {
            let server = &server;
            async move { server.ask_for("versionNumber", &query).await.join(" ") }
        };
        assert_eq!(numbers(describe.clone()).await, "1 2 3 4 5 6 7 8 9 10 11 12");
        assert_eq!(numbers(format!("{describe}&MaxResults=5")).await, "1 2 3 4 5");
        assert_eq!(numbers(format!("{describe}&MinVersion=9&MaxVersion=10")).await, "9 10");
        assert_eq!(numbers(format!("{describe}&LaunchTemplateVersion.1=$Latest")).await, "12");
        assert_eq!(numbers(format!("{describe}&Filter.1.Name=image-id&Filter.1.Value.1=ami-3")).await, "3");
        assert_eq!(
            numbers(format!("{describe}&Filter.1.Name=is-default-version&Filter.1.Value.1=true")).await,
            "1"
        );
        assert_eq!(
            numbers(format!("{of_all}&LaunchTemplateVersion.1=$Latest&LaunchTemplateVersion.2=$Default"))
                .await,
            "1 12"
        );
        for (query, fault) in [
            (of_all.to_owned(), "400 MissingParameter: "),
            (
                format!("{describe}&LaunchTemplateVersion.1=99"),
                "400 InvalidLaunchTemplateId.VersionNotFound: ",
            ),
            (format!("{describe}&ResolveAlias=true"), "400 UnsupportedOperation: "),
            (format!("{of_all}&LaunchTemplateName=xyz"), "400 InvalidLaunchTemplateName.NotFoundException: "),
        ] {
            let found = server.fault(&query).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}
