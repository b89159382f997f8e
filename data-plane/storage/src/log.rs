//! The one append log of a node: the Raft logs and votes of all its shards, group-committed.
//!
//! Every [`ShardLog`] puts its changes into one bounded queue; one [`LogWriter`] drains it, makes one
//! *batch* of what it found, writes it with one call, syncs once, and calls back in order. So a
//! thousand shards cost one `fdatasync`, not a thousand. The queue order is the order on disk, which
//! is what Raft asks for: votes and entries of a shard are never reordered.
//!
//! ```text
//! ShardLog::append ─┐ entries readable at once,      ┌▶ write, fdatasync, callbacks
//! ShardLog::vote   ─┼─▶ bounded queue ──▶ LogWriter ─┤
//! ShardLog::purge  ─┘ from the shard's memory        └▶ places in memory, oldest segments reused
//!
//! folder:   …07.log   …08.log   …09.log   …05.spare          one file is one segment
//! segment:  │ header 64 │ batch: state of all shards │ batch │ batch │ … stale or zero bytes │
//! batch:    │ crc │ body bytes │ records │ body crc │ number │ salt ║ record │ record │ … │ 0 to 64 n │
//!             4     4            4         4          8        8
//! record:   │ crc │ body bytes │ kind │ 0 0 0 │ shard ║ body │
//!             4     4            1      3       4
//! ```
//!
//! Everything is little-endian; `log/format.rs` has the bodies. The numbers of kinds and of the format are
//! never reused.
//!
//! # What holds
//!
//! - **One batch is all or nothing**, and the next one is written only after the one before was synced.
//!   So a crash leaves at most one broken batch, the last, and nobody was told that it is durable.
//! - **A segment appears complete.** Its header and first batch (the state of every shard) are synced under
//!   another name before the file is renamed. That first batch is why an old segment can go as soon
//!   as no shard has live entries in it. The header says where the segment before it ends.
//! - **A reused file never speaks of its past.** Checksums begin with the segment's number, its salt and the
//!   position, and each batch carries the salt, which clients cannot know: no payload can pose as a batch.
//! - **An error ends the log.** After a write or a sync failed nothing is written any more (a second
//!   `fsync` would lie), every caller gets that error and [`Log::failure`] reports it. Recovery drops
//!   the page cache of the last segment first, so a process started again is not fooled either.
//! - **No hole**: a segment is dropped only when every entry in it is behind a purge or a truncation
//!   which is itself durable, the oldest first, one at a time.
//!
//! # What recovery can tell apart
//!
//! A broken batch that had been synced is corruption and is reported as [`LogError::Corrupted`]; one that had
//! not is a torn tail and is cut off. It *had* been synced if a later segment exists, or if anywhere
//! behind it in its segment there is the header of a batch (written only after that sync). A clean stop writes
//! an empty batch at the end, so after it everything is covered. What cannot be told from a torn tail is damage
//! to the very last batch after a crash, and damage that hits the last batches so that the header of each
//! one after the first damaged is destroyed too.

mod cache;
mod entry;
mod error;
mod format;
mod front;
mod options;
mod places;
mod read;
mod recovery;
mod segments;
mod shard;
mod terms;
mod usage;
mod writer;

use std::{io, sync::Arc};

use highwater_proto::ids::ShardId;
use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

pub use self::{
    entry::{Entry, LogId, ShardState, Vote},
    error::{LogError, LogFailure},
    options::LogOptions,
    shard::ShardLog,
    usage::{BATCH_SIZE_BUCKETS, LogUsage},
    writer::{LogWriter, OnDurable},
};
use self::{
    front::Front,
    recovery::Recovered,
    segments::SegmentTable,
    shard::Memory,
    usage::Counters,
    writer::{Change, Command},
};
use crate::disk::Disk;

/// The log of a node. Clones are the same log; the writer ends when the last clone and the last
/// [`ShardLog`] are dropped.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// What callers and the writer have in common. Locks are taken in the order of the fields, never two shards.
struct Shared {
    shards: RwLock<FxHashMap<ShardId, Arc<Memory>>>,
    segments: SegmentTable,
    counters: Counters,
    /// Room for entries that wait for the disk, in [`options::ROOM_UNIT_BYTES`].
    room: Arc<Semaphore>,
    room_units: u32,
    failure: watch::Sender<Option<LogFailure>>,
}

