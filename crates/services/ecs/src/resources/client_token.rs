//! Client tokens: the same token with the same parameters makes nothing twice. Source: AWS, "Ensuring idempotency".

use base::Scope;
use domain::ClientTokenUse;
use sha2::{Digest, Sha256};
use store::rows::{CLIENT_TOKENS_BY_TIME, client_token_key};
use store::{Row, Snapshot, Transaction};
use wire::{Call, Fault, Shape};

use crate::faults::invalid;

/// Hours for which a token is remembered. Source: "Ensuring idempotency" (ECS API reference).
const HOURS: i64 = 24;
/// Characters of a token. Source: CreateService and CreateTaskSet, `clientToken`.
const CHARACTERS: usize = 36;
/// Forgotten tokens that one call clears away.
const CLEARED: usize = 16;

/// Reads `clientToken`.
pub fn parse(text: Option<&str>) -> Result<Option<String>, Fault> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.len() > CHARACTERS || !text.bytes().all(|byte| (33..=126).contains(&byte)) {
        return Err(invalid(format!(
            "clientToken must have at most {CHARACTERS} characters in the range of 33-126, inclusive."
        )));
    }
    Ok(Some(text.to_owned()))
}

/// SHA-256 of a request (without its token), in hexadecimal.
pub fn digest(request: &dyn Shape) -> String {
    hex::encode(Sha256::digest(wire::json::to_string(request).as_bytes()))
}

/// What an earlier call with the token made, with whether its parameters were the same.
pub fn used(
    snapshot: &Snapshot,
    call: &Call,
    operation: &str,
    token: &str,
    digest: &str,
) -> Option<(bool, Vec<String>)> {
    let there = snapshot.get::<ClientTokenUse>(&client_token_key(&call.scope, operation, token))?;
    (!is_forgotten(&there, call)).then(|| (there.parameters_digest == digest, there.made.clone()))
}

/// Remembers what this call made.
pub fn remember(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    call: &Call,
    operation: &str,
    token: &str,
    digest: &str,
    made: Vec<String>,
) {
    let old = snapshot.index::<ClientTokenUse>(CLIENT_TOKENS_BY_TIME, &[], None);
    for used in old.take(CLEARED).take_while(|used| is_forgotten(used, call)) {
        transaction.delete::<ClientTokenUse>(&used.value.key());
    }
    let scope: &Scope = &call.scope;
    let key = client_token_key(scope, operation, token);
    let there = snapshot.get::<ClientTokenUse>(&key).map(|used| used.revision);
    transaction.require_revision::<ClientTokenUse>(&key, there);
    transaction.put(ClientTokenUse {
        scope: scope.clone(),
        operation: operation.to_owned(),
        token: token.to_owned(),
        parameters_digest: digest.to_owned(),
        made,
        used_at: call.now,
    });
}

fn is_forgotten(used: &ClientTokenUse, call: &Call) -> bool {
    call.now >= used.used_at.plus_seconds(HOURS * 3600)
}
