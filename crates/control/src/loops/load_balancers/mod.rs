//! Makes load balancers true: rows of load balancers, listeners, rules, certificates, target groups and targets become what
//! the balancer serves.
//!
//! The change feed says which load balancers and which target groups a transaction touched; each of them is gathered from
//! the rows and handed over. Target groups go first, and never wait for a load balancer whose addresses are being made.
//! What the balancer sees goes back into the rows by [`report`], which this loop never waits for either.

mod gather;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::{
    Certificate, Listener, ListenerRule, LoadBalancer, PrefixList, SecurityGroup, TargetGroup,
    TargetRegistration,
};
use futures_util::StreamExt as _;
use store::rows_load_balancing::{LISTENERS_BY_CERTIFICATE, load_balancer_key, target_group_key};
use store::{Change, Key, Prefix, Row as _, Snapshot, Version, Versioned};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::Control;
use crate::seams::Standing;
use gather::Certificates;
use report::Report;

/// Load balancers that are worked on at once: making an address waits for the kernel.
const AT_ONCE: usize = 16;
/// Reports that may wait for the disk; beyond it this loop waits too.
const REPORTS: usize = 1024;
/// How soon it tries again what could not be served, such as a port that another program has.
const RETRY: Duration = Duration::from_secs(2);

/// What a transaction touched, by keys of rows.
#[derive(Debug, Default)]
struct Touched {
    load_balancers: BTreeSet<Key>,
    target_groups: BTreeSet<Key>,
}

/// What is served by now: the ARNs by keys, for a row that is gone does not tell its own.
#[derive(Default)]
struct Served {
    load_balancers: BTreeMap<Key, Arc<str>>,
    target_groups: BTreeMap<Key, Arc<str>>,
    /// Those that could not be served as they should.
    unwell: BTreeSet<Key>,
    certificates: Certificates,
}

/// Follows the store.
pub async fn run(control: Control) {
    let (reports, received) = mpsc::channel(REPORTS);
    let reporting = report::run(control.clone(), received);
    let serving = serve(control, reports);
    tokio::join!(reporting, serving);
}

async fn serve(control: Control, reports: mpsc::Sender<Report>) {
    let mut served = Served::default();
    let mut retry_at = Instant::now() + RETRY;
    loop {
        let snapshot = control.store.snapshot();
        let version = snapshot.version();
        let mut feed = control.store.changes(version);
        let everything = everything(&snapshot, &served);
        control.seams.load_balancing.retain(gather::interfaces(&snapshot)).await;
        drop(snapshot);
        work(&control, &mut served, everything, version, &reports).await;
        loop {
            let first = tokio::select! {
                () = tokio::time::sleep_until(retry_at), if !served.unwell.is_empty() => {
                    retry_at = Instant::now() + RETRY;
                    let touched = Touched { load_balancers: served.unwell.clone(), ..Touched::default() };
                    let version = control.seams.rows_in_force.version();
                    work(&control, &mut served, touched, version, &reports).await;
                    continue;
                }
                batch = feed.next() => batch,
            };
            let Ok(first) = first else { break };
            let mut touched = Touched::default();
            let snapshot = control.store.snapshot();
            let mut version = first.version;
            first.changes.iter().for_each(|change| touched.add(change, &snapshot));
            // All that has come in the meantime goes together.
            while let Ok(Some(batch)) = feed.try_next() {
                version = batch.version;
                batch.changes.iter().for_each(|change| touched.add(change, &snapshot));
            }
            drop(snapshot);
            work(&control, &mut served, touched, version, &reports).await;
        }
        tracing::debug!("load balancers start again from a snapshot");
    }
}

/// Everything that there is, and everything that was served and may be gone.
fn everything(snapshot: &Snapshot, served: &Served) -> Touched {
    let load_balancers = snapshot.scan::<LoadBalancer>(Prefix::everything(), None).map(|row| row.key());
    let target_groups = snapshot.scan::<TargetGroup>(Prefix::everything(), None).map(|row| row.key());
    Touched {
        load_balancers: load_balancers.chain(served.load_balancers.keys().cloned()).collect(),
        target_groups: target_groups.chain(served.target_groups.keys().cloned()).collect(),
    }
}

