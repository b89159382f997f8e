//! What a node does on its own account: checkpoints, letting go of old log, retention, election hints,
//! giving leaderships back to the nodes that should have them, and stopping when its disk fails.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use highwater_broker::catalogue::Retention;
use highwater_proto::{
    cluster as wire,
    ids::ProjectId,
    limits::{CHECKPOINT_BYTES, LOG_BYTES_KEPT_MAX},
    names::TopicName,
};
use highwater_storage::{
    background,
    log::{Log, LogOptions},
    store::{ShardStore, Store},
};
use openraft::async_runtime::WatchReceiver;
use tokio::{sync::oneshot, time};

use crate::{Blocking, Clock, metrics::Metrics, raft::Proposal, replica::Replica};

/// How often it is looked whether a checkpoint is due.
const CHECKPOINT_CHECK: Duration = Duration::from_millis(200);
/// How often the leader looks for records that outlived their topic's retention.
const RETENTION_CHECK: Duration = Duration::from_secs(1);
/// How often leaderships are compared with where they belong.
const BALANCE_CHECK: Duration = Duration::from_secs(2);
/// When a node that has started first erases what was deleted, at the latest.
const FIRST_ERASURE: Duration = Duration::from_secs(3_600);
/// How often it is looked whether the log has let go of what was deleted, and for how long at most.
const LET_GO_CHECK: Duration = Duration::from_millis(200);
const LET_GO_CHECKS: usize = 150;

/// How much is held before it is written elsewhere or let go. The defaults are those of a node; a
/// simulation sets small ones, to get there in seconds.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// Those of the log.
    pub log: LogOptions,
    /// A checkpoint is due after so many bytes were applied.
    pub checkpoint_bytes: usize,
    /// A checkpoint is due after this long, however little was applied.
    pub checkpoint_interval: Duration,
    /// Bytes of log kept for replicas that were away; one that needs more gets a snapshot.
    pub log_bytes_kept: u64,
    /// How often what was deleted is erased from the disk. It rewrites what lies around it.
    pub erasure_interval: Duration,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            log: LogOptions::default(),
            checkpoint_bytes: CHECKPOINT_BYTES,
            checkpoint_interval: Duration::from_secs(30),
            log_bytes_kept: LOG_BYTES_KEPT_MAX,
            erasure_interval: Duration::from_secs(24 * 3_600),
        }
    }
}

/// How long the records of a topic stay, by the policy in force.
pub type RetentionOf = Arc<dyn Fn(ProjectId, &TopicName) -> Retention + Send + Sync>;

/// What these tasks work on.
#[derive(Clone)]
pub struct Maintenance {
    /// All replicas of this node.
    pub replicas: Vec<Arc<Replica>>,
    /// The node's store.
    pub store: Arc<Store>,
    /// The node's log.
    pub log: Log,
    /// The node's clock.
    pub clock: Clock,
    /// When to checkpoint and to let go.
    pub sizes: Sizes,
    /// Where blocking work runs.
    pub blocking: Blocking,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Why the store cannot be written any more, if so.
    pub store_failure: Arc<OnceLock<String>>,
}

impl Maintenance {
    /// Writes what was applied to the store, now and then, and lets go of the log it covers.
    pub async fn checkpoint_forever(self) {
        let mut last = time::Instant::now();
        loop {
            time::sleep(CHECKPOINT_CHECK).await;
            let pending: usize = self.replicas.iter().map(|r| r.store.pending_bytes()).sum();
            let due = pending >= self.sizes.checkpoint_bytes
                || last.elapsed() >= self.sizes.checkpoint_interval;
            if due {
                last = time::Instant::now();
                if !self.checkpoint().await {
                    return;
                }
            }
        }
    }

