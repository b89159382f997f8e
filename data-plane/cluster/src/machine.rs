//! Applies committed entries: storage first, then the tail, then the proposer is told.

use std::{io, sync::Arc, time::Duration};

use futures_util::{Stream, TryStreamExt};
use highwater_broker::tail::Tail;
use highwater_proto::limits::PENDING_BYTES_MAX;
use highwater_storage::{
    snapshot::{Installer, ShardSnapshot},
    store::ShardStore,
};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot,
    storage::{EntryResponder, RaftStateMachine},
};

use crate::{
    Blocking,
    metrics::Metrics,
    raft::{
        LeaderId, LogId, Member, Outcome, SnapshotMeta, Stored, Types, log_id_from_log,
        log_id_to_log, stored_from_bytes, stored_to_bytes,
    },
};

/// How long to wait for a checkpoint before looking again.
const PENDING_PAUSE: Duration = Duration::from_millis(5);

/// The data of a snapshot: one that can be read here, or one that was received.
pub enum SnapshotData {
    /// A consistent view of this node's store.
    Local(Box<ShardSnapshot>),
    /// Pairs that lie beside the shard's state, to take its place.
    Received(Box<Installer>),
}

pub type ShardSnapshotOf = Snapshot<LeaderId, u64, Member, SnapshotData>;

/// One shard's state machine.
#[derive(Clone)]
pub struct Machine {
    store: Arc<ShardStore>,
    tail: Arc<Tail>,
    metrics: Arc<Metrics>,
    blocking: Blocking,
}

impl Machine {
    /// Applies to the store and then shows the tail's readers. Snapshots are made and installed
    /// where `blocking` says.
    pub fn new(
        store: Arc<ShardStore>,
        tail: Arc<Tail>,
        metrics: Arc<Metrics>,
        blocking: Blocking,
    ) -> Machine {
        Machine {
            store,
            tail,
            metrics,
            blocking,
        }
    }

    fn membership(&self) -> io::Result<Stored> {
        match self.store.membership() {
            None => Ok(Stored::default()),
            Some(bytes) => stored_from_bytes(&bytes).map_err(io::Error::other),
        }
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Machine;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Stored)> {
        let applied = self.store.applied().map(log_id_from_log);
        Ok((applied, self.membership()?))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            // A checkpoint that is slower than the writers holds them up, here and not in memory.
            while self.store.pending_bytes() > PENDING_BYTES_MAX {
                tokio::time::sleep(PENDING_PAUSE).await;
            }
            let id = log_id_to_log(&entry.log_id);
            let outcome = match entry.payload {
                EntryPayload::Blank => {
                    self.store.apply_blank(id);
                    Outcome::default()
                }
                EntryPayload::Membership(membership) => {
                    let stored = Stored::new(Some(entry.log_id), membership);
                    self.store.apply_membership(id, stored_to_bytes(&stored));
                    Outcome::default()
                }
                EntryPayload::Normal(proposal) => {
                    let command = proposal.decode().map_err(io::Error::other)?;
                    let applied = self.store.apply(id, command).map_err(io::Error::other)?;
                    self.metrics.applied(&applied.segments);
                    self.tail.push(&applied.segments, applied.next_position);
                    Outcome(applied.answer)
                }
            };
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Machine {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: SnapshotData,
    ) -> io::Result<()> {
        let SnapshotData::Received(installer) = data else {
            return Err(io::Error::other("a node does not install its own snapshot"));
        };
        let last = meta
            .last_log_id
            .as_ref()
            .map(log_id_to_log)
            .ok_or_else(|| io::Error::other("an empty snapshot"))?;
        let membership = stored_to_bytes(&meta.last_membership);
        let install = move || installer.finish(last, Some(membership));
        let installed = self.blocking.run(install).await;
        installed.map_err(io::Error::other)?;
        self.tail.reset(self.store.next_position());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<ShardSnapshotOf>> {
        if self.store.checkpointed().is_none() {
            return Ok(None);
        }
        let store = self.store.clone();
        let snapshot = self.blocking.run(move || store.snapshot()).await;
        let snapshot = snapshot.map_err(io::Error::other)?;
        let last_membership = match snapshot.membership() {
            None => Stored::default(),
            Some(bytes) => stored_from_bytes(&bytes).map_err(io::Error::other)?,
        };
        let meta = SnapshotMeta {
            last_log_id: Some(log_id_from_log(snapshot.applied())),
            last_membership,
        };
        Ok(Some(Snapshot {
            meta,
            snapshot: SnapshotData::Local(Box::new(snapshot)),
        }))
    }
}

/// A snapshot is the last checkpoint, so there is nothing to build.
impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<ShardSnapshotOf> {
        let snapshot = self.get_current_snapshot().await?;
        snapshot.ok_or_else(|| io::Error::other("no checkpoint was made yet"))
    }
}
