//! A node from start to stop: everything the process is made of, put together in one place.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::{FutureExt, future::try_join_all};
use highwater_broker::{
    Broker,
    catalogue::{Catalogue, Retention, follower::Follower},
    metering::Reader,
    quota::exchange::Exchange,
};
use highwater_certificates::{Certificates, TlsError, TlsFiles};
use highwater_cluster::{
    Blocking, Cluster, ClusterConfig, PeerAddress, PeerTls, RetentionOf, Sizes, StartError,
    TcpTransport, data_paths,
};
use highwater_gateway::{ALPN_PROTOCOLS, ClusterView, Gateway, Options, Peers, Tls};
use highwater_proto::{control, ids::MeterId, limits};
use highwater_storage::{disk::real::RealDisk, kv::rocks::RocksKv};
use prometheus_client::registry::Registry;
use tokio::{
    net::TcpListener,
    sync::{Mutex, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    catalogue, clock,
    config::{Config, Door},
    health::{Health, Phase},
    metrics,
    shutdown::{self, Step},
    tasks::Tasks,
    telemetry,
};

/// How often watchers of the gRPC health service hear of a change.
const READY_CHECK: Duration = Duration::from_millis(100);

/// Time for the last reading of what was counted here.
const LAST_READING: Duration = Duration::from_secs(2);

/// A running node.
pub struct Node {
    config: Config,
    cluster: Arc<Cluster>,
    gateway: Gateway,
    listeners: Vec<Listener>,
    addresses: Addresses,
    health: Arc<Health>,
    meter: Metering,
    tasks: Tasks,
}

/// What is counted here, and where that is taken down.
type Metering = (Arc<Mutex<Reader>>, Arc<Broker>);

/// A socket for clients, and the certificate it shows.
type Listener = (TcpListener, Option<Tls>);

/// Where a node listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// For clients.
    pub client: SocketAddr,
    /// For the other nodes.
    pub peer: SocketAddr,
}

