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
//! So a payload is written about twice in all, once to the log and once to its topic's block; that is
//! layout (b) of the design. The other layout, the log as the message store with an index beside it,
//! writes a little less, but then one topic that keeps its records for years keeps the log of all
//! topics that were written with it. Here each topic has its own retention, is read sequentially, and
//! is really gone once it is erased. Compaction adds to it what `kv/rocks.rs` says.
//!
//! Invariants: what is in the log up to the last checkpoint is in the topic store, atomically with
//! the log id it was applied through; nothing after that is ever needed from it. Every key is built
//! in [`keys`]. Damaged data is an error with a name and is never served.
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
