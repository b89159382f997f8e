//! The topic store: what the shards of a node have applied, in memory and in a key-value store.
//!
//! ```text
//! apply ─▶ ShardState ─▶ pending (active) ─▶ pending (frozen) ─▶ blocks, feed chunks, … in the Kv
//!                             ▲                   ▲                  ▲
//! reads ──────────────────────┴───────────────────┴──────────────────┘
//! ```
//!
//! A reader takes what it needs of the tables and makes its iterator under one short lock, and reads
//! the disk after it. So it sees one moment of the shard whatever is applied, checkpointed or
//! installed meanwhile.
//!
//! Reading order: `pending.rs`, `shard.rs`, `checkpoint.rs`, `page.rs`, `topic.rs`, `feed.rs`,
//! `retained.rs`, `retention.rs`, `identity.rs`; `value.rs` and `feed_chunk.rs` are layouts.

mod checkpoint;
mod disk_topic;
mod feed;
mod feed_chunk;
mod feed_seek;
mod identity;
mod load;
mod page;
mod pending;
mod retained;
mod retention;
mod shard;
mod sweep;
mod topic;
mod usage;
mod value;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use highwater_broker::Refusal;
use highwater_proto::{ErrorCode, ids::ShardId, limits::ERASURES_MAX};
use parking_lot::Mutex;

pub use identity::{ClaimError, Identity};
pub(crate) use load::Loaded;
pub use shard::{Applied, ShardStore};
pub(crate) use value::{decode_applied, decode_number, encode_applied, encode_number};

use crate::{
    keys::{self, KeyRange},
    kv::{Batch, Kv, KvUsage},
    log::LogId,
};

/// The version of everything on disk. A release refuses to open what it does not know.
const FORMAT: u64 = 1;

/// Why the store cannot do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Stored data failed its checksum or makes no sense. It is not served; another replica has it.
    #[error("stored data is damaged: {0}")]
    Corrupted(String),
    /// The disk does not do what it is asked.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// Another release wrote this store.
    #[error("the store has format {found}, this release knows {known}")]
    Format {
        /// The version found.
        found: u64,
        /// The version known.
        known: u64,
    },
}

impl StoreError {
    /// What a client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            StoreError::Corrupted(_) => ErrorCode::Corrupted,
            StoreError::Unavailable(_) => ErrorCode::Unavailable,
            StoreError::Format { .. } => ErrorCode::Internal,
        }
    }
}

/// Why a read has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// What was asked for is not to be had.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReadError {
    /// The same for the client, which is not told what is wrong with the disk.
    pub fn into_refusal(self) -> Refusal {
        match self {
            ReadError::Refused(refusal) => refusal,
            ReadError::Store(error) => Refusal::new(error.code(), "the record could not be read"),
        }
    }
}

/// The topic store of one node.
pub struct Store {
    shared: Arc<Shared>,
    shards: Mutex<BTreeMap<ShardId, Arc<ShardStore>>>,
}

/// What all shards of a node share.
pub(crate) struct Shared {
    pub kv: Arc<dyn Kv>,
    /// Held while erasures are noted and struck out, so that none is struck out that has just grown.
    erasures: Mutex<()>,
    pub counts: Counts,
}

/// Counts since the node started.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub checkpoints: AtomicU64,
    pub checkpoint_bytes: AtomicU64,
    pub blocks_read: AtomicU64,
    pub bytes_read: AtomicU64,
}

/// Numbers for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreUsage {
    /// What the key-value store keeps.
    pub kv: KvUsage,
    /// Applied records that wait for a checkpoint, in bytes of memory.
    pub pending_bytes: u64,
    /// Topics of all shards.
    pub topics: u64,
    /// Checkpoints of shards that were written.
    pub checkpoints_total: u64,
    /// Bytes that checkpoints wrote.
    pub checkpoint_bytes_total: u64,
    /// Blocks of records that were read.
    pub blocks_read_total: u64,
    /// Bytes of those.
    pub bytes_read_total: u64,
}

impl Store {
    /// Opens what this node has stored, or begins with nothing.
    ///
    /// # Errors
    /// `Format` when another release wrote it.
    pub fn open(kv: Arc<dyn Kv>) -> Result<Store, StoreError> {
        match kv.get(&keys::format())? {
            Some(value) => match decode_number(&value)? {
                FORMAT => {}
                found => {
                    let known = FORMAT;
                    return Err(StoreError::Format { found, known });
                }
            },
            None => {
                let mut batch = kv.batch();
                batch.put(&keys::format(), &encode_number(FORMAT));
                batch.commit()?;
                kv.flush()?;
            }
        }
        let shared = Shared {
            kv,
            erasures: Mutex::default(),
            counts: Counts::default(),
        };
        Ok(Store {
            shared: Arc::new(shared),
            shards: Mutex::default(),
        })
    }

