//! A shard with nothing to do stops its clocks: no ticks, no heartbeats, no election time-outs.
//!
//! The leader of a shard that was quiet for a while asks each follower whether it has and has applied
//! the same log. A follower that does stops its own clock and says so; when all have, the leader stops
//! too. What still stands for the leader's heartbeats is the connection between its node and theirs,
//! which is pinged for all shards together.
//!
//! Awake again, on the leader: a write, a question for the read index, a hand-over, and a connection
//! that came or went. Before it proposes it hears from a quorum, because its lease has run out.
//! On a follower: an entry, a vote, a hand-over, the connection to the leader lost, and a leader that
//! refuses what was sent to it, because then somebody else has to lead.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use highwater_proto::{cluster as wire, ids::NodeId};
use openraft::async_runtime::WatchReceiver;
use tokio::time::{self, Instant};

use crate::{
    frame::Kind,
    raft::{LogId, Vote, log_id_to_wire, vote_to_wire},
    replica::Replica,
};

/// A shard that was quiet for so long may stop its clocks.
const QUIET: Duration = Duration::from_secs(5);
/// How often to look for quiet shards.
const CHECK: Duration = Duration::from_secs(1);
/// How long a follower may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Whether a replica's clock runs, and what keeps it running.
#[derive(Debug, Default)]
pub struct Slumber {
    asleep: AtomicBool,
    /// Counts what happened to the shard.
    stirred: AtomicU64,
}

/// A state of the group that all members must share to rest: who leads, and what was decided.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Settled {
    vote: Vote,
    last: LogId,
}

impl Replica {
    /// Whether the clock has stopped.
    pub fn is_asleep(&self) -> bool {
        self.slumber.asleep.load(Ordering::SeqCst)
    }

    /// Something happens to the shard: its clock runs. Returns whether it had stopped.
    pub fn wake(&self) -> bool {
        self.slumber.stirred.fetch_add(1, Ordering::SeqCst);
        let was_asleep = self.slumber.asleep.swap(false, Ordering::SeqCst);
        if was_asleep {
            self.raft.runtime_config().tick(true);
        }
        was_asleep
    }

    /// The same for the leader, who proposes only what a quorum lets it.
    pub async fn wake_to_propose(&self) {
        if self.wake() {
            // Whatever comes of it shows in the proposal.
            let _ = self.read_index_here().await;
        }
    }

    /// Stops the clock, unless something happened since `stirred` was read.
    fn sleep(&self, stirred: u64) -> bool {
        let Slumber {
            asleep,
            stirred: now,
        } = &self.slumber;
        asleep.store(true, Ordering::SeqCst);
        self.raft.runtime_config().tick(false);
        // Whoever wakes it counts first and then looks whether it sleeps, so one of the two notices.
        if now.load(Ordering::SeqCst) != stirred || !asleep.load(Ordering::SeqCst) {
            asleep.store(false, Ordering::SeqCst);
            self.raft.runtime_config().tick(true);
            return false;
        }
        true
    }

    /// The state this replica could rest in: there is a leader, and everything is applied.
    fn settled(&self) -> Option<Settled> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.current_leader?;
        let last = metrics.last_applied?;
        (metrics.last_log_index == Some(last.index)).then_some(Settled {
            vote: metrics.vote,
            last,
        })
    }

    /// As a follower: stops the clock if the leader and this replica agree on everything.
    pub fn on_hibernate(&self, request: &wire::HibernateRequest) -> bool {
        let stirred = self.slumber.stirred.load(Ordering::SeqCst);
        let agrees = self.settled().is_some_and(|here| {
            request.vote == Some(vote_to_wire(&here.vote))
                && request.last == Some(log_id_to_wire(&here.last))
        });
        agrees && self.leader() != Some(self.node) && self.sleep(stirred)
    }

    /// As the leader: stops all clocks of the group, if everybody agrees.
    async fn hibernate(&self, stirred: u64) -> bool {
        let Some(here) = self.settled() else {
            return false;
        };
        let request = wire::HibernateRequest {
            vote: Some(vote_to_wire(&here.vote)),
            last: Some(log_id_to_wire(&here.last)),
        };
        for follower in self.raft.voter_ids().filter(|id| *id != self.node) {
            let Some(link) = self.links.get(follower) else {
                return false;
            };
            let answer = link.call(Kind::Hibernate, self.id, &request, ANSWER_TIMEOUT);
            match answer.await {
                Ok(wire::HibernateResponse { asleep: true }) => {}
                Ok(_) | Err(_) => return false,
            }
        }
        self.settled() == Some(here) && self.is_leader() && self.sleep(stirred)
    }
}

/// Sends the shards that this node leads to sleep.
pub async fn hibernate_forever(replicas: Vec<Arc<Replica>>) {
    let mut quiet_since = vec![(u64::MAX, Instant::now()); replicas.len()];
    loop {
        time::sleep(CHECK).await;
        for (replica, (last_seen, since)) in replicas.iter().zip(&mut quiet_since) {
            let stirred = replica.slumber.stirred.load(Ordering::SeqCst);
            if stirred != *last_seen {
                (*last_seen, *since) = (stirred, Instant::now());
            }
            let may_rest = since.elapsed() >= QUIET && !replica.is_asleep();
            if may_rest && replica.is_leader() && !replica.hibernate(stirred).await {
                // Not so soon again.
                *since = Instant::now();
            }
        }
    }
}

/// The connection to a peer came or went: shards led here find out what that means, and followers of
/// the peer are no longer told that all is well.
pub fn on_link_change(replicas: &[Arc<Replica>], peer: NodeId) {
    for replica in replicas {
        let leader = replica.leader();
        if leader == Some(replica.node) || leader == Some(peer.0) {
            replica.wake();
        }
    }
}
