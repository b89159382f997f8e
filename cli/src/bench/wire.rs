//! The wire messages of the load generator, encoded and decoded without an allocation a message.
//!
//! It shares its cores with the servers it measures, so it takes from a response only what it counts.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_proto::client::{Error, Gap, Subscribed};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_varint, skip_field},
};

/// Bytes at the start of a payload that say when it should have been sent.
pub const STAMP_BYTES: usize = 8;

/// Writes `PublishStreamRequest`s of many publishes that differ in topic and stamp only.
#[derive(Debug)]
pub struct Encoder {
    /// For each topic, everything of its entry that comes before the payload.
    prefixes: Vec<Box<[u8]>>,
    payload: Vec<u8>,
    is_stamped: bool,
}

impl Encoder {
    /// For these topics and this payload; with `is_stamped`, each payload begins with its time.
    pub fn new(topics: &[String], payload: Vec<u8>, is_stamped: bool) -> Encoder {
        assert!(!is_stamped || payload.len() >= STAMP_BYTES);
        let prefix = |topic: &String| prefix(topic, payload.len()).into_boxed_slice();
        Encoder {
            prefixes: topics.iter().map(prefix).collect(),
            payload,
            is_stamped,
        }
    }

    /// How many topics there are.
    pub fn topics(&self) -> usize {
        self.prefixes.len()
    }

    /// Room for so many publishes.
    pub fn buffer(&self, publishes: usize) -> BytesMut {
        let longest = self.prefixes.iter().map(|p| p.len()).next_back();
        BytesMut::with_capacity(publishes * (longest.unwrap_or(0) + self.payload.len() + 8))
    }

    /// Appends one publish.
    pub fn put(&self, topic: usize, stamp: u64, to: &mut BytesMut) {
        to.put_slice(&self.prefixes[topic]);
        if self.is_stamped {
            to.put_u64(stamp);
            to.put_slice(&self.payload[STAMP_BYTES..]);
        } else {
            to.put_slice(&self.payload);
        }
    }
}

/// `publishes { topic, message { payload } }` up to the payload's first byte.
fn prefix(topic: &str, payload_bytes: usize) -> Vec<u8> {
    const PUBLISHES: u64 = 1 << 3 | 2;
    const TOPIC: u64 = 1 << 3 | 2;
    const MESSAGE: u64 = 2 << 3 | 2;
    const PAYLOAD: u64 = 1 << 3 | 2;
    let field = |key: u64, len: usize| {
        let mut head = Vec::new();
        encode_varint(key, &mut head);
        encode_varint(len as u64, &mut head);
        head
    };
    let payload = field(PAYLOAD, payload_bytes);
    let message = field(MESSAGE, payload.len() + payload_bytes);
    let name = field(TOPIC, topic.len());
    let len = name.len() + topic.len() + message.len() + payload.len() + payload_bytes;
    let publish = field(PUBLISHES, len);
    [&publish, &name, topic.as_bytes(), &message, &payload].concat()
}

/// A message that is only received. Field by field, through `Receive::field`.
macro_rules! receive_only {
    ($name:ident) => {
        impl Message for $name {
            fn encode_raw(&self, _: &mut impl BufMut) {}

            fn merge_field(
                &mut self,
                tag: u32,
                wire_type: WireType,
                buf: &mut impl Buf,
                ctx: DecodeContext,
            ) -> Result<(), DecodeError> {
                match wire_type {
                    WireType::LengthDelimited => {
                        let len = decode_varint(buf)? as usize;
                        if len > buf.remaining() {
                            return Err(truncated());
                        }
                        self.on_field(tag, &mut buf.take(len))
                    }
                    _ => skip_field(wire_type, tag, buf, ctx),
                }
            }

            fn encoded_len(&self) -> usize {
                0
            }

            fn clear(&mut self) {
                *self = Self::default();
            }
        }
    };
}

fn truncated() -> DecodeError {
    // The one error of prost that others may make.
    decode_varint(&mut Bytes::new()).unwrap_err()
}

/// What is kept of a `PublishStreamResponse`.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// How many outcomes there are.
    pub count: usize,
    /// Those that are refusals.
    pub errors: Vec<Error>,
}

receive_only!(Outcomes);

impl Outcomes {
    fn on_field(&mut self, tag: u32, buf: &mut impl Buf) -> Result<(), DecodeError> {
        const OUTCOMES: u32 = 1;
        const ERROR: u32 = 2;
        if tag == OUTCOMES {
            self.count += 1;
            if buf.has_remaining() && decode_key(buf)?.0 == ERROR {
                self.errors.push(Error::decode_length_delimited(&mut *buf)?);
            }
        }
        buf.advance(buf.remaining());
        Ok(())
    }
}

/// What is kept of a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its offset.
    pub offset: u64,
    /// Its stamp, or 0.
    pub stamp: u64,
    /// Hash of its topic.
    pub topic: u64,
}

/// What is kept of a `SubscribeResponse`.
#[derive(Debug, Default)]
pub struct Delivery {
    /// The records.
    pub records: Vec<Seen>,
    /// Where to go on after this response, if it says so.
    pub cursor: Vec<u8>,
    /// The receipt came.
    pub is_receipt: bool,
    /// Data is gone.
    pub gap: Option<Gap>,
    /// The server is about to stop.
    pub is_draining: bool,
}

receive_only!(Delivery);

