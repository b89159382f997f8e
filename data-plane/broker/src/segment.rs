//! A run of consecutive records of one topic: the unit that is stored, kept in memory and delivered.

use std::{
    hash::Hasher,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use highwater_proto::{
    ids::{ProjectId, TopicId},
    names::TopicName,
};
use prost::encoding::{DecodeContext, WireType};
use rustc_hash::FxHasher;

/// Memory of a segment beside its records: itself, its allocations, and its places in a tail.
const SEGMENT_BYTES: usize = 512;
/// Memory of a record beside its message: its handle, and when it expires.
const RECORD_BYTES: usize = 32 + 8;
/// Memory of an encoded record beside its message and its topic's name: names, numbers and the cursor
/// of the longest encoding, and where it ends.
const ENCODED_RECORD_BYTES: usize = 360 + 8;
/// Encodings that a segment has room for. Most topics are read over one protocol or two.
const ENCODINGS_KEPT: usize = 2;

const _: () = assert!(size_of::<Segment>() <= SEGMENT_BYTES / 2 && size_of::<Bytes>() <= 32);

/// Records that were appended to one topic by one proposal.
///
/// It is immutable and shared: by the store until it is checkpointed, by the tail while readers are
/// near it, and by every subscriber it is being sent to.
#[derive(Debug)]
pub struct Segment {
    /// The topic the records belong to.
    pub topic: Arc<TopicIdentity>,
    /// Offset of the first record in its topic.
    pub base_offset: u64,
    /// Position of the first record in its shard. Record `i` stands at `base_position + i`.
    pub base_position: u64,
    /// Bytes of all records that the topic ever held before this one. Differences of it are sizes,
    /// so that retention by bytes needs no scan.
    pub base_bytes: u64,
    /// When the records were published, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Each record's encoded `highwater.client.v1.Message`.
    pub messages: Vec<Bytes>,
    /// When each record expires, if any does; found out when a reader first needs to know.
    expiry_ms: OnceLock<Option<Box<[u64]>>>,
    /// What subscribers were sent, allocated for the first of them: most segments have none.
    wires: OnceLock<Box<Wires>>,
    /// Bytes of what is kept there.
    wires_bytes: AtomicUsize,
}

/// How a record is written for its subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `highwater.client.v1.Record`, as an element of a response.
    Proto,
    /// A JSON object, followed by a comma.
    Json,
    /// An event of an event stream, with the JSON object as its data.
    Sse,
    /// An event of an event stream, with the payload as its data.
    SseRaw,
    /// The part of a PUBLISH of MQTT that all its subscribers share.
    Mqtt,
}

impl Encoding {
    const COUNT: usize = 5;
}

/// What the cursors of records are that are the same for many subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorKind {
    /// Offsets of the topic.
    Topic,
    /// Positions of the shard.
    Shard,
}

impl CursorKind {
    const COUNT: usize = 2;
}

/// One for each kind of cursor in each encoding.
type Wires = [[OnceLock<Wire>; CursorKind::COUNT]; Encoding::COUNT];

/// The records of a segment as they go to subscribers: encoded one after the other, so that any run
/// of them is one piece of shared memory.
#[derive(Debug)]
pub struct Wire {
    bytes: Bytes,
    /// Where each record ends.
    ends: Box<[usize]>,
}

impl Wire {
    /// Encoded records, and where each of them ends.
    pub fn new(bytes: Bytes, ends: Vec<usize>) -> Wire {
        assert_eq!(
            ends.last().copied().unwrap_or(0),
            bytes.len(),
            "the last record ends the bytes"
        );
        Wire {
            bytes,
            ends: ends.into(),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.ends)
    }

    /// The records from `start` to before `end` in one piece.
    pub fn range(&self, start: usize, end: usize) -> Bytes {
        self.bytes.slice(self.begin(start)..self.begin(end))
    }