impl Log {
    /// Opens the log in a folder that is its own and recovers what it holds. Nothing becomes
    /// durable until one of the drivers of the [`LogWriter`] runs.
    ///
    /// # Errors
    /// [`LogError::Corrupted`] names the file and the position of bytes that had been durable and
    /// are not what was written.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<(Log, LogWriter), LogError> {
        options.check();
        let Recovered {
            segments,
            spares,
            end,
            next_batch,
            shards,
        } = recovery::recover(&*disk, &options)?;
        let states = shards
            .iter()
            .map(|(shard, front)| (*shard, front.state()))
            .collect();
        let memories = shards
            .into_iter()
            .map(|(shard, front)| (shard, Arc::new(Memory::new(shard, front))));
        let shared = Arc::new(Shared {
            shards: RwLock::new(memories.collect()),
            segments: SegmentTable::new(segments),
            counters: Counters::default(),
            room: Arc::new(Semaphore::new(options.room_units() as usize)),
            room_units: options.room_units(),
            failure: watch::Sender::new(None),
        });
        let (commands, queue) = mpsc::channel(options.queue_max);
        let writer = LogWriter::new(
            disk,
            options,
            shared.clone(),
            queue,
            states,
            spares,
            (end, next_batch),
        )?;
        Ok((Log { shared, commands }, writer))
    }

    /// The log of one shard, empty if there is none yet.
    pub fn shard(&self, shard: ShardId) -> ShardLog {
        let known = self.shared.shards.read().get(&shard).cloned();
        let memory = known.unwrap_or_else(|| {
            self.shared
                .shards
                .write()
                .entry(shard)
                .or_insert_with(|| Arc::new(Memory::new(shard, Front::default())))
                .clone()
        });
        ShardLog::new(self.shared.clone(), memory, self.commands.clone())
    }

    /// The shards that have, or ever had, anything in this log.
    pub fn shards(&self) -> Vec<ShardId> {
        let mut shards: Vec<ShardId> = self.shared.shards.read().keys().copied().collect();
        shards.sort_unstable();
        shards
    }

    /// Why nothing is written any more, if so.
    pub fn failure(&self) -> Option<LogFailure> {
        self.shared.failure.borrow().clone()
    }

    /// Changes once, when the log fails.
    pub fn watch_failure(&self) -> watch::Receiver<Option<LogFailure>> {
        self.shared.failure.subscribe()
    }

    /// Who keeps the oldest segment from being reused: each such shard with the last of its live
    /// entries in there. Purging those lets it go. Empty if there is but one segment.
    pub fn oldest_segment_holdouts(&self) -> Vec<(ShardId, u64)> {
        let memories: Vec<Arc<Memory>> = self.shared.shards.read().values().cloned().collect();
        let Some(oldest) = self.shared.segments.oldest_of_many() else {
            return Vec::new();
        };
        let mut holdouts: Vec<(ShardId, u64)> = memories
            .iter()
            .filter_map(|memory| {
                memory
                    .last_index_in(oldest)
                    .map(|index| (memory.shard(), index))
            })
            .collect();
        holdouts.sort_unstable();
        holdouts
    }

    /// Ends the segment that is being written, and says which one comes after. Once the ones before that are let go,
    /// nothing that they hold is in a file any more: they are not reused.
    ///
    /// # Errors
    /// Why the log has failed.
    pub async fn seal(&self) -> io::Result<u64> {
        let memory = self.shared.shards.read().values().next().cloned();
        let Some(memory) = memory else {
            // Nothing was ever written.
            return Ok(0);
        };
        let (on_durable, sealed) = oneshot::channel();
        let command = Command {
            memory,
            committed: None,
            change: Change::Seal { on_durable },
        };
        let stopped = || io::Error::new(io::ErrorKind::BrokenPipe, "the writer has stopped");
        self.commands.send(command).await.map_err(|_| stopped())?;
        sealed.await.map_err(|_| stopped())?
    }

    /// The number of the oldest segment.
    pub fn oldest_segment(&self) -> u64 {
        self.shared.segments.oldest()
    }

    /// What the log takes and has done, for metrics.
    pub fn usage(&self) -> LogUsage {
        self.shared.counters.read(&self.shared.segments)
    }
}

impl Shared {
    /// The error for callers of a log that has failed.
    fn refusal(&self) -> Option<io::Error> {
        self.failure.borrow().as_ref().map(io::Error::from)
    }
}
