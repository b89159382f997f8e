//! What travels between two nodes: frames, each a request or the answer to one.
//!
//! ```text
//! length 4 │ kind 1 │ shard 4 │ request id 8 │ body …        big-endian; length counts what follows it
//! ```
//! The body is an encoded message of `cluster/v1`. An answer carries the id of its request; answers
//! may come in any order. Many shards share one connection, so a frame names its shard.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_proto::ids::ShardId;
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The version of this protocol, said in `Hello`.
pub const VERSION: u32 = 1;

const HEADER_BYTES: usize = 4 + 1 + 4 + 8;

/// What a frame is. The numbers are part of the protocol and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `Hello`, once, from the side that opened the connection.
    Hello = 1,
    /// Nothing: shows that the connection is alive. Answered.
    Ping = 2,
    /// The answer to any request.
    Answer = 3,
    /// A `Refusal` of any request.
    Refused = 4,
    /// `AppendRequest`, part of an ordered stream.
    Append = 5,
    /// `AppendRequest` on its own: a heartbeat.
    Heartbeat = 6,
    /// `VoteRequest`.
    Vote = 7,
    /// `TransferLeaderRequest`.
    TransferLeader = 8,
    /// `SnapshotBegin`.
    SnapshotBegin = 9,
    /// `SnapshotChunk`.
    SnapshotChunk = 10,
    /// `SnapshotEnd`.
    SnapshotEnd = 11,
    /// `ForwardPublish`.
    Publish = 12,
    /// `ForwardDeleteTopic`.
    DeleteTopic = 13,
    /// `ReadIndexRequest`.
    ReadIndex = 14,
    /// `HibernateRequest`.
    Hibernate = 15,
    /// `PeerUpRequest`.
    PeerUp = 16,
    /// `UsageReport`, of no shard.
    Usage = 17,
    /// `Reading`.
    Reading = 18,
}

impl Kind {
    fn from_number(number: u8) -> Option<Kind> {
        use Kind::*;
        const ALL: [Kind; 18] = [
            Hello,
            Ping,
            Answer,
            Refused,
            Append,
            Heartbeat,
            Vote,
            TransferLeader,
            SnapshotBegin,
            SnapshotChunk,
            SnapshotEnd,
            Publish,
            DeleteTopic,
            ReadIndex,
            Hibernate,
            PeerUp,
            Usage,
            Reading,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// The shard it is about.
    pub shard: ShardId,
    /// Pairs an answer with its request, per connection.
    pub id: u64,
    /// The encoded message.
    pub body: Bytes,
}

impl Frame {
    /// The answer to a request.
    pub fn answer(&self, message: &impl Message) -> Frame {
        Frame {
            kind: Kind::Answer,
            shard: self.shard,
            id: self.id,
            body: message.encode_to_vec().into(),
        }
    }

    /// Appends the frame's encoding.
    pub fn encode(&self, buffer: &mut BytesMut) {
        buffer.reserve(HEADER_BYTES + self.body.len());
        buffer.put_u32((HEADER_BYTES - 4 + self.body.len()) as u32);
        buffer.put_u8(self.kind as u8);
        buffer.put_u32(self.shard.0);
        buffer.put_u64(self.id);
        buffer.put_slice(&self.body);
    }

    /// Takes one frame off the front of the buffer, if it is all there. It has at most so many bytes
    /// behind its length.
    ///
    /// # Errors
    /// `InvalidData` for a frame that is too long, too short or of an unknown kind: the peer speaks
    /// something else, and the connection must go.
    pub fn decode(buffer: &mut BytesMut, bytes_max: usize) -> io::Result<Option<Frame>> {
        if buffer.len() < 4 {
            return Ok(None);
        }
        let length = u32::from_be_bytes(buffer[..4].try_into().expect("4 bytes")) as usize;
        if !(HEADER_BYTES - 4..=bytes_max).contains(&length) {
            let message = format!("a frame of {length} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        if buffer.len() < 4 + length {
            buffer.reserve(4 + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(4);
        let mut frame = buffer.split_to(length).freeze();
        let number = frame.get_u8();
        let kind = Kind::from_number(number).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a frame of kind {number}"),
            )
        })?;
        Ok(Some(Frame {
            kind,
            shard: ShardId(frame.get_u32()),
            id: frame.get_u64(),
            body: frame,
        }))
    }
}

/// Reads frames off a connection.
pub struct Reader<R> {
    io: R,
    buffer: BytesMut,
    /// Longer frames are refused before there is room made for them.
    pub frame_bytes_max: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// A reader with an empty buffer, of frames up to this length.
    pub fn new(io: R, frame_bytes_max: usize) -> Reader<R> {
        Reader {
            io,
            buffer: BytesMut::with_capacity(64 << 10),
            frame_bytes_max,
        }
    }

    /// The next frame, or nothing at the end of the stream. Safe to cancel.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = Frame::decode(&mut self.buffer, self.frame_bytes_max)? {
                return Ok(Some(frame));
            }
            // Frames hold on to slices of the buffer, so a fresh one is taken when it runs out.
            self.buffer.reserve(16 << 10);
            if self.io.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        Frame {
            kind: Kind::Append,
            shard: ShardId(7),
            id: 9,
            body: Bytes::from_static(b"body"),
        }
    }

    #[test]
    fn a_frame_is_read_back_whole_and_only_whole() {
        let mut encoded = BytesMut::new();
        frame().encode(&mut encoded);
        for length in 0..encoded.len() {
            let mut part = BytesMut::from(&encoded[..length]);
            assert_eq!(Frame::decode(&mut part, 100).unwrap(), None);
        }
        assert_eq!(Frame::decode(&mut encoded, 100).unwrap(), Some(frame()));
        assert!(encoded.is_empty());
    }

    #[test]
    fn nonsense_is_refused_without_reading_it() {
        for header in [[0, 0, 0, 1], [0, 0, 0, 101], [0xff; 4]] {
            let mut header = BytesMut::from(&header[..]);
            assert!(Frame::decode(&mut header, 100).is_err());
            assert_eq!(header.capacity(), 4, "no room is made for it");
        }
        let mut encoded = BytesMut::new();
        frame().encode(&mut encoded);
        encoded[4] = 99;
        assert!(Frame::decode(&mut encoded, 100).is_err());
    }
}