    /// A shard, loaded when it is first asked for.
    pub fn shard(&self, id: ShardId) -> Result<Arc<ShardStore>, StoreError> {
        assert!(id.0 < u32::MAX - 1, "the last numbers stand for the node");
        let mut shards = self.shards.lock();
        if let Some(shard) = shards.get(&id) {
            return Ok(shard.clone());
        }
        let shard = Arc::new(ShardStore::load(self.shared.clone(), id)?);
        shards.insert(id, shard.clone());
        Ok(shard)
    }

    /// Writes what is pending in these shards and makes all of it durable with one flush. Returns
    /// for each the log id through which its log may be purged.
    pub fn checkpoint(&self, shards: &[Arc<ShardStore>]) -> Result<Vec<Option<LogId>>, StoreError> {
        let written: Vec<_> = shards.iter().map(|s| s.write_pending()).collect();
        let flushed = self.shared.kv.flush();
        // Every shard hears of the flush, also when an earlier one has failed.
        let shards = shards.iter().zip(written);
        let durable = shards.map(|(shard, w)| shard.flushed(w?, flushed.clone()));
        let durable: Vec<_> = durable.collect();
        durable.into_iter().collect()
    }

    /// Removes what was deleted or trimmed so far from the disk for good, also what was before a
    /// restart. It rewrites the files around it, so it is for now and then, or on request. Returns
    /// the number of ranges.
    ///
    /// # Errors
    /// When the store cannot be read or written. What was not erased stays noted.
    pub fn compact_erased(&self) -> Result<usize, StoreError> {
        let mut count = 0;
        let mut from = keys::erasures().start;
        loop {
            let ranges = self.shared.erasures_from(&from)?;
            let Some(last) = ranges.last() else {
                return Ok(count);
            };
            from = keys::erasure(&last.start);
            from.push(0);
            self.shared.kv.erase(&ranges)?;
            self.shared.strike_out(&ranges)?;
            count += ranges.len();
        }
    }

    /// Numbers for metrics.
    pub fn usage(&self) -> StoreUsage {
        let shards = self.shards.lock();
        let counts = &self.shared.counts;
        StoreUsage {
            kv: self.shared.kv.usage(),
            pending_bytes: shards.values().map(|s| s.pending_bytes() as u64).sum(),
            topics: shards.values().map(|s| s.topic_count() as u64).sum(),
            checkpoints_total: counts.checkpoints.load(Ordering::Relaxed),
            checkpoint_bytes_total: counts.checkpoint_bytes.load(Ordering::Relaxed),
            blocks_read_total: counts.blocks_read.load(Ordering::Relaxed),
            bytes_read_total: counts.bytes_read.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    /// Makes a set of changes, after which these ranges are of no use any more: with it, it is noted
    /// that they are to be erased.
    pub fn commit_deleting(
        &self,
        mut batch: Box<dyn Batch + '_>,
        deleted: &[KeyRange],
    ) -> Result<(), StoreError> {
        for range in deleted.iter().filter(|range| range.start < range.end) {
            batch.put(&keys::erasure(&range.start), &range.end);
        }
        let _noting = self.erasures.lock();
        batch.commit()
    }

    /// Gives the room of deleted ranges back, once their deletion is durable.
    pub fn reclaim(&self, ranges: Vec<KeyRange>) -> Result<(), StoreError> {
        for range in &ranges {
            self.kv.reclaim(range)?;
        }
        Ok(())
    }

    /// The next ranges to erase, by their starts.
    fn erasures_from(&self, from: &[u8]) -> Result<Vec<KeyRange>, StoreError> {
        let mut noted = self.kv.iterate(keys::erasures());
        let mut more = noted.seek(from)?;
        let mut ranges = Vec::new();
        while more && ranges.len() < ERASURES_MAX {
            let Some(start) = keys::erasure_start(noted.key()) else {
                return Err(StoreError::Corrupted("the key of an erasure".to_owned()));
            };
            ranges.push(start.to_vec()..noted.value().to_vec());
            more = noted.next()?;
        }
        Ok(ranges)
    }

    /// Ranges that were erased need not be again. One that has grown meanwhile stays noted.
    fn strike_out(&self, erased: &[KeyRange]) -> Result<(), StoreError> {
        let _noting = self.erasures.lock();
        let mut batch = self.kv.batch();
        for range in erased {
            let key = keys::erasure(&range.start);
            if self.kv.get(&key)?.is_some_and(|end| end == range.end) {
                batch.delete(&key);
            }
        }
        batch.commit()
    }
}
