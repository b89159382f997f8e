//! What a node keeps on disk: the log shared by all its shards, and what they have applied.

pub mod disk;
pub mod log;
