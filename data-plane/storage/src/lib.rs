//! What a node keeps on disk: the log shared by all its shards, and what they have applied.
//!
//! Two stores, for two rhythms:
//! - the *log* ([`log`]) is what an acknowledgement waits for: one segmented file all shards append
//!   to, one sync for a batch,
//! - the *topic store* ([`store`]) is what was applied, by topic: kept in memory until a checkpoint
//!   writes it as blocks into RocksDB ([`kv`]), which runs without a log of its own.
//!
//! ```text
//! propose ─▶ log (fsync) ─▶ commit ─▶ apply ─▶ pending ─▶ checkpoint ─▶ blocks ─▶ purge the log
//!                                        └──────▲──────────────────────▲── reads
//! ```
//!
//! # Why two stores
//!
//! A payload is written about twice in all, once to the log and once to its topic's block: layout (b) of
//! the design. The other one, (a), is the log as the message store, with an index of where each topic's
//! records lie. Measured with `examples/store_bench.rs` and `log_bench.rs` in a release build on two cores
//! that were shared with compilers, so speeds are ranges of two runs:
//!
//! | | (b), as it is | (a) |
//! |---|---|---|
//! | bytes written per payload byte, 1 KiB | 1.04 log + 1.01 checkpoint = 2.05; 2.24 to 2.26 with what compaction rewrote of 512 MiB | 1.04, and about 0.02 for an index of 16 bytes a record (reckoned) |
//! | the same, 128 B | 1.31 + 1.03 = 2.34; compaction had nothing to do in 192 MiB | 1.31, and 0.13 for the index (reckoned) |
//! | one topic of 10,000 written in turns, 128 B, cached | 1.0 to 2.6 million records/s | 410,000 to 616,000 records/s |
//! | the same when it is not cached | not measured; one read of the disk for each block, with what a checkpoint held of it, some 50 records here | 9,700 to 13,000 records/s: one read of the disk for each record |
//! | one topic written alone, 128 B, cached | 3.8 to 10 million records/s | the same, as its records lie together (reckoned) |
//! | deleting half of 633 MB | 8 to 50 ms; erased for good in 1.3 to 11.5 s, 317 to 601 MB written | the whole log is rewritten (reckoned) |
//! | a single durable append of 1 KiB | p50 0.10 to 0.12 ms: the log alone | the same |
//!
//! (a) writes half as much at first, but keeps that only while all topics are let go at the same pace: a
//! segment goes when the last record in it may. With a topic that is kept for years beside topics that are
//! kept for an hour, it either keeps all of them or copies what stays, segment after segment, which is the
//! second write again and at a worse moment. It cannot erase one tenant's bytes without rewriting those of
//! the others, and a reader who is behind pays a read of the disk for each record. In (b) each topic has
//! its own retention, is read sequentially, and is really gone once it is erased. That is what many tenants
//! in one shard need, for one more sequential write that no acknowledgement waits for.
//!
//! What (b) is not good at is the feed of very many topics that were written in turns: each record is in
//! another block, 25,000 to 59,000 records/s for 10,000 topics. How RocksDB is set up for all this
//! is in `kv/rocks.rs`.
//!
//! Invariants: what is in the log up to the last checkpoint is in the topic store, atomically with
//! the log id it was applied through; nothing after that is ever needed from it. Every key is built
//! in [`keys`]. The data belongs to one node of one cluster, and is not opened for another
//! ([`Store::claim`]). Damaged data is an error with a name and is never served.
//!
//! Reading order: `log.rs`, then `keys.rs`, `kv.rs`, `block.rs`, `store.rs`, `snapshot.rs`.

pub mod background;
pub mod block;
pub mod disk;
pub mod keys;
pub mod kv;
pub mod log;
pub mod snapshot;
pub mod store;

pub use snapshot::{Installer, ShardSnapshot};
pub use store::{ClaimError, Identity, ReadError, ShardStore, Store, StoreError};