    /// One checkpoint of all shards. Returns whether the store still works.
    pub async fn checkpoint(&self) -> bool {
        let shards: Vec<Arc<ShardStore>> = self.replicas.iter().map(|r| r.store.clone()).collect();
        let store = self.store.clone();
        let write = move || store.checkpoint(&shards);
        let result = match self.blocking {
            Blocking::Inline => write(),
            Blocking::Threads => on_thread_that_gives_way("checkpoint", write).await,
        };
        match result {
            Ok(_) => {
                self.metrics.checkpointed((self.clock)());
                self.release_log().await;
                true
            }
            Err(error) => {
                // The log still holds everything, but memory does not hold everything for ever.
                tracing::error!(%error, "the checkpoint failed");
                let _ = self.store_failure.set(error.to_string());
                self.stop_replicas().await;
                false
            }
        }
    }

    /// Removes what was deleted from the disk, now and then.
    pub async fn erase_forever(self) {
        let mut pause = self.sizes.erasure_interval.min(FIRST_ERASURE);
        loop {
            time::sleep(pause).await;
            pause = self.sizes.erasure_interval;
            let store = self.store.clone();
            let erase = move || store.compact_erased();
            let erased = match self.blocking {
                Blocking::Inline => erase(),
                Blocking::Threads => on_thread_that_gives_way("erasure", erase).await,
            };
            match erased {
                Ok(0) => {}
                Ok(ranges) => {
                    tracing::info!(ranges, "erased what was deleted");
                    self.erase_log().await;
                }
                // It stays noted. A store that cannot be written is the next checkpoint's to find.
                Err(error) => tracing::warn!(%error, "could not erase what was deleted"),
            }
        }
    }

    /// Has the log let go of everything that it holds now, of which some was deleted: a checkpoint holds the rest.
    async fn erase_log(&self) {
        let Ok(sealed) = self.log.seal().await else {
            // Its failure is told elsewhere.
            return;
        };
        if !self.checkpoint().await {
            return;
        }
        for _ in 0..LET_GO_CHECKS {
            if self.log.oldest_segment() >= sealed {
                tracing::info!("the log has let go of what was deleted");
                return;
            }
            self.purge_oldest_segment().await;
            time::sleep(LET_GO_CHECK).await;
        }
        // A replica that lags still needs them, say. What comes to be deleted later brings another try.
        tracing::warn!("the log still holds what was deleted");
    }

    /// Waits for the log to fail, and takes this node out of the groups when it does: a leader that
    /// cannot write must not look alive.
    pub async fn stop_on_log_failure(self) {
        let mut failure = self.log.watch_failure();
        if failure.wait_for(Option::is_some).await.is_ok() {
            tracing::error!(failure = ?self.log.failure(), "the log failed; this node steps down");
            self.stop_replicas().await;
        }
    }

    /// Why this node cannot write any more, if so.
    pub fn failure(&self) -> Option<String> {
        let log = self.log.failure().map(|failure| failure.to_string());
        log.or_else(|| self.store_failure.get().cloned())
    }

    async fn stop_replicas(&self) {
        for replica in &self.replicas {
            // One that failed on its own has stopped already.
            let _ = replica.raft.shutdown().await;
        }
    }

    /// Lets the oldest segments of the log go while there is more of it than is kept.
    async fn release_log(&self) {
        if self.log.usage().disk_bytes > self.sizes.log_bytes_kept {
            self.purge_oldest_segment().await;
        }
    }

    /// Lets go of what the oldest segment is kept for, as far as a checkpoint covers it.
    async fn purge_oldest_segment(&self) {
        for (shard, last) in self.log.oldest_segment_holdouts() {
            let Some(replica) = self.replicas.get(shard.0 as usize) else {
                continue;
            };
            // A snapshot is the last checkpoint; Raft lets go only of what one covers. To ask for one where
            // nothing was applied yet would end the replica.
            let Some(covered) = replica.store.checkpointed().map(|id| id.index) else {
                continue;
            };
            let purge = async {
                replica.raft.trigger().snapshot().await?;
                replica.raft.trigger().purge_log(last.min(covered)).await
            };
            if let Err(error) = purge.await {
                tracing::debug!(%shard, %error, "cannot purge");
            }
        }
    }

