//! The cluster's transport over turmoil's network. Every byte sent goes into a digest, so that two runs
//! which differ at all have different traces.

use std::{
    future::Future,
    hash::Hasher,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use highwater_cluster::{BoxIo, Transport};
use parking_lot::Mutex;
use rustc_hash::FxHasher;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What was sent so far, over all nodes.
#[derive(Default)]
pub struct Wire {
    state: Mutex<(u64, u64)>,
}

impl Wire {
    /// The number of bytes, and a digest of them in the order they were sent.
    pub fn digest(&self) -> (u64, u64) {
        *self.state.lock()
    }

    fn add(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        let mut hasher = FxHasher::default();
        hasher.write_u64(state.1);
        hasher.write(bytes);
        *state = (state.0 + bytes.len() as u64, hasher.finish());
    }
}

/// The transport of one node.
pub struct SimTransport {
    listener: TcpListener,
    wire: Arc<Wire>,
}

impl SimTransport {
    /// Listens on all addresses of the host it is called on.
    pub async fn bind(port: u16, wire: Arc<Wire>) -> io::Result<Arc<SimTransport>> {
        let listener = TcpListener::bind(("0.0.0.0", port)).await?;
        Ok(Arc::new(SimTransport { listener, wire }))
    }

    fn tap(&self, stream: TcpStream) -> BoxIo {
        Box::new(Tapped {
            stream,
            wire: self.wire.clone(),
        })
    }
}

impl Transport for SimTransport {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxIo>> {
        Box::pin(async move { Ok(self.tap(TcpStream::connect(address).await?)) })
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<BoxFuture<'static, io::Result<BoxIo>>>> {
        Box::pin(async move {
            let (stream, _) = self.listener.accept().await?;
            let io = self.tap(stream);
            Ok(Box::pin(async move { Ok(io) }) as BoxFuture<'static, _>)
        })
    }
}

struct Tapped {
    stream: TcpStream,
    wire: Arc<Wire>,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.wire.add(&bytes[..count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
