//! What the balancer sees goes back into the rows: states of load balancers and targets, when they differ; and a target's
//! row goes when its draining is over.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use balancer::TargetState;
use balancer::configuration::Target;
use base::Arn;
use domain::{LoadBalancer, LoadBalancerState, TargetRegistration};
use store::rows_load_balancing::target_registration_key;
use store::{Key, Snapshot, Transaction, Versioned};
use tokio::sync::mpsc;

use crate::Control;
use crate::seams::Standing;

/// Rows written in one transaction. Ours: more of them conflict more often.
const BATCH: usize = 128;

/// What is to be looked at, or written.
pub enum Report {
    /// How far a load balancer came.
    LoadBalancer {
        /// Its row's key.
        key: Key,
        /// Its id: another of the same name is not meant.
        id: String,
        /// How far.
        standing: Standing,
    },
    /// A deregistered target: maybe nothing of it drains.
    Target(Arc<str>, Target),
    /// A registered target that leads nowhere.
    Lost(Key),
}

/// Writes what is reported, and what changed of targets by itself.
pub async fn run(control: Control, mut reports: mpsc::Receiver<Report>) {
    let balancing = Arc::clone(&control.seams.load_balancing);
    loop {
        let mut pending = Pending::default();
        tokio::select! {
            report = reports.recv() => match report {
                Some(report) => pending.add(report),
                None => return,
            },
            changed = balancing.changed() => pending.targets.extend(changed),
        }
        while let Ok(report) = reports.try_recv() {
            pending.add(report);
        }
        pending.write(&control).await;
    }
}

#[derive(Default)]
struct Pending {
    load_balancers: BTreeMap<Key, (String, Standing)>,
    targets: BTreeSet<(Arc<str>, Target)>,
    lost: BTreeSet<Key>,
}

impl Pending {
    fn add(&mut self, report: Report) {
        match report {
            Report::LoadBalancer { key, id, standing } => {
                self.load_balancers.insert(key, (id, standing));
            }
            Report::Target(group, target) => {
                self.targets.insert((group, target));
            }
            Report::Lost(key) => {
                self.lost.insert(key);
            }
        }
    }

    async fn write(self, control: &Control) {
        let targets: Vec<_> = self.targets.into_iter().collect();
        for some in targets.chunks(BATCH) {
            let written = control.store.update(|snapshot| {
                let mut transaction = Transaction::new();
                for (group, target) in some {
                    look(control, snapshot, group, target, &mut transaction);
                }
                Ok::<_, Infallible>((transaction, ()))
            });
            warn(written.await);
        }
        if self.load_balancers.is_empty() && self.lost.is_empty() {
            return;
        }
        let written = control.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            for (key, (id, standing)) in &self.load_balancers {
                stand(snapshot, key, id, standing, &mut transaction);
            }
            for key in &self.lost {
                if let Some(row) = snapshot.get::<TargetRegistration>(key) {
                    let text = "Target is not found";
                    show(
                        &row,
                        TargetState::Unused.as_str(),
                        Some("Target.InvalidState"),
                        Some(text),
                        &mut transaction,
                    );
                }
            }
            Ok::<_, Infallible>((transaction, ()))
        });
        warn(written.await);
    }
}

fn warn(written: Result<(), store::UpdateError<Infallible>>) {
    if let Err(error) = written {
        tracing::warn!(%error, "what the balancer sees cannot be written");
    }
}

/// The row of a target, if it is of this very group.
fn row_of(snapshot: &Snapshot, group: &str, target: &Target) -> Option<Versioned<TargetRegistration>> {
    let arn: Arn = group.parse().ok()?;
    let mut parts = arn.resource().split('/').skip(1);
    let (name, id) = (parts.next()?, parts.next()?);
    let key = target_registration_key(&arn.scope()?, name, &target.id, target.port);
    snapshot.get::<TargetRegistration>(&key).filter(|row| row.target_group_id == id)
}

/// Takes one target's health over into its row.
fn look(control: &Control, snapshot: &Snapshot, group: &str, target: &Target, transaction: &mut Transaction) {
    let Some(row) = row_of(snapshot, group, target) else { return };
    let health = control.seams.load_balancing.target_health(group, target);
    match health {
        // Nothing of it is under way any more.
        None if row.deregistered_at.is_some() => {
            transaction.remove(&row);
        }
        // Where the row and the balancer do not agree on whether it is registered, the balancer has yet to be told; it
        // rings again when it was.
        Some(health) if row.deregistered_at.is_some() == (health.state == TargetState::Draining) => {
            let description = health.description.as_deref();
            show(&row, health.state.as_str(), health.reason, description, transaction);
        }
        _ => {}
    }
}

fn show(
    row: &Versioned<TargetRegistration>,
    state: &str,
    reason: Option<&str>,
    description: Option<&str>,
    transaction: &mut Transaction,
) {
    if row.state == state && row.reason.as_deref() == reason && row.description.as_deref() == description {
        return;
    }
    let next = TargetRegistration {
        state: state.to_owned(),
        reason: reason.map(str::to_owned),
        description: description.map(str::to_owned),
        ..TargetRegistration::clone(row)
    };
    transaction.replace(row, next);
}

fn stand(snapshot: &Snapshot, key: &Key, id: &str, standing: &Standing, transaction: &mut Transaction) {
    let Some(row) = snapshot.get::<LoadBalancer>(key).filter(|row| row.id == id) else { return };
    let (state, state_reason) = match standing {
        Standing::Active => (LoadBalancerState::Active, None),
        Standing::Impaired(reason) => (LoadBalancerState::ActiveImpaired, Some(reason.clone())),
        Standing::Failed(reason) => (LoadBalancerState::Failed, Some(reason.clone())),
    };
    if row.state != state || row.state_reason != state_reason {
        let next = LoadBalancer { state, state_reason, ..LoadBalancer::clone(&row) };
        transaction.replace(&row, next);
    }
}
