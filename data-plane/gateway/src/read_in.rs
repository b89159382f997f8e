//! Reading from a client without holding room for what has not come.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

/// What is read at once by way of the stack.
const SHORT_BYTES: usize = 8 << 10;

/// Reads what has come to the end of `buf`, and waits while that is nothing. Returns how many bytes that were: 0 at
/// the end of the connection.
///
/// A client that is silent holds no room: short messages come by way of the stack. Where more than that is known to
/// be `wanted`, it is read in place.
///
/// # Errors
/// Those of the socket.
pub async fn read_some(
    io: &mut (impl AsyncRead + Unpin),
    buf: &mut BytesMut,
    wanted: usize,
) -> io::Result<usize> {
    poll_fn(|cx| poll_read_some(io, cx, buf, wanted)).await
}

/// The same, for those who poll.
pub fn poll_read_some(
    io: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    buf: &mut BytesMut,
    wanted: usize,
) -> Poll<io::Result<usize>> {
    if wanted > SHORT_BYTES {
        buf.reserve(wanted);
        return poll_read_buf(Pin::new(io), cx, buf);
    }
    let mut room = [MaybeUninit::uninit(); SHORT_BYTES];
    let mut read = ReadBuf::uninit(&mut room);
    ready!(Pin::new(io).poll_read(cx, &mut read))?;
    buf.extend_from_slice(read.filled());
    Poll::Ready(Ok(read.filled().len()))
}
