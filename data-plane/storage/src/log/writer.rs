//! The one writer of a log: it drains the queue into a batch, writes and syncs it, and tells everyone.

mod publish;

use std::{collections::BTreeMap, io, sync::Arc};

use highwater_proto::ids::ShardId;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{
    Entry, LogError, LogFailure, LogId, LogOptions, ShardState, Shared, Vote,
    cache::CacheQueue,
    format::{
        BATCH_ALIGN, BATCH_HEADER_BYTES, BatchWriter, ENTRY_OVERHEAD_BYTES, RECORD_BYTES_SMALL_MAX,
    },
    places::Spot,
    segments::{SegmentFiles, Spare},
    shard::Memory,
    usage::Counters,
};
use crate::disk::Disk;

/// Called once an append is durable, or never will be.
pub type OnDurable = Box<dyn FnOnce(io::Result<()>) + Send>;

/// A change of one shard, in memory already, that is to become durable.
pub(super) struct Command {
    pub(super) memory: Arc<Memory>,
    /// What was known to be committed when the change was made; everything it speaks of is queued before.
    pub(super) committed: Option<LogId>,
    pub(super) change: Change,
}

pub(super) enum Change {
    Append {
        entries: Vec<Entry>,
        on_durable: OnDurable,
        /// Given back when the entries are durable.
        room: OwnedSemaphorePermit,
    },
    Vote {
        vote: Vote,
        on_durable: oneshot::Sender<io::Result<()>>,
    },
    Truncate {
        kept: Option<LogId>,
        on_durable: oneshot::Sender<io::Result<()>>,
    },
    Purge {
        id: LogId,
    },
    /// Of no shard: what was written so far is to be in a segment that can be let go, and then in no file.
    Seal {
        /// Gets the number of the segment that comes after.
        on_durable: oneshot::Sender<io::Result<u64>>,
    },
}

/// The single writer of a [`super::Log`]. Run one of its two drivers; they differ only in how they wait.
pub struct LogWriter {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Command>,
    files: SegmentFiles,
    /// Every shard as of the last batch: what a new segment begins with.
    states: BTreeMap<ShardId, ShardState>,
    next_batch: u64,
    batch_bytes_max: usize,
    cache: CacheQueue,
    cache_bytes_max: u64,
    /// The batch being made: its changes, its bytes, and where its entries are. Reused.
    drained: Vec<Command>,
    batch: BatchWriter,
    spots: Vec<Spot>,
    committed: BTreeMap<ShardId, LogId>,
}

