//! What the cluster counts and measures.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use highwater_broker::segment::Segment;
use prometheus_client::{
    metrics::{
        counter::Counter,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// The counters of one node's part in the cluster.
#[derive(Debug)]
pub struct Metrics {
    /// Records that were applied here, on whatever replica.
    records_applied: Counter,
    bytes_applied: Counter,
    /// Proposals made here as leader.
    pub proposals: Counter,
    /// Messages in one proposal.
    pub proposal_messages: Histogram,
    /// From taking a batch off the queue to its outcome.
    pub proposal_seconds: Histogram,
    /// Publishes sent on to the leader of their shard.
    pub forwarded: Counter,
    /// Read-index rounds.
    pub read_index_rounds: Counter,
    /// Connections to peers that were lost.
    pub peer_disconnects: Counter,
    /// Elections this node asked for because a connection broke.
    pub election_hints: Counter,
    checkpoints: Counter,
    last_checkpoint_ms: Arc<AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            records_applied: Counter::default(),
            bytes_applied: Counter::default(),
            proposals: Counter::default(),
            proposal_messages: Histogram::new(exponential_buckets(1.0, 4.0, 8)),
            proposal_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 18)),
            forwarded: Counter::default(),
            read_index_rounds: Counter::default(),
            peer_disconnects: Counter::default(),
            election_hints: Counter::default(),
            checkpoints: Counter::default(),
            last_checkpoint_ms: Arc::default(),
        }
    }
}

impl Metrics {
    /// Records of one proposal were applied.
    pub fn applied(&self, segments: &[Arc<Segment>]) {
        for segment in segments {
            self.records_applied.inc_by(segment.count());
            self.bytes_applied.inc_by(segment.bytes() as u64);
        }
    }

    /// A checkpoint was made at this time.
    pub fn checkpointed(&self, now_ms: u64) {
        self.checkpoints.inc();
        self.last_checkpoint_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Makes the counters visible.
    pub fn register(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter(
            "highwater_records_applied",
            "Records applied by this replica",
            &self.records_applied,
        );
        counter(
            "highwater_applied_bytes",
            "Bytes of applied messages",
            &self.bytes_applied,
        );
        counter(
            "highwater_proposals",
            "Proposals made as leader",
            &self.proposals,
        );
        counter(
            "highwater_publishes_forwarded",
            "Publishes sent on to a leader",
            &self.forwarded,
        );
        counter(
            "highwater_read_index_rounds",
            "Rounds of read index",
            &self.read_index_rounds,
        );
        counter(
            "highwater_peer_disconnects",
            "Connections to peers lost",
            &self.peer_disconnects,
        );
        counter(
            "highwater_election_hints",
            "Elections asked for because a connection broke",
            &self.election_hints,
        );
        counter(
            "highwater_checkpoints",
            "Checkpoints made",
            &self.checkpoints,
        );
        registry.register(
            "highwater_proposal_messages",
            "Messages in one proposal",
            self.proposal_messages.clone(),
        );
        registry.register(
            "highwater_proposal_seconds",
            "From taking a batch off the queue to its outcome",
            self.proposal_seconds.clone(),
        );
    }
}
