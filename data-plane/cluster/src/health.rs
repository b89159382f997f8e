//! What a node can say about its part in the cluster.

use highwater_proto::ids::{NodeId, ShardId};

/// The state of a node's replicas at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// All shards, in order.
    pub shards: Vec<ShardHealth>,
    /// The other nodes, and whether there is a connection to each.
    pub peers: Vec<(NodeId, bool)>,
    /// Why nothing can be written any more, if so.
    pub storage_failure: Option<String>,
}

/// The state of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardHealth {
    /// The shard.
    pub shard: ShardId,
    /// Who leads it, as far as this node knows.
    pub leader: Option<NodeId>,
    /// Whether this node does.
    pub is_leader: bool,
    /// Whether nothing goes on, so that the replica's clock has stopped.
    pub is_asleep: bool,
    /// Index of the last entry in this node's log.
    pub last: u64,
    /// Index up to which a quorum has the log.
    pub committed: u64,
    /// Index up to which this replica has applied it.
    pub applied: u64,
    /// Why the replica has stopped, if so.
    pub stopped: Option<String>,
}

impl Health {
    /// Whether the node can serve: every shard runs and has a leader, and the disk works.
    pub fn is_ready(&self) -> bool {
        let serves = |shard: &ShardHealth| shard.leader.is_some() && shard.stopped.is_none();
        self.storage_failure.is_none() && self.shards.iter().all(serves)
    }
}
