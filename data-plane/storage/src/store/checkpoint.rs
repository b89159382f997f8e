//! Moving what is pending into the key-value store, while applying and reading go on.
//!
//! Everything of one checkpoint is one batch: records, descriptions, keys, numbers and the applied
//! log id, so that a crash leaves either all of it or none. Deleting whole files is no part of a
//! batch, so it waits until the deletion it follows from is durable.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use highwater_broker::segment::Segment;
use highwater_proto::{ids::TopicId, limits::USAGE_HOURS_KEPT};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    ShardStore, StoreError,
    disk_topic::DiskTopic,
    feed_chunk::{FeedChunkBuilder, Run},
    pending::{Frozen, Pending, window_of},
    shard::Writing,
    value::{
        decode_number, encode_applied, encode_counters, encode_hour, encode_meters, encode_number,
        encode_tombstone, encode_topic,
    },
};
use crate::{
    block::BlockBuilder,
    keys::{Key, KeyRange, Prefix},
    kv::Batch,
    log::LogId,
};

/// What was written and is not durable yet.
pub(super) struct Written {
    applied: Option<LogId>,
    deleted: Vec<KeyRange>,
}

impl ShardStore {
    /// Writes what is pending and makes it durable. Returns the log id through which the log may be
    /// purged; nothing when nothing was ever applied.
    ///
    /// # Errors
    /// When the store cannot be written. What was pending stays so, and the next checkpoint writes it.
    pub fn checkpoint(&self) -> Result<Option<LogId>, StoreError> {
        let written = self.write_pending()?;
        let flushed = self.shared.kv.flush();
        self.flushed(written, flushed)
    }

    /// The log id through which everything survives a crash.
    pub fn checkpointed(&self) -> Option<LogId> {
        self.writing.lock().durable
    }

    /// Writes what is pending, so that it can be read from the store but may be lost in a crash.
    pub(super) fn write_pending(&self) -> Result<Written, StoreError> {
        let mut writing = self.writing.lock();
        // Frozen already if the last attempt failed.
        let Some((prefix, frozen)) = self.freeze() else {
            return Ok(Written {
                applied: writing.committed,
                deleted: std::mem::take(&mut writing.unflushed),
            });
        };
        // Keys, lengths and places come on top. Room that is not used takes no memory; to lack a little
        // would cost a copy of everything.
        let room = frozen.pending.bytes + frozen.pending.bytes / 4;
        let mut batch = CheckpointBatch {
            shard: self,
            prefix,
            frozen: &frozen,
            batch: self.shared.kv.batch_with_room(room),
            bytes: 0,
            deleted: Vec::new(),
        };
        let superseded = batch.compact_keys()?;
        batch.delete_topics();
        batch.trim_topics()?;
        let blocks = batch.write_records(&superseded);
        batch.write_feeds(&superseded, &blocks);
        batch.write_retained();
        batch.sweep_feeds()?;
        batch.write_idempotency_keys(&mut writing);
        batch.write_usage()?;
        batch.write_descriptions();
        let (bytes, mut deleted) = (batch.bytes, batch.deleted);
        self.shared.commit_deleting(batch.batch, &deleted)?;
        self.inner.write().frozen = None;
        writing.committed = Some(frozen.applied);
        deleted.append(&mut writing.unflushed);
        let counts = &self.shared.counts;
        counts.checkpoints.fetch_add(1, Ordering::Relaxed);
        counts.checkpoint_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Written {
            applied: Some(frozen.applied),
            deleted,
        })
    }

    /// Takes note that what was written is durable now, or is not.
    pub(super) fn flushed(
        &self,
        written: Written,
        flushed: Result<(), StoreError>,
    ) -> Result<Option<LogId>, StoreError> {
        let mut writing = self.writing.lock();
        if let Err(error) = flushed {
            writing.unflushed.extend(written.deleted);
            return Err(error);
        }
        writing.durable = writing.durable.max(written.applied);
        self.shared.reclaim(written.deleted)?;
        Ok(writing.durable)
    }

    /// The table to write, or nothing when all is written.
    fn freeze(&self) -> Option<(Prefix, Arc<Frozen>)> {
        let mut inner = self.inner.write();
        if let Some(frozen) = &inner.frozen {
            return Some((inner.prefix, frozen.clone()));
        }
        let applied = inner.applied?;
        if inner.written == Some(applied) {
            return None;
        }
        let counters = inner.state.counters();
        let pending = std::mem::replace(&mut inner.active, Pending::new(&counters));
        let topics = pending.changed_topics().filter_map(|id| {
            let topic = inner.state.topic(id)?;
            Some((topic.clone(), inner.sparse.contains(&id)))
        });
        let ledger = inner.state.ledger();
        let used = pending.used.iter();
        let used = used.filter_map(|project| Some((*project, ledger.hour(*project)?.clone())));
        let frozen = Arc::new(Frozen {
            topics: topics.collect(),
            used: used.collect(),
            meters: pending.was_read.then(|| ledger.meters()),
            counters,
            applied,
            membership: inner.membership.clone(),
            pending,
        });
        inner.frozen = Some(frozen.clone());
        inner.written = Some(applied);
        Some((inner.prefix, frozen))
    }
}