impl Touched {
    fn add(&mut self, change: &Change, snapshot: &Snapshot) {
        if change.table == LoadBalancer::TABLE {
            // What this loop wrote itself changes nothing.
            if let Some(change) = change.of::<LoadBalancer>()
                && !only_its_state(change.before.as_deref(), change.after.as_deref())
                && let Some(row) = change.after.or(change.before)
            {
                self.load_balancers.insert(row.key());
            }
        } else if let Some(row) = change.of::<Listener>().and_then(|change| change.after.or(change.before)) {
            self.load_balancers.insert(load_balancer_key(&row.scope, &row.load_balancer));
        } else if let Some(row) =
            change.of::<ListenerRule>().and_then(|change| change.after.or(change.before))
        {
            self.load_balancers.insert(load_balancer_key(&row.scope, &row.load_balancer));
        } else if let Some(row) = change.of::<Certificate>().and_then(|change| change.after.or(change.before))
        {
            let users = snapshot.index::<Listener>(LISTENERS_BY_CERTIFICATE, &[row.arn().as_str()], None);
            self.load_balancers
                .extend(users.map(|listener| load_balancer_key(&listener.scope, &listener.load_balancer)));
        } else if change.table == SecurityGroup::TABLE || change.table == PrefixList::TABLE {
            // Load balancers are few, and their security groups change seldom.
            let all = snapshot.scan::<LoadBalancer>(Prefix::everything(), None);
            let has_groups = |row: &Versioned<LoadBalancer>| !row.security_groups.is_empty();
            self.load_balancers.extend(all.filter(has_groups).map(|row| row.key()));
        } else if let Some(row) = change.of::<TargetGroup>().and_then(|change| change.after.or(change.before))
        {
            self.target_groups.insert(row.key());
        } else if let Some(change) = change.of::<TargetRegistration>()
            && is_news(change.before.as_deref(), change.after.as_deref())
            && let Some(row) = change.after.or(change.before)
        {
            self.target_groups.insert(target_group_key(&row.scope, &row.target_group));
        }
    }
}

fn only_its_state(before: Option<&LoadBalancer>, after: Option<&LoadBalancer>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    let wish = |row: &LoadBalancer| {
        let mut wish = row.clone();
        (wish.state, wish.state_reason) = (domain::LoadBalancerState::Active, None);
        wish
    };
    before.id == after.id && wish(before) == wish(after)
}

/// Whether more changed than what the balancer said of the target's health.
fn is_news(before: Option<&TargetRegistration>, after: Option<&TargetRegistration>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            before.target_group_id != after.target_group_id
                || before.registered_at != after.registered_at
                || before.deregistered_at != after.deregistered_at
                || before.zone != after.zone
        }
        // A row that went when its draining was over is known to the balancer, which said so.
        (Some(before), None) => before.deregistered_at.is_none(),
        _ => true,
    }
}

/// Hands over what was touched, and says which version is in force then.
async fn work(
    control: &Control,
    served: &mut Served,
    touched: Touched,
    version: Version,
    reports: &mpsc::Sender<Report>,
) {
    let snapshot = control.store.snapshot();
    let balancing = &control.seams.load_balancing;
    let mut gone = Vec::new();
    for key in touched.target_groups {
        let row = snapshot.get::<TargetGroup>(&key);
        let arn = row.as_ref().map(|row| Arc::from(row.arn().as_str()));
        let before = match arn.clone() {
            Some(arn) => served.target_groups.insert(key, arn),
            None => served.target_groups.remove(&key),
        };
        gone.extend(before.filter(|before| arn.as_ref() != Some(before)));
        let Some(row) = row else { continue };
        let gathered = gather::target_group(&snapshot, &row);
        let arn = Arc::clone(&gathered.group.arn);
        balancing.set_target_group(Arc::new(gathered.group), &gathered.seen);
        for target in gathered.draining {
            let _ = reports.send(Report::Target(Arc::clone(&arn), target)).await;
        }
        for key in gathered.lost {
            let _ = reports.send(Report::Lost(key)).await;
        }
    }
    let mut withdrawn = Vec::new();
    let mut wishes = Vec::new();
    for key in touched.load_balancers {
        let row = snapshot.get::<LoadBalancer>(&key);
        let arn = row.as_ref().map(|row| Arc::from(row.arn().as_str()));
        let before = match arn.clone() {
            Some(arn) => served.load_balancers.insert(key.clone(), arn),
            None => served.load_balancers.remove(&key),
        };
        served.unwell.remove(&key);
        withdrawn.extend(before.filter(|before| arn.as_ref() != Some(before)));
        if let Some(row) = row {
            let wish = gather::load_balancer(&snapshot, &row, &mut served.certificates);
            wishes.push((key, row.value.id.clone(), wish));
        }
    }
    drop(snapshot);
    // What goes makes room for what comes: addresses and ports.
    for arn in withdrawn {
        balancing.withdraw(&arn).await;
    }
    let standing: Vec<_> = futures_util::stream::iter(wishes)
        .map(|(key, id, wish)| async move {
            let standing = match wish {
                Ok(wish) => balancing.serve(wish).await,
                Err(reason) => Standing::Failed(reason),
            };
            (key, id, standing)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    // Groups last: a rule never names one that is not there.
    for arn in gone {
        balancing.remove_target_group(&arn);
    }
    control.seams.rows_in_force.reached(version);
    for (key, id, standing) in standing {
        if standing != Standing::Active {
            served.unwell.insert(key.clone());
        }
        let _ = reports.send(Report::LoadBalancer { key, id, standing }).await;
    }
}
