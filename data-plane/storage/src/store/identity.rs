//! Whose data a folder holds. It is noted when the data is first used, and compared ever after.
//!
//! Where a topic lies follows from the number of shards, and what a node has promised to the others is
//! in its own folder only. So a folder that is used with another number of shards, by another node or in
//! another cluster is refused before anything in it is read as something else.

use highwater_proto::ids::NodeId;

use super::{
    Store, StoreError,
    value::{decode_identity, encode_identity},
};
use crate::keys;

/// What never changes about the data of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
    /// Over how many shards topics are spread.
    pub shards: u32,
    /// How many replicas each shard has.
    pub replication: u32,
}

/// Why the data cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// It is another cluster's.
    #[error(
        "cluster: the data belongs to cluster `{found}`, not `{claimed}`; set the name back, or give the node a folder of its own"
    )]
    Cluster {
        /// The cluster it belongs to.
        found: String,
        /// The cluster that claims it.
        claimed: String,
    },
    /// It is another node's.
    #[error(
        "node: the data belongs to node {found}, not node {claimed}; every node needs a folder of its own"
    )]
    Node {
        /// The node it belongs to.
        found: NodeId,
        /// The node that claims it.
        claimed: NodeId,
    },
    /// Topics would be looked for where they are not.
    #[error(
        "shards: the data is spread over {found} shards, not {claimed}; set it back to {found}: the number is fixed when a cluster is made"
    )]
    Shards {
        /// The number it was made with.
        found: u32,
        /// The number it is claimed with.
        claimed: u32,
    },
    /// The set of nodes is another one.
    #[error(
        "peers: the data belongs to a cluster of {found} nodes, not {claimed}; list all {found}: the set of nodes is fixed when a cluster is made"
    )]
    Replication {
        /// The number it was made with.
        found: u32,
        /// The number it is claimed with.
        claimed: u32,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Says whose data this is. The first to say so is noted, durably, before this returns; data of a
    /// release that noted nothing belongs to whoever says so first.
    ///
    /// # Errors
    /// [`ClaimError`], naming what differs, when it belongs to somebody else. Nothing is changed then.
    pub fn claim(&self, claimed: &Identity) -> Result<(), ClaimError> {
        let kv = &self.shared.kv;
        if let Some(value) = kv.get(&keys::identity())? {
            return decode_identity(&value)?.check(claimed);
        }
        let mut batch = kv.batch();
        batch.put(&keys::identity(), &encode_identity(claimed));
        batch.commit()?;
        Ok(kv.flush()?)
    }
}

impl Identity {
    fn check(self, claimed: &Identity) -> Result<(), ClaimError> {
        if self.cluster != claimed.cluster {
            return Err(ClaimError::Cluster {
                found: self.cluster,
                claimed: claimed.cluster.clone(),
            });
        }
        if self.node != claimed.node {
            return Err(ClaimError::Node {
                found: self.node,
                claimed: claimed.node,
            });
        }
        if self.shards != claimed.shards {
            return Err(ClaimError::Shards {
                found: self.shards,
                claimed: claimed.shards,
            });
        }
        if self.replication != claimed.replication {
            return Err(ClaimError::Replication {
                found: self.replication,
                claimed: claimed.replication,
            });
        }
        Ok(())
    }
}
