//! One port: accepts sockets, speaks TLS, HTTP/1.1 and HTTP/2 on them, and ends them in good order.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use highwater_proto::limits::{
    CONTROL_CONNECTIONS_MAX, HEADER_BYTES_MAX, HEADER_TIMEOUT_MS, HTTP2_RESETS_MAX,
};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service as _;
use tracing::warn;

use crate::{
    metrics::Metrics,
    tasks::{OnStop, Tasks},
};

/// Pause after a failed accept, which is nearly always a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often connections of HTTP/2 are pinged, and how long they may take to answer.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Streams of one HTTP/2 connection.
const STREAMS: u32 = 128;

/// What is spoken on the port, to be offered in the handshake of TLS (RFC 7301).
pub const ALPN_PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// The newest settings of TLS, for connections from now on.
pub type Tls = watch::Receiver<Arc<ServerConfig>>;

/// The other end of a request's connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// A port, and what is served on it.
pub struct Port {
    /// Where connections come in.
    pub listener: TcpListener,
    /// The newest settings of TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// What answers.
    pub router: Router,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Port {
    /// Accepts until it is told to stop, then waits until the requests that have begun are answered.
    pub async fn serve(self, stop: CancellationToken) {
        let tasks = Tasks::default();
        let room = Arc::new(Semaphore::new(CONTROL_CONNECTIONS_MAX));
        let http = Arc::new(http(&tasks));
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !is_of_one_connection(&error) {
                        warn!(%error, "cannot accept connections for a moment");
                        sleep(ACCEPT_PAUSE).await;
                    }
                    continue;
                }
            };
            let Ok(permit) = room.clone().try_acquire_owned() else {
                continue;
            };
            let connection = Connection {
                http: http.clone(),
                router: self.router.clone(),
                peer: Peer(peer),
                stop: stop.clone(),
            };
            let (tls, metrics) = (self.tls.clone(), self.metrics.clone());
            tasks.spawn("connection", OnStop::Finish, async move {
                metrics.connections.inc();
                connection.open(socket, tls).await;
                metrics.connections.dec();
                drop(permit);
                Ok::<(), Infallible>(())
            });
        }
        drop(self.listener);
        tasks.finished().await;
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

fn http(tasks: &Tasks) -> auto::Builder<Tasks> {
    let mut builder = auto::Builder::new(tasks.clone());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEADER_TIMEOUT_MS))
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(HTTP2_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_RESETS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE);
    builder
}

struct Connection {
    http: Arc<auto::Builder<Tasks>>,
    router: Router,
    peer: Peer,
    stop: CancellationToken,
}

impl Connection {
    async fn open(self, socket: TcpStream, tls: Option<Tls>) {
        // Without it answers only come later.
        let _ = socket.set_nodelay(true);
        let Some(tls) = tls else {
            return self.serve(socket).await;
        };
        let settings = tls.borrow().clone();
        let handshake = TlsAcceptor::from(settings).accept(socket);
        let time = Duration::from_millis(HEADER_TIMEOUT_MS);
        // Who does not manage it is somebody else's client.
        if let Ok(Ok(socket)) = timeout(time, handshake).await {
            self.serve(socket).await;
        }
    }

    async fn serve(self, socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let (router, peer) = (self.router, self.peer);
        let has_begun = Arc::new(AtomicBool::new(false));
        let begun = has_begun.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            begun.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(peer);
            router.clone().call(request.map(Body::new))
        });
        let mut served = pin!(self.http.serve_connection(TokioIo::new(socket), service));
        let mut first_request = pin!(sleep(Duration::from_millis(HEADER_TIMEOUT_MS)));
        let mut is_waiting = true;
        let ended = loop {
            tokio::select! {
                ended = served.as_mut() => break ended,
                () = first_request.as_mut(), if is_waiting => {
                    is_waiting = false;
                    // Whoever says nothing keeps nobody else out.
                    if !has_begun.load(Ordering::Relaxed) {
                        return;
                    }
                }
                () = self.stop.cancelled() => {
                    served.as_mut().graceful_shutdown();
                    break served.await;
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection has failed");
        }
    }
}