impl LogWriter {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Command>,
        states: BTreeMap<ShardId, ShardState>,
        spares: Vec<Spare>,
        (end, next_batch): (u64, u64),
    ) -> Result<LogWriter, LogError> {
        let (batch_bytes_max, cache_bytes_max) =
            (options.batch_bytes_max, options.cache_bytes_max as u64);
        let files = SegmentFiles::new(disk, options, &shared.segments, spares, end);
        files.count_spares(&shared.counters);
        let mut writer = LogWriter {
            shared,
            queue,
            files,
            states,
            next_batch,
            batch_bytes_max,
            cache: CacheQueue::default(),
            cache_bytes_max,
            drained: Vec::new(),
            batch: BatchWriter::new(),
            spots: Vec::new(),
            committed: BTreeMap::new(),
        };
        if !writer.files.fits(0) {
            writer
                .start_segment(0)
                .map_err(LogError::io("start its first segment"))?;
        }
        Ok(writer)
    }

    /// Writes until the last handle of the log is dropped. For a thread of its own.
    pub fn run_blocking(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let written = self.write_queued(first);
            self.settle(written);
        }
        self.close();
    }

    /// Writes until the last handle of the log is dropped. For a task; it blocks it while it writes, so it is meant
    /// for a disk in memory. Such a disk says how long a sync is to take, and others go on meanwhile.
    pub async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            let written = self.write_queued(first);
            let latency = self.files.sync_latency();
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
            self.settle(written);
        }
        self.close();
    }

    /// Writes one batch of what is queued, without a sync. Returns its bytes, or nothing if the log has failed.
    fn write_queued(&mut self, first: Command) -> Option<usize> {
        self.drain(first);
        if self.shared.failure.borrow().is_some() {
            return None;
        }
        match self.write_batch() {
            Ok(written) => {
                if cfg!(highwater_plant = "ack-before-fsync") {
                    self.publish();
                }
                Some(written)
            }
            Err((doing, error)) => {
                self.fail(doing, &error);
                None
            }
        }
    }

    /// Makes the batch that was written durable and tells everyone, or tells them that it never will be.
    fn settle(&mut self, written: Option<usize>) {
        match written.map(|written| self.sync(written)) {
            Some(Ok(())) => return self.publish(),
            Some(Err((doing, error))) => self.fail(doing, &error),
            None => {}
        }
        self.refuse();
    }

    fn drain(&mut self, first: Command) {
        let mut bytes = first.change.bytes();
        self.drained.push(first);
        while bytes < self.batch_bytes_max {
            let Ok(command) = self.queue.try_recv() else {
                break;
            };
            bytes += command.change.bytes();
            self.drained.push(command);
        }
    }

    fn write_batch(&mut self) -> Result<usize, (&'static str, io::Error)> {
        let bytes: usize = self
            .drained
            .iter()
            .map(|command| command.change.bytes())
            .sum();
        // Room for the empty batch of a clean stop is always kept.
        let bytes =
            ((BATCH_HEADER_BYTES + bytes).next_multiple_of(BATCH_ALIGN) + BATCH_ALIGN) as u64;
        let seals = self.drained.iter().any(|command| command.change.seals());
        if seals {
            self.files
                .forget(&self.shared.counters)
                .map_err(|error| ("forget its spare segments", error))?;
        }
        if seals || !self.files.fits(bytes) {
            self.start_segment(bytes)
                .map_err(|error| ("start a segment", error))?;
            self.reclaim()?;
        }
        self.encode();
        self.write_encoded()
    }

    fn write_encoded(&mut self) -> Result<usize, (&'static str, io::Error)> {
        let batch = self.batch.finish();
        let written = batch.len();
        self.files
            .write(batch)
            .map_err(|error| ("write a batch", error))?;
        Ok(written)
    }

    fn sync(&mut self, written: usize) -> Result<(), (&'static str, io::Error)> {
        self.files
            .current()
            .file
            .sync_data()
            .map_err(|error| ("sync a batch", error))?;
        self.next_batch += 1;
        let counters = &self.shared.counters;
        Counters::add(&counters.written_bytes, written);
        Counters::add(&counters.syncs, 1);
        counters.batch(self.drained.len());
        self.batch.shrink(2 * self.batch_bytes_max);
        Ok(())
    }

    fn encode(&mut self) {
        let (identity, offset) = self.files.position();
        self.batch.begin(identity, offset, self.next_batch);
        self.spots.clear();
        for Command {
            memory,
            committed,
            change,
        } in &self.drained
        {
            let shard = memory.shard();
            let state = self.states.entry(shard).or_default();
            match change {
                Change::Append { entries, .. } => {
                    for entry in entries {
                        self.spots
                            .push(self.batch.entry(shard, entry.id, &entry.payload));
                        state.last = Some(entry.id);
                    }
                }
                Change::Vote { vote, .. } => {
                    self.batch.vote(shard, *vote);
                    state.vote = Some(*vote);
                }
                Change::Truncate { kept, .. } => {
                    self.batch.truncate(shard, *kept);
                    state.last = *kept;
                }
                Change::Seal { .. } => {}
                Change::Purge { id } => {
                    self.batch.purge(shard, *id);
                    state.purged = Some(*id);
                    if state.last.is_none_or(|last| last.index <= id.index) {
                        state.last = Some(*id);
                    }
                }
            }
            if let Some(committed) = *committed {
                self.committed.insert(shard, committed);
            }
        }
        self.encode_committed();
    }

    /// Adds what is newly known to be committed: only what the log on disk reaches, so that a recovered shard
    /// never claims an entry which it does not have.
    fn encode_committed(&mut self) {
        while let Some((shard, committed)) = self.committed.pop_first() {
            let state = self.states.entry(shard).or_default();
            let newer = state
                .committed
                .is_none_or(|saved| saved.index < committed.index);
            if newer && state.last.is_some_and(|last| committed.index <= last.index) {
                self.batch.committed(shard, committed);
                state.committed = Some(committed);
            }
        }
    }

    /// A new segment begins with the state of all shards.
    fn start_segment(&mut self, bytes: u64) -> io::Result<()> {
        let states = &self.states;
        let state = |batch: &mut BatchWriter| {
            for (&shard, state) in states {
                batch.state(shard, state);
            }
        };
        let Shared {
            segments, counters, ..
        } = &*self.shared;
        self.files.start(
            segments,
            counters,
            self.next_batch,
            &mut self.batch,
            state,
            bytes,
        )?;
        self.next_batch += 1;
        Ok(())
    }

    /// Lets go of the segments before the first one with a live entry.
    fn reclaim(&mut self) -> Result<(), (&'static str, io::Error)> {
        let Some(oldest) = self.shared.segments.oldest_of_many() else {
            return Ok(());
        };
        let shards = self.shared.shards.read();
        let mut live = self.files.current().identity.segment;
        for memory in shards.values() {
            let shard_live = memory.front().places().oldest_segment().unwrap_or(live);
            live = live.min(shard_live);
            if live == oldest {
                return Ok(());
            }
        }
        drop(shards);
        let Shared {
            segments, counters, ..
        } = &*self.shared;
        self.files
            .reclaim(segments, counters, live)
            .map_err(|error| ("reuse a segment", error))
    }

    /// The end of a log that did not fail: a batch behind which nothing can pass for torn.
    fn close(&mut self) {
        if self.shared.failure.borrow().is_some() {
            return;
        }
        let memories: Vec<Arc<Memory>> = self.shared.shards.read().values().cloned().collect();
        let committed = memories
            .iter()
            .filter_map(|memory| Some((memory.shard(), memory.front().state().committed?)));
        self.committed.extend(committed);
        let bytes = BATCH_HEADER_BYTES + self.committed.len() * RECORD_BYTES_SMALL_MAX;
        if !self.files.fits(bytes.next_multiple_of(BATCH_ALIGN) as u64) {
            self.committed.clear();
        }
        let (identity, offset) = self.files.position();
        self.batch.begin(identity, offset, self.next_batch);
        self.encode_committed();
        let written = self.write_encoded();
        if let Err((doing, error)) = written.and_then(|written| self.sync(written)) {
            self.fail(doing, &error);
        }
    }

    fn fail(&mut self, doing: &'static str, error: &io::Error) {
        tracing::error!(%error, "log could not {doing}, nothing is written any more");
        self.shared
            .failure
            .send_replace(Some(LogFailure::new(doing, error)));
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        // A writer that was dropped early, or panicked, is a log that takes nothing any more. The queue
        // says so too; this tells those who only watch.
        self.shared.failure.send_if_modified(|failure| {
            let ended = failure.is_none() && !self.queue.is_closed();
            if ended {
                let error = io::Error::new(io::ErrorKind::BrokenPipe, "the writer has stopped");
                *failure = Some(LogFailure::new("go on", &error));
            }
            ended
        });
    }
}

impl Change {
    fn seals(&self) -> bool {
        matches!(self, Change::Seal { .. })
    }

    /// The most it adds to a batch, with a record of what is committed.
    fn bytes(&self) -> usize {
        let own = match self {
            Change::Append { entries, .. } => entries
                .iter()
                .map(|entry| entry.payload.len() + ENTRY_OVERHEAD_BYTES)
                .sum(),
            Change::Vote { .. }
            | Change::Truncate { .. }
            | Change::Purge { .. }
            | Change::Seal { .. } => RECORD_BYTES_SMALL_MAX,
        };
        own + RECORD_BYTES_SMALL_MAX
    }
}
