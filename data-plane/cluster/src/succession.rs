//! When the connection to a leader breaks, its followers do not wait for a time-out.
//!
//! A process that died has closed its sockets, so its peers know at once. One of them asks the others
//! whether they lost it too; when a majority has, it stands for election, and those that have lost the
//! leader grant their votes although its lease has not run out. If the leader lives and only this
//! connection broke, the others say so, and nothing changes. The followers take turns, so that they do
//! not split the vote.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use highwater_proto::{cluster as wire, ids::ShardId};
use tokio::time;

use crate::{
    frame::Kind, hibernation::on_link_change, link::Link, links::Links,
    maintenance::line_of_succession, replica::Replica, task::Tasks,
};

/// How much later each follower stands than the one before it.
const TURN: Duration = Duration::from_millis(60);
/// How often the others are asked before the time-outs are left to do their part.
const ATTEMPTS: usize = 5;
/// Between two attempts: not everybody notices in the same moment.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the others may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);

/// Watches the connection to one peer.
pub struct Succession {
    /// The replicas of this node.
    pub replicas: Vec<Arc<Replica>>,
    /// The connection.
    pub link: Arc<Link>,
    /// Where the tasks run.
    pub tasks: Tasks,
}

impl Succession {
    /// Runs until the node stops.
    pub async fn run(self) {
        let mut up = self.link.watch();
        let peer = self.link.peer();
        loop {
            if up.wait_for(|up| *up).await.is_err() {
                return;
            }
            on_link_change(&self.replicas, peer);
            if up.wait_for(|up| !*up).await.is_err() {
                return;
            }
            on_link_change(&self.replicas, peer);
            for replica in self.replicas.iter().cloned() {
                if replica.leader() == Some(peer.0) {
                    self.tasks.spawn("election", succeed(replica, peer.0));
                }
            }
        }
    }
}

/// Stands for election in the lost leader's place, when it is this node's turn and a majority has lost
/// it.
async fn succeed(replica: Arc<Replica>, lost: u64) {
    let members: Vec<u64> = replica.raft.voter_ids().collect();
    let line = line_of_succession(&replica, &members);
    let before = line.filter(|member| *member != lost);
    let turn = before.take_while(|member| *member != replica.node).count();
    time::sleep(TURN * turn as u32).await;
    for _ in 0..ATTEMPTS {
        if replica.leader() != Some(lost) || replica.links.is_up(lost) {
            return;
        }
        if is_lost_to_most(&replica.links, replica.id, (&members, replica.node), lost).await {
            tracing::info!(shard = %replica.id, leader = lost, "the leader is lost");
            replica.metrics.election_hints.inc();
            // The group may be stopping.
            let _ = replica.raft.trigger().elect(false).await;
            return;
        }
        time::sleep(PAUSE).await;
    }
}

/// Whether most of the members have no connection to one of them; this node is known to have none. The others
/// are asked in the name of any shard.
pub async fn is_lost_to_most(
    links: &Links,
    shard: ShardId,
    (members, this): (&[u64], u64),
    lost: u64,
) -> bool {
    let request = wire::PeerUpRequest { node: lost };
    let others = members.iter().filter(|m| **m != lost && **m != this);
    let asked = others.filter_map(|other| links.get(*other));
    let answers = asked.map(|link| {
        let request = &request;
        async move {
            let answer = link.call(Kind::PeerUp, shard, request, ANSWER_TIMEOUT);
            matches!(answer.await, Ok(wire::PeerUpResponse { up: false }))
        }
    });
    let lost_it = join_all(answers).await.into_iter().filter(|lost| *lost);
    // This node has lost it too.
    lost_it.count() + 1 > members.len() / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::{Stage, until};

    /// A leader's heartbeats go over the connections that the leader opened, which stay whole in these
    /// tests: so no time-out of Raft plays a part in them.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_broken_connection_alone_changes_nothing() {
        let stage = Stage::start(3).await;
        let (leader, [follower, third]) = stage.parts().await;
        let (alone, witness) = (stage.replica(follower), stage.replica(third));
        until("the witness sees the leader", || {
            witness.links.is_up(leader) && alone.links.is_up(third)
        })
        .await;
        stage.cut(follower, leader);
        until("the connection is broken", || !alone.links.is_up(leader)).await;
        let members: Vec<u64> = alone.raft.voter_ids().collect();
        assert!(!is_lost_to_most(&alone.links, alone.id, (&members, alone.node), leader).await);
        succeed(alone.clone(), leader).await;
        assert_eq!(alone.metrics.election_hints.get(), 0);
        assert_eq!(alone.leader(), Some(leader));
        stage.heal();
        until("it is whole again", || alone.links.is_up(leader)).await;
        assert_eq!(alone.leader(), Some(leader));
        stage.stop().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn peers_that_both_lost_the_leader_elect_at_once() {
        let stage = Stage::start(3).await;
        let (leader, [follower, third]) = stage.parts().await;
        let hints = |node| stage.replica(node).metrics.election_hints.get();
        stage.cut(follower, leader);
        stage.cut(third, leader);
        until("one of them leads", || {
            let leads = |node| stage.replica(node).is_leader();
            leads(follower) || leads(third)
        })
        .await;
        assert!(hints(follower) + hints(third) > 0);
        assert_eq!(hints(leader), 0);
        stage.stop().await;
    }
}
