//! One port: accepts sockets, speaks TLS, HTTP/1.1, HTTP/2 and MQTT on them, and ends them in good order.
//!
//! Every connection has the same limits whatever it turns out to speak: it must say what it wants in
//! time, it may hold so many streams and reset so few, and its buffers are small. On shutdown the
//! listener closes first, then each connection is told to finish (GOAWAY, `Connection: close`) and each
//! subscriber when to come back; what is still open after the drain timeout is dropped.

use std::{
    fmt::Display,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use futures_util::FutureExt;
use highwater_proto::limits::{
    HEADER_BYTES_MAX, HEADER_TIMEOUT_MS, HTTP2_CONNECTION_WINDOW_BYTES, HTTP2_RESETS_MAX,
    HTTP2_SEND_BUFFER_BYTES_MAX, HTTP2_STREAM_WINDOW_BYTES, HTTP2_STREAMS_MAX,
};
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::{
    alarm::Alarm,
    cors::Cors,
    gateway::Door,
    grpc,
    io::Io,
    metrics::Counted,
    mqtt,
    page::Page,
    receiving::{ConnectionRoom, NodeRoom},
    task::{OnCancel, OnError, Tasks},
};

/// Pause after a failed accept, which is nearly always a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The newest settings of TLS, for connections from now on. [`ALPN_PROTOCOLS`] are to be among them.
pub type Tls = watch::Receiver<Arc<ServerConfig>>;

/// What is spoken on a port, to be offered in the handshake of TLS (RFC 7301).
pub const ALPN_PROTOCOLS: [&str; 3] = ["h2", "http/1.1", mqtt::ALPN];

/// What a request can know of the connection it came on.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Cancelled when the connection is to end: streams tell their clients and finish.
    pub draining: CancellationToken,
    /// Cancelled when that is because the whole port is to end.
    pub stopping: CancellationToken,
    /// The other end.
    pub peer: Option<SocketAddr>,
    /// Whether it is encrypted up to here.
    pub is_tls: bool,
    /// Until when the client of this request, if it goes on in another protocol or as a stream, has to begin with that:
    /// for the first request of a connection, the one time that all of its beginning has.
    pub(crate) begin_by: Instant,
    /// The memory that its requests may take while they come in.
    pub(crate) room: ConnectionRoom,
    tasks: Tasks,
    open: Option<Arc<Open>>,
}

/// A connection's place among those that may be open.
#[derive(Debug)]
struct Open {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Connection {
    /// The connection of a request; one without end for a request that came from no socket.
    pub fn of(extensions: &http::Extensions) -> Connection {
        extensions.get().cloned().unwrap_or_else(|| Connection {
            draining: CancellationToken::new(),
            stopping: CancellationToken::new(),
            peer: None,
            is_tls: false,
            begin_by: Instant::now() + Duration::from_millis(HEADER_TIMEOUT_MS),
            room: NodeRoom::default().connection(),
            tasks: Tasks::default(),
            open: None,
        })
    }

    /// Goes on in a task of its own, in the protocol that was agreed on: the connection is open for as long as that
    /// runs.
    pub fn go_on<E: Display>(
        &self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let open = self.open.clone();
        let task = task.inspect(move |_| drop(open));
        self.tasks
            .spawn(name, (OnCancel::Drop, OnError::Trace), task);
    }
}

/// What is served on a port, and how.
pub(crate) struct Port {
    pub door: Arc<Door>,
    pub router: Cors,
    pub tls: Option<Tls>,
    pub health: grpc::Health,
}

impl Port {
    /// Accepts until shutdown, then waits for what is open.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let options = &self.door.options;
        let room = Arc::new(Semaphore::new(options.connections_max));
        let tasks = Tasks::default();
        let drain_timeout = options.drain_timeout;
        let draining = CancellationToken::new();
        let connections = Connections {
            tls: self.tls,
            http1: http1(&self.door),
            http: any_http(&tasks, &self.door),
            tasks: tasks.clone(),
            router: self.router,
            door: self.door,
            draining: draining.clone(),
        };
        let connections = Arc::new(connections);
        while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections for a moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = room.clone().try_acquire_owned() else {
                connections.door.metrics.connections_refused.inc();
                continue;
            };
            let connections = connections.clone();
            let open = Arc::new(Open {
                _permit: permit,
                _counted: Counted::new(&connections.door.metrics.connections),
            });
            let greeting = connections.serve(socket, peer, open);
            tasks.spawn("connection", (OnCancel::Drop, OnError::Trace), greeting);
        }
        drop(listener);
        // Before the connections are told, so that those who watch the health learn it from there.
        self.health.set_ready(false).await;
        draining.cancel();
        if timeout(drain_timeout, tasks.finished()).await.is_err() {
            tracing::warn!("connections were still open after the drain timeout");
        }
        tasks.stop().await;
        Ok(())
    }
}

/// Errors of `accept` that say nothing about the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

fn http1(door: &Door) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(door.options.header_timeout)
        .max_header_size(HEADER_BYTES_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(true);
    builder
}