/// The batch of one checkpoint of one shard.
pub(super) struct CheckpointBatch<'a> {
    pub shard: &'a ShardStore,
    pub prefix: Prefix,
    pub frozen: &'a Frozen,
    pub batch: Box<dyn Batch + 'a>,
    /// Bytes that are written.
    pub bytes: u64,
    /// Ranges whose files may go once this is durable.
    pub deleted: Vec<KeyRange>,
}

/// Records that newer ones of the same compaction key have superseded before they were written.
type Superseded = FxHashSet<(TopicId, u64)>;

/// The base offsets of the blocks that were written of each topic, in order.
type Blocks = FxHashMap<TopicId, Vec<u64>>;

impl CheckpointBatch<'_> {
    pub fn put(&mut self, key: Key, value: &[u8]) {
        let key = self.prefix.key(key);
        self.bytes += (key.len() + value.len()) as u64;
        self.batch.put(&key, value);
    }

    pub fn delete(&mut self, key: Key) {
        self.batch.delete(&self.prefix.key(key));
    }

    fn delete_range(&mut self, range: KeyRange) {
        self.batch.delete_range(&range);
        self.deleted.push(range);
    }

    fn is_stored(&self, topic: TopicId) -> bool {
        topic.0 < self.frozen.pending.base_topic
    }

    /// Writes the newest record of each compaction key and deletes the one it supersedes.
    fn compact_keys(&mut self) -> Result<Superseded, StoreError> {
        let pending = &self.frozen.pending;
        let mut newest: FxHashMap<(TopicId, [u8; 16]), u64> = FxHashMap::default();
        let mut superseded = Superseded::default();
        for (topic, key, offset) in &pending.keyed {
            if let Some(before) = newest.insert((*topic, *key), *offset) {
                superseded.insert((*topic, before));
            }
        }
        for ((topic, key), offset) in newest {
            if pending.deleted.contains_key(&topic) {
                continue;
            }
            let at = Key::Keyed(topic, key);
            if self.is_stored(topic)
                && let Some(value) = self.shard.shared.kv.get(&self.prefix.key(at))?
            {
                let before = decode_number(&value)?;
                // Not itself, when an attempt to write this table failed half-way.
                if before < offset {
                    self.delete(Key::Block(topic, before));
                }
            }
            self.put(at, &encode_number(offset));
        }
        Ok(superseded)
    }

    fn delete_topics(&mut self) {
        for (id, deleted) in &self.frozen.pending.deleted {
            if self.is_stored(*id) {
                self.delete(Key::Topic(*id));
                self.delete_range(self.prefix.blocks(*id));
                self.delete_range(self.prefix.keyed(*id));
            }
            if deleted.tombstone.next_offset > 0 {
                let tombstone = encode_tombstone(&deleted.tombstone);
                self.put(Key::Tombstone(deleted.project, *id), &tombstone);
            }
        }
    }

    /// Deletes the blocks that lie before the first offset of each trimmed topic.
    fn trim_topics(&mut self) -> Result<(), StoreError> {
        let shard = self.shard;
        let trimmed = &self.frozen.pending.trimmed;
        let topics = self.frozen.topics.iter().map(|(topic, _)| topic);
        let stored = topics.filter(|t| trimmed.contains(&t.identity.id));
        for topic in stored.filter(|t| t.identity.id.0 < self.frozen.pending.base_topic) {
            let id = topic.identity.id;
            let mut disk = DiskTopic::open(&shard.shared, self.prefix, id);
            let covering = disk.at_or_before(topic.first_offset)?;
            let end = covering
                .filter(|block| block.header().end_offset() > topic.first_offset)
                .map_or(topic.first_offset, |block| block.header().base_offset);
            let start = self.prefix.blocks(id).start;
            self.delete_range(start..self.prefix.key(Key::Block(id, end)));
        }
        Ok(())
    }

    fn write_records(&mut self, superseded: &Superseded) -> Blocks {
        let frozen = self.frozen;
        let mut blocks = Blocks::default();
        let keyed = frozen.pending.keyed.iter();
        let alone: Superseded = keyed.map(|(topic, _, offset)| (*topic, *offset)).collect();
        let first_offsets: FxHashMap<TopicId, u64> = frozen
            .topics
            .iter()
            .map(|(topic, _)| (topic.identity.id, topic.first_offset))
            .collect();
        let mut builder = BlockBuilder::default();
        for (id, segments) in &frozen.pending.topics {
            let first_offset = first_offsets.get(id).copied().unwrap_or(0);
            let written = blocks.entry(*id).or_default();
            for segment in segments {
                let mut bytes_before = 0;
                for (index, message) in segment.messages.iter().enumerate() {
                    let offset = segment.base_offset + index as u64;
                    let gone = offset < first_offset || superseded.contains(&(*id, offset));
                    let alone = alone.contains(&(*id, offset));
                    if alone && !gone {
                        written.extend(self.write_block(*id, &mut builder));
                    }
                    if !gone && !builder.push(segment, index, bytes_before) {
                        written.extend(self.write_block(*id, &mut builder));
                        let taken = builder.push(segment, index, bytes_before);
                        assert!(taken, "an empty block takes any record");
                    }
                    // A record that may be superseded has its block to itself.
                    if alone && !gone {
                        written.extend(self.write_block(*id, &mut builder));
                    }
                    bytes_before += message.len() as u64;
                }
            }
            written.extend(self.write_block(*id, &mut builder));
        }
        blocks
    }

    /// Writes retained records a second time, so that they outlive what retention does to their topics.
    fn write_retained(&mut self) {
        let frozen = self.frozen;
        if frozen.pending.retained.is_empty() {
            return;
        }
        let topics = frozen.topics.iter().map(|(topic, _)| topic);
        let offsets: FxHashMap<TopicId, u64> = topics
            .filter_map(|topic| Some((topic.identity.id, topic.retained?.offset)))
            .collect();
        for id in &frozen.pending.retained {
            if let Some(offset) = offsets.get(id) {
                let segment = frozen.pending.segment_with(*id, *offset);
                let segment = segment.expect("a record that is retained since is pending");
                self.put(Key::Retained(*id), &block_of_one(segment, *offset));
            } else if frozen.pending.deleted.contains_key(id) && self.is_stored(*id) {
                // A range, so that it is erased from the disk like the rest of its topic.
                self.delete_range(self.prefix.retained(*id));
            } else if self.is_stored(*id) {
                self.delete(Key::Retained(*id));
            }
        }
    }

    fn write_block(&mut self, topic: TopicId, builder: &mut BlockBuilder<'_>) -> Option<u64> {
        let (base_offset, block) = builder.finish()?;
        self.put(Key::Block(topic, base_offset), &block);
        Some(base_offset)
    }

    /// Writes where the records of each project are. Those of topics deleted since are there as
    /// well, for readers to learn what they missed.
    fn write_feeds(&mut self, superseded: &Superseded, blocks: &Blocks) {
        let frozen = self.frozen;
        for (project, segments) in &frozen.pending.feeds {
            let mut builder = FeedChunkBuilder::default();
            for mut run in segments.iter().flat_map(|s| runs_of(s, superseded)) {
                run.block_offset = block_of(&run, blocks);
                if !builder.push(run) {
                    let (position, chunk) = builder.finish().expect("a full chunk has runs");
                    self.put(Key::Feed(*project, position), &chunk);
                    builder.push(run);
                }
            }
            if let Some((position, chunk)) = builder.finish() {
                self.put(Key::Feed(*project, position), &chunk);
            }
        }
    }

    fn write_idempotency_keys(&mut self, writing: &mut Writing) {
        let frozen = self.frozen;
        for ((topic, key), (window, offset)) in &frozen.pending.remembered {
            if !frozen.pending.deleted.contains_key(topic) {
                let at = Key::Idempotency(*window, *topic, *key);
                self.put(at, &encode_number(*offset));
            }
        }
        let oldest = window_of(frozen.counters.time_ms).saturating_sub(1);
        if writing.oldest_window != Some(oldest) {
            self.delete_range(self.prefix.idempotency_before(oldest));
            writing.oldest_window = Some(oldest);
        }
    }

    /// Writes what projects have used, and forgets what they used long ago.
    fn write_usage(&mut self) -> Result<(), StoreError> {
        let frozen = self.frozen;
        for (project, hour) in &frozen.pending.used_before {
            self.put(Key::Usage(*project, hour.hour), &encode_hour(hour));
            let old = hour.hour.saturating_sub(USAGE_HOURS_KEPT);
            let old = self.prefix.usage(*project, 0..old);
            let mut found = self.shard.shared.kv.iterate(old.clone());
            if found.seek(&old.start)? {
                self.batch.delete_range(&old);
            }
        }
        for (project, hour) in &frozen.used {
            self.put(Key::UsageNow(*project), &encode_hour(hour));
        }
        if let Some(meters) = &frozen.meters {
            self.put(Key::Meters, &encode_meters(meters));
        }
        Ok(())
    }

    fn write_descriptions(&mut self) {
        let frozen = self.frozen;
        for (topic, sparse) in &frozen.topics {
            let value = encode_topic(topic, *sparse);
            self.put(Key::Topic(topic.identity.id), &value);
        }
        self.put(Key::Counters, &encode_counters(&frozen.counters));
        let applied = encode_applied(frozen.applied, frozen.membership.as_ref());
        self.put(Key::Applied, &applied);
    }
}

