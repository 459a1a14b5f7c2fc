//! Lists task definitions. AWS: ListTaskDefinitions. Differs from AWS: nothing known.

use api::ecs::operations::ListTaskDefinitions;
use api::ecs::{ListTaskDefinitionsRequest, ListTaskDefinitionsResponse};
use domain::{TaskDefinition, TaskDefinitionStatus};
use store::{Key, Row};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::page::PageRequest;
use crate::{Ecs, faults};

impl Operation<ListTaskDefinitions> for Ecs {
    fn permissions(&self, _call: &Call, _input: &ListTaskDefinitionsRequest) -> Vec<Permission> {
        vec![Permission::new("ecs:ListTaskDefinitions", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListTaskDefinitionsRequest,
    ) -> Result<ListTaskDefinitionsResponse, Fault> {
        let status = match input.status.as_deref() {
            None => TaskDefinitionStatus::Active,
            Some(word) => word.parse().map_err(|_| faults::invalid(format!("Invalid status: {word}")))?,
        };
        let descending = match input.sort.as_deref() {
            None | Some("ASC") => false,
            Some("DESC") => true,
            Some(word) => return Err(faults::invalid(format!("Invalid sort: {word}"))),
        };
        let family = input.family_prefix.as_deref();
        let listing = format!("ListTaskDefinitions/{}/{status}/{descending}", family.unwrap_or_default());
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        let prefix = match family {
            None => Key::prefix(&call.scope, &[]),
            Some(family) => Key::prefix(&call.scope, &[family]),
        };
        let after = page.after.as_deref().map(Key::from_text);
        let entry = |definition: &TaskDefinition| {
            (definition.key().as_str().to_owned(), definition.arn().to_string())
        };
        let (arns, next_token) = if descending {
            // A scan goes upwards: turn what is there around.
            let mut all: Vec<(String, String)> = snapshot
                .scan::<TaskDefinition>(prefix, None)
                .filter(|definition| definition.status == status)
                .map(|definition| entry(&definition))
                .filter(|(key, _)| after.as_ref().is_none_or(|after| key.as_str() < after.as_str()))
                .collect();
            all.reverse();
            page.take(all.into_iter())
        } else {
            let rows = snapshot.scan::<TaskDefinition>(prefix, after.as_ref());
            page.take(
                rows.filter(|definition| definition.status == status).map(|definition| entry(&definition)),
            )
        };
        Ok(ListTaskDefinitionsResponse { task_definition_arns: Some(arns), next_token })
    }
}
