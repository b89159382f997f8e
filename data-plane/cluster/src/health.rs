//! What a node can say about its part in the cluster.

use std::time::Duration;

use highwater_proto::ids::{NodeId, ShardId};
use openraft::{Instant as _, async_runtime::WatchReceiver};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::replica::Replica;

/// A leader that is awake hears from a majority several times in this long.
const ACK_AGE_MAX: Duration = Duration::from_secs(1);
/// A replica is cut off when its doubt has lasted so long: an election takes less, and so does a
/// connection that is made anew.
const DOUBT_MAX: Duration = Duration::from_secs(1);

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
    /// Whether this node has been without a majority for a while as the leader, or without a
    /// connection to the leader as a follower: then it can neither write nor read what is newest.
    pub is_cut_off: bool,
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
    /// Whether the node can serve: every shard runs and has a leader within reach, and the disk
    /// works.
    pub fn is_ready(&self) -> bool {
        let serves = |shard: &ShardHealth| {
            shard.leader.is_some() && !shard.is_cut_off && shard.stopped.is_none()
        };
        self.storage_failure.is_none() && self.shards.iter().all(serves)
    }
}

/// Since when a replica was found in doubt whether its leader still leads, each time it was looked at.
#[derive(Debug, Default)]
pub struct Doubt(Mutex<Option<Instant>>);

impl Replica {
    /// Looks whether there is a way to the leader, or to a majority for the leader itself. Returns
    /// whether there has been none for too long.
    pub fn look_whether_cut_off(&self) -> bool {
        let mut since = self.doubt.0.lock();
        match self.is_in_doubt() {
            true => since.get_or_insert_with(Instant::now).elapsed() >= DOUBT_MAX,
            false => {
                *since = None;
                false
            }
        }
    }

    /// Whether there is no way to the leader just now, or to a majority for the leader itself.
    pub fn is_in_doubt(&self) -> bool {
        match self.leader() {
            Some(leader) if leader == self.node => !self.is_acknowledged(),
            Some(leader) => !self.links.is_up(leader),
            // Said on its own, and at once.
            None => false,
        }
    }

    /// As the leader: whether a majority was heard from lately. While the shard sleeps the connections
    /// stand for it: a change of theirs wakes it.
    fn is_acknowledged(&self) -> bool {
        if self.is_asleep() || self.raft.voter_ids().eq([self.node]) {
            return true;
        }
        let metrics = self.raft.data_metrics();
        let acknowledged = metrics.borrow_watched().last_quorum_acked;
        acknowledged.is_some_and(|sent| sent.into_inner().elapsed() <= ACK_AGE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use crate::stage::{Stage, until};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_that_is_cut_off_is_not_ready_until_it_is_back() {
        let stage = Stage::start(3).await;
        let (leader, [other, third]) = stage.parts().await;
        let health = |node| stage.cluster(node).health();
        stage.isolate(leader);
        // It leads one of the shards and follows in the others.
        until("it knows that it is alone", || {
            let health = health(leader);
            let mut shards = health.shards.iter();
            health.shards[0].is_cut_off && shards.all(|s| s.is_cut_off || s.leader.is_none())
        })
        .await;
        assert!(!health(leader).is_ready());
        until("the others go on", || {
            health(other).is_ready() && health(third).is_ready()
        })
        .await;
        stage.heal();
        until("it is back", || health(leader).is_ready()).await;
        stage.stop().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_on_its_own_is_ready() {
        let stage = Stage::start(1).await;
        until("it is ready", || stage.cluster(1).health().is_ready()).await;
        assert!(stage.replica(1).is_acknowledged());
        stage.stop().await;
    }
}
