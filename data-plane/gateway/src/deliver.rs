//! The one way out for streams: records are encoded once and shared by all who receive them.
//!
//! A stored message is the beginning of the record a subscriber gets, since their field numbers agree.
//! So encoding a record is copying its message and appending topic, offset, time and cursor; doing it
//! for a whole segment at once gives one piece of memory that every subscriber's response points into.

use bytes::{BufMut, Bytes, BytesMut};
use highwater_broker::{
    Broker,
    catalogue::Project,
    handle::PageLimits,
    segment::{Segment, Slice, Wire},
    subscription::{CursorScope, Delivery, record_cursor},
};
use highwater_proto::{
    client,
    frame::Frame,
    ids::ShardId,
    limits::{PAGE_BYTES_MAX, PAGE_RECORDS_MAX, RESPONSE_BYTES_MAX},
    trace,
};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::{gateway::Door, metrics::Protocol};

/// What a subscriber has allowed to be sent. A kind that was not given at first never runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    messages: Option<i64>,
    /// Below zero after a record that was larger than what was left: the debt is paid first.
    bytes: Option<i64>,
}

impl Credit {
    /// The credit a subscription starts with; 0 leaves a kind unlimited.
    pub fn new(messages: u64, bytes: u64) -> Credit {
        let limited = |amount| (amount > 0).then_some(clamp(amount));
        Credit {
            messages: limited(messages),
            bytes: limited(bytes),
        }
    }

    /// Adds to the kinds that are in use.
    pub fn add(&mut self, messages: u64, bytes: u64) {
        let add = |left: i64, more| left.saturating_add(clamp(more));
        self.messages = self.messages.map(|left| add(left, messages));
        self.bytes = self.bytes.map(|left| add(left, bytes));
    }

    /// Takes what was sent.
    pub fn spend(&mut self, messages: u64, bytes: u64) {
        let spend = |left: i64, amount| left.saturating_sub(clamp(amount));
        self.messages = self.messages.map(|left| spend(left, messages));
        self.bytes = self.bytes.map(|left| spend(left, bytes));
    }

    /// How much the next delivery may hold, or nothing when the credit is used up.
    pub fn limits(&self) -> Option<PageLimits> {
        let left = |kind: Option<i64>, max: usize| {
            let left = kind.map_or(max, |left| usize::try_from(left).unwrap_or(0));
            left.min(max)
        };
        let limits = PageLimits {
            records: left(self.messages, PAGE_RECORDS_MAX),
            bytes: left(self.bytes, PAGE_BYTES_MAX),
        };
        (limits.records > 0 && limits.bytes > 0).then_some(limits)
    }
}

