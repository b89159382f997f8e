//! Committed on a quorum: a committed entry is in the logs of two of three, also after crashes took
//! what was not synced.

use super::{QUORUM, committed_stays::CommittedStays};
use crate::{observer::NodeView, oracle::Verdict};

pub fn check(shard: usize, nodes: &[NodeView], committed: &CommittedStays) -> Verdict {
    for entry in committed.entries().rev() {
        let has = |node: &&NodeView| node.is_unseen || node.shards[shard].log.has(entry.id);
        let holders: Vec<u64> = nodes.iter().filter(has).map(|node| node.node).collect();
        if holders.len() < QUORUM {
            return Err(format!(
                "committed on a quorum: {:?} is on nodes {holders:?} only",
                entry.id
            ));
        }
    }
    Ok(())
}