impl Delivery {
    fn on_field(&mut self, tag: u32, buf: &mut impl Buf) -> Result<(), DecodeError> {
        match tag {
            1 => self.records.push(seen(buf, &mut self.cursor)?),
            2 => {
                self.is_receipt = true;
                self.cursor = Subscribed::decode(&mut *buf)?.cursor.into_bytes();
            }
            3 => self.gap = Some(Gap::decode(&mut *buf)?),
            4 => self.is_draining = true,
            _ => {}
        }
        buf.advance(buf.remaining());
        Ok(())
    }
}

/// Reads a record. Its cursor replaces the one before, which takes no new memory.
fn seen(buf: &mut impl Buf, cursor: &mut Vec<u8>) -> Result<Seen, DecodeError> {
    const PAYLOAD: u32 = 1;
    const TOPIC: u32 = 16;
    const OFFSET: u32 = 17;
    const CURSOR: u32 = 19;
    let mut seen = Seen::default();
    while buf.has_remaining() {
        let (tag, wire_type) = decode_key(buf)?;
        match (tag, wire_type) {
            (PAYLOAD | TOPIC | CURSOR, WireType::LengthDelimited) => {
                let len = decode_varint(buf)? as usize;
                if len > buf.remaining() {
                    return Err(truncated());
                }
                let mut field = (&mut *buf).take(len);
                if tag == PAYLOAD && len >= STAMP_BYTES {
                    seen.stamp = field.get_u64();
                } else if tag == TOPIC {
                    seen.topic = hash(&mut field);
                } else if tag == CURSOR {
                    cursor.clear();
                    cursor.put(&mut field);
                }
                field.advance(field.remaining());
            }
            (OFFSET, WireType::Varint) => seen.offset = decode_varint(buf)?,
            _ => skip_field(wire_type, tag, buf, DecodeContext::default())?,
        }
    }
    Ok(seen)
}

/// FNV-1a, which needs no state: topics of one run are told apart by it.
fn hash(buf: &mut impl Buf) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    while buf.has_remaining() {
        hash = (hash ^ u64::from(buf.get_u8())).wrapping_mul(0x100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use highwater_proto::client::{
        PublishOutcome, PublishResult, PublishStreamRequest, PublishStreamResponse, Record,
        SubscribeResponse, publish_outcome::Outcome,
    };

    use super::*;

    #[test]
    fn what_is_sent_is_what_the_contract_says() {
        let topics = ["bench/0".to_owned(), "bench/1".to_owned()];
        let encoder = Encoder::new(&topics, vec![7; 300], true);
        let mut buf = encoder.buffer(2);
        encoder.put(1, 42, &mut buf);
        encoder.put(0, 43, &mut buf);
        let decoded = PublishStreamRequest::decode(buf).unwrap();
        let [first, second] = &decoded.publishes[..] else {
            panic!("two publishes");
        };
        assert_eq!(
            (first.topic.as_str(), second.topic.as_str()),
            ("bench/1", "bench/0")
        );
        let payload = &first.message.as_ref().unwrap().payload;
        assert_eq!(payload.len(), 300);
        assert_eq!(payload[..8], 42u64.to_be_bytes());
        assert_eq!(payload[8..], [7; 292]);
    }

    #[test]
    fn outcomes_are_counted_and_refusals_kept() {
        let result = Outcome::Result(PublishResult {
            topic: "a".into(),
            offset: 300,
            ..Default::default()
        });
        let error = Error {
            code: "overloaded".into(),
            ..Default::default()
        };
        let outcome = |outcome| PublishOutcome {
            outcome: Some(outcome),
        };
        let response = PublishStreamResponse {
            outcomes: vec![outcome(result), outcome(Outcome::Error(error.clone()))],
        };
        let outcomes = Outcomes::decode(&response.encode_to_vec()[..]).unwrap();
        assert_eq!((outcomes.count, outcomes.errors), (2, vec![error]));
    }

    #[test]
    fn records_give_their_offset_and_stamp() {
        let record = |offset, topic: &str| Record {
            payload: 9u64.to_be_bytes().to_vec().into(),
            topic: topic.into(),
            offset,
            cursor: "c".into(),
            published_at_ms: 1,
            ..Default::default()
        };
        let response = SubscribeResponse {
            records: vec![record(0, "a"), record(500, "b")],
            ..Default::default()
        };
        let receipt = SubscribeResponse {
            subscribed: Some(Subscribed { cursor: "r".into() }),
            ..Default::default()
        };
        let delivery = Delivery::decode(&response.encode_to_vec()[..]).unwrap();
        let [first, second] = delivery.records[..] else {
            panic!("two records");
        };
        assert_eq!((first.offset, second.offset), (0, 500));
        assert_eq!((first.stamp, second.stamp), (9, 9));
        assert_ne!(first.topic, second.topic);
        assert_eq!(delivery.cursor, b"c");
        assert!(!delivery.is_receipt && delivery.gap.is_none() && !delivery.is_draining);
        let delivery = Delivery::decode(&receipt.encode_to_vec()[..]).unwrap();
        assert!(delivery.is_receipt && delivery.cursor == b"r");
    }

    #[test]
    fn bytes_that_are_cut_off_are_an_error() {
        let whole = [0x0a, 5, 0x0a, 3, 1, 2, 3];
        assert!(Outcomes::decode(&whole[..]).is_ok());
        for len in 1..whole.len() {
            assert!(Outcomes::decode(&whole[..len]).is_err(), "{len}");
            assert!(Delivery::decode(&whole[..len]).is_err(), "{len}");
        }
    }
}
