//! Lists daemon task definitions. AWS: ListDaemonTaskDefinitions. Differs from AWS: nothing known.

use api::ecs::operations::ListDaemonTaskDefinitions;
use api::ecs::{
    DaemonTaskDefinitionSummary, ListDaemonTaskDefinitionsRequest, ListDaemonTaskDefinitionsResponse,
};
use domain::{DaemonTaskDefinition, DaemonTaskDefinitionFamily, DaemonTaskDefinitionStatus};
use store::{Key, Prefix, Row, Snapshot};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::daemon_task_definition::summarize;
use crate::resources::page::PageRequest;
use crate::{Ecs, faults};

impl Operation<ListDaemonTaskDefinitions> for Ecs {
    fn permissions(&self, _call: &Call, _input: &ListDaemonTaskDefinitionsRequest) -> Vec<Permission> {
        vec![Permission::new("ecs:ListDaemonTaskDefinitions", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListDaemonTaskDefinitionsRequest,
    ) -> Result<ListDaemonTaskDefinitionsResponse, Fault> {
        let status = match input.status.as_deref() {
            None | Some("ACTIVE") => Some(DaemonTaskDefinitionStatus::Active),
            Some("DELETE_IN_PROGRESS") => Some(DaemonTaskDefinitionStatus::DeleteInProgress),
            Some("ALL") => None,
            Some(word) => return Err(faults::invalid(format!("Invalid status: {word}"))),
        };
        let descending = match input.sort.as_deref() {
            None | Some("ASC") => false,
            Some("DESC") => true,
            Some(word) => return Err(faults::invalid(format!("Invalid sort: {word}"))),
        };
        let last_only = match input.revision.as_deref() {
            None => false,
            Some("LAST_REGISTERED") => true,
            Some(word) => return Err(faults::invalid(format!("Invalid revision: {word}"))),
        };
        if input.family.is_some() && input.family_prefix.is_some() {
            return Err(faults::invalid("Only one of family and familyPrefix can be specified."));
        }
        let listing = format!(
            "ListDaemonTaskDefinitions/{}/{}/{status:?}/{descending}/{last_only}",
            input.family.as_deref().unwrap_or_default(),
            input.family_prefix.as_deref().unwrap_or_default(),
        );
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        let prefix = match (&input.family, &input.family_prefix) {
            (Some(family), _) => Key::prefix(&call.scope, &[family]),
            (None, Some(start)) => Prefix::starting(&call.scope, &[], start),
            (None, None) => Key::prefix(&call.scope, &[]),
        };
        let after = page.after.as_deref().map(Key::from_text);
        let wanted = |definition: &DaemonTaskDefinition| {
            status.is_none_or(|status| definition.status == status)
                && (!last_only || is_last(&snapshot, definition))
        };
        let entry = |definition: &DaemonTaskDefinition| -> (String, DaemonTaskDefinitionSummary) {
            (definition.key().as_str().to_owned(), summarize(definition))
        };
        let (summaries, next_token) = if descending {
            // A scan goes upwards: turn what is there around.
            let mut all: Vec<_> = snapshot
                .scan::<DaemonTaskDefinition>(prefix, None)
                .filter(|definition| wanted(definition))
                .map(|definition| entry(&definition))
                .filter(|(key, _)| after.as_ref().is_none_or(|after| key.as_str() < after.as_str()))
                .collect();
            all.reverse();
            page.take(all.into_iter())
        } else {
            let rows = snapshot.scan::<DaemonTaskDefinition>(prefix, after.as_ref());
            page.take(rows.filter(|definition| wanted(definition)).map(|definition| entry(&definition)))
        };
        Ok(ListDaemonTaskDefinitionsResponse { daemon_task_definitions: Some(summaries), next_token })
    }
}

fn is_last(snapshot: &Snapshot, definition: &DaemonTaskDefinition) -> bool {
    let key = Key::new(&definition.scope, &[&definition.family]);
    snapshot
        .get::<DaemonTaskDefinitionFamily>(&key)
        .is_some_and(|family| family.last_revision == definition.revision)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::World;

    async fn listed(world: &World, body: Value) -> (Vec<String>, Value) {
        let answer = world.ok("ListDaemonTaskDefinitions", body).await;
        let short = |summary: &Value| summary["arn"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let list = answer["daemonTaskDefinitions"].as_array().unwrap().iter().map(short).collect();
        (list, answer["nextToken"].clone())
    }

    #[tokio::test]
    async fn filters_order_and_pages() {
        let world = World::new();
        for (family, revisions) in [("agent", 11), ("agent-two", 1), ("other", 1)] {
            for _ in 0..revisions {
                let body = json!({"family": family, "containerDefinitions": [{"name": "a", "image": "i"}]});
                world.ok("RegisterDaemonTaskDefinition", body).await;
            }
        }
        world.ok("DeleteDaemonTaskDefinition", json!({"daemonTaskDefinition": "agent:3"})).await;
        let (all, _) = listed(&world, json!({"family": "agent"})).await;
        assert_eq!(all.len(), 10);
        assert_eq!((all[1].as_str(), all[9].as_str()), ("agent:2", "agent:11"), "by number, not by letter");
        let (gone, _) = listed(&world, json!({"status": "DELETE_IN_PROGRESS"})).await;
        assert_eq!(gone, ["agent:3"]);
        let (last, _) = listed(&world, json!({"familyPrefix": "agent", "revision": "LAST_REGISTERED"})).await;
        assert_eq!(last, ["agent:11", "agent-two:1"]);
        for sort in ["ASC", "DESC"] {
            let (mut seen, mut token) = (Vec::new(), json!(null));
            loop {
                let mut body = json!({"status": "ALL", "sort": sort, "maxResults": 4});
                if token.is_string() {
                    body["nextToken"] = token;
                }
                let (page, next) = listed(&world, body).await;
                assert!(page.len() <= 4);
                seen.extend(page);
                token = next;
                if token.is_null() {
                    break;
                }
            }
            let (mut whole, _) = listed(&world, json!({"status": "ALL"})).await;
            if sort == "DESC" {
                whole.reverse();
            }
            assert_eq!(seen, whole);
            assert_eq!(seen.len(), 13);
        }
        for body in [
            json!({"maxResults": 0}),
            json!({"maxResults": 101}),
            json!({"nextToken": "x"}),
            json!({"family": "a", "familyPrefix": "a"}),
        ] {
            world.refused("ListDaemonTaskDefinitions", body).await;
        }
    }
}
