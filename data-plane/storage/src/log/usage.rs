//! What the log takes and has done, counted with plain atomics.

use std::sync::atomic::{AtomicU64, Ordering};

use super::segments::SegmentTable;

/// Buckets of [`LogUsage::batch_sizes`].
pub const BATCH_SIZE_BUCKETS: usize = 14;

/// What the log takes and has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogUsage {
    /// Bytes of all files, spare ones included.
    pub disk_bytes: u64,
    /// Files that hold the log.
    pub segments: u64,
    /// Files kept for reuse.
    pub spare_segments: u64,
    /// Bytes of entries in memory, durable or not.
    pub cache_bytes: u64,
    /// Syncs of data.
    pub syncs: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes of payloads among them.
    pub payload_bytes: u64,
    /// Batches written.
    pub batches: u64,
    /// Changes of shards in those batches.
    pub changes: u64,
    /// Entries in those batches.
    pub entries: u64,
    /// Batches by their number of changes: bucket `n` counts those of `2^n` to `2^(n+1) - 1`, the last one
    /// all larger ones.
    pub batch_sizes: [u64; BATCH_SIZE_BUCKETS],
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) spare_segments: AtomicU64,
    pub(super) spare_bytes: AtomicU64,
    pub(super) cache_bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) payload_bytes: AtomicU64,
    batches: AtomicU64,
    changes: AtomicU64,
    pub(super) entries: AtomicU64,
    batch_sizes: [AtomicU64; BATCH_SIZE_BUCKETS],
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub(super) fn batch(&self, changes: usize) {
        Counters::add(&self.batches, 1);
        Counters::add(&self.changes, changes);
        if let Some(bucket) = changes.checked_ilog2() {
            Counters::add(
                &self.batch_sizes[(bucket as usize).min(BATCH_SIZE_BUCKETS - 1)],
                1,
            );
        }
    }

    pub(super) fn read(&self, segments: &SegmentTable) -> LogUsage {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (count, bytes) = segments.size();
        LogUsage {
            disk_bytes: bytes + read(&self.spare_bytes),
            segments: count,
            spare_segments: read(&self.spare_segments),
            cache_bytes: read(&self.cache_bytes),
            syncs: read(&self.syncs),
            written_bytes: read(&self.written_bytes),
            payload_bytes: read(&self.payload_bytes),
            batches: read(&self.batches),
            changes: read(&self.changes),
            entries: read(&self.entries),
            batch_sizes: std::array::from_fn(|bucket| read(&self.batch_sizes[bucket])),
        }
    }
}
