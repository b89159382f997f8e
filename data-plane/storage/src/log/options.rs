//! The sizes a log is opened with.

use std::hash::{BuildHasher, RandomState};

use highwater_proto::limits::{
    APPEND_BYTES_MAX, LOG_CACHE_BYTES_MAX, LOG_QUEUE_MAX, LOG_SEGMENT_BYTES, LOG_SPARES_MAX,
    SHARD_QUEUE_BYTES_MAX,
};

/// Un-durable bytes are counted in units of this many, rounded up.
pub(super) const ROOM_UNIT_BYTES: usize = 256;

/// How a log is opened. The defaults are those of a node.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Bytes of one file. A batch that is larger gets a larger file.
    pub segment_bytes: u64,
    /// Bytes of durable entries kept in memory, over all shards.
    pub cache_bytes_max: usize,
    /// Bytes of entries that wait for the disk, over all shards: beyond it `append` waits.
    /// These are kept in memory in any case, on top of the cache.
    pub waiting_bytes_max: usize,
    /// Changes that wait for the writer: beyond it callers wait.
    pub queue_max: usize,
    /// Bytes at which a batch is closed; one append may exceed it.
    pub batch_bytes_max: usize,
    /// Used files kept for reuse.
    pub spare_segments_max: usize,
    /// Where the salts of segments come from. Not to be known to clients, or they could write payloads that
    /// pass for batches; a simulation sets a number to be repeatable.
    pub salt_seed: u64,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: LOG_SEGMENT_BYTES,
            cache_bytes_max: LOG_CACHE_BYTES_MAX,
            waiting_bytes_max: SHARD_QUEUE_BYTES_MAX,
            queue_max: LOG_QUEUE_MAX,
            batch_bytes_max: APPEND_BYTES_MAX,
            spare_segments_max: LOG_SPARES_MAX,
            // The standard library seeds each of these from the system's randomness.
            salt_seed: RandomState::new().hash_one("highwater log"),
        }
    }
}

impl LogOptions {
    pub(super) fn check(&self) {
        assert!(
            self.segment_bytes <= u64::from(u32::MAX),
            "positions in a segment are kept in 32 bits"
        );
        assert!(
            self.queue_max > 0 && self.batch_bytes_max > 0,
            "a queue and a batch hold something"
        );
    }

    pub(super) fn room_units(&self) -> u32 {
        (self.waiting_bytes_max / ROOM_UNIT_BYTES).clamp(1, u32::MAX as usize >> 4) as u32
    }

    /// The salt of a segment, different for each (splitmix64).
    pub(super) fn salt(&self, segment: u64) -> u64 {
        let mut mixed = self.salt_seed ^ segment.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