    /// The index after the last record that fits into so many bytes together with those from `start`
    /// on; at least one does.
    pub fn fitting(&self, start: usize, end: usize, bytes_max: usize) -> usize {
        let limit = self.begin(start).saturating_add(bytes_max);
        let fitting = self.ends[start..end].partition_point(|e| *e <= limit);
        start + fitting.max(1).min(end - start)
    }

    fn begin(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

/// What names a topic, shared by all its segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicIdentity {
    /// The project it belongs to.
    pub project: ProjectId,
    /// Its name in the project.
    pub name: TopicName,
    /// Its number in the shard, never reused.
    pub id: TopicId,
    key: TopicKey,
}

/// A hash of a topic's project and name, known before the topic exists. Two topics may share one,
/// so it selects candidates and never decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopicKey(u64);

impl TopicKey {
    /// The key of the topic with this name.
    pub fn of(project: ProjectId, name: &TopicName) -> TopicKey {
        let mut hasher = FxHasher::default();
        hasher.write(project.as_bytes());
        hasher.write(name.as_str().as_bytes());
        TopicKey(hasher.finish())
    }
}

impl TopicIdentity {
    /// The identity of a topic that exists.
    pub fn new(project: ProjectId, name: TopicName, id: TopicId) -> TopicIdentity {
        let key = TopicKey::of(project, &name);
        TopicIdentity {
            project,
            name,
            id,
            key,
        }
    }

    /// The hash of its project and name.
    pub fn key(&self) -> TopicKey {
        self.key
    }
}

/// How often a record was encoded for the wire, over all segments of the process.
static RECORDS_ENCODED: AtomicU64 = AtomicU64::new(0);

/// The number of records that were encoded for delivery since the process started. With encode-once
/// delivery it does not grow with the number of subscribers.
pub fn records_encoded_total() -> u64 {
    RECORDS_ENCODED.load(Ordering::Relaxed)
}

impl Segment {
    /// A segment of at least one record.
    pub fn new(
        topic: Arc<TopicIdentity>,
        base_offset: u64,
        base_position: u64,
        base_bytes: u64,
        time_ms: u64,
        messages: Vec<Bytes>,
    ) -> Segment {
        assert!(!messages.is_empty(), "a segment has at least one record");
        Segment {
            topic,
            base_offset,
            base_position,
            base_bytes,
            time_ms,
            messages,
            expiry_ms: OnceLock::new(),
            wires: OnceLock::new(),
            wires_bytes: AtomicUsize::new(0),
        }
    }

    /// The same records in memory of their own, and nothing made of them yet. A message that was applied
    /// is a piece of its proposal, which may be a piece of a frame, and keeps the whole of it in memory.
    pub fn detached(&self) -> Segment {
        let mut buffer = BytesMut::with_capacity(self.bytes());
        let detach = |message: &Bytes| {
            buffer.extend_from_slice(message);
            buffer.split().freeze()
        };
        Segment::new(
            self.topic.clone(),
            self.base_offset,
            self.base_position,
            self.base_bytes,
            self.time_ms,
            self.messages.iter().map(detach).collect(),
        )
    }

    /// The number of records.
    pub fn count(&self) -> u64 {
        self.messages.len() as u64
    }

    /// The offset after the last record.
    pub fn end_offset(&self) -> u64 {
        self.base_offset + self.count()
    }

    /// The position after the last record.
    pub fn end_position(&self) -> u64 {
        self.base_position + self.count()
    }

    /// Bytes of the messages.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(Bytes::len).sum()
    }

    /// Memory the segment takes once its readers have had it encoded, in bytes. It bounds what it takes,
    /// since nobody knows beforehand which readers come.
    pub fn memory_bytes(&self) -> usize {
        let records = self.bytes() + self.messages.len() * RECORD_BYTES;
        SEGMENT_BYTES + records + self.wires_bytes_max()
    }

    /// Bytes of encoded records that the segment keeps for further subscribers.
    fn wires_bytes_max(&self) -> usize {
        ENCODINGS_KEPT * self.wire_bytes()
    }

