//! What waits to be written to one client: pieces of messages, most of them shared with other clients.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use highwater_proto::limits::{SOCKET_QUEUE_BYTES_MAX, SOCKET_WRITE_PIECES_MAX};
use highwater_websocket::{Deflater, Header, Opcode, deflate::PAYLOAD_BYTES_MIN, frame};
use tokio::io::AsyncWrite;

/// How hard to compress: what is sent to many is worth little of one processor's time.
const DEFLATE_LEVEL: u32 = 3;
/// Places that an empty queue keeps.
const PIECES_KEPT: usize = 4;

thread_local! {
    /// A compressor takes some 370 KiB, and none of what it sent before: one a thread serves all.
    static DEFLATER: RefCell<Deflater> =
        RefCell::new(Deflater::new(15, DEFLATE_LEVEL, PAYLOAD_BYTES_MIN));
}

/// A queue whose owner adds nothing to it while it is full, except what ends the connection.
#[derive(Debug, Default)]
pub struct Outbox {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    /// Something was written that the layer below may still hold.
    is_unflushed: bool,
    deflate: bool,
}

impl Outbox {
    /// An empty queue of a connection whose messages are compressed, or not.
    pub fn new(deflate: bool) -> Outbox {
        Outbox {
            deflate,
            ..Outbox::default()
        }
    }

    /// Whether more may be added.
    pub fn has_room(&self) -> bool {
        self.bytes < SOCKET_QUEUE_BYTES_MAX
    }

    /// Whether there is something to write or to flush.
    pub fn is_pending(&self) -> bool {
        !self.pieces.is_empty() || self.is_unflushed
    }

    /// Adds a whole frame.
    pub fn push_frame(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.pieces.push_back(frame);
    }

    /// Adds a message in one piece.
    pub fn push(&mut self, opcode: Opcode, payload: &[u8]) {
        let frame = match self.deflate {
            true => DEFLATER.with_borrow_mut(|deflater| deflater.shared(opcode, payload)),
            false => frame::shared(opcode, payload),
        };
        self.push_frame(frame);
    }

    /// Adds a message in several pieces.
    pub fn push_pieces(&mut self, opcode: Opcode, pieces: Vec<Bytes>) {
        let len = pieces.iter().map(Bytes::len).sum();
        if self.deflate {
            let mut payload = BytesMut::with_capacity(len);
            pieces
                .iter()
                .for_each(|piece| payload.extend_from_slice(piece));
            return self.push(opcode, &payload);
        }
        let header = Bytes::copy_from_slice(&Header::of(opcode, len).encode());
        self.push_frame(header);
        pieces.into_iter().for_each(|piece| self.push_frame(piece));
    }

    /// Writes as much as one write takes. Nothing is lost or written twice when it is dropped before it
    /// resolves.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn write_some(&mut self, io: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        // The slices are made anew each time, so that whoever waits does not hold room for them.
        poll_fn(|cx| self.poll_write_some(cx, io)).await
    }

    fn poll_write_some(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        if !self.pieces.is_empty() {
            let mut slices = [io::IoSlice::new(&[]); SOCKET_WRITE_PIECES_MAX];
            let count = self.pieces.len().min(SOCKET_WRITE_PIECES_MAX);
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = io::IoSlice::new(piece);
            }
            let writing = Pin::new(&mut *io).poll_write_vectored(cx, &slices[..count]);
            let written = ready!(writing)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.is_unflushed = true;
            self.advance(written);
        }
        if self.pieces.is_empty() {
            // What a burst has needed is not kept.
            self.pieces.shrink_to(PIECES_KEPT);
            ready!(Pin::new(io).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.pieces.front_mut() {
            if first.len() > written {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.pieces.pop_front();
        }
    }
}
