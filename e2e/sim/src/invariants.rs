//! Raft's safety, checked from the outside after every few steps. One file is one invariant.

mod applied_in_order;
mod committed_on_quorum;
mod committed_stays;
mod election_safety;
mod leader_completeness;
mod log_matching;

use self::{
    applied_in_order::AppliedInOrder, committed_stays::CommittedStays,
    election_safety::ElectionSafety, log_matching::LogMatching,
};
use crate::{observer::NodeView, oracle::Verdict};

/// How many replicas are a quorum.
const QUORUM: usize = 2;

/// A leader: its term and its node. Openraft orders leaders by both.
type Leader = (u64, u64);

/// All invariants of all shards.
pub struct Invariants {
    shards: Vec<OfShard>,
}

#[derive(Default)]
struct OfShard {
    elections: ElectionSafety,
    matching: LogMatching,
    committed: CommittedStays,
    applied: AppliedInOrder,
}

impl Invariants {
    /// For a cluster of so many shards.
    pub fn new(shards: u32) -> Invariants {
        Invariants {
            shards: (0..shards).map(|_| OfShard::default()).collect(),
        }
    }

    /// Checks all of them. Returns the sentence of the first that does not hold.
    pub fn check(&mut self, nodes: &[NodeView]) -> Verdict {
        for (shard, of) in self.shards.iter_mut().enumerate() {
            let verdict = of.check(shard, nodes);
            verdict.map_err(|what| format!("shard {shard}: {what}"))?;
        }
        Ok(())
    }

    /// The highest leader each shard ever had.
    pub fn leaders(&self) -> Vec<Option<(u64, u64)>> {
        self.shards
            .iter()
            .map(|of| of.elections.highest())
            .collect()
    }
}

impl OfShard {
    fn check(&mut self, shard: usize, nodes: &[NodeView]) -> Verdict {
        self.elections.check(shard, nodes)?;
        self.matching.check(shard, nodes)?;
        self.committed
            .check(shard, nodes, self.elections.highest())?;
        committed_on_quorum::check(shard, nodes, &self.committed)?;
        leader_completeness::check(shard, nodes, &self.committed)?;
        self.applied.check(shard, nodes, &self.committed)
    }
}
