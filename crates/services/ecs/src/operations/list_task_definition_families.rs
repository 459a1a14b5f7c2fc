//! Lists families of task definitions. AWS: ListTaskDefinitionFamilies. Differs from AWS: nothing known.

use api::ecs::operations::ListTaskDefinitionFamilies;
use api::ecs::{ListTaskDefinitionFamiliesRequest, ListTaskDefinitionFamiliesResponse};
use domain::{TaskDefinition, TaskDefinitionFamily, TaskDefinitionStatus};
use store::{Key, Prefix, Snapshot};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::page::PageRequest;
use crate::{Ecs, faults};

impl Operation<ListTaskDefinitionFamilies> for Ecs {
    fn permissions(&self, _call: &Call, _input: &ListTaskDefinitionFamiliesRequest) -> Vec<Permission> {
        vec![Permission::new("ecs:ListTaskDefinitionFamilies", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListTaskDefinitionFamiliesRequest,
    ) -> Result<ListTaskDefinitionFamiliesResponse, Fault> {
        let wanted = match input.status.as_deref() {
            None | Some("ALL") => None,
            Some("ACTIVE") => Some(true),
            Some("INACTIVE") => Some(false),
            Some(word) => return Err(faults::invalid(format!("Invalid status: {word}"))),
        };
        let start = input.family_prefix.unwrap_or_default();
        let listing = format!("ListTaskDefinitionFamilies/{start}/{wanted:?}");
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        let after = page.after.as_deref().map(|family| Key::new(&call.scope, &[family]));
        let families = snapshot
            .scan::<TaskDefinitionFamily>(Prefix::starting(&call.scope, &[], &start), after.as_ref())
            .filter(|family| match (has_active(&snapshot, family), wanted) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(active), Some(wanted)) => active == wanted,
            })
            .map(|family| (family.family.clone(), family.family.clone()));
        let (families, next_token) = page.take(families);
        Ok(ListTaskDefinitionFamiliesResponse { families: Some(families), next_token })
    }
}

/// Whether a revision of the family is ACTIVE; `None` where all of them are deleted.
fn has_active(snapshot: &Snapshot, family: &TaskDefinitionFamily) -> Option<bool> {
    let mut any = None;
    for definition in snapshot.scan::<TaskDefinition>(Key::prefix(&family.scope, &[&family.family]), None) {
        match definition.status {
            TaskDefinitionStatus::Active => return Some(true),
            TaskDefinitionStatus::Inactive => any = Some(false),
            TaskDefinitionStatus::DeleteInProgress => {}
        }
    }
    any
}