impl Node {
    /// Opens the doors, recovers what is on disk and joins the cluster. Clients are answered once
    /// [`Node::run_until`] runs.
    ///
    /// # Errors
    /// What of the configuration cannot be used, or what on disk cannot be read.
    pub async fn start(config: Config) -> anyhow::Result<Node> {
        let tasks = Tasks::default();
        let mut listeners = vec![listen_to_clients("client", &config.client, &tasks).await?];
        for (name, door) in [("mqtt", &config.mqtt), ("mqtts", &config.mqtts)] {
            if let Some(door) = door {
                listeners.push(listen_to_clients(name, door, &tasks).await?);
            }
        }
        let peer_listener = listen("peer", &config.peer).await?;
        let addresses = Addresses {
            client: listeners[0].0.local_addr()?,
            peer: peer_listener.local_addr()?,
        };

        let late_broker = Arc::new(OnceLock::new());
        let retention = retention(late_broker.clone());
        let exchange = Arc::new(Exchange::default());
        let cluster_config =
            cluster_config(&config, peer_listener, (retention, &exchange), &tasks).await?;
        let cluster = Cluster::start(cluster_config).await;
        let cluster = cluster.map_err(|error| match error {
            StartError::Claim(_) => {
                anyhow::anyhow!("{error} (data_dir is {})", config.data_dir.display())
            }
            error => error.into(),
        });
        let cluster = Arc::new(cluster?);
        let secret = config.secret_bytes();
        let nothing = Catalogue::default();
        let broker = Broker::new(secret, nothing, cluster.handles(), cluster.meta());
        let broker = late_broker.get_or_init(|| Arc::new(broker)).clone();
        broker.set_catalogue_known(false);
        // What this node knew when it stopped, whether or not there are others.
        let mut follower = Follower::new(broker.clone());
        let version = follower
            .catch_up()
            .await
            .context("cannot read the catalogue")?;

        let health = Arc::new(Health::new(
            Arc::downgrade(&cluster),
            Arc::downgrade(&broker),
        ));
        let options = Options {
            trace_ratio: config.traces.as_ref().map_or(0.0, |t| t.sample_ratio),
            traceparent_of: telemetry::traceparent_of,
            node: config.node.0,
            ..config.gateway.clone()
        };
        let gateway = Gateway::new(broker.clone(), clock::system(), options);
        let mut registry = Registry::default();
        cluster.register_metrics(&mut registry);
        gateway.metrics().register(&mut registry);
        metrics::register(&mut registry, &cluster);
        let gateway = gateway
            .with_routes(health.clone().routes(registry))
            .with_cluster(cluster_view(&config, &cluster));
        gateway.set_ready(false).await;

        tasks.spawn("catalogue", catalogue::follow(follower, health.clone()));
        let shares = share_quotas(broker.clone(), exchange, Arc::downgrade(&cluster));
        tasks.spawn("quotas", shares);
        let meter = Reader::new(config.node, MeterId::generate());
        let meter: Metering = (Arc::new(Mutex::new(meter)), broker.clone());
        tasks.spawn("meter", read_meter(meter.clone()));
        let sweeping = catalogue::sweep(broker.clone(), Arc::downgrade(&cluster));
        tasks.spawn("deleted projects", sweeping);
        let over = catalogue::watch_over(broker, Arc::downgrade(&cluster), health.clone());
        tasks.spawn("catalogue is known", over);
        tasks.spawn(
            "sessions",
            keep_sessions(gateway.clone(), &config, &cluster),
        );
        tasks.spawn("ready", tell_ready(gateway.clone(), health.clone()));
        health.set_phase(Phase::Serving);
        info!(node = %config.node, cluster = config.cluster, client = %addresses.client,
              peer = %addresses.peer, shards = config.shards, catalogue = version, "started");
        Ok(Node {
            config,
            cluster,
            gateway,
            listeners,
            addresses,
            health,
            meter,
            tasks,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Waits until every shard can be written and read. Says whether it came to that in time. Drop it
    /// before the node stops: until then the node is not stopped.
    pub fn wait_ready(&self, timeout: Duration) -> impl Future<Output = bool> + use<> {
        let cluster = self.cluster.clone();
        async move { cluster.wait_ready(timeout).await }
    }

    /// How the node is doing.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Serves clients until `stop` is cancelled, then stops in order.
    ///
    /// # Errors
    /// When the door for clients breaks, or the stop could not be finished in time.
    pub async fn run_until(self, stop: CancellationToken) -> anyhow::Result<()> {
        let close_door = CancellationToken::new();
        let gateway = self.gateway.clone();
        let serving = self.listeners.into_iter();
        let serving =
            serving.map(|(listener, tls)| gateway.serve(listener, tls, close_door.clone()));
        let serving = try_join_all(serving);
        tokio::pin!(serving);
        let mut served = None;
        tokio::select! {
            () = stop.cancelled() => {}
            ended = &mut serving => {
                if let Err(error) = &ended {
                    error!(%error, "the door for clients broke");
                }
                served = Some(ended);
            }
        }
        info!("stopping");
        let mut cluster = Some(self.cluster);
        let hand_over_within = self.config.shutdown_timeout / 4;
        let is_served = served.is_some();
        let mut drained = is_served;
        let in_time = shutdown::stop(self.config.shutdown_timeout, async |step| match step {
            Step::NotReady => {
                self.health.set_phase(Phase::Stopping);
                gateway.set_ready(false).await;
            }
            // The gateway does both, in this order, when its door closes.
            Step::StopAccepting | Step::TellClients => close_door.cancel(),
            Step::Drain if !drained => {
                served = Some((&mut serving).await);
                drained = true;
            }
            Step::Drain => {}
            Step::HandOver => {
                let (meter, broker) = &self.meter;
                let now_ms = clock::system()();
                let last = async { meter.lock().await.take_all(broker, now_ms).await };
                if !matches!(timeout(LAST_READING, last).await, Ok(true)) {
                    warn!("some of what was delivered last is on no bill");
                }
                if let Some(cluster) = &cluster {
                    hand_over(cluster, hand_over_within).await;
                }
            }
            Step::Flush => {
                self.tasks.stop().await;
                if let Some(cluster) = cluster.take() {
                    sole_owner(cluster).await.shutdown().await;
                }
            }
        })
        .await;
        info!(in_time, "stopped");
        served.transpose().map(drop)?;
        anyhow::ensure!(in_time, "stopping took longer than shutdown_timeout_ms");
        Ok(())
    }
}

async fn listen(name: &str, door: &Door) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(door.listen).await;
    listener.with_context(|| format!("{name}.listen: cannot use {}", door.listen))
}

async fn listen_to_clients(
    name: &'static str,
    door: &Door,
    tasks: &Tasks,
) -> anyhow::Result<Listener> {
    let make = |files: &TlsFiles| files.server(&ALPN_PROTOCOLS).map(Arc::new);
    let tls = certificates(name, door, make, tasks)?;
    Ok((listen(name, door).await?, tls))
}

/// What a door makes of its certificates, as they are at any time; nothing of one without.
fn certificates<T: Send + Sync + 'static>(
    name: &'static str,
    door: &Door,
    make: fn(&TlsFiles) -> Result<T, TlsError>,
    tasks: &Tasks,
) -> Result<Option<watch::Receiver<T>>, TlsError> {
    let Some(files) = &door.tls else {
        return Ok(None);
    };
    let mut certificates = Certificates::read(name, files.clone(), make)?;
    let newest = certificates.newest();
    tasks.spawn("certificates", async move { certificates.watch().await });
    Ok(Some(newest))
}

/// How a node proves itself to the others, whoever opens the connection.
fn peer_tls(files: &TlsFiles) -> Result<PeerTls, TlsError> {
    Ok(PeerTls {
        connector: Arc::new(files.client()?).into(),
        acceptor: Arc::new(files.server(&[])?).into(),
    })
}

/// Sees to the MQTT sessions of the whole cluster together with the other nodes.
fn keep_sessions(
    gateway: Gateway,
    config: &Config,
    cluster: &Arc<Cluster>,
) -> impl Future<Output = std::io::Result<()>> + use<> {
    let others = config
        .peers
        .keys()
        .copied()
        .filter(|node| *node != config.node)
        .collect();
    // Not for long: the node is stopped by whoever holds the cluster last.
    let cluster = Arc::downgrade(cluster);
    let is_lost = move |node| {
        let cluster = cluster.clone();
        async move {
            match cluster.upgrade() {
                Some(cluster) => cluster.is_lost(node).await,
                None => false,
            }
        }
        .boxed()
    };
    let peers = Peers::new(others, Arc::new(is_lost));
    async move {
        gateway.keep_sessions(peers, CancellationToken::new()).await;
        Ok(())
    }
}

async fn cluster_config(
    config: &Config,
    listener: TcpListener,
    (retention, exchange): (RetentionOf, &Arc<Exchange>),
    tasks: &Tasks,
) -> anyhow::Result<ClusterConfig> {
    let tls = certificates("peer", &config.peer, peer_tls, tasks)?;
    let (log, store) = data_paths(&config.data_dir);
    let parent = config.data_dir.parent().map(Path::to_owned);
    let open = move || {
        std::fs::create_dir_all(&store)?;
        // What is durable in a folder is lost with its name. Where the parent cannot be opened, somebody
        // else has made the folder.
        if let Some(Ok(parent)) = parent.map(std::fs::File::open) {
            parent.sync_all()?;
        }
        let disk = RealDisk::new(log)?;
        anyhow::Ok((disk, RocksKv::open(&store, limits::STORE_CACHE_BYTES)?))
    };
    let opened = tokio::task::spawn_blocking(open).await?;
    let (disk, kv) =
        opened.with_context(|| format!("data_dir: cannot use {}", config.data_dir.display()))?;
    let member = |(id, address): (&_, &String)| PeerAddress {
        id: *id,
        address: address.clone(),
    };
    Ok(ClusterConfig {
        node: config.node,
        name: config.cluster.clone(),
        members: config.peers.iter().map(member).collect(),
        shards: config.shards,
        transport: TcpTransport::new(listener, tls),
        log_disk: Arc::new(disk),
        kv: Arc::new(kv),
        clock: clock::system(),
        retention,
        on_usage: {
            let (exchange, clock) = (exchange.clone(), clock::system());
            Arc::new(move |node, report| exchange.hear(node, report, clock()))
        },
        sizes: Sizes {
            erasure_interval: config.erasure_interval,
            ..Sizes::default()
        },
        blocking: Blocking::Threads,
    })
}

/// Retention by the catalogue in force, and the system's own. Nothing is dropped before there is a
/// catalogue, nor of a project that is not in it.
fn retention(broker: Arc<OnceLock<Arc<Broker>>>) -> RetentionOf {
    Arc::new(move |project, topic| {
        let project = broker.get().and_then(|broker| broker.project(project));
        project.map_or(Retention::default(), |p| p.policy(topic).retention)
    })
}

/// The cluster as a control plane is told of it.
fn cluster_view(config: &Config, cluster: &Arc<Cluster>) -> ClusterView {
    let (name, own_id) = (config.cluster.clone(), config.node);
    let cluster = Arc::downgrade(cluster);
    Arc::new(move || {
        // Gone when the node stops.
        let health = cluster.upgrade().map(|cluster| cluster.health());
        let (shards, peers) = health.map_or_else(Default::default, |h| (h.shards, h.peers));
        let nodes = peers.into_iter().chain([(own_id, true)]);
        let leads = |id| {
            shards
                .iter()
                .filter(|shard| shard.leader == Some(id))
                .count()
        };
        let mut nodes: Vec<_> = nodes
            .map(|(id, is_up)| control::Node {
                id: id.0,
                is_up,
                leads: leads(id) as u32,
            })
            .collect();
        nodes.sort_by_key(|node| node.id);
        let count = shards.len();
        let shards = shards.iter().enumerate().map(|(at, shard)| control::Shard {
            id: shard.shard.0,
            is_meta: at + 1 == count,
            leader: shard.leader.map_or(0, |id| id.0),
            last: shard.last,
            committed: shard.committed,
            applied: shard.applied,
            is_asleep: shard.is_asleep,
        });
        control::Cluster {
            name: name.clone(),
            nodes,
            shards: shards.collect(),
        }
    })
}

/// Divides what is limited in the whole cluster among its nodes, by what is asked of each.
async fn share_quotas(
    broker: Arc<Broker>,
    exchange: Arc<Exchange>,
    cluster: Weak<Cluster>,
) -> std::io::Result<()> {
    let clock = clock::system();
    let interval = Duration::from_millis(limits::USAGE_EXCHANGE_MS);
    let mut was_told = false;
    loop {
        sleep(interval).await;
        let report = exchange.round(&broker.catalogue(), clock());
        // One report without anything ends what was told before.
        let is_news = !report.entries.is_empty();
        if (is_news || was_told)
            && let Some(cluster) = cluster.upgrade()
        {
            cluster.tell_usage(&report, interval).await;
        }
        was_told = is_news;
    }
}

/// Has what is counted here taken down, again and again.
async fn read_meter((meter, broker): Metering) -> std::io::Result<()> {
    let clock = clock::system();
    loop {
        sleep(Duration::from_millis(limits::USAGE_READING_MS)).await;
        meter.lock().await.take(&broker, clock()).await;
    }
}

/// Keeps the gRPC health service in step with `/readyz`.
async fn tell_ready(gateway: Gateway, health: Arc<Health>) -> std::io::Result<()> {
    let mut told = false;
    loop {
        let ready = health.report().is_ready();
        if ready != told {
            gateway.set_ready(ready).await;
            told = ready;
        }
        sleep(READY_CHECK).await;
    }
}

/// Lets others lead, as long as there are others: when all nodes stop, the last one does not wait.
async fn hand_over(cluster: &Cluster, within: Duration) {
    let alone = async {
        while cluster.health().peers.iter().any(|(_, is_up)| *is_up) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        // First, because a hand-over to nobody ends at once too.
        biased;
        () = alone => info!("no other node is there to take over"),
        left = cluster.hand_over(within) => match left {
            0 => {}
            left => warn!(shards = left, "nobody could take over these shards in time"),
        },
    }
}

/// Waits for those who look at the cluster for a moment, such as a health check that is answered now.
async fn sole_owner(mut cluster: Arc<Cluster>) -> Cluster {
    loop {
        match Arc::try_unwrap(cluster) {
            Ok(owned) => return owned,
            Err(shared) => cluster = shared,
        }
        sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
mod tests;
