//! The topic store from outside: on RocksDB and in memory, with crashes in between.
//!
//! `world.rs` is what all of these share.

mod damage;
#[cfg(feature = "rocksdb")]
mod erasure;
mod idempotency;
mod identity;
mod last_values;
mod load;
mod model;
mod reads;
mod retained;
mod retention;
mod samples;
mod snapshots;
mod usage;
mod world;
