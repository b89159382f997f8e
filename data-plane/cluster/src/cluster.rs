//! One node's part in the cluster: starts everything in order and stops it in order.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::join_all;
use highwater_broker::{
    handle::{ReadRequest, ShardHandle},
    tail::Tail,
};
use highwater_proto::{
    cluster as wire,
    ids::{NodeId, ShardId},
    limits::{APPEND_ENTRIES_MAX, CLUSTER_NAME_BYTES_MAX, SHARD_QUEUE_MAX, SHARDS_MAX},
};
use highwater_storage::{
    disk::Disk,
    kv::Kv,
    log::{Log, LogError, LogWriter},
    store::{ClaimError, Identity, Store, StoreError},
};
use openraft::{Config, SnapshotPolicy, async_runtime::WatchReceiver};
use prometheus_client::registry::Registry;
use tokio::{sync::mpsc, time};

use crate::{
    Blocking, Clock,
    frame::{Kind, VERSION},
    health::{Doubt, Health, ShardHealth},
    hibernation::{Slumber, hibernate_forever},
    inbound::Inbound,
    link::{Link, LinkTask},
    links::Links,
    log_store::LogStore,
    machine::Machine,
    maintenance::{Maintenance, RetentionOf, Sizes, is_caught_up, preferred_leader},
    metrics::Metrics,
    network::Network,
    raft::{Member, Raft},
    reads::Reads,
    replica::{Forwarded, Replica},
    succession::{Succession, is_lost_to_most},
    task::Tasks,
    transport::Transport,
    writes::Writes,
};

/// Heartbeats of a leader, in milliseconds.
const HEARTBEAT_MS: u64 = 120;
/// An election begins after this much silence, in milliseconds, at random between the two.
const ELECTION_MS: (u64, u64) = (350, 600);
/// How long a node that is not first in line waits for that one to found the group.
const FOUND_AFTER: Duration = Duration::from_secs(2);

/// In a frame that is of no shard.
const NO_SHARD: ShardId = ShardId(u32::MAX);

/// Another member of the cluster, or this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its id.
    pub id: NodeId,
    /// Where it listens for its peers: `host:port`.
    pub address: String,
}

/// What a node needs to know to take part.
pub struct ClusterConfig {
    /// This node.
    pub node: NodeId,
    /// The cluster's name: nodes of different clusters do not talk.
    pub name: String,
    /// All members, this one included. The same on every node.
    pub members: Vec<PeerAddress>,
    /// The number of shards of projects. The same on every node, for good. The meta group, which holds what
    /// every node has to know, is one more.
    pub shards: u32,
    /// How nodes reach each other.
    pub transport: Arc<dyn Transport>,
    /// Where the log lies.
    pub log_disk: Arc<dyn Disk>,
    /// Where applied records lie.
    pub kv: Arc<dyn Kv>,
    /// Milliseconds since the Unix epoch.
    pub clock: Clock,
    /// How long records stay.
    pub retention: RetentionOf,
    /// Hears what other nodes tell of what they are used for.
    pub on_usage: OnUsage,
    /// How much is held before it is written elsewhere.
    pub sizes: Sizes,
    /// Where blocking work runs.
    pub blocking: Blocking,
}

/// Hears what another node is used for.
pub type OnUsage = Arc<dyn Fn(NodeId, wire::UsageReport) + Send + Sync>;

