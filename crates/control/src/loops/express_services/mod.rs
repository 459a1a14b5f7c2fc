//! Makes what stands in front of Express services, changes it with them, and takes it away when they are gone: load balancers
//! that they share, listeners, rules, target groups, certificates, security groups (`scheduler::express_ingress`).
//!
//! Work is in proportion to what changed: the feed says which load balancers have services that come, change or go. A slow scan
//! stands behind it, which also mends what somebody took away by hand.

mod apply;
mod gather;

use std::collections::BTreeSet;
use std::time::Duration;

use domain::{ExpressIngress, ExpressLoadBalancer, ExpressService, ManagedResourceStatus, Service};
use scheduler::express_ingress::decide;
use store::rows_gateway::{express_load_balancer_key, express_service_key};
use store::{Change, Key, Prefix, Row as _, Snapshot, Transaction, UpdateError};
use wire::Fault;

use super::slow_scan::SlowScan;
use crate::Control;
use gather::Gathered;

/// Every load balancer is looked at this often, changed or not.
const SLOW_SCAN: Duration = Duration::from_secs(60);
/// A pause after something that could not be made, or is still used.
const RETRY: Duration = Duration::from_secs(2);

/// Follows the store.
pub async fn run(control: Control) {
    loop {
        let snapshot = control.store.snapshot();
        let mut feed = control.store.changes(snapshot.version());
        let mut keys = everything(&snapshot);
        drop(snapshot);
        let mut scan = SlowScan::new(SLOW_SCAN);
        loop {
            if work(&control, std::mem::take(&mut keys)).await {
                scan.within(RETRY);
            }
            tokio::select! {
                biased;
                change = feed.next() => match change {
                    Ok(batch) => take(&control.store.snapshot(), &batch.changes, &mut keys),
                    Err(lagged) => {
                        tracing::debug!(%lagged, "what is in front of Express services starts again from a snapshot");
                        break;
                    }
                },
                () = tokio::time::sleep_until(scan.at()) => {}
            }
            // All that has come in the meantime goes together.
            let snapshot = control.store.snapshot();
            while let Ok(Some(batch)) = feed.try_next() {
                take(&snapshot, &batch.changes, &mut keys);
            }
            if scan.is_due() {
                keys.extend(everything(&snapshot));
            }
        }
    }
}

fn everything(snapshot: &Snapshot) -> BTreeSet<Key> {
    snapshot.scan::<ExpressLoadBalancer>(Prefix::everything(), None).map(|row| row.key()).collect()
}

/// Notes which load balancers a change touches.
fn take(snapshot: &Snapshot, changes: &[Change], keys: &mut BTreeSet<Key>) {
    for change in changes {
        if change.table == ExpressLoadBalancer::TABLE {
            keys.insert(change.key.clone());
        } else if let Some(row) = change.of::<ExpressIngress>().and_then(|row| row.after.or(row.before)) {
            keys.insert(express_load_balancer_key(&row.scope, &row.load_balancer));
        } else if let Some(row) = change.of::<ExpressService>().and_then(|row| row.after) {
            keys.extend(load_balancer_of(&row));
        } else if let Some(change) = change.of::<Service>()
            && let Some(row) = change.after
        {
            let is_news = change
                .before
                .is_none_or(|before| before.status != row.status || before.revisions != row.revisions);
            let express = express_service_key(&row.scope, &row.cluster, &row.name);
            if is_news && let Some(express) = snapshot.get::<ExpressService>(&express) {
                keys.extend(load_balancer_of(&express));
            }
        }
    }
}

fn load_balancer_of(row: &ExpressService) -> Option<Key> {
    let reference = row.ingress.as_ref()?;
    Some(express_load_balancer_key(&row.scope, &reference.load_balancer))
}

/// Looks at these load balancers; tells whether some are to be looked at again before anything changes.
async fn work(control: &Control, keys: BTreeSet<Key>) -> bool {
    let mut again = false;
    for key in keys {
        let now = control.clock.now();
        let done = control.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            let Some(gathered) = Gathered::of(snapshot, &key, now) else { return Ok((transaction, false)) };
            let decision = decide(&gathered.desired, &gathered.observed);
            apply::apply(snapshot, &mut transaction, &gathered, &decision.actions, now, &*control.ids)?;
            Ok::<_, Fault>((transaction, decision.waits))
        });
        match done.await {
            Ok(waits) => again |= waits,
            Err(error) => {
                tracing::debug!(%error, %key, "what is in front of Express services cannot be made for now");
                if let UpdateError::Refused(fault) = &error {
                    say(control, &key, fault.message()).await;
                }
                again = true;
            }
        }
    }
    again
}

/// Shows on the paths that are not there yet why.
async fn say(control: &Control, key: &Key, reason: &str) {
    let now = control.clock.now();
    let done = control.store.update(|snapshot| {
        let mut transaction = Transaction::new();
        for path in gather::paths(snapshot, key) {
            let is_new = path.status == ManagedResourceStatus::Provisioning
                || path.status == ManagedResourceStatus::Failed
                    && path.status_reason.as_deref() != Some(reason);
            if is_new {
                let next = ExpressIngress {
                    status: ManagedResourceStatus::Failed,
                    status_reason: Some(reason.to_owned()),
                    updated_at: now,
                    ..ExpressIngress::clone(&path)
                };
                transaction.replace(&path, next);
            }
        }
        Ok::<_, std::convert::Infallible>((transaction, ()))
    });
    if let Err(error) = done.await {
        tracing::debug!(%error, "a reason is not shown");
    }
}
