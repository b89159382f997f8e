//! Messages that say who made them: whoever finds one in a log can tell whether it is whole.

use bytes::Bytes;
use highwater_proto::client::Message;
use prost::Message as _;
use rustc_hash::FxHasher;
use std::{fmt, hash::Hasher};

/// Who published a message, and as which of his.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The publisher.
    pub publisher: u32,
    /// His count.
    pub number: u32,
    /// Bytes of filler.
    pub filler: u32,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}.{}", self.publisher, self.number)
    }
}

impl MessageId {
    /// The encoded message.
    pub fn encode(self) -> Bytes {
        let words = [self.publisher, self.number, self.filler];
        let mut payload: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let salt = self.publisher.wrapping_mul(31).wrapping_add(self.number);
        payload.extend((0..self.filler).map(|at| at.wrapping_add(salt) as u8));
        let message = Message {
            payload: payload.into(),
            ..Message::default()
        };
        message.encode_to_vec().into()
    }

    /// Who made these bytes, if they are exactly what he made.
    pub fn decode(bytes: &Bytes) -> Option<MessageId> {
        let message = Message::decode(bytes.clone()).ok()?;
        let word = |at: usize| {
            let bytes = message.payload.get(at * 4..at * 4 + 4)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?))
        };
        let id = MessageId {
            publisher: word(0)?,
            number: word(1)?,
            filler: word(2)?,
        };
        (id.filler < 1 << 20 && id.encode() == *bytes).then_some(id)
    }

    /// The idempotency key of the message.
    pub fn key(self) -> [u8; 16] {
        let mut key = [0x5a; 16];
        key[..4].copy_from_slice(&self.publisher.to_be_bytes());
        key[4..8].copy_from_slice(&self.number.to_be_bytes());
        key
    }
}

/// A digest of some bytes.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(bytes);
    hasher.finish()
}