    /// Bytes of one encoding: as many as the longest takes where no character is escaped.
    fn wire_bytes(&self) -> usize {
        let added = ENCODED_RECORD_BYTES + self.topic.name.as_str().len();
        // Base64 makes four bytes of three.
        self.bytes() / 3 * 4 + self.messages.len() * added
    }

    /// When each record expires, in milliseconds since the Unix epoch, or nothing when none ever does.
    fn expiry_ms(&self) -> Option<&[u64]> {
        let expiry = self.expiry_ms.get_or_init(|| {
            let ttls: Box<[u64]> = self.messages.iter().map(|m| message_ttl_ms(m)).collect();
            let expires = |ttl: &u64| match ttl {
                0 => u64::MAX,
                ttl => self.time_ms.saturating_add(*ttl),
            };
            ttls.iter()
                .any(|ttl| *ttl != 0)
                .then(|| ttls.iter().map(expires).collect())
        });
        expiry.as_deref()
    }

    /// The records as subscribers with such cursors are sent them. `encode` runs for the first of them
    /// only, unless readers of so many protocols follow the topic that the segment has no room for all
    /// their encodings: then it runs for each of the last of these.
    pub fn wire(
        &self,
        encoding: Encoding,
        cursors: CursorKind,
        encode: impl FnOnce() -> Wire,
    ) -> SharedWire<'_> {
        let encode = || {
            RECORDS_ENCODED.fetch_add(self.count(), Ordering::Relaxed);
            encode()
        };
        let wires = self.wires.get_or_init(Box::default);
        let cell = &wires[encoding as usize][cursors as usize];
        let room = self.wires_bytes_max() - self.wire_bytes();
        if cell.get().is_none() && self.wires_bytes.load(Ordering::Relaxed) > room {
            return SharedWire::Own(encode());
        }
        SharedWire::Kept(cell.get_or_init(|| {
            let wire = encode();
            let bytes = wire.memory_bytes();
            self.wires_bytes.fetch_add(bytes, Ordering::Relaxed);
            wire
        }))
    }
}

/// Encoded records of a whole segment.
#[derive(Debug)]
pub enum SharedWire<'a> {
    /// Kept for all subscribers.
    Kept(&'a Wire),
    /// Made for one of them.
    Own(Wire),
}

impl std::ops::Deref for SharedWire<'_> {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        match self {
            SharedWire::Kept(wire) => wire,
            SharedWire::Own(wire) => wire,
        }
    }
}

/// Some consecutive records of a segment.
#[derive(Debug, Clone)]
pub struct Slice {
    /// The segment the records are in.
    pub segment: Arc<Segment>,
    /// Index of the first record.
    pub start: usize,
    /// Index after the last record.
    pub end: usize,
}

impl Slice {
    /// All records of a segment.
    pub fn whole(segment: Arc<Segment>) -> Slice {
        let end = segment.messages.len();
        Slice {
            segment,
            start: 0,
            end,
        }
    }

    /// The records from an offset on, if there are any.
    pub fn from_offset(segment: Arc<Segment>, offset: u64) -> Option<Slice> {
        let start = offset.saturating_sub(segment.base_offset) as usize;
        let end = segment.messages.len();
        (start < end).then_some(Slice {
            segment,
            start,
            end,
        })
    }

    /// The records from a shard position on, if there are any.
    pub fn from_position(segment: Arc<Segment>, position: u64) -> Option<Slice> {
        let start = position.saturating_sub(segment.base_position) as usize;
        let end = segment.messages.len();
        (start < end).then_some(Slice {
            segment,
            start,
            end,
        })
    }

    /// The number of records.
    pub fn count(&self) -> usize {
        self.end - self.start
    }

    /// The records that have not expired, as they stood in the slice.
    pub fn unexpired(self, now_ms: u64) -> impl Iterator<Item = Slice> {
        let runs = match self.segment.expiry_ms() {
            None => vec![(self.start, self.end)],
            Some(expiry) => {
                let mut runs: Vec<(usize, usize)> = Vec::new();
                for i in (self.start..self.end).filter(|i| expiry[*i] > now_ms) {
                    match runs.last_mut() {
                        Some((_, end)) if *end == i => *end = i + 1,
                        _ => runs.push((i, i + 1)),
                    }
                }
                runs
            }
        };
        runs.into_iter().map(move |(start, end)| Slice {
            segment: self.segment.clone(),
            start,
            end,
        })
    }

