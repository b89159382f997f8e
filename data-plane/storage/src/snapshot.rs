//! Carrying a shard's state to another node: a stream of keys and values, and its installation.
//!
//! A snapshot is the state as of a checkpoint. It is read through one iterator, so it stays the same
//! while the shard goes on, and a chunk at a time, so it is never in memory as a whole. It is
//! installed into a generation of its own; one write makes that the current one.

use std::sync::Arc;

use bytes::Bytes;
use highwater_proto::limits::SNAPSHOT_CHUNK_BYTES_MAX;

use crate::{
    block::Block,
    keys::{self, Key, PREFIX_BYTES, Prefix},
    kv::KvIterator,
    log::LogId,
    store::{Loaded, ShardStore, StoreError, decode_applied, encode_applied, encode_number},
};

/// A key without its prefix, and its value.
pub type Pair = (Bytes, Bytes);

/// The state of a shard as of its last checkpoint, to be read from beginning to end.
pub struct ShardSnapshot {
    applied: LogId,
    membership: Option<Bytes>,
    iterator: Box<dyn KvIterator>,
    /// Whether the iterator is at a pair that was not returned.
    more: bool,
}

impl ShardStore {
    /// The state as of the last checkpoint.
    ///
    /// # Errors
    /// `Unavailable` when there was no checkpoint, and nothing to make one of.
    pub fn snapshot(&self) -> Result<ShardSnapshot, StoreError> {
        if self.checkpointed().is_none() {
            self.checkpoint()?;
        }
        let prefix = self.prefix();
        let mut iterator = self.shared.kv.iterate(prefix.all());
        let key = prefix.key(Key::Applied);
        if !iterator.seek(&key)? || iterator.key() != key {
            let message = "the shard has applied nothing yet".to_owned();
            return Err(StoreError::Unavailable(message));
        }
        let (applied, membership) = decode_applied(iterator.value())?;
        let more = iterator.seek(&prefix.all().start)?;
        Ok(ShardSnapshot {
            applied,
            membership,
            iterator,
            more,
        })
    }

    /// Begins to replace the state by a snapshot. Nothing changes until [`Installer::finish`].
    pub fn install(self: &Arc<ShardStore>) -> Installer {
        let generation = {
            let mut writing = self.writing.lock();
            writing.newest_generation += 1;
            writing.newest_generation
        };
        Installer {
            prefix: Prefix::new(self.id, generation),
            shard: self.clone(),
            generation,
            finished: false,
        }
    }
}

impl ShardSnapshot {
    /// The log id through which everything is in the snapshot.
    pub fn applied(&self) -> LogId {
        self.applied
    }

    /// The membership as of there, in the caller's encoding.
    pub fn membership(&self) -> Option<Bytes> {
        self.membership.clone()
    }

    /// The next pairs, at most [`SNAPSHOT_CHUNK_BYTES_MAX`] of them unless a single one is larger;
    /// nothing at the end.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<Pair>>, StoreError> {
        let mut chunk: Vec<Pair> = Vec::new();
        let mut bytes = 0;
        while self.more {
            let (key, value) = (self.iterator.key(), self.iterator.value());
            bytes += key.len() + value.len();
            if bytes > SNAPSHOT_CHUNK_BYTES_MAX && !chunk.is_empty() {
                break;
            }
            let suffix = &key[PREFIX_BYTES..];
            // The log id is told on its own, and written when all else has arrived.
            if Key::decode(suffix) != Some(Key::Applied) {
                let pair = (
                    Bytes::copy_from_slice(suffix),
                    Bytes::copy_from_slice(value),
                );
                chunk.push(pair);
            }
            self.more = self.iterator.next()?;
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

/// A snapshot that is being installed. Dropping it before it is finished leaves the shard as it was.
pub struct Installer {
    shard: Arc<ShardStore>,
    prefix: Prefix,
    generation: u32,
    finished: bool,
}

impl Installer {
    /// Takes pairs of the snapshot, in any order.
    ///
    /// # Errors
    /// `Corrupted` for what is no part of a snapshot.
    pub fn add(&mut self, pairs: Vec<Pair>) -> Result<(), StoreError> {
        let mut batch = self.shard.shared.kv.batch();
        for (suffix, value) in pairs {
            match Key::decode(&suffix) {
                Some(Key::Block(..) | Key::Retained(_)) => {
                    let block = Block::decode(value.clone());
                    block.map_err(|e| StoreError::Corrupted(e.to_string()))?;
                }
                None | Some(Key::Applied) => {
                    let message = "a key of the snapshot is not known".to_owned();
                    return Err(StoreError::Corrupted(message));
                }
                Some(_) => {}
            }
            batch.put(&self.prefix.join(&suffix), &value);
        }
        batch.commit()
    }

    /// Makes the snapshot the state of the shard, durably.
    ///
    /// # Errors
    /// When the snapshot makes no sense or the disk fails; the shard is as it was, unless only the
    /// last flush failed.
    pub fn finish(mut self, applied: LogId, membership: Option<Bytes>) -> Result<(), StoreError> {
        let shared = self.shard.shared.clone();
        let mut writing = self.shard.writing.lock();
        let mut batch = shared.kv.batch();
        let value = encode_applied(applied, membership.as_ref());
        batch.put(&self.prefix.key(Key::Applied), &value);
        batch.commit()?;
        let loaded = Loaded::read(shared.kv.as_ref(), self.prefix)?;
        let old = self.shard.prefix();

        let mut batch = shared.kv.batch();
        let generation = encode_number(u64::from(self.generation));
        batch.put(&keys::generation(self.shard.id), &generation);
        batch.delete_range(&old.all());
        let deleted = [old.all()];
        self.shard
            .replace(loaded, || shared.commit_deleting(batch, &deleted))?;
        self.finished = true;
        writing.committed = Some(applied);
        // One store keeps the order of its batches, so what survives from here on is either nothing
        // of the flip or the flip and the whole snapshot.
        shared.kv.flush()?;
        writing.durable = Some(applied);
        writing.oldest_window = None;
        shared.reclaim(deleted.into())
    }
}

impl Drop for Installer {
    fn drop(&mut self) {
        if !self.finished {
            let mut batch = self.shard.shared.kv.batch();
            batch.delete_range(&self.prefix.all());
            // What stays is deleted when the shard is next loaded.
            if let Err(error) = batch.commit() {
                tracing::warn!(shard = %self.shard.id, %error, "an abandoned snapshot stays for now");
            }
        }
    }
}
