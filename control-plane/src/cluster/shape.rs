//! The cluster as JSON, as the node that was asked sees it.

use highwater_proto::control;
use serde::Serialize;
use utoipa::ToSchema;

/// The cluster in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Nodes.
    pub nodes: usize,
    /// Nodes that are up.
    pub nodes_up: usize,
    /// Shards of topics.
    pub shards: usize,
    /// Shards whose leader is not known.
    pub shards_without_leader: usize,
    /// The version of the catalogue that this control plane shows.
    pub catalogue_version: u64,
}

/// A process of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Node {
    /// Its id.
    pub id: u64,
    /// Whether it is up.
    pub is_up: bool,
    /// Shards that it leads.
    pub leads: u32,
}

/// A Raft group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Shard {
    /// Its id.
    pub id: u32,
    /// Whether it holds the catalogue, and no topics.
    pub is_meta: bool,
    /// The node that leads it, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<u64>,
    /// The last entry of its log on the node that was asked.
    pub last: u64,
    /// How much of it is committed.
    pub committed: u64,
    /// How much of it is applied.
    pub applied: u64,
    /// Whether it has gone to sleep, because nobody uses it.
    pub is_asleep: bool,
}

impl Cluster {
    /// Out of the whole.
    pub fn of(cluster: &control::Cluster, catalogue_version: u64) -> Cluster {
        let leaderless = cluster.shards.iter().filter(|shard| shard.leader == 0);
        Cluster {
            name: cluster.name.clone(),
            nodes: cluster.nodes.len(),
            nodes_up: cluster.nodes.iter().filter(|node| node.is_up).count(),
            shards: topic_shards(cluster),
            shards_without_leader: leaderless.count(),
            catalogue_version,
        }
    }
}

/// How many shards there are for topics.
pub fn topic_shards(cluster: &control::Cluster) -> usize {
    cluster.shards.iter().filter(|shard| !shard.is_meta).count()
}

impl From<control::Node> for Node {
    fn from(node: control::Node) -> Node {
        Node {
            id: node.id,
            is_up: node.is_up,
            leads: node.leads,
        }
    }
}

impl From<control::Shard> for Shard {
    fn from(shard: control::Shard) -> Shard {
        Shard {
            id: shard.id,
            is_meta: shard.is_meta,
            leader: (shard.leader > 0).then_some(shard.leader),
            last: shard.last,
            committed: shard.committed,
            applied: shard.applied,
            is_asleep: shard.is_asleep,
        }
    }
}
