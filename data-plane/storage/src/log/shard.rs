//! The log of one shard as its Raft core uses it: append, vote, truncate, purge, read.

use std::{
    io,
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use highwater_proto::ids::ShardId;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, oneshot};

use super::{
    Entry, LogId, ShardState, Shared, Vote,
    format::ENTRY_OVERHEAD_BYTES,
    front::Front,
    options::ROOM_UNIT_BYTES,
    read::Plan,
    writer::{Change, Command, OnDurable},
};

/// The log of one shard. Clones are the same log.
///
/// What changes it is ordered: a call that returned came before one made after that, on this and on any
/// other clone. A future that is dropped while it waits for room has changed nothing.
#[derive(Clone)]
pub struct ShardLog {
    shared: Arc<Shared>,
    memory: Arc<Memory>,
    commands: mpsc::Sender<Command>,
}

/// A shard in memory, shared by its handles and the writer.
pub(super) struct Memory {
    shard: ShardId,
    front: Mutex<Front>,
}

impl ShardLog {
    pub(super) fn new(
        shared: Arc<Shared>,
        memory: Arc<Memory>,
        commands: mpsc::Sender<Command>,
    ) -> ShardLog {
        ShardLog {
            shared,
            memory,
            commands,
        }
    }

    /// Which shard this is.
    pub fn shard(&self) -> ShardId {
        self.memory.shard
    }

    /// What the shard remembers, as of the last call that changed it (not: as is durable).
    pub fn state(&self) -> ShardState {
        self.memory.front().state()
    }

    /// The indexes of the entries that can be read.
    pub fn live(&self) -> Range<u64> {
        self.memory.front().live()
    }

    /// Adds entries. They can be read when this returns; `on_durable` is called exactly once, in the order of the
    /// calls, when they are synced or never will be. It runs on the writer's thread and must not block.
    ///
    /// # Errors
    /// If the log has failed; `on_durable` has got that error too.
    ///
    /// # Panics
    /// If the entries do not follow the last one, which would be a hole.
    pub async fn append(&self, entries: Vec<Entry>, on_durable: OnDurable) -> io::Result<()> {
        let bytes: usize = entries
            .iter()
            .map(|entry| entry.payload.len() + ENTRY_OVERHEAD_BYTES)
            .sum();
        let units = bytes
            .div_ceil(ROOM_UNIT_BYTES)
            .min(self.shared.room_units as usize) as u32;
        let room = self
            .shared
            .room
            .clone()
            .acquire_many_owned(units)
            .await
            .expect("the room is never closed");
        let permit = match self.permit().await {
            Ok(permit) => permit,
            Err(error) => {
                on_durable(Err(io::Error::new(error.kind(), error.to_string())));
                return Err(error);
            }
        };
        let mut front = self.memory.front();
        let added = front.append(&entries);
        self.shared
            .counters
            .cache_bytes
            .fetch_add(added as u64, Ordering::Relaxed);
        self.submit(
            permit,
            &front,
            Change::Append {
                entries,
                on_durable,
                room,
            },
        );
        Ok(())
    }

    /// Saves the vote; it is durable when this returns.
    ///
    /// # Errors
    /// If the log has failed, now or before.
    ///
    /// # Panics
    /// If the vote goes back to an earlier term.
    pub async fn save_vote(&self, vote: Vote) -> io::Result<()> {
        let permit = self.permit().await?;
        let (on_durable, durable) = oneshot::channel();
        {
            let mut front = self.memory.front();
            front.vote(vote);
            self.submit(permit, &front, Change::Vote { vote, on_durable });
        }
        if cfg!(highwater_plant = "vote-not-synced") {
            return Ok(());
        }
        self.wait(durable).await
    }

    /// Remembers that everything through `id` is committed. It goes to disk with the next change of this
    /// shard, so after a crash an older one may be found.
    pub fn set_committed(&self, id: LogId) {
        self.memory.front().commit(id);
    }

