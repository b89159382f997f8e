//! The gateway as its owner sees it: what it is made of, how it is configured, and how it is run.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join;
use highwater_broker::{Broker, group::Home};
use highwater_proto::control::Cluster;
use highwater_proto::limits::{CONNECTIONS_MAX, HEADER_TIMEOUT_MS, HEARTBEAT_MS};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::{
    consumer::Leavers,
    cors::Cors,
    grpc::{self, catalogue::ClusterView},
    http,
    metrics::Metrics,
    mqtt::{keeper, registry::Registry},
    nodes::{Nodes, Peers},
    receiving::NodeRoom,
    sampling::Sampling,
    serve, sse, websocket,
};

/// Milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What an operator may want to choose. The default suits a node that is reached directly.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's number in its cluster.
    pub node: u64,
    /// Sockets that may be open at once; more are closed as they come.
    pub connections_max: usize,
    /// Time a client has for its first request's headers, TLS handshake included, and an HTTP/1.1
    /// client for those of each request. What a request has to begin with after them, a WebSocket with a credential or
    /// a stream of gRPC with its first message, is due within the same time.
    pub header_timeout: Duration,
    /// Time a client has to send the body of a request that is not a stream, and to go on with a message
    /// of a gRPC stream that has begun.
    pub body_timeout: Duration,
    /// Time a publish may wait for its outcome before the client is told that it is not known.
    pub publish_timeout: Duration,
    /// HTTP/2 connections are pinged this often, and closed without an answer within the same time.
    pub keepalive_interval: Duration,
    /// HTTP/2 connections are asked to go elsewhere after this time, so that load spreads anew.
    pub connection_age_max: Option<Duration>,
    /// Time that open requests and streams have to end when the gateway stops.
    pub drain_timeout: Duration,
    /// A stream that has nothing to say says so after this time: a comment of an event
    /// stream, a ping of a WebSocket.
    pub heartbeat_interval: Duration,
    /// Subscribers of a node that stops are told to reconnect at different times within this.
    pub reconnect_spread: Duration,
    /// Share of the publishes without a trace context that begin a trace, from 0 to 1.
    pub trace_ratio: f64,
    /// The W3C trace context of a span, if spans are collected.
    pub traceparent_of: fn(&Span) -> Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            node: 0,
            connections_max: CONNECTIONS_MAX,
            header_timeout: Duration::from_millis(HEADER_TIMEOUT_MS),
            body_timeout: Duration::from_secs(30),
            publish_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(20),
            connection_age_max: None,
            drain_timeout: Duration::from_secs(20),
            heartbeat_interval: Duration::from_millis(HEARTBEAT_MS),
            reconnect_spread: Duration::from_secs(5),
            trace_ratio: 0.0,
            traceparent_of: |_| None,
        }
    }
}

/// The front doors of a node. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    door: Arc<Door>,
    health: grpc::Health,
    cluster: ClusterView,
    extra: axum::Router,
}

impl Gateway {
    /// A gateway to a broker. Nothing is served before [`Gateway::serve`].
    pub fn new(broker: Arc<Broker>, clock: Clock, options: Options) -> Gateway {
        let door = Door {
            broker,
            started_at_ms: clock(),
            clock,
            nodes: Nodes::default(),
            sessions: Registry::default(),
            leavers: Leavers::default(),
            sampling: Sampling::new(options.trace_ratio),
            options,
            metrics: Metrics::default(),
            room: NodeRoom::default(),
            streams: sse::Streams::default(),
            reconnects: AtomicU64::new(0),
        };
        Gateway {
            door: Arc::new(door),
            health: grpc::Health::new(),
            cluster: Arc::new(Cluster::default),
            extra: axum::Router::new(),
        }
    }

    /// The same, with more routes on its port, such as `/livez`, `/readyz` and `/metrics`. They must not
    /// begin with `/v1`, and have no fallback.
    pub fn with_routes(mut self, routes: axum::Router) -> Gateway {
        self.extra = self.extra.merge(routes);
        self
    }

    /// The same, which tells control planes this of the cluster.
    pub fn with_cluster(mut self, cluster: ClusterView) -> Gateway {
        self.cluster = cluster;
        self
    }

    /// What it counts, to be registered by its owner.
    pub fn metrics(&self) -> &Metrics {
        &self.door.metrics
    }

    /// Tells watchers of the gRPC health service whether the node takes requests. It does at first.
    pub async fn set_ready(&self, ready: bool) {
        self.health.set_ready(ready).await;
    }

    /// Sees to what outlives connections, until `stop` is cancelled: MQTT sessions that have none, on whichever
    /// node it was, and groups whose members have left. Every node of the cluster does; `peers` are the others.
    pub async fn keep_sessions(&self, peers: Peers, stop: CancellationToken) {
        let door = &self.door;
        let keeping = join(keeper::run(door, &peers), door.leavers.run(&door.broker));
        stop.run_until_cancelled(keeping).await;
    }

    /// Serves one port until `shutdown` is cancelled and what was open has ended, or the drain timeout
    /// has passed. With `tls` every connection must use it, as it is when the connection comes.
    ///
    /// May be called for several listeners.
    ///
    /// # Errors
    /// Those of the listener that are not of one connection alone.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<serve::Tls>,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let router = http::router(&self.door)
            .merge(sse::router(&self.door))
            .merge(websocket::router(&self.door))
            .merge(grpc::router(&self.door, &self.health, &self.cluster))
            .merge(self.extra.clone())
            .fallback(http::not_found)
            .method_not_allowed_fallback(http::method_not_allowed);
        let port = serve::Port {
            door: self.door.clone(),
            router: Cors(router),
            tls,
            health: self.health.clone(),
        };
        port.serve(listener, shutdown).await
    }
}

/// What every request has at hand.
pub struct Door {
    pub(crate) broker: Arc<Broker>,
    pub(crate) clock: Clock,
    /// When the node was started: tells its connections from those before.
    pub(crate) started_at_ms: u64,
    /// What is known of the cluster's nodes.
    pub(crate) nodes: Nodes,
    /// The MQTT sessions that are connected here.
    pub(crate) sessions: Registry,
    pub(crate) leavers: Leavers,
    pub(crate) options: Options,
    pub(crate) sampling: Sampling,
    pub(crate) metrics: Metrics,
    pub(crate) room: NodeRoom,
    pub(crate) streams: sse::Streams,
    reconnects: AtomicU64,
}

impl Door {
    /// This node, since it was started: where its connections are.
    pub(crate) fn home(&self) -> Home {
        Home {
            node: self.options.node,
            started_at_ms: self.started_at_ms,
        }
    }

    /// How long the next client that is sent away waits before it comes back, in milliseconds. The
    /// golden ratio spreads any number of them evenly, without a source of randomness.
    pub(crate) fn reconnect_after_ms(&self) -> u64 {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let turn = self.reconnects.fetch_add(1, Ordering::Relaxed);
        let spread = self.options.reconnect_spread.as_millis() as u64;
        ((u128::from(turn.wrapping_mul(GOLDEN)) * u128::from(spread)) >> 64) as u64
    }
}
