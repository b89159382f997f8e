//! The one way out for records: each is encoded once and shared by all who receive it.
//!
//! Encoding a whole segment at once gives one piece of memory that every subscriber's response points
//! into, whatever the protocol ([`Encoding`]). Only a subscriber of several shards, or of what is
//! retained, has cursors of its own, and so records of its own.

pub mod proto;

use bytes::{Bytes, BytesMut};
use highwater_broker::{
    Broker,
    catalogue::Project,
    quota::Usage,
    segment::{CursorKind, Encoding, Slice, Wire},
    subscription::{CursorScope, Delivery, record_cursor},
};
use highwater_proto::{ids::ShardId, trace};

use crate::{gateway::Door, json, metrics::Protocol, mqtt, sse};

/// Counts a delivery of a project that goes out, and shows it in the traces of its messages. Returns the number
/// of its records and the bytes of their messages.
pub fn on_delivery(
    door: &Door,
    protocol: Protocol,
    usage: &Usage,
    delivery: &Delivery,
) -> (u64, u64) {
    let (records, bytes) = size(delivery);
    usage.delivered(records, bytes, || (door.clock)());
    usage.meter().delivered(protocol.metered(), records, bytes);
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

/// The encoded records of a delivery, in chunks of at most so many bytes; a single record may exceed it.
pub fn chunks(
    broker: &Broker,
    project: &Project,
    encoding: Encoding,
    delivery: &Delivery,
    bytes_max: usize,
) -> Vec<Vec<Bytes>> {
    let mut chunks = Vec::with_capacity(1);
    let mut pieces = Vec::with_capacity(delivery.slices.len());
    let mut bytes = 0;
    let mut add = |wire: &Wire, start, end| {
        let mut from = start;
        while from < end {
            let mut to = wire.fitting(from, end, bytes_max - bytes);
            let mut piece = wire.range(from, to);
            if bytes > 0 && bytes + piece.len() > bytes_max {
                chunks.push(std::mem::take(&mut pieces));
                bytes = 0;
                to = wire.fitting(from, end, bytes_max);
                piece = wire.range(from, to);
            }
            bytes = (bytes + piece.len()).min(bytes_max);
            pieces.push(piece);
            from = to;
        }
    };
    for slice in &delivery.slices {
        let encode = |slice: &Slice| encode(broker, project, encoding, &delivery.cursors, slice);
        let whole = || encode(&Slice::whole(slice.segment.clone()));
        let Some(kind) = shared_cursors(&delivery.cursors) else {
            add(&encode(slice), 0, slice.count());
            continue;
        };
        let shared = slice.segment.wire(encoding, kind, whole);
        add(&shared, slice.start, slice.end);
    }
    if !pieces.is_empty() {
        chunks.push(pieces);
    }
    chunks
}

/// One encoded record of a delivery, which is of this slice.
pub fn record(
    broker: &Broker,
    project: &Project,
    encoding: Encoding,
    cursors: &CursorScope,
    slice: &Slice,
    index: usize,
) -> Bytes {
    let Some(kind) = shared_cursors(cursors) else {
        let mut only = slice.clone();
        (only.start, only.end) = (index, index + 1);
        return encode(broker, project, encoding, cursors, &only).range(0, 1);
    };
    let encode = || {
        encode(
            broker,
            project,
            encoding,
            cursors,
            &Slice::whole(slice.segment.clone()),
        )
    };
    slice
        .segment
        .wire(encoding, kind, encode)
        .range(index, index + 1)
}

/// What cursors are that all subscribers share; nothing for a subscriber's own.
fn shared_cursors(scope: &CursorScope) -> Option<CursorKind> {
    match scope {
        CursorScope::Topic => Some(CursorKind::Topic),
        CursorScope::Shard => Some(CursorKind::Shard),
        CursorScope::Shards(_) | CursorScope::Fixed(_) => None,
    }
}

/// A record: a stored message and its place.
pub struct RecordParts<'a> {
    /// The encoded `highwater.client.v1.Message`.
    pub message: &'a Bytes,
    /// The topic.
    pub topic: &'a str,
    /// Its position in the topic.
    pub offset: u64,
    /// Milliseconds since the Unix epoch.
    pub published_at_ms: u64,
    /// Where a subscription goes on after it.
    pub cursor: &'a str,
}

fn encode(
    broker: &Broker,
    project: &Project,
    encoding: Encoding,
    scope: &CursorScope,
    slice: &Slice,
) -> Wire {
    let segment = &slice.segment;
    let topic = segment.topic.name.as_str();
    let shard: ShardId = project.shard_of(&segment.topic.name);
    // Names, places and the cursor of one record; a longer cursor makes the buffer grow once.
    let overhead = match encoding {
        Encoding::Proto => topic.len() + 120,
        Encoding::Json | Encoding::Sse | Encoding::SseRaw => topic.len() + 280,
        Encoding::Mqtt => 100,
    };
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
        match encoding {
            Encoding::Proto => proto::put_record(&record, &mut buf),
            Encoding::Json => json::put_element(&record, &mut buf),
            Encoding::Sse => sse::put_record(&record, &mut buf),
            Encoding::SseRaw => sse::put_payload(&record, &mut buf),
            Encoding::Mqtt => mqtt::put_record(&record, &mut buf),
        }
        ends.push(buf.len());
    }
    Wire::new(buf.freeze(), ends)
}

#[cfg(test)]
mod tests;
