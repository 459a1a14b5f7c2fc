//! DescribeLaunchTemplates: tells the launch templates of the account and region. Source: Amazon EC2 API reference, "DescribeLaunchTemplates".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeLaunchTemplates;
use api::ec2::{DescribeLaunchTemplatesRequest, DescribeLaunchTemplatesResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::launch_template::{self, KIND};

impl Operation<DescribeLaunchTemplates> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeLaunchTemplatesRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeLaunchTemplates", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeLaunchTemplatesRequest,
    ) -> Result<DescribeLaunchTemplatesResult, Fault> {
        let mut rows = launch_template::all(&self.snapshot(call).await?, &call.scope);
        let names = input.launch_template_names.unwrap_or_default();
        if let Some(unknown) = names.iter().find(|name| !rows.iter().any(|known| known.name == **name)) {
            return Err(launch_template::no_such_name(unknown));
        }
        rows.retain(|known| names.is_empty() || names.contains(&known.name));
        let question = Question {
            dry_run: input.dry_run,
            ids: input.launch_template_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, rows)?;
        Ok(DescribeLaunchTemplatesResult {
            launch_templates: Some(page.rows.iter().map(|known| launch_template::describe(known)).collect()),
            next_token: page.next_token,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn templates_are_told_and_picked() {
        let server = Server::new();
        for name in ["nodes", "others"] {
            let query = format!(
                "Action=CreateLaunchTemplate&LaunchTemplateName={name}&LaunchTemplateData.ImageId=ami-1"
            );
            server.done(&query).await;
        }
        for (query, count) in [
            ("", 2),
            ("&LaunchTemplateName.1=nodes", 1),
            ("&Filter.1.Name=launch-template-name&Filter.1.Value.1=*s", 2),
            ("&Filter.1.Name=tag-key&Filter.1.Value.1=*", 0),
        ] {
            let query = format!("Action=DescribeLaunchTemplates{query}");
            assert_eq!(server.ask_for("launchTemplateName", &query).await.len(), count, "{query}");
        }
        for (query, fault) in [
            ("LaunchTemplateName.1=xyz", "400 InvalidLaunchTemplateName.NotFoundException: "),
            ("LaunchTemplateId.1=lt-0", "400 InvalidLaunchTemplateId.NotFound: "),
            ("LaunchTemplateId.1=x", "400 InvalidLaunchTemplateId.Malformed: "),
        ] {
            let found = server.fault(&format!("Action=DescribeLaunchTemplates&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}
