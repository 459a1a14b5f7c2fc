//! What is kept of a service's past: its newest deployments, and the revisions that they or the service still name.
//!
//! Differs from AWS: there a deployment is kept for 90 days; here so many of them, however old.

use std::collections::BTreeSet;

use domain::{Service, ServiceDeployment, ServiceRevision};
use store::rows_service::of_service;
use store::{Snapshot, Transaction};

/// Ended deployments of one service that are kept.
pub const DEPLOYMENTS_KEPT: usize = 100;

/// Takes out what is older. `service` is as it will be after the transaction.
pub fn forget_old(snapshot: &Snapshot, transaction: &mut Transaction, service: &Service) {
    let all = || of_service(&service.scope, &service.cluster, &service.name);
    let mut deployments: Vec<_> = snapshot.scan::<ServiceDeployment>(all(), None).collect();
    if deployments.len() <= DEPLOYMENTS_KEPT {
        return;
    }
    deployments.sort_by_key(|deployment| std::cmp::Reverse(deployment.created_at));
    let (kept, old) = deployments.split_at(DEPLOYMENTS_KEPT);
    let mut named: BTreeSet<&str> = service.revisions.iter().map(|revision| revision.id.as_str()).collect();
    for deployment in kept {
        named.insert(&deployment.target_revision);
        named.extend(deployment.source_revisions.iter().map(|source| source.id.as_str()));
        named.extend(deployment.rollback.iter().map(|rollback| rollback.revision.as_str()));
    }
    for deployment in old.iter().filter(|deployment| deployment.status.is_final()) {
        transaction.remove(deployment);
    }
    for revision in snapshot.scan::<ServiceRevision>(all(), None) {
        if !named.contains(revision.id.as_str()) {
            transaction.remove(&revision);
        }
    }
}
