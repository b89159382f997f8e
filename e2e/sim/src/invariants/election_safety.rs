//! Election safety: a leader has the promises of a quorum, and a promise is never taken back.
//!
//! Openraft orders leaders by term and node, so one term may see two leaders, the second one above the
//! first; what keeps them apart is that whoever voted for a leader never serves one below it, not even
//! after a crash. So as long as the cluster lives a quorum stands at or above its highest leader.

use super::{Leader, QUORUM};
use crate::{observer::NodeView, oracle::Verdict};

/// What is known of a shard's elections.
#[derive(Default)]
pub struct ElectionSafety {
    highest: Option<Leader>,
}

impl ElectionSafety {
    /// The highest leader there ever was.
    pub fn highest(&self) -> Option<Leader> {
        self.highest
    }

    pub(super) fn check(&mut self, shard: usize, nodes: &[NodeView]) -> Verdict {
        for replica in nodes.iter().map(|node| &node.shards[shard]) {
            // A vote is marked as committed when a quorum has granted it.
            let elected = replica.vote.filter(|vote| vote.committed);
            let elected = elected.map(|vote| (vote.term, vote.node));
            // Nobody may have looked while it was in office: then what it wrote speaks for it. The entry that
            // founds a group is of term 0, and nobody's.
            let entries = replica.log.entries.range(replica.log.changed_from..);
            let wrote = entries.map(|(_, entry)| (entry.id.term, entry.id.node));
            let wrote = wrote.max().filter(|leader| leader.0 > 0);
            self.highest = self.highest.max(elected).max(wrote);
        }
        let Some(highest) = self.highest else {
            return Ok(());
        };
        let stands = |node: &NodeView| {
            let vote = node.shards[shard].vote;
            node.is_unseen || vote.is_some_and(|vote| (vote.term, vote.node) >= highest)
        };
        let promised = nodes.iter().filter(|node| stands(node)).count();
        if promised < QUORUM {
            let votes: Vec<_> = nodes.iter().map(|node| node.shards[shard].vote).collect();
            return Err(format!(
                "election safety: node {} was elected in term {}, and only {promised} stand by it: {votes:?}",
                highest.1, highest.0
            ));
        }
        Ok(())
    }
}
