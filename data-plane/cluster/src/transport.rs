//! How bytes get to another node: TCP, TLS over TCP, or whatever a simulation puts here.

use std::{future::Future, io, pin::Pin, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, rustls::pki_types::ServerName};

/// A connection to another node.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, whatever it runs over.
pub type BoxIo = Box<dyn Io>;
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens connections to other nodes and takes theirs.
pub trait Transport: Send + Sync {
    /// Connects to `host:port`.
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxIo>>;

    /// Takes the next connection. The handshake, if there is one, is in the returned future, so that
    /// a slow peer does not keep others from being accepted.
    fn accept(&self) -> BoxFuture<'_, io::Result<BoxFuture<'static, io::Result<BoxIo>>>>;
}

/// Certificates for both directions: every node proves itself to every other (mutual TLS).
#[derive(Clone)]
pub struct PeerTls {
    /// For connections that are opened.
    pub connector: TlsConnector,
    /// For connections that are taken.
    pub acceptor: TlsAcceptor,
}

/// TCP, with TLS when configured: each connection with the newest certificates when it begins.
pub struct TcpTransport {
    listener: TcpListener,
    tls: Option<watch::Receiver<PeerTls>>,
}

impl TcpTransport {
    /// Takes connections from the listener.
    pub fn new(listener: TcpListener, tls: Option<watch::Receiver<PeerTls>>) -> Arc<TcpTransport> {
        Arc::new(TcpTransport { listener, tls })
    }

    /// The certificates for a connection that begins now.
    fn newest(&self) -> Option<PeerTls> {
        self.tls.as_ref().map(|tls| tls.borrow().clone())
    }
}

impl Transport for TcpTransport {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxIo>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let Some(tls) = self.newest() else {
                return Ok(Box::new(stream) as BoxIo);
            };
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            let host = host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned();
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            Ok(Box::new(tls.connector.connect(name, stream).await?) as BoxIo)
        })
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<BoxFuture<'static, io::Result<BoxIo>>>> {
        Box::pin(async move {
            let (stream, _) = self.listener.accept().await?;
            let acceptor = self.newest().map(|tls| tls.acceptor);
            Ok(Box::pin(async move {
                stream.set_nodelay(true)?;
                match acceptor {
                    None => Ok(Box::new(stream) as BoxIo),
                    Some(acceptor) => Ok(Box::new(acceptor.accept(stream).await?) as BoxIo),
                }
            }) as BoxFuture<'static, _>)
        })
    }
}