    /// Proposes to drop what outlived its topic's retention, in the shards this node leads.
    pub async fn retain_forever(self, retention: RetentionOf) {
        loop {
            time::sleep(RETENTION_CHECK).await;
            for replica in self.replicas.iter().filter(|r| r.is_leader()) {
                let (store, clock) = (replica.store.clone(), self.clock.clone());
                let retention = retention.clone();
                let look = move || {
                    let now_ms = clock();
                    store
                        .due_trims(now_ms, &|p, t| retention(p, t))
                        .map(|due| (now_ms, due))
                };
                match self.blocking.run(look).await {
                    Ok((_, topics)) if topics.is_empty() => {}
                    Ok((time_ms, topics)) => trim(replica, time_ms, topics).await,
                    Err(error) => {
                        tracing::error!(shard = %replica.id, %error, "cannot look for old records");
                    }
                }
            }
        }
    }

    /// Hands leaderships to the nodes that are first in line for them, so that they stay spread out.
    pub async fn balance_forever(self) {
        loop {
            time::sleep(BALANCE_CHECK).await;
            for replica in self.replicas.iter().filter(|r| r.is_leader()) {
                let members: Vec<u64> = replica.raft.voter_ids().collect();
                let Some(first) = preferred_leader(replica, &members) else {
                    continue;
                };
                let reachable = replica.links.get(first).is_some_and(|link| link.is_up());
                if first != replica.node && reachable && is_caught_up(replica, first) {
                    tracing::info!(shard = %replica.id, to = first, "handing over leadership");
                    replica.wake_to_propose().await;
                    let _ = replica.raft.trigger().transfer_leader(first).await;
                }
            }
        }
    }
}

/// The member that should lead the shard when all are well.
pub fn preferred_leader(replica: &Replica, members: &[u64]) -> Option<u64> {
    line_of_succession(replica, members).next()
}

/// The members in the order in which they should lead the shard: another order for each shard, so that
/// leaderships are spread out, and so is what a lost node leaves behind.
pub fn line_of_succession(replica: &Replica, members: &[u64]) -> impl Iterator<Item = u64> + use<> {
    let mut line = members.to_vec();
    line.sort_unstable();
    let count = line.len().max(1);
    let first = replica.id.0 as usize % count;
    line.rotate_left(first);
    // The second in line differs between the shards of one leader.
    if replica.id.0 as usize / count % 2 == 1 && line.len() > 1 {
        line[1..].reverse();
    }
    line.into_iter()
}

/// Whether a follower has everything this leader has, or nearly.
pub fn is_caught_up(replica: &Replica, follower: u64) -> bool {
    let metrics = replica.raft.data_metrics();
    let metrics = metrics.borrow_watched();
    let last = metrics.last_log.map_or(0, |id| id.index);
    let matched = metrics
        .replication
        .as_ref()
        .and_then(|all| all.get(&follower).copied().flatten());
    matched.is_some_and(|id| id.index + 100 >= last)
}

/// Runs this on a thread of its own that has time.
async fn on_thread_that_gives_way<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let thread = thread.spawn(move || {
        background::give_way();
        // Whoever asked may have been cancelled.
        let _ = done.send(work());
    });
    let thread = thread.expect("a thread can be started");
    match result.await {
        Ok(result) => result,
        Err(_) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("the result is sent last"),
        },
    }
}

async fn trim(replica: &Replica, time_ms: u64, topics: Vec<wire::TopicTrim>) {
    let trim = wire::Trim { time_ms, topics };
    let command = wire::Command {
        command: Some(wire::command::Command::Trim(trim)),
    };
    replica.wake_to_propose().await;
    // One that fails is found again at the next look.
    if let Err(error) = replica.raft.client_write(Proposal::encode(&command)).await {
        tracing::debug!(shard = %replica.id, %error, "cannot trim");
    }
}
