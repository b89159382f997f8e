//! The cluster: every shard a Raft group, all of them over one log and one connection to each peer.
//!
//! A write goes from its queue into a [`batch`], becomes one proposal, is fsynced by a majority,
//! applied by every replica's [`machine`] and answered with its offsets. On a node that does not lead
//! the shard the batch goes to the leader over the [`link`]. A read asks the leader for a read index
//! when it must be linearizable, and is answered from this node's own replica.
//!
//! ```text
//! ShardHandle ─▶ writes ─┬─▶ Raft ─▶ log_store ─▶ storage::Log    one fsync for all shards
//!                        │     └───▶ network ─▶ link ═══ inbound ─▶ Raft of the peer
//!                        │     └───▶ machine ─▶ storage::ShardStore ─▶ Tail
//!                        └─▶ link ═══ inbound ─▶ requests ─▶ writes of the leader
//! ShardHandle ─▶ reads ──▶ replica.frontier (read index) · storage::ShardStore
//! ```
//!
//! A shard with nothing to do stops its clocks ([`hibernation`]); the connection between two nodes
//! stands for the heartbeats of all shards between them, and when it breaks, the followers of a leader
//! at its other end do not wait for a time-out ([`succession`]).
//!
//! Invariants: only this crate names openraft, and only behind its own types. Nothing is tried twice
//! unless it certainly was not done. Every queue is bounded. Nothing random or timed escapes the
//! runtime it is started on, so that a simulation can run the crate as it is.
//!
//! Reading order: `cluster.rs`, `writes.rs`, `batch.rs`, `replica.rs`, `reads.rs`, then `link.rs`,
//! `inbound.rs`, `requests.rs`, `hibernation.rs`, `succession.rs`, and last what openraft wants: `raft.rs`, `log_store.rs`, `machine.rs`,
//! `network.rs`, `appends.rs`.

mod appends;
mod batch;
mod cluster;
mod frame;
mod health;
mod hibernation;
mod inbound;
mod link;
mod links;
mod log_store;
mod machine;
mod maintenance;
mod metrics;
mod network;
mod raft;
mod reads;
mod replica;
mod requests;
#[cfg(test)]
mod stage;
mod succession;
mod task;
mod transport;
mod writes;

use std::sync::Arc;

pub use self::{
    cluster::{Cluster, ClusterConfig, OnUsage, PeerAddress, StartError, data_paths},
    health::{Health, ShardHealth},
    maintenance::{RetentionOf, Sizes},
    transport::{BoxIo, Io, PeerTls, TcpTransport, Transport},
};

/// Milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Where work that may block runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    /// On threads made for it.
    Threads,
    /// Where it is, for a simulation, in which nothing blocks.
    Inline,
}

impl Blocking {
    /// Does work that may wait for the disk, without holding up the thread that asks for it. What is
    /// no longer waited for is finished all the same, and its result is dropped where it was made.
    async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Blocking::Inline => work(),
            Blocking::Threads => match tokio::task::spawn_blocking(work).await {
                Ok(result) => result,
                Err(ended) => match ended.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime ends, and this task with it.
                    Err(_) => std::future::pending().await,
                },
            },
        }
    }
}
