//! A client's socket, whichever way it is protected: what all protocols read from and write to.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// What a protocol is spoken over that may be inside of another one.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// When it is shut down, it says why, if it has words of its own for that: a close code of WebSockets.
    fn will_close(&mut self, _code: u16, _reason: &'static str) {}
}

impl Transport for Io {}

/// One type for all, so that each protocol is compiled once, and a connection that is not encrypted has no room for
/// the state of TLS.
#[derive(Debug)]
pub struct Io {
    stream: Stream,
    /// What was read and given back.
    first: Option<u8>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl From<TcpStream> for Io {
    fn from(socket: TcpStream) -> Io {
        Io {
            stream: Stream::Plain(socket),
            first: None,
        }
    }
}

impl From<TlsStream<TcpStream>> for Io {
    fn from(stream: TlsStream<TcpStream>) -> Io {
        Io {
            stream: Stream::Tls(Box::new(stream)),
            first: None,
        }
    }
}

impl Io {
    /// The first byte that comes, which is read once more with what follows it; none at the end of the connection.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn first(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let read = poll_fn(|cx| {
            let mut buf = ReadBuf::new(&mut byte);
            ready!(self.stream.poll_read(cx, &mut buf))?;
            Poll::Ready(io::Result::Ok(buf.filled().len()))
        });
        let count = read.await?;
        self.first = byte[..count].first().copied();
        Ok(self.first)
    }
}

impl Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        Pin::new(match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &mut **stream,
        })
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(first) = this.first
            && buf.remaining() > 0
        {
            this.first = None;
            buf.put_slice(&[first]);
            // With what follows, if it is there: a reader that got one byte alone may make room for more.
            return match this.stream.poll_read(cx, buf) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
            };
        }
        this.stream.poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.writer().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.writer().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(socket) => socket.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.writer().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.writer().poll_shutdown(cx)
    }
}
