//! Keys and values in RocksDB. The only file that names it.
//!
//! How it is set up, and why:
//! - No write-ahead log. What is not flushed is applied again from the shards' logs.
//! - The memtable is larger than all that can wait for a checkpoint, so that a checkpoint's flush
//!   writes one file.
//! - Levels, the first of them large. Checkpoints add to the ends of all topics at once, so merging
//!   files of like size (universal compaction) would rewrite less. But each of its runs covers the
//!   whole range of keys: erasing one topic is then rewriting everything, which is how RocksDB does
//!   it. With levels a file is narrow: a deleted topic's files are taken away as they are, and
//!   erasing what is left rewrites a file or two of each level.
//! - Blocks of records are compressed here (LZ4; what does not shrink is stored as it is) and not
//!   where they are made, so that reading one is a single copy.
//! - A file moves on to the next level after a day at the latest, so that deletions reach what they
//!   delete in days although nobody asked for it to be erased.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use highwater_proto::limits::CHECKPOINT_BYTES;
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, CompactOptions, DB, DBCompactionStyle,
    DBCompressionType, DBRawIterator, Env, FlushOptions, Options, ReadOptions, WriteBatch,
    WriteOptions,
};

use super::{Batch, Kv, KvIterator, KvUsage};
use crate::{keys::KeyRange, store::StoreError};

/// Bytes of one file that compaction writes: also the unit in which deleted ranges give room back
/// without being rewritten.
const FILE_BYTES: u64 = 64 << 20;
/// Checkpoints that are merged into the first level at once.
const CHECKPOINTS_MERGED: usize = 8;
const MOVE_ON_AFTER_S: u64 = 24 * 3_600;
/// Ranges up to which each is rewritten for itself. More are rewritten with what lies between them,
/// once, where one by one the same files would be rewritten over and over.
const REWRITES_MAX: usize = 16;

/// An open RocksDB folder.
pub struct RocksKv {
    db: Arc<DB>,
    cache: Cache,
}

impl RocksKv {
    /// Opens a folder, which is made if it does not exist.
    ///
    /// # Errors
    /// `Corrupted` when its files are damaged, `Unavailable` when it is in use or cannot be read.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<RocksKv, StoreError> {
        let cache = Cache::new_lru_cache(cache_bytes);
        let db = DB::open(&options(&cache), path).map_err(error)?;
        Ok(RocksKv {
            db: Arc::new(db),
            cache,
        })
    }
}

fn options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);

    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_compaction_style(DBCompactionStyle::Level);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_level_zero_file_num_compaction_trigger(CHECKPOINTS_MERGED as i32);
    // As much as what is merged into it: less would be rewritten more often, more takes longer.
    options.set_max_bytes_for_level_base((CHECKPOINTS_MERGED * CHECKPOINT_BYTES) as u64);
    options.set_target_file_size_base(FILE_BYTES);
    options.set_ttl(MOVE_ON_AFTER_S);
    options.set_write_buffer_size(3 * CHECKPOINT_BYTES);
    options.set_max_write_buffer_number(3);
    options.set_max_background_jobs(2);
    if let Ok(mut env) = Env::new() {
        // Merging has time: see `background`.
        env.lower_thread_pool_cpu_priority();
        options.set_env(&env);
    }
    options.set_paranoid_checks(true);
    // Flushing is what makes a checkpoint durable, so files are synced as they are written and not
    // in one long stall at their end.
    options.set_bytes_per_sync(1 << 20);
    options.set_keep_log_file_num(4);
    options
}

/// An error of RocksDB in the store's own words.
fn error(error: rocksdb::Error) -> StoreError {
    match error.kind() {
        rocksdb::ErrorKind::Corruption => StoreError::Corrupted(error.into_string()),
        _ => StoreError::Unavailable(error.into_string()),
    }
}

impl Kv for RocksKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.db.get(key).map_err(error)?;
        Ok(value.map(Bytes::from))
    }

    fn batch(&self) -> Box<dyn Batch + '_> {
        Box::new(RocksBatch {
            db: &self.db,
            batch: WriteBatch::default(),
        })
    }

    fn batch_with_room(&self, bytes: usize) -> Box<dyn Batch + '_> {
        Box::new(RocksBatch {
            db: &self.db,
            batch: WriteBatch::with_capacity_bytes(bytes),
        })
    }

    fn iterate(&self, range: KeyRange) -> Box<dyn KvIterator> {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        options.set_iterate_lower_bound(range.start);
        options.set_iterate_upper_bound(range.end);
        let borrowed = self.db.raw_iterator_opt(options);
        // SAFETY: the iterator needs the database to stay open, which the `Arc` beside it sees to:
        // fields are dropped in the order they are declared, so the iterator goes first.
        let iterator =
            unsafe { std::mem::transmute::<DBRawIterator<'_>, DBRawIterator<'static>>(borrowed) };
        Box::new(RocksIterator {
            iterator,
            _db: self.db.clone(),
        })
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db.flush_opt(&options).map_err(error)
    }

    fn reclaim(&self, range: &KeyRange) -> Result<(), StoreError> {
        self.db
            .delete_file_in_range(&range.start, &range.end)
            .map_err(error)
    }

    fn erase(&self, ranges: &[KeyRange]) -> Result<(), StoreError> {
        // Once more: where `reclaim` took a file that held the deletion and not one below it that
        // held the data, the data is there again.
        let mut batch = self.batch();
        for range in ranges {
            batch.delete_range(range);
        }
        batch.commit()?;
        self.flush()?;
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        let rewrite = |start: &[u8], end: &[u8]| {
            self.db.compact_range_opt(Some(start), Some(end), &options);
        };
        if ranges.len() <= REWRITES_MAX {
            for range in ranges {
                rewrite(&range.start, &range.end);
            }
        } else if let Some(end) = ranges.iter().map(|r| &r.end).max() {
            rewrite(&ranges[0].start, end);
        }
        Ok(())
    }

    fn usage(&self) -> KvUsage {
        let property = |name: &str| self.db.property_int_value(name).ok().flatten().unwrap_or(0);
        KvUsage {
            disk_bytes: property("rocksdb.total-sst-files-size"),
            unflushed_bytes: property("rocksdb.cur-size-all-mem-tables"),
            cache_bytes: self.cache.get_usage() as u64,
        }
    }
}

struct RocksBatch<'a> {
    db: &'a DB,
    batch: WriteBatch,
}

impl Batch for RocksBatch<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.batch.put(key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.batch.delete(key);
    }

    fn delete_range(&mut self, range: &KeyRange) {
        if range.start < range.end {
            self.batch.delete_range(&range.start, &range.end);
        }
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(self.batch, &options).map_err(error)
    }
}

struct RocksIterator {
    iterator: DBRawIterator<'static>,
    _db: Arc<DB>,
}

impl RocksIterator {
    fn here(&self) -> Result<bool, StoreError> {
        match self.iterator.valid() {
            true => Ok(true),
            false => self.iterator.status().map(|()| false).map_err(error),
        }
    }
}

impl KvIterator for RocksIterator {
    fn seek(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.iterator.seek(key);
        self.here()
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.iterator.seek_for_prev(key);
        self.here()
    }

    fn next(&mut self) -> Result<bool, StoreError> {
        self.iterator.next();
        self.here()
    }

    fn back(&mut self) -> Result<bool, StoreError> {
        self.iterator.prev();
        self.here()
    }

    fn key(&self) -> &[u8] {
        self.iterator.key().expect("the iterator is at a key")
    }

    fn value(&self) -> &[u8] {
        self.iterator.value().expect("the iterator is at a key")
    }
}
