//! Nodes in one process for this crate's own tests, over real sockets, any of which can be cut.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use highwater_proto::ids::NodeId;
use highwater_storage::{disk::fault::FaultDisk, kv::memory::MemoryKv};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
    time,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{
    Blocking, BoxIo, Cluster, ClusterConfig, PeerAddress, Sizes, TcpTransport, Transport,
    maintenance::preferred_leader, replica::Replica,
};

/// How long anything may take before a test gives up: long, since a machine may be slow.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A cluster of nodes that are numbered from 1.
pub struct Stage {
    pub members: Vec<PeerAddress>,
    clusters: BTreeMap<u64, Cluster>,
    wires: Arc<Wires>,
}

impl Stage {
    /// Starts so many nodes and waits until all shards have leaders.
    pub async fn start(size: u64) -> Stage {
        let mut listeners = Vec::new();
        let mut members = Vec::new();
        for id in 1..=size {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            members.push(PeerAddress {
                id: NodeId(id),
                address: listener.local_addr().unwrap().to_string(),
            });
            listeners.push(listener);
        }
        let mut stage = Stage {
            members,
            clusters: BTreeMap::new(),
            wires: Arc::default(),
        };
        for (id, listener) in (1..).zip(listeners) {
            let config = stage.config(id, listener);
            stage
                .clusters
                .insert(id, Cluster::start(config).await.unwrap());
        }
        for cluster in stage.clusters.values() {
            assert!(cluster.wait_ready(DEADLINE).await, "{:?}", cluster.health());
        }
        stage
    }

    fn config(&self, id: u64, listener: TcpListener) -> ClusterConfig {
        static CLOCK_MS: AtomicU64 = AtomicU64::new(1_000);
        let transport = CutTransport {
            from: id,
            inner: TcpTransport::new(listener, None),
            members: self.members.clone(),
            wires: self.wires.clone(),
        };
        ClusterConfig {
            node: NodeId(id),
            name: "stage".into(),
            members: self.members.clone(),
            shards: 3,
            transport: Arc::new(transport),
            log_disk: Arc::new(FaultDisk::new()),
            kv: Arc::new(MemoryKv::default()),
            clock: Arc::new(|| CLOCK_MS.fetch_add(1, Ordering::Relaxed)),
            on_usage: Arc::new(|_, _| ()),
            retention: Arc::new(|_, _| Default::default()),
            sizes: Sizes::default(),
            blocking: Blocking::Threads,
        }
    }

    /// A node.
    pub fn cluster(&self, node: u64) -> &Cluster {
        &self.clusters[&node]
    }

    /// A node's replica of shard 0.
    pub fn replica(&self, node: u64) -> &Arc<Replica> {
        &self.cluster(node).replicas[0]
    }

    /// The leader of shard 0, once that is the node which is first in line and so stays it, and the two
    /// others.
    pub async fn parts(&self) -> (u64, [u64; 2]) {
        let nodes: Vec<u64> = self.clusters.keys().copied().collect();
        let first = preferred_leader(self.replica(1), &nodes).expect("there are nodes");
        until("all follow the first in line", || {
            let mut leaders = nodes.iter().map(|node| self.replica(*node).leader());
            leaders.all(|leader| leader == Some(first))
        })
        .await;
        let others: Vec<u64> = nodes.into_iter().filter(|n| *n != first).collect();
        (first, others.try_into().expect("a stage of three"))
    }

    /// Breaks the connection that one node opened to another. It cannot open a new one.
    pub fn cut(&self, from: u64, to: u64) {
        self.wires.cut(from, to);
    }

    /// Breaks all connections of a node, in both directions.
    pub fn isolate(&self, node: u64) {
        for other in self.clusters.keys().filter(|other| **other != node) {
            self.cut(node, *other);
            self.cut(*other, node);
        }
    }

    /// Nothing is cut any more.
    pub fn heal(&self) {
        self.wires.cut.lock().clear();
    }

    /// Stops all nodes.
    pub async fn stop(self) {
        for cluster in self.clusters.into_values() {
            cluster.shutdown().await;
        }
    }
}

/// Waits for something that comes.
pub async fn patiently<T>(something: impl Future<Output = T>) -> T {
    let outcome = time::timeout(DEADLINE, something).await;
    outcome.expect("it comes in time")
}

/// Waits for something to be so.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = time::Instant::now() + DEADLINE;
    while !is_so() {
        assert!(
            time::Instant::now() < deadline,
            "it never came to it: {what}"
        );
        time::sleep(Duration::from_millis(5)).await;
    }
}

/// The connections of all nodes, by who opened them and to whom. Those that are cut have a token that is
/// cancelled.
#[derive(Default)]
struct Wires {
    cut: Mutex<BTreeMap<(u64, u64), CancellationToken>>,
}

impl Wires {
    fn cut(&self, from: u64, to: u64) {
        self.token(from, to).cancel();
    }

    fn token(&self, from: u64, to: u64) -> CancellationToken {
        self.cut.lock().entry((from, to)).or_default().clone()
    }
}

struct CutTransport {
    from: u64,
    inner: Arc<TcpTransport>,
    members: Vec<PeerAddress>,
    wires: Arc<Wires>,
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Transport for CutTransport {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxIo>> {
        Box::pin(async move {
            let peer = self.members.iter().find(|m| m.address == address);
            let token = self.wires.token(self.from, peer.expect("a member").id.0);
            if token.is_cancelled() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let io = self.inner.dial(address).await?;
            let cut = Box::pin(token.cancelled_owned());
            Ok(Box::new(Wire { io, cut }) as BoxIo)
        })
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<BoxFuture<'static, io::Result<BoxIo>>>> {
        self.inner.accept()
    }
}

/// A connection until it is cut.
struct Wire {
    io: BoxIo,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Wire {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