/// A block of one record of a segment.
fn block_of_one(segment: &Segment, offset: u64) -> Vec<u8> {
    let index = (offset - segment.base_offset) as usize;
    let before = segment.messages[..index].iter().map(Bytes::len);
    let mut builder = BlockBuilder::default();
    builder.push(segment, index, before.sum::<usize>() as u64);
    let (_, block) = builder.finish().expect("an empty block takes any record");
    block
}

/// The base offset of the block that holds a run's first record, or the run's own if there is none.
fn block_of(run: &Run, blocks: &Blocks) -> u64 {
    let blocks = blocks.get(&run.topic).map_or(&[][..], Vec::as_slice);
    let after = blocks.partition_point(|base_offset| *base_offset <= run.base_offset);
    after
        .checked_sub(1)
        .map_or(run.base_offset, |at| blocks[at])
}

/// The runs of a segment's records that were not superseded.
fn runs_of<'a>(
    segment: &'a Segment,
    superseded: &'a Superseded,
) -> impl Iterator<Item = Run> + use<'a> {
    let count = segment.count();
    let gone = |i: &u64| superseded.contains(&(segment.topic.id, segment.base_offset + i));
    let mut end = 0;
    std::iter::from_fn(move || {
        // Most topics keep all their records, and a segment is one run.
        let start = match superseded.is_empty() {
            true => end,
            false => (end..count).find(|i| !gone(i)).unwrap_or(count),
        };
        end = match superseded.is_empty() {
            true => count,
            false => (start..count).find(gone).unwrap_or(count),
        };
        (start < end).then(|| Run::of(segment, start, end))
    })
}
