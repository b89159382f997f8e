//! One shard on this node: its Raft group, its store, and the end of its log for live readers.

use std::{sync::Arc, time::Duration};

use highwater_broker::{
    handle::{Publish, Published, TopicEnd},
    refusal::{Refusal, Result},
    tail::Tail,
};
use highwater_proto::{ErrorCode, ids::ShardId, names::TopicName};
use highwater_proto::{cluster as wire, ids::ProjectId};
use highwater_storage::store::ShardStore;
use openraft::{async_runtime::WatchReceiver, raft::ReadPolicy};
use tokio::{
    sync::{mpsc, oneshot},
    time,
};

use crate::{
    Blocking,
    frame::Kind,
    health::Doubt,
    hibernation::Slumber,
    links::Links,
    metrics::Metrics,
    raft::{Raft, log_id_to_wire},
};

/// How long a read may wait for a leader and for this replica to catch up with it.
const READ_INDEX_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before asking again for a leader that is not there yet.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// What a node knows of one shard.
pub struct Replica {
    /// The shard.
    pub id: ShardId,
    /// This node.
    pub node: u64,
    /// The Raft group.
    pub raft: Raft,
    /// The applied state.
    pub store: Arc<ShardStore>,
    /// The newest records.
    pub tail: Arc<Tail>,
    /// Ways to the other replicas.
    pub links: Arc<Links>,
    /// Writes that other nodes sent on to this one as the leader.
    pub forwarded: mpsc::Sender<Forwarded>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether it rests.
    pub slumber: Slumber,
    /// Whether it is in doubt about its leader.
    pub doubt: Doubt,
    /// Where blocking work runs.
    pub blocking: Blocking,
}

/// A write that came from another node. If this one does not lead the shard it is refused, so that
/// nothing goes round in circles.
#[derive(Debug)]
pub enum Forwarded {
    /// Append these.
    Publish {
        /// What to append.
        publishes: Vec<Publish>,
        /// Gets one outcome for each, in order.
        reply: oneshot::Sender<Result<Vec<Result<Published>>>>,
    },
    /// Remove a topic.
    DeleteTopic {
        /// The project.
        project: ProjectId,
        /// The topic.
        topic: TopicName,
        /// Only if the topic ends here.
        if_end: Option<TopicEnd>,
        /// Gets whether there was one.
        reply: oneshot::Sender<Result<bool>>,
    },
    /// Take down what a node has counted.
    Reading {
        /// What it has counted.
        reading: wire::Reading,
        /// Gets told that it was taken.
        reply: oneshot::Sender<Result<()>>,
    },
}

impl Replica {
    /// The node that leads the shard, as far as this one knows.
    pub fn leader(&self) -> Option<u64> {
        self.raft.server_metrics().borrow_watched().current_leader
    }

    /// Whether this node leads the shard.
    pub fn is_leader(&self) -> bool {
        self.leader() == Some(self.node)
    }

    /// As the leader: the index of an entry that is committed, at or after everything that was
    /// acknowledged before the call. A quorum confirms that this node still leads.
    ///
    /// # Errors
    /// `no_leader` when it does not, or cannot confirm it.
    pub async fn read_index_here(&self) -> Result<wire::LogId> {
        self.wake();
        self.metrics.read_index_rounds.inc();
        match self.raft.get_read_log_id(ReadPolicy::ReadIndex).await {
            Ok((read, _)) => Ok(log_id_to_wire(read.log_id())),
            Err(error) => {
                tracing::debug!(shard = %self.id, %error, "no read index");
                Err(no_leader("a majority did not confirm the shard's leader"))
            }
        }
    }

    /// Waits until this replica has applied everything that was acknowledged anywhere before the
    /// call. Returns the position after it.
    ///
    /// # Errors
    /// `no_leader` when there is none to ask for too long.
    pub async fn frontier(&self) -> Result<u64> {
        let deadline = time::Instant::now() + READ_INDEX_TIMEOUT;
        let index = loop {
            match self.read_index().await {
                Ok(index) => break index,
                Err(refusal) if time::Instant::now() >= deadline => return Err(refusal),
                Err(_) => time::sleep(RETRY_PAUSE).await,
            }
        };
        let left = deadline.saturating_duration_since(time::Instant::now());
        let wait = self.raft.wait(Some(left));
        match wait.applied_index_at_least(Some(index), "frontier").await {
            Ok(_) => Ok(self.tail.next_position()),
            Err(error) => {
                tracing::debug!(shard = %self.id, %error, "behind the leader");
                Err(no_leader("this node is behind the shard's leader"))
            }
        }
    }

    async fn read_index(&self) -> Result<u64> {
        if cfg!(highwater_plant = "read-without-read-index") {
            return Ok(self.store.applied().map_or(0, |id| id.index));
        }
        match self.leader() {
            Some(leader) if leader == self.node => Ok(self.read_index_here().await?.index),
            Some(leader) => {
                let link = self.links.get(leader);
                let link = link.ok_or_else(|| no_leader("the leader is not a known node"))?;
                let request = wire::ReadIndexRequest {};
                let timeout = Duration::from_secs(1);
                let answer: wire::ReadIndexResponse = link
                    .call(Kind::ReadIndex, self.id, &request, timeout)
                    .await
                    .map_err(|error| {
                        self.wake();
                        tracing::debug!(shard = %self.id, %error, "no read index from the leader");
                        no_leader("the shard's leader did not answer")
                    })?;
                Ok(answer.index.unwrap_or_default().index)
            }
            None => Err(no_leader("the shard has no leader just now")),
        }
    }
}

/// Nothing was done, and a retry will soon do.
pub fn no_leader(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::NoLeader, message).retry_after_ms(200)
}