fn clamp(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// Counts a delivery that goes out, and shows it in the traces of its messages. Returns the number of
/// its records and the bytes of their messages.
pub fn on_delivery(door: &Door, protocol: Protocol, delivery: &Delivery) -> (u64, u64) {
    let (records, bytes) = size(delivery);
    let traffic = door.metrics.traffic(protocol);
    traffic.deliveries.inc_by(records);
    traffic.delivery_bytes.inc_by(bytes);
    if tracing::enabled!(target: trace::TARGET, tracing::Level::INFO) {
        for slice in &delivery.slices {
            trace_slice(protocol, slice);
        }
    }
    (records, bytes)
}

fn trace_slice(protocol: Protocol, slice: &Slice) {
    let segment = &slice.segment;
    for index in slice.start..slice.end {
        if let Some(traceparent) = trace::sampled_traceparent(&segment.messages[index]) {
            let topic = segment.topic.name.as_str();
            let offset = segment.base_offset + index as u64;
            let protocol = protocol.name();
            tracing::info_span!(target: trace::TARGET, "deliver", topic, offset, protocol, traceparent);
        }
    }
}

/// The number of records of a delivery and the bytes of their messages.
pub fn size(delivery: &Delivery) -> (u64, u64) {
    let add = |(records, bytes), slice: &Slice| {
        (records + slice.count() as u64, bytes + slice.bytes() as u64)
    };
    delivery.slices.iter().fold((0, 0), add)
}

/// The responses that carry a delivery: one for each gap, then the records.
///
/// They are the encodings of `SubscribeResponse`, and those without gaps of `ReadResponse` too.
pub fn frames(broker: &Broker, project: &Project, delivery: &Delivery) -> Vec<Frame> {
    let gaps = delivery.gaps.iter().map(|gap| {
        Frame::encode(&client::SubscribeResponse {
            gap: Some(gap_message(gap)),
            ..Default::default()
        })
    });
    gaps.chain(record_frames(broker, project, delivery))
        .collect()
}

/// The records of a delivery, as many in a response as its size allows.
pub fn record_frames(broker: &Broker, project: &Project, delivery: &Delivery) -> Vec<Frame> {
    let mut frames = Vec::with_capacity(1);
    let mut pieces = Vec::with_capacity(delivery.slices.len());
    let mut bytes = 0;
    for slice in &delivery.slices {
        with_wire(
            broker,
            project,
            &delivery.cursors,
            slice,
            |wire, start, end| {
                let mut from = start;
                while from < end {
                    let mut to = wire.fitting(from, end, RESPONSE_BYTES_MAX - bytes);
                    let mut piece = wire.range(from, to);
                    if bytes > 0 && bytes + piece.len() > RESPONSE_BYTES_MAX {
                        frames.push(Frame::new(std::mem::take(&mut pieces)));
                        bytes = 0;
                        to = wire.fitting(from, end, RESPONSE_BYTES_MAX);
                        piece = wire.range(from, to);
                    }
                    bytes = (bytes + piece.len()).min(RESPONSE_BYTES_MAX);
                    pieces.push(piece);
                    from = to;
                }
            },
        );
    }
    if !pieces.is_empty() {
        frames.push(Frame::new(pieces));
    }
    frames
}

/// A gap as the client sees it.
pub fn gap_message(gap: &highwater_broker::subscription::Gap) -> client::Gap {
    client::Gap {
        topic: gap
            .topic
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        requested: gap.requested.clone(),
        first_available: gap.first_available.clone(),
        reason: gap.reason.name().to_owned(),
    }
}

/// Gives the encoded records of a slice, and where in them it starts and ends. They are made for all
/// subscribers, unless their cursors are this subscriber's own.
fn with_wire(
    broker: &Broker,
    project: &Project,
    scope: &CursorScope,
    slice: &Slice,
    mut take: impl FnMut(&Wire, usize, usize),
) {
    let shard = project.shard_of(&slice.segment.topic.name);
    let whole = |_: &Segment| {
        let whole = Slice::whole(slice.segment.clone());
        encode(broker, project, shard, scope, &whole)
    };
    match scope {
        CursorScope::Topic => take(slice.segment.topic_wire(whole), slice.start, slice.end),
        CursorScope::Shard => take(slice.segment.feed_wire(whole), slice.start, slice.end),
        CursorScope::Shards(_) => {
            let own = encode(broker, project, shard, scope, slice);
            take(&own, 0, slice.count());
        }
    }
}

/// Tags of `highwater.client.v1.Record`, and of the records in a response.
mod tag {
    pub const RECORDS: u32 = 1;
    pub const TOPIC: u32 = 16;
    pub const OFFSET: u32 = 17;
    pub const PUBLISHED_AT_MS: u32 = 18;
    pub const CURSOR: u32 = 19;
}

/// Encodes the records of a slice, each as an element of field 1 of a response.
fn encode(
    broker: &Broker,
    project: &Project,
    shard: ShardId,
    scope: &CursorScope,
    slice: &Slice,
) -> Wire {
    let segment = &slice.segment;
    let topic = segment.topic.name.as_str();
    // Field, length, tags and cursor of one record; a longer cursor makes the buffer grow once.
    let overhead = topic.len() + 120;
    let mut buf = BytesMut::with_capacity(slice.bytes() + slice.count() * overhead);
    let mut ends = Vec::with_capacity(slice.count());
    for index in slice.start..slice.end {
        let cursor = record_cursor(broker, project, shard, scope, slice, index);
        let record = RecordParts {
            message: &segment.messages[index],
            topic,
            offset: segment.base_offset + index as u64,
            published_at_ms: segment.time_ms,
            cursor: &cursor,
        };
        record.encode(&mut buf);
        ends.push(buf.len());
    }
    Wire::new(buf.freeze(), ends)
}

struct RecordParts<'a> {
    message: &'a Bytes,
    topic: &'a str,
    offset: u64,
    published_at_ms: u64,
    cursor: &'a str,
}

impl RecordParts<'_> {
    fn encode(&self, buf: &mut BytesMut) {
        let bytes_len = |tag, len: usize| key_len(tag) + encoded_len_varint(len as u64) + len;
        let number_len = |tag, number| key_len(tag) + encoded_len_varint(number);
        let len = self.message.len()
            + bytes_len(tag::TOPIC, self.topic.len())
            + number_len(tag::OFFSET, self.offset)
            + number_len(tag::PUBLISHED_AT_MS, self.published_at_ms)
            + bytes_len(tag::CURSOR, self.cursor.len());
        put_key(buf, tag::RECORDS, WireType::LengthDelimited, len as u64);
        buf.put_slice(self.message);
        put_text(buf, tag::TOPIC, self.topic);
        put_key(buf, tag::OFFSET, WireType::Varint, self.offset);
        put_key(
            buf,
            tag::PUBLISHED_AT_MS,
            WireType::Varint,
            self.published_at_ms,
        );
        put_text(buf, tag::CURSOR, self.cursor);
    }
}

/// A field's key and the number that follows it: the value itself, or the length of one.
fn put_key(buf: &mut BytesMut, tag: u32, wire_type: WireType, number: u64) {
    encode_key(tag, wire_type, buf);
    encode_varint(number, buf);
}

fn put_text(buf: &mut BytesMut, tag: u32, text: &str) {
    put_key(buf, tag, WireType::LengthDelimited, text.len() as u64);
    buf.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