    /// Splits off what exceeds the limits; the first record always stays. Returns whether anything
    /// was cut off.
    pub fn cut(&mut self, records_max: usize, bytes_max: usize) -> bool {
        let mut bytes = 0;
        for i in self.start..self.end {
            bytes += self.segment.messages[i].len();
            if i > self.start && (i - self.start >= records_max || bytes > bytes_max) {
                self.end = i;
                return true;
            }
        }
        false
    }

    /// Bytes of the messages.
    pub fn bytes(&self) -> usize {
        self.segment.messages[self.start..self.end]
            .iter()
            .map(Bytes::len)
            .sum()
    }

    /// The offset after the last record.
    pub fn end_offset(&self) -> u64 {
        self.segment.base_offset + self.end as u64
    }

    /// The position after the last record.
    pub fn end_position(&self) -> u64 {
        self.segment.base_position + self.end as u64
    }
}

/// The `ttl_ms` of an encoded `highwater.client.v1.Message`, found without decoding the rest.
/// 0 when it has none, or when the bytes are no message.
fn message_ttl_ms(message: &[u8]) -> u64 {
    const TTL_TAG: u32 = 5;
    let mut rest = message;
    while let Ok((tag, wire_type)) = prost::encoding::decode_key(&mut rest) {
        let context = DecodeContext::default();
        if tag == TTL_TAG && wire_type == WireType::Varint {
            return prost::encoding::decode_varint(&mut rest).unwrap_or(0);
        }
        if prost::encoding::skip_field(wire_type, tag, &mut rest, context).is_err() {
            break;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_proto::client::Message;
    use prost::Message as _;

    fn segment(ttls: &[u64]) -> Arc<Segment> {
        let name = TopicName::try_from("a").unwrap();
        let topic = TopicIdentity::new(ProjectId::from_bytes([1; 16]), name, TopicId(0));
        let message = |ttl_ms: &u64| {
            let message = Message {
                payload: Bytes::from_static(b"payload"),
                key: "key".into(),
                ttl_ms: *ttl_ms,
                ..Message::default()
            };
            message.encode_to_vec().into()
        };
        let messages = ttls.iter().map(message).collect();
        Arc::new(Segment::new(Arc::new(topic), 10, 20, 0, 1_000, messages))
    }

    #[test]
    fn expired_records_are_left_out() {
        let slice = Slice::whole(segment(&[0, 100, 500, 0, 100]));
        let alive = |now| -> Vec<(usize, usize)> {
            let slices = slice.clone().unexpired(now);
            slices.map(|s| (s.start, s.end)).collect()
        };
        assert_eq!(alive(1_099), [(0, 5)]);
        assert_eq!(alive(1_100), [(0, 1), (2, 4)]);
        assert_eq!(alive(1_500), [(0, 1), (3, 4)]);
        let forever = Slice::whole(segment(&[0, 0]));
        assert_eq!(forever.unexpired(u64::MAX).count(), 1);
    }

    #[test]
    fn a_slice_is_cut_to_its_limits_but_keeps_one_record() {
        let mut slice = Slice::whole(segment(&[0; 5]));
        assert!(!slice.clone().cut(5, usize::MAX));
        assert!(slice.cut(3, usize::MAX));
        assert_eq!(
            (slice.count(), slice.end_offset(), slice.end_position()),
            (3, 13, 23)
        );
        assert!(slice.cut(3, 1));
        assert_eq!(slice.count(), 1);
        assert!(Slice::from_offset(slice.segment.clone(), 15).is_none());
        assert_eq!(Slice::from_position(slice.segment, 24).unwrap().count(), 1);
    }
}
