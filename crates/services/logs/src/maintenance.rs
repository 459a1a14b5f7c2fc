//! The loop behind the operations: clears away what was deleted, and what has expired.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use base::{Clock, Timestamp};
use domain::{LogGroup, LogStream};
use store::rows_logs::log_streams_starting;
use store::{Prefix, Transaction};
use wire::Fault;

use crate::resources::log_stream::storage_id;
use crate::storage::{EventStore, StreamId};
use crate::{Deleted, Logs, faults};

/// How often segments are looked at for events past their retention. AWS takes up to 72 hours; readers never see expired
/// events in any case.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);
/// Rows of streams removed in one commit.
const ROWS_PER_COMMIT: usize = 1000;

impl Logs {
    /// Runs for as long as the service does. Errors are logged and tried again at the next round.
    pub async fn maintain(self: Arc<Self>, clock: Arc<dyn Clock>) {
        if let Err(error) = self.clear_away_leftovers().await {
            tracing::error!(%error, "logs: what an earlier run left could not be cleared away");
        }
        let mut expiry = tokio::time::interval(EXPIRY_INTERVAL);
        expiry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let outcome = tokio::select! {
                () = self.sweep.notified() => self.clear_away_deleted().await,
                _ = expiry.tick() => self.expire(clock.now()).await,
            };
            if let Err(error) = outcome {
                tracing::error!(%error, "logs: maintenance failed and will be tried again");
            }
        }
    }

    /// Empties the service: events; the rows are the store's, see `Store::clear`.
    pub async fn clear(&self) -> Result<(), Fault> {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.blocking(EventStore::clear).await?.map_err(faults::internal)
    }

    /// Removes rows and events of what was deleted since the last time.
    pub async fn clear_away_deleted(&self) -> Result<(), Fault> {
        let deleted = std::mem::take(&mut *self.deleted.lock().unwrap_or_else(PoisonError::into_inner));
        for (index, one) in deleted.iter().enumerate() {
            let outcome = match one.clone() {
                Deleted::Group(scope, group) => {
                    self.clear_away_streams(log_streams_starting(&scope, group, ""), group).await
                }
                Deleted::Stream(id) => self.delete_events(vec![id]).await,
            };
            if let Err(fault) = outcome {
                let rest = deleted.get(index..).unwrap_or_default();
                self.deleted.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(rest);
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Removes what has no group or no row: a crash came between a commit and the clearing away.
    pub async fn clear_away_leftovers(&self) -> Result<(), Fault> {
        // The files first, then the rows: a stream made meanwhile has a row before it has files.
        let stored = self.blocking(EventStore::stored_streams).await?.map_err(faults::internal)?;
        let (orphans, living) = {
            let snapshot = self.store.snapshot();
            let groups = snapshot.scan::<LogGroup>(Prefix::everything(), None);
            let groups: HashSet<u64> = groups.map(|group| group.id).collect();
            let mut orphans = HashSet::new();
            let mut living = HashSet::new();
            for stream in snapshot.scan::<LogStream>(Prefix::everything(), None) {
                if groups.contains(&stream.group_id) {
                    living.insert(storage_id(&stream));
                } else {
                    orphans.insert((stream.scope.clone(), stream.group_id));
                }
            }
            (orphans, living)
        };
        for (scope, group) in orphans {
            self.clear_away_streams(log_streams_starting(&scope, group, ""), group).await?;
        }
        self.delete_events(stored.into_iter().filter(|id| !living.contains(id)).collect()).await
    }

    /// Removes the segments whose events are past their group's retention.
    pub async fn expire(&self, now: Timestamp) -> Result<(), Fault> {
        let mut work: Vec<(StreamId, i64)> = Vec::new();
        {
            let snapshot = self.store.snapshot();
            for group in snapshot.scan::<LogGroup>(Prefix::everything(), None) {
                let Some(cutoff) = group.expires_before(now) else { continue };
                let streams = log_streams_starting(&group.scope, group.id, "");
                let streams = snapshot.scan::<LogStream>(streams, None);
                work.extend(streams.map(|stream| (storage_id(&stream), cutoff.as_millis())));
            }
        }
        let outcome = self
            .blocking(move |events| work.into_iter().try_for_each(|(id, cutoff)| events.expire(id, cutoff)));
        outcome.await?.map_err(faults::internal)
    }

    async fn clear_away_streams(&self, rows: Prefix, group: u64) -> Result<(), Fault> {
        loop {
            let streams: Vec<_> =
                self.store.snapshot().scan::<LogStream>(rows.clone(), None).take(ROWS_PER_COMMIT).collect();
            if streams.is_empty() {
                return self
                    .blocking(move |events| events.delete_group(group, []))
                    .await?
                    .map_err(faults::internal);
            }
            self.delete_events(streams.iter().map(|stream| storage_id(stream)).collect()).await?;
            let mut transaction = Transaction::new();
            for stream in &streams {
                transaction.delete::<LogStream>(&store::Row::key(&*stream.value));
            }
            self.store.transact(transaction).await.map_err(faults::internal)?;
        }
    }

    async fn delete_events(&self, ids: Vec<StreamId>) -> Result<(), Fault> {
        let work = move |events: &EventStore| -> io::Result<()> {
            ids.into_iter().try_for_each(|id| events.delete_stream(id))
        };
        self.blocking(work).await?.map_err(faults::internal)
    }
}
