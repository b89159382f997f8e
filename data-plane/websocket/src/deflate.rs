//! Compresses a message to a complete frame, once for all who agreed on permessage-deflate (RFC 7692
//! section 7.2.1).

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, FlushCompress, Status};

use crate::{
    frame,
    header::{Header, Opcode},
    negotiation::{WINDOW_BITS_MAX, WINDOW_BITS_MIN},
};

/// Messages below this many bytes gain nothing: the header of the first Huffman block eats it up.
pub const PAYLOAD_BYTES_MIN: usize = 128;

/// Fastest level. At level 1, zlib-rs 0.6 panics when data that does not compress fills the room it is
/// given for its output.
const LEVEL_MIN: u32 = 2;

/// What a flush leaves at the end, which is not sent.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// Compresses messages independently of each other.
///
/// It starts afresh with every message, so that each frame can be shared by all connections, those with
/// context takeover included: that permits a sender to refer back, and obliges it to nothing. It holds
/// about 370 KiB and belongs to a thread or shard, never to a connection.
pub struct Deflater {
    stream: Compress,
    payload_bytes_min: usize,
}

impl Deflater {
    /// A compressor for receivers whose agreed window has at least so many bits, 9 to 15, at one of
    /// zlib's levels 2 to 9; values outside are brought inside. Messages below `payload_bytes_min` are
    /// left alone.
    pub fn new(window_bits: u8, level: u32, payload_bytes_min: usize) -> Deflater {
        let window_bits = window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
        let level = Compression::new(level.clamp(LEVEL_MIN, 9));
        Deflater {
            stream: Compress::new_with_window_bits(level, false, window_bits),
            payload_bytes_min,
        }
    }

    /// A message in one frame of a server, compressed unless that would not make it smaller.
    pub fn shared(&mut self, opcode: Opcode, payload: &[u8]) -> Bytes {
        let Some(compressed) = self.compress(payload) else {
            return frame::shared(opcode, payload);
        };
        let header = compressed_header(opcode, compressed.len()).encode();
        let mut frame = BytesMut::with_capacity(header.len() + compressed.len());
        frame.put_slice(&header);
        frame.put_slice(&compressed);
        frame.freeze()
    }

    /// The same in one frame of a client.
    pub fn masked(&mut self, opcode: Opcode, payload: &[u8], key: [u8; 4]) -> Bytes {
        match self.compress(payload) {
            None => frame::masked(opcode, payload, key),
            Some(compressed) => {
                let header = compressed_header(opcode, compressed.len());
                frame::masked_as(header, &compressed, key)
            }
        }
    }

    /// The payload of a compressed message, or nothing when it would not be smaller.
    fn compress(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() < self.payload_bytes_min {
            return None;
        }
        self.stream.reset();
        // No more room than makes it worth while. A flush is known to be complete only if it leaves
        // some, hence the last comparison.
        let mut out = Vec::with_capacity(payload.len() + TAIL.len());
        let status = self
            .stream
            .compress_vec(payload, &mut out, FlushCompress::Sync);
        let complete = matches!(status, Ok(Status::Ok))
            && self.stream.total_in() == payload.len() as u64
            && out.len() < payload.len() + TAIL.len();
        if !complete || !out.ends_with(&TAIL) {
            return None;
        }
        out.truncate(out.len() - TAIL.len());
        Some(out)
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("payload_bytes_min", &self.payload_bytes_min)
            .finish_non_exhaustive()
    }
}

fn compressed_header(opcode: Opcode, len: usize) -> Header {
    Header {
        rsv1: true,
        ..Header::of(opcode, len)
    }
}
