//! Records, gaps and responses in protobuf, for gRPC and for WebSocket's binary frames.

use bytes::{BufMut, BytesMut};
use highwater_broker::{
    Broker,
    catalogue::Project,
    segment::Encoding,
    subscription::{Delivery, Gap},
};
use highwater_proto::{client, frame::Frame, limits::RESPONSE_BYTES_MAX};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::{RecordParts, chunks};

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
pub fn record_frames(
    broker: &Broker,
    project: &Project,
    delivery: &Delivery,
) -> impl Iterator<Item = Frame> {
    chunks(
        broker,
        project,
        Encoding::Proto,
        delivery,
        RESPONSE_BYTES_MAX,
    )
    .into_iter()
    .map(Frame::new)
}

/// A gap as the client sees it.
pub fn gap_message(gap: &Gap) -> client::Gap {
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

/// Tags of `highwater.client.v1.Record`, and of the records in a response.
mod tag {
    pub const RECORDS: u32 = 1;
    pub const TOPIC: u32 = 16;
    pub const OFFSET: u32 = 17;
    pub const PUBLISHED_AT_MS: u32 = 18;
    pub const CURSOR: u32 = 19;
}

/// Writes a record as an element of field 1 of a response.
///
/// A stored message is the beginning of the record a subscriber gets, since their field numbers agree:
/// it is copied, and topic, offset, time and cursor are appended.
pub fn put_record(record: &RecordParts<'_>, buf: &mut BytesMut) {
    let bytes_len = |tag, len: usize| key_len(tag) + encoded_len_varint(len as u64) + len;
    let number_len = |tag, number| key_len(tag) + encoded_len_varint(number);
    let len = record.message.len()
        + bytes_len(tag::TOPIC, record.topic.len())
        + number_len(tag::OFFSET, record.offset)
        + number_len(tag::PUBLISHED_AT_MS, record.published_at_ms)
        + bytes_len(tag::CURSOR, record.cursor.len());
    put_key(buf, tag::RECORDS, WireType::LengthDelimited, len as u64);
    buf.put_slice(record.message);
    put_text(buf, tag::TOPIC, record.topic);
    put_key(buf, tag::OFFSET, WireType::Varint, record.offset);
    put_key(
        buf,
        tag::PUBLISHED_AT_MS,
        WireType::Varint,
        record.published_at_ms,
    );
    put_text(buf, tag::CURSOR, record.cursor);
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