    /// Removes all entries after `after`, or all there are; they are gone for good when this returns.
    ///
    /// # Errors
    /// If the log has failed, now or before.
    ///
    /// # Panics
    /// If a purged or committed entry would go.
    pub async fn truncate_after(&self, after: Option<u64>) -> io::Result<()> {
        let permit = self.permit().await?;
        let (on_durable, durable) = oneshot::channel();
        {
            let mut front = self.memory.front();
            let Some((kept, freed)) = front.truncate(after) else {
                return Ok(());
            };
            self.shared
                .counters
                .cache_bytes
                .fetch_sub(freed as u64, Ordering::Relaxed);
            self.submit(permit, &front, Change::Truncate { kept, on_durable });
        }
        self.wait(durable).await
    }

    /// Forgets the entries through `id`, even if the log does not reach it: then it goes on behind `id`.
    /// Readers do not see them when this returns; after a crash they may be seen again, all of them.
    ///
    /// # Errors
    /// If the log has failed.
    pub async fn purge(&self, id: LogId) -> io::Result<()> {
        let permit = self.permit().await?;
        let mut front = self.memory.front();
        let Some(freed) = front.purge(id) else {
            return Ok(());
        };
        self.shared
            .counters
            .cache_bytes
            .fetch_sub(freed as u64, Ordering::Relaxed);
        self.submit(permit, &front, Change::Purge { id });
        Ok(())
    }

    /// The entries of `range` that there are, from the first on, until their payloads exceed `bytes_max`; one at
    /// least if there is one. What is not in memory is read from disk, with its checksum checked, and blocks for that.
    ///
    /// # Errors
    /// What the disk said, or `InvalidData` with [`super::LogError::Corrupted`] if the disk's bytes are not what was written.
    pub fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let plan = Plan::new(
            &self.memory.front(),
            range,
            bytes_max,
            &self.shared.segments,
        );
        plan.read(self.memory.shard)
    }

    /// [`ShardLog::read`] if no disk is needed for its first entry, and as far as none is; otherwise nothing.
    /// It never blocks, so a task may try it before it moves to a thread that may.
    pub fn read_cached(&self, range: Range<u64>, bytes_max: usize) -> Option<Vec<Entry>> {
        let front = self.memory.front();
        let start = range.start.max(front.live().start);
        if start < range.end.min(front.cached_from()) {
            return None;
        }
        let plan = Plan::new(&front, start..range.end, bytes_max, &self.shared.segments);
        Some(plan.into_cached())
    }

    async fn permit(&self) -> io::Result<mpsc::Permit<'_, Command>> {
        if let Some(error) = self.shared.refusal() {
            return Err(error);
        }
        self.commands.reserve().await.map_err(|_| self.stopped())
    }

    /// Queues a change. Taking the lock of the shard for the change and this makes the order of the
    /// queue the order of the changes.
    fn submit(
        &self,
        permit: mpsc::Permit<'_, Command>,
        front: &MutexGuard<'_, Front>,
        change: Change,
    ) {
        permit.send(Command {
            memory: self.memory.clone(),
            committed: front.state().committed,
            change,
        });
    }

    async fn wait(&self, durable: oneshot::Receiver<io::Result<()>>) -> io::Result<()> {
        durable.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    fn stopped(&self) -> io::Error {
        self.shared
            .refusal()
            .unwrap_or_else(|| io::Error::new(io::ErrorKind::BrokenPipe, "log writer has stopped"))
    }
}

impl Memory {
    pub(super) fn new(shard: ShardId, front: Front) -> Memory {
        Memory {
            shard,
            front: Mutex::new(front),
        }
    }

    pub(super) fn shard(&self) -> ShardId {
        self.shard
    }

    /// The last live entry in that segment, if the shard has any there and none before.
    pub(super) fn last_index_in(&self, segment: u64) -> Option<u64> {
        let front = self.front();
        let places = front.places();
        if places.oldest_segment()? == segment {
            places.last_index_in_oldest()
        } else {
            None
        }
    }

    pub(super) fn front(&self) -> MutexGuard<'_, Front> {
        self.front.lock()
    }
}
