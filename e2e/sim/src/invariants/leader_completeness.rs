//! Leader completeness: whoever is elected after an entry was committed has it.

use super::committed_stays::CommittedStays;
use crate::{observer::NodeView, oracle::Verdict};

pub fn check(shard: usize, nodes: &[NodeView], committed: &CommittedStays) -> Verdict {
    for node in nodes.iter().filter(|node| node.is_up && !node.is_unseen) {
        let replica = &node.shards[shard];
        let own = replica
            .vote
            .filter(|vote| vote.committed && vote.node == node.node);
        let leads = own.filter(|_| replica.leads);
        let Some(vote) = leads else {
            continue;
        };
        let leader = (vote.term, vote.node);
        let owed = committed.entries().rev().filter(|entry| entry.by <= leader);
        if let Some(lost) = owed.into_iter().find(|entry| !replica.log.has(entry.id)) {
            return Err(format!(
                "leader completeness: node {} leads in term {} without {:?}",
                node.node, vote.term, lost.id
            ));
        }
    }
    Ok(())
}
