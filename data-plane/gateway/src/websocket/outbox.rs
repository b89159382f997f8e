//! What waits to be written to one client: pieces of messages, most of them shared with other clients.

use std::{cell::RefCell, collections::VecDeque, io};

use bytes::{Buf, Bytes, BytesMut};
use highwater_proto::limits::{SOCKET_QUEUE_BYTES_MAX, SOCKET_WRITE_PIECES_MAX};
use highwater_websocket::{Deflater, Header, Opcode, deflate::PAYLOAD_BYTES_MIN, frame};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// How hard to compress: what is sent to many is worth little of one processor's time.
const DEFLATE_LEVEL: u32 = 3;

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
        if !self.pieces.is_empty() {
            let mut slices = [io::IoSlice::new(&[]); SOCKET_WRITE_PIECES_MAX];
            let count = self.pieces.len().min(SOCKET_WRITE_PIECES_MAX);
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = io::IoSlice::new(piece);
            }
            let written = io.write_vectored(&slices[..count]).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.is_unflushed = true;
            self.advance(written);
        }
        if self.pieces.is_empty() {
            io.flush().await?;
            self.is_unflushed = false;
        }
        Ok(())
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
