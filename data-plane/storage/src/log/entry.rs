//! What the log stores: entries with their ids, votes, and the state of a shard.

use bytes::Bytes;

/// The id of an entry: the term and the node of the leader that made it, and its place in the shard.
/// Ordered by term, then node, then index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogId {
    /// The leader's term.
    pub term: u64,
    /// The leader's node.
    pub node: u64,
    /// The place in the log of the shard.
    pub index: u64,
}

/// Whom this node votes for in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Vote {
    /// The candidate's term.
    pub term: u64,
    /// The candidate's node.
    pub node: u64,
    /// Whether a quorum granted it.
    pub committed: bool,
}

/// An entry of a shard's log. The payload is opaque here.
///
/// The log keeps the payload as it is for a while; one that is a small part of a large buffer holds all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: LogId,
    /// Its contents.
    pub payload: Bytes,
}

/// What a shard must remember besides its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardState {
    /// The last vote saved.
    pub vote: Option<Vote>,
    /// An id that is committed for certain. After a restart it may be an older one.
    pub committed: Option<LogId>,
    /// The last entry that was purged.
    pub purged: Option<LogId>,
    /// The last entry; the purged one if there is none behind it.
    pub last: Option<LogId>,
}