/// Where a node keeps its data.
pub fn data_paths(data_dir: &std::path::Path) -> (PathBuf, PathBuf) {
    (data_dir.join("log"), data_dir.join("store"))
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log cannot be opened.
    #[error("cannot open the log: {0}")]
    Log(#[from] LogError),
    /// The store cannot be opened.
    #[error("cannot open the store: {0}")]
    Store(#[from] StoreError),
    /// The data on disk is not this node's, or not of a cluster like this one.
    #[error("{0}")]
    Claim(#[from] ClaimError),
    /// A Raft group cannot be started.
    #[error("cannot start shard {0}: {1}")]
    Raft(ShardId, String),
    /// The configuration makes no sense.
    #[error("{0}")]
    Config(String),
}

/// A node that takes part.
pub struct Cluster {
    node: NodeId,
    pub(crate) replicas: Vec<Arc<Replica>>,
    handles: Vec<ShardHandle>,
    meta: ShardHandle,
    links: Arc<Links>,
    maintenance: Maintenance,
    writer: Option<std::thread::JoinHandle<()>>,
    tasks: Tasks,
}

impl Cluster {
    /// Recovers what is on disk and joins the other nodes. Returns before there is a leader.
    ///
    /// # Errors
    /// [`StartError`] when the disk cannot be read or holds something else.
    pub async fn start(config: ClusterConfig) -> Result<Cluster, StartError> {
        check(&config)?;
        let tasks = Tasks::default();
        let metrics = Arc::new(Metrics::default());
        let store = Arc::new(Store::open(config.kv.clone())?);
        // Before anything else is read: of another node it would be read as what it is not.
        store.claim(&identity(&config))?;
        let (log, writer) = Log::open(config.log_disk.clone(), config.sizes.log.clone())?;
        let writer = start_writer(writer, config.blocking, &tasks);

        let others = config.members.iter().filter(|m| m.id != config.node);
        let (links, link_tasks): (Vec<_>, Vec<_>) = others
            .map(|peer| {
                let hello = wire::Hello {
                    node: config.node.0,
                    cluster: config.name.clone(),
                    version: VERSION,
                    to: peer.id.0,
                };
                let transport = config.transport.clone();
                LinkTask::new(hello, peer.address.clone(), transport, metrics.clone())
            })
            .unzip();
        let links = Arc::new(Links::new(links));

        let mut replicas = Vec::new();
        let mut handles = Vec::new();
        let mut queues = Vec::new();
        // The meta group's id is the one after those of the shards.
        for shard in (0..=config.shards).map(ShardId) {
            let tail = Arc::new(Tail::default());
            let (handle, shard_queues) = ShardHandle::new(shard, tail.clone());
            let (forwarded_tx, forwarded) = mpsc::channel(SHARD_QUEUE_MAX);
            let shard_store = store.shard(shard)?;
            tail.reset(shard_store.next_position());
            let machine = Machine::new(
                shard_store.clone(),
                tail.clone(),
                metrics.clone(),
                config.blocking,
            );
            let log_store = LogStore::new(log.shard(shard));
            let network = Network::new(shard, links.clone(), config.blocking);
            let raft_config = raft_config(&config.name, config.members.len());
            let raft = Raft::new(config.node.0, raft_config, network, log_store, machine)
                .await
                .map_err(|fatal| StartError::Raft(shard, fatal.to_string()))?;
            replicas.push(Arc::new(Replica {
                id: shard,
                node: config.node.0,
                raft,
                store: shard_store,
                tail,
                links: links.clone(),
                forwarded: forwarded_tx,
                metrics: metrics.clone(),
                slumber: Slumber::default(),
                doubt: Doubt::default(),
                blocking: config.blocking,
            }));
            handles.push(handle);
            queues.push((shard_queues, forwarded));
        }

        let maintenance = Maintenance {
            replicas: replicas.clone(),
            store,
            log,
            clock: config.clock.clone(),
            sizes: config.sizes.clone(),
            blocking: config.blocking,
            metrics,
            store_failure: Arc::default(),
        };
        let meta = handles.pop().expect("the meta group is the last");
        let cluster = Cluster {
            node: config.node,
            replicas,
            handles,
            meta,
            links,
            maintenance,
            writer,
            tasks,
        };
        for link_task in link_tasks {
            cluster.tasks.spawn("link", link_task.run());
        }
        cluster.start_inbound(&config);
        for (replica, (shard_queues, forwarded)) in cluster.replicas.iter().zip(queues) {
            cluster.start_shard(&config, replica, shard_queues, forwarded);
        }
        cluster.start_maintenance(&config);
        Ok(cluster)
    }

    fn start_inbound(&self, config: &ClusterConfig) {
        let inbound = Arc::new(Inbound {
            node: config.node.0,
            cluster: config.name.clone(),
            peers: self.links.iter().map(|link| link.peer().0).collect(),
            replicas: self.replicas.clone(),
            on_usage: config.on_usage.clone(),
            tasks: self.tasks.clone(),
        });
        self.tasks
            .spawn("peers", inbound.run(config.transport.clone()));
    }

    fn start_shard(
        &self,
        config: &ClusterConfig,
        replica: &Arc<Replica>,
        queues: highwater_broker::handle::ShardQueues,
        forwarded: mpsc::Receiver<Forwarded>,
    ) {
        let clock = config.clock.clone();
        let writes = Writes::new(replica.clone(), clock, queues.writes, forwarded);
        self.tasks.spawn("writes", writes.run());
        let reads = Reads {
            replica: replica.clone(),
            blocking: config.blocking,
            tasks: self.tasks.clone(),
        };
        self.tasks.spawn("reads", reads.run(queues.reads));
        let members = config.members.clone();
        self.tasks.spawn("found", found(replica.clone(), members));
    }

    fn start_maintenance(&self, config: &ClusterConfig) {
        let maintenance = &self.maintenance;
        self.tasks
            .spawn("checkpoint", maintenance.clone().checkpoint_forever());
        self.tasks
            .spawn("erasure", maintenance.clone().erase_forever());
        self.tasks
            .spawn("disk failure", maintenance.clone().stop_on_log_failure());
        let retention = config.retention.clone();
        self.tasks
            .spawn("retention", maintenance.clone().retain_forever(retention));
        self.tasks
            .spawn("balance", maintenance.clone().balance_forever());
        self.tasks
            .spawn("hibernation", hibernate_forever(self.replicas.clone()));
        for link in self.links.iter() {
            let succession = Succession {
                replicas: self.replicas.clone(),
                link: link.clone(),
                tasks: self.tasks.clone(),
            };
            self.tasks.spawn("succession", succession.run());
        }
    }

    /// A handle for each shard of projects, in order of their ids.
    pub fn handles(&self) -> Vec<ShardHandle> {
        self.handles.clone()
    }

    /// A handle for the meta group.
    pub fn meta(&self) -> ShardHandle {
        self.meta.clone()
    }

    /// How this node sees the cluster now.
    pub fn health(&self) -> Health {
        let shard = |replica: &Arc<Replica>| {
            let is_cut_off = replica.look_whether_cut_off();
            let metrics = replica.raft.metrics();
            let metrics = metrics.borrow_watched();
            ShardHealth {
                shard: replica.id,
                leader: metrics.current_leader.map(NodeId),
                is_leader: metrics.current_leader == Some(replica.node),
                is_cut_off,
                is_asleep: replica.is_asleep(),
                last: metrics.last_log_index.unwrap_or_default(),
                committed: metrics.cluster_committed.map_or(0, |id| id.index),
                applied: metrics.last_applied.map_or(0, |id| id.index),
                stopped: metrics
                    .running_state
                    .as_ref()
                    .err()
                    .map(ToString::to_string),
            }
        };
        Health {
            shards: self.replicas.iter().map(shard).collect(),
            peers: self
                .links
                .iter()
                .map(|link| (link.peer(), link.is_up()))
                .collect(),
            storage_failure: self.maintenance.failure(),
        }
    }

    /// Whether this node leads the meta group.
    pub fn leads_meta(&self) -> bool {
        self.replicas.last().is_some_and(|meta| meta.is_leader())
    }

    /// Tells the other nodes what this one is used for, and waits until they know, for at most this long. One that
    /// cannot be reached does not hear of it; the next report says it all again.
    pub async fn tell_usage(&self, report: &wire::UsageReport, timeout: Duration) {
        let tell = async |link: &Arc<Link>| {
            let told = link.call::<wire::Blank>(Kind::Usage, NO_SHARD, report, timeout);
            if let Err(error) = told.await {
                tracing::trace!(%error, "a peer was not told what this node is used for");
            }
        };
        let reachable = self.links.iter().filter(|link| link.is_up());
        join_all(reachable.map(tell)).await;
    }

    /// Whether this node would hear of a commit of the meta group: there is a leader, and a way to it, or to a
    /// majority for the leader itself.
    pub fn hears_of_catalogue(&self) -> bool {
        let meta = self.replicas.last().expect("the meta group is the last");
        meta.leader().is_some() && !meta.is_in_doubt()
    }

    /// Whether most of the cluster has no connection to another node: it has stopped, or might as well have.
    pub async fn is_lost(&self, node: NodeId) -> bool {
        if self.links.is_up(node.0) {
            return false;
        }
        let Some(any) = self.replicas.first() else {
            return false;
        };
        let members: Vec<u64> = any.raft.voter_ids().collect();
        is_lost_to_most(&self.links, any.id, (&members, any.node), node.0).await
    }

    /// Waits until every shard has a leader that a quorum confirms. Returns whether it came to that
    /// in time.
    pub async fn wait_ready(&self, timeout: Duration) -> bool {
        let all = async {
            for handle in self.handles.iter().chain([&self.meta]) {
                while handle
                    .read(|reply| ReadRequest::Frontier { reply })
                    .await
                    .is_err()
                {}
            }
        };
        time::timeout(timeout, all).await.is_ok()
    }

    /// Gives all leaderships away, to whoever is next in line. Returns how many are left after at
    /// most this long.
    pub async fn hand_over(&self, timeout: Duration) -> usize {
        let deadline = time::Instant::now() + timeout;
        loop {
            let led: Vec<_> = self.replicas.iter().filter(|r| r.is_leader()).collect();
            if led.is_empty() || self.links.iter().next().is_none() {
                return led.len();
            }
            for replica in &led {
                let members = replica.raft.voter_ids();
                let others: Vec<u64> = members.filter(|m| *m != self.node.0).collect();
                let up = |m: &u64| self.links.get(*m).is_some_and(|l| l.is_up());
                let ready = others
                    .iter()
                    .copied()
                    .filter(up)
                    .filter(|m| is_caught_up(replica, *m));
                let ready: Vec<u64> = ready.collect();
                if let Some(next) = preferred_leader(replica, &ready) {
                    replica.wake_to_propose().await;
                    let _ = replica.raft.trigger().transfer_leader(next).await;
                }
            }
            time::sleep(Duration::from_millis(20)).await;
            if time::Instant::now() >= deadline {
                return self.replicas.iter().filter(|r| r.is_leader()).count();
            }
        }
    }

    /// Makes the metrics of this crate visible.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.maintenance.metrics.register(registry);
    }

    /// The node's log, for its metrics.
    pub fn log(&self) -> &Log {
        &self.maintenance.log
    }

    /// The node's store, for its metrics.
    pub fn store(&self) -> &Store {
        &self.maintenance.store
    }

    /// Stops everything: the groups, then a last checkpoint so that the next start is quick, then
    /// the log.
    pub async fn shutdown(mut self) {
        for replica in &self.replicas {
            if let Err(error) = replica.raft.shutdown().await {
                tracing::warn!(shard = %replica.id, %error, "a group did not stop well");
            }
        }
        self.tasks.stop().await;
        self.maintenance.checkpoint().await;
        let writer = self.writer.take();
        drop(self);
        if let Some(writer) = writer {
            let joined = tokio::task::spawn_blocking(move || writer.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the log's writer did not end well");
            }
        }
    }
}

fn check(config: &ClusterConfig) -> Result<(), StartError> {
    let invalid = |message: &str| Err(StartError::Config(message.to_owned()));
    let ids: BTreeMap<u64, ()> = config.members.iter().map(|m| (m.id.0, ())).collect();
    if ids.len() != config.members.len() || ids.contains_key(&0) {
        return invalid("every member has an id of its own, which is not 0");
    }
    if !ids.contains_key(&config.node.0) {
        return invalid("this node is not one of the members");
    }
    if config.name.len() > CLUSTER_NAME_BYTES_MAX {
        return invalid("the name of a cluster has at most 256 bytes");
    }
    if config.shards == 0 || config.shards > SHARDS_MAX {
        return invalid("a cluster has between 1 and 1024 shards");
    }
    Ok(())
}

fn identity(config: &ClusterConfig) -> Identity {
    Identity {
        cluster: config.name.clone(),
        node: config.node,
        shards: config.shards,
        // Every node has every shard.
        replication: config.members.len() as u32,
    }
}

fn start_writer(
    writer: LogWriter,
    blocking: Blocking,
    tasks: &Tasks,
) -> Option<std::thread::JoinHandle<()>> {
    match blocking {
        Blocking::Threads => {
            let thread = std::thread::Builder::new().name("log".to_owned());
            Some(
                thread
                    .spawn(move || writer.run_blocking())
                    .expect("a thread can be started"),
            )
        }
        Blocking::Inline => {
            tasks.spawn("log", writer.run());
            None
        }
    }
}

/// Founds the group if it does not exist. Every member may do it, since all say the same; the one
/// first in line does it at once and the others only if that one does not come.
async fn found(replica: Arc<Replica>, members: Vec<PeerAddress>) {
    let ids: Vec<u64> = members.iter().map(|m| m.id.0).collect();
    if preferred_leader(&replica, &ids) != Some(replica.node) {
        time::sleep(FOUND_AFTER).await;
    }
    let members: BTreeMap<u64, Member> = members
        .into_iter()
        .map(|m| (m.id.0, Member { address: m.address }))
        .collect();
    match replica.raft.is_initialized().await {
        Ok(true) | Err(_) => {}
        Ok(false) => {
            if let Err(error) = replica.raft.initialize(members).await {
                tracing::debug!(shard = %replica.id, %error, "the group was founded elsewhere");
            }
        }
    }
}

fn raft_config(name: &str, members: usize) -> Arc<Config> {
    let config = Config {
        cluster_name: name.to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS.0,
        election_timeout_max: ELECTION_MS.1,
        enable_pre_vote: Some(members > 1),
        broadcast_submitted_on_append: Some(true),
        // Followers may have what a leader sent before its own disk had it. A leader that lost that in
        // a crash must not go on in its old term, or one log id would name two entries.
        enable_leader_restore: Some(false),
        // Checkpoints are the snapshots, and the log goes by its size on disk.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX >> 1,
        replication_lag_threshold: u64::MAX >> 1,
        install_snapshot_timeout: 600_000,
        max_payload_entries: APPEND_ENTRIES_MAX,
        ..Config::default()
    };
    Arc::new(config.validate().expect("a valid configuration"))
}
