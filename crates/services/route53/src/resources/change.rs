//! Changes: in force when they are answered.

use api::route53::ChangeInfo;
use domain::DnsChange;
use store::rows_dns::{DNS_CHANGES_BY_TIME, capitals};
use store::{Key, Row as _, Snapshot, Transaction};
use wire::Call;

use crate::Route53;

/// How long a change can be asked for. Ours: AWS does not tell.
const KEPT_MILLISECONDS: i64 = 24 * 3600 * 1000;
/// Old changes that one new change takes away.
const TAKEN_AWAY: usize = 16;

/// Puts a new change into `transaction`, and takes old ones away.
pub(crate) fn note(
    service: &Route53,
    snapshot: &Snapshot,
    call: &Call,
    comment: Option<String>,
    transaction: &mut Transaction,
) -> ChangeInfo {
    let row = DnsChange {
        account: call.scope.account.clone(),
        id: format!("C{}", capitals(&*service.ids, 20)),
        submitted_at: call.now,
        comment,
    };
    let is_old = |row: &DnsChange| call.now.as_millis() - row.submitted_at.as_millis() > KEPT_MILLISECONDS;
    let oldest = snapshot.index::<DnsChange>(DNS_CHANGES_BY_TIME, &[], None);
    for old in oldest.take_while(|row| is_old(row)).take(TAKEN_AWAY) {
        transaction.delete::<DnsChange>(&old.key());
    }
    let info = describe(&row);
    transaction.insert(row);
    info
}

/// The change with this id, with or without `/change/` before it.
pub(crate) fn find(snapshot: &Snapshot, call: &Call, id: &str) -> Option<ChangeInfo> {
    let id = id.rsplit('/').next().unwrap_or(id);
    let row = snapshot.get::<DnsChange>(&Key::global(&[call.scope.account.as_str(), id]))?;
    Some(describe(&row))
}

fn describe(row: &DnsChange) -> ChangeInfo {
    ChangeInfo {
        id: Some(format!("/change/{}", row.id)),
        status: Some("INSYNC".to_owned()),
        submitted_at: Some(row.submitted_at),
        comment: row.comment.clone(),
    }
}