fn any_http(tasks: &Tasks, door: &Door) -> auto::Builder<Tasks> {
    let options = &door.options;
    let mut builder = auto::Builder::new(tasks.clone());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_pending_accept_reset_streams(HTTP2_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_RESETS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .max_send_buf_size(HTTP2_SEND_BUFFER_BYTES_MAX)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_interval)
        // WebSocket over HTTP/2 (RFC 8441).
        .enable_connect_protocol();
    builder
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What all connections of a port share.
struct Connections {
    door: Arc<Door>,
    router: Cors,
    tls: Option<Tls>,
    http1: http1::Builder,
    http: auto::Builder<Tasks>,
    tasks: Tasks,
    draining: CancellationToken,
}

impl Connections {
    /// Waits until the client shows what it speaks, and goes on in a task that has no more memory than that takes.
    async fn serve(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        open: Arc<Open>,
    ) -> Result<(), BoxError> {
        // One time for all that a connection begins with, so that no part of it gives it another.
        let begin_by = Instant::now() + self.door.options.header_timeout;
        let connection = Connection {
            draining: self.draining.child_token(),
            stopping: self.draining.clone(),
            peer: Some(peer),
            is_tls: self.tls.is_some(),
            begin_by,
            room: self.door.room.connection(),
            tasks: self.tasks.clone(),
            open: Some(open),
        };
        socket.set_nodelay(true)?;
        let mut io = match &self.tls {
            None => Io::from(socket),
            Some(tls) => {
                let newest = tls.borrow().clone();
                let handshake = TlsAcceptor::from(newest).accept(socket);
                Io::from(timeout_at(begin_by, handshake).await??)
            }
        };
        match timeout_at(begin_by, io.first()).await?? {
            None => {}
            // Clients of MQTT need not name it in the handshake of TLS, and many do not.
            Some(first) if mqtt::begins_with(first) => {
                let draining = connection.draining.clone();
                let client = (Page::default(), begin_by);
                let served = mqtt::serve(self.door.clone(), io, client, draining);
                connection.go_on("mqtt", served);
            }
            Some(first) => {
                let version = match first {
                    // The preface of HTTP/2 begins with it (RFC 9113, section 3.4), and so does POST.
                    b'P' => Version::Any,
                    // It needs room for one version alone.
                    _ => Version::Http1,
                };
                let served = self.serve_http(io, connection.clone(), version);
                connection.go_on("http", served);
            }
        }
        Ok(())
    }

    /// Serves requests of HTTP/1.1, or of whichever version the preface says.
    async fn serve_http(
        self: Arc<Self>,
        io: Io,
        connection: Connection,
        version: Version,
    ) -> Result<(), BoxError> {
        let has_begun = Arc::new(AtomicBool::new(false));
        let service = service_fn({
            let (has_begun, connection) = (has_begun.clone(), connection.clone());
            let (router, header_timeout) = (self.router.clone(), self.door.options.header_timeout);
            move |mut request: Request<Incoming>| {
                let mut connection = connection.clone();
                if has_begun.swap(true, Ordering::Relaxed) {
                    connection.begin_by = Instant::now() + header_timeout;
                }
                request.extensions_mut().insert(connection);
                // In memory of its own, which ends with the answer: what is answered may last as a stream.
                Box::pin(router.clone().call(request.map(Body::new)))
            }
        });
        let io = TokioIo::new(io);
        match version {
            Version::Http1 => {
                let served = self.http1.serve_connection(io, service).with_upgrades();
                self.finish(pin!(served), &connection, &has_begun).await
            }
            Version::Any => {
                // In memory of its own: it takes twice as much, and most have the other.
                let mut served = Box::pin(self.http.serve_connection_with_upgrades(io, service));
                self.finish(served.as_mut(), &connection, &has_begun).await
            }
        }
    }

    /// Serves until the connection ends, is too slow to begin, or has to go.
    async fn finish<E: Into<BoxError>>(
        &self,
        mut served: Pin<&mut impl Served<Output = Result<(), E>>>,
        connection: &Connection,
        has_begun: &AtomicBool,
    ) -> Result<(), BoxError> {
        let begin_by = connection.begin_by;
        let age_max = self.door.options.connection_age_max;
        let retires_at = age_max.map(|max| Instant::now() + max);
        let mut alarm = Alarm::default();
        let mut told = false;
        loop {
            let first_request = (!has_begun.load(Ordering::Relaxed)).then_some(begin_by);
            let retirement = retires_at.filter(|_| !told);
            let due = first_request.into_iter().chain(retirement).min();
            tokio::select! {
                ended = served.as_mut() => return ended.map_err(Into::into),
                () = alarm.ring(due) => {
                    let now = Instant::now();
                    if now >= begin_by && !has_begun.load(Ordering::Relaxed) {
                        return Err("no request came in time".into());
                    }
                    if retires_at.is_some_and(|at| at <= now) {
                        connection.draining.cancel();
                    }
                }
                () = connection.draining.cancelled(), if !told => {
                    told = true;
                    served.as_mut().tell_to_finish();
                }
            }
        }
    }
}

/// What a connection may speak beside MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    /// HTTP/2 as well.
    Any,
}

/// A connection of hyper's, of either kind.
trait Served: Future {
    /// Takes no more requests, and ends when those it has are answered.
    fn tell_to_finish(self: Pin<&mut Self>);
}

impl<S, B> Served for http1::UpgradeableConnection<TokioIo<Io>, S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
{
    fn tell_to_finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, B> Served for auto::UpgradeableConnection<'_, TokioIo<Io>, S, Tasks>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    fn tell_to_finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
