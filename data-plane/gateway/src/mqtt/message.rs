//! A message of MQTT and the same message everywhere else: the one mapping between the two.
//!
//! | MQTT 5.0 | a message |
//! |---|---|
//! | payload, content type, user properties | payload, content type, headers |
//! | message expiry interval | time to live |
//! | response topic, correlation data, payload format | `reply_to`, `correlation`, `is_text` |
//! | retain, QoS | `retain`, `qos_plus_one` |
//! | user property `hw-key` | compaction key |
//! | user property `hw-idempotency-key` | idempotency key, from the publisher only |
//! | user property `traceparent` | W3C trace context |
//! | user property `hw-cursor` | the record's cursor, to the subscriber only, if it takes so long a packet |
//! | user properties `hw-gap` | what the subscription has lost before this record, to the subscriber only |
//!
//! 3.1.1 has the payload, the QoS and the retain flag; what else a record has is left out for its clients.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_broker::subscription::Gap;
use highwater_mqtt::{
    Binary, Qos, SubscriptionId, Template, Text, UserProperties, Version,
    packet::{connect::Will, publish},
    template::{Own, TopicAs, encode_shared},
    topic::Name,
};
use highwater_proto::{
    client::{Header, Message, PublishRequest},
    limits::{TRACEPARENT_BYTES_MAX, TTL_MS_MAX},
};
use prost::Message as _;

use crate::{deliver::RecordParts, json::GapBody};

/// Bytes of what names a publisher to itself.
pub const ORIGIN_BYTES: usize = 8;

const KEY: &str = "hw-key";
const IDEMPOTENCY_KEY: &str = "hw-idempotency-key";
const TRACEPARENT: &str = "traceparent";
const CURSOR: &str = "hw-cursor";
const GAP: &str = "hw-gap";

/// What a publisher said, as a request for the one funnel. `origin` names the publisher to itself.
pub fn of_publish(publish: publish::Publish, topic: &str, origin: &Bytes) -> PublishRequest {
    let properties = &publish.properties;
    let said = Said {
        payload: publish.payload,
        payload_is_text: properties.payload_is_text,
        expiry_s: properties.message_expiry_s,
        content_type: properties.content_type.as_ref(),
        response_topic: properties.response_topic.as_ref(),
        correlation_data: properties.correlation_data.as_ref(),
        user_properties: &properties.user_properties,
        retain: publish.retain,
        qos: publish.delivery.qos(),
    };
    said.request(topic, origin)
}

/// What a client leaves to be said for it.
pub fn of_will(will: &Will, origin: &Bytes) -> PublishRequest {
    let properties = &will.properties;
    let said = Said {
        payload: Bytes::copy_from_slice(will.payload.as_bytes()),
        payload_is_text: properties.payload_is_text,
        expiry_s: properties.message_expiry_s,
        content_type: properties.content_type.as_ref(),
        response_topic: properties.response_topic.as_ref(),
        correlation_data: properties.correlation_data.as_ref(),
        user_properties: &properties.user_properties,
        retain: will.retain,
        qos: will.qos,
    };
    said.request(will.topic.as_str(), origin)
}

/// What a PUBLISH and a will have in common.
struct Said<'a> {
    payload: Bytes,
    payload_is_text: Option<bool>,
    expiry_s: Option<u32>,
    content_type: Option<&'a Text>,
    response_topic: Option<&'a Name>,
    correlation_data: Option<&'a Binary>,
    user_properties: &'a UserProperties,
    retain: bool,
    qos: Qos,
}

impl Said<'_> {
    fn request(self, topic: &str, origin: &Bytes) -> PublishRequest {
        let correlation = self.correlation_data.map(Binary::as_bytes);
        let mut message = Message {
            payload: self.payload,
            content_type: text(self.content_type),
            ttl_ms: ttl_ms(self.expiry_s),
            retain: self.retain,
            reply_to: text(self.response_topic.map(Name::text)),
            correlation: correlation.map(Bytes::copy_from_slice).unwrap_or_default(),
            is_text: self.payload_is_text.unwrap_or(false),
            origin: origin.clone(),
            qos_plus_one: self.qos as u32 + 1,
            ..Default::default()
        };
        let mut request = PublishRequest {
            topic: topic.to_owned(),
            ..Default::default()
        };
        take_user_properties(self.user_properties, &mut message, &mut request);
        request.message = Some(message);
        request
    }
}

fn take_user_properties(
    from: &UserProperties,
    message: &mut Message,
    request: &mut PublishRequest,
) {
    for (name, value) in from {
        let value = value.as_str();
        match name.as_str() {
            KEY => message.key = value.to_owned(),
            IDEMPOTENCY_KEY => request.idempotency_key = value.to_owned(),
            TRACEPARENT if value.len() == TRACEPARENT_BYTES_MAX => {
                message.traceparent = value.to_owned()
            }
            name => message.headers.push(Header {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
        }
    }
}

fn text(text: Option<&Text>) -> String {
    text.map_or_else(String::new, |text| text.as_str().to_owned())
}

/// An interval of 0 is over as soon as it begins, while a time to live of 0 never is.
fn ttl_ms(expiry_s: Option<u32>) -> u64 {
    expiry_s.map_or(0, |seconds| {
        (u64::from(seconds) * 1_000).clamp(1, TTL_MS_MAX)
    })
}

/// Encodes what all subscribers of a record share:
///
/// ```text
/// QoS and retain 1 │ origin 1 + n │ time to live, ms 8 │ when published, ms 8 │ lengths 3 × 4 │ properties │ payload
/// ```
///
/// The properties are what comes before the cursor, the cursor, and what comes after it, each with its length. It
/// stays in this process. Numbers are little-endian.
pub fn put_record(record: &RecordParts<'_>, buf: &mut BytesMut) {
    // What is stored was encoded by us; of what cannot be read, nothing can be said.
    let message = Message::decode(record.message.clone()).unwrap_or_default();
    let qos = message
        .qos_plus_one
        .checked_sub(1)
        .and_then(|qos| u8::try_from(qos).ok());
    let qos = qos.and_then(Qos::new).unwrap_or(Qos::ExactlyOnce);
    buf.put_u8((qos as u8) << 1 | u8::from(message.retain));
    let origin = message.origin.get(..ORIGIN_BYTES).unwrap_or_default();
    buf.put_u8(origin.len() as u8);
    buf.put_slice(origin);
    buf.put_u64_le(message.ttl_ms);
    buf.put_u64_le(record.published_at_ms);
    let lengths_at = buf.len();
    buf.put_slice(&[0; 3 * 4]);
    for (n, part) in properties(&message, record.cursor).iter().enumerate() {
        let begin = buf.len();
        encode_shared(part, buf);
        let len = (buf.len() - begin) as u32;
        let at = lengths_at + n * 4;
        buf[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }
    buf.put_slice(&message.payload);
}

/// What comes before the cursor, the cursor, and what comes after it.
fn properties(message: &Message, cursor: &str) -> [publish::Properties; 3] {
    // What was published over another protocol has no null characters either: it was checked.
    let optional = |text: &str| match text {
        "" => None,
        text => Text::try_from(text).ok(),
    };
    let property = |name, value| {
        let value = optional(value)?;
        Some((Text::from_static(name), value))
    };
    let mut user_properties = Vec::with_capacity(message.headers.len() + 2);
    user_properties.extend(property(KEY, &message.key));
    user_properties.extend(property(TRACEPARENT, &message.traceparent));
    for header in &message.headers {
        let name = Text::try_from(header.name.as_str());
        let value = Text::try_from(header.value.as_str());
        user_properties.extend(name.ok().zip(value.ok()));
    }
    let correlation = Some(message.correlation.clone()).filter(|data| !data.is_empty());
    let said = publish::Properties {
        payload_is_text: message.is_text.then_some(true),
        content_type: optional(&message.content_type),
        response_topic: optional(&message.reply_to).and_then(|text| Name::try_from(text).ok()),
        correlation_data: correlation.and_then(|data| Binary::try_from(data).ok()),
        ..Default::default()
    };
    let with = |user_properties| publish::Properties {
        user_properties,
        ..Default::default()
    };
    let cursor = property(CURSOR, cursor).into_iter().collect();
    [said, with(cursor), with(user_properties)]
}

/// A record as [`put_record`] has encoded it.
pub struct Record {
    pub qos: Qos,
    pub retain: bool,
    /// Names the publisher to itself.
    pub origin: Bytes,
    ttl_ms: u64,
    published_at_ms: u64,
    /// With the cursor at its place.
    properties: Bytes,
    cursor: Range<usize>,
    payload: Bytes,
}

/// What differs from subscriber to subscriber.
pub struct Addressed<'a> {
    pub delivery: publish::Delivery,
    pub retain: bool,
    pub topic: TopicAs,
    pub subscription_id: Option<SubscriptionId>,
    pub gaps: &'a [Gap],
}

impl Record {
    /// Reads what [`put_record`] has written.
    pub fn read(mut encoded: Bytes) -> Record {
        let first = encoded.get_u8();
        let origin_bytes = usize::from(encoded.get_u8());
        let origin = encoded.split_to(origin_bytes);
        let (ttl_ms, published_at_ms) = (encoded.get_u64_le(), encoded.get_u64_le());
        let [before, cursor, after] = [(); 3].map(|()| encoded.get_u32_le() as usize);
        let properties = encoded.split_to(before + cursor + after);
        Record {
            qos: Qos::new(first >> 1).unwrap_or(Qos::ExactlyOnce),
            retain: first & 1 != 0,
            origin,
            ttl_ms,
            published_at_ms,
            properties,
            cursor: before..before + cursor,
            payload: encoded,
        }
    }

    /// The packet, unless it is longer than allowed even without the cursor, which is ours: then the subscriber
    /// cannot be sent it (MQTT-3.1.2-25).
    pub fn encode(
        self,
        (version, topic): (Version, Name),
        addressed: &Addressed<'_>,
        now_ms: u64,
        packet_bytes_max: usize,
        out: &mut BytesMut,
    ) -> bool {
        let gaps: Vec<_> = addressed.gaps.iter().filter_map(gap_property).collect();
        let own = Own {
            delivery: addressed.delivery,
            retain: addressed.retain,
            topic: addressed.topic,
            message_expiry_s: self.expiry_s(now_ms),
            subscription_ids: addressed.subscription_id.as_slice(),
            user_properties: &gaps,
        };
        let mut template = Template::of_encoded(version, topic, self.properties, self.payload);
        let fits = |template: &Template| {
            let len = template.encoded_len(&own);
            len.is_ok_and(|len| len <= packet_bytes_max)
        };
        if !fits(&template) {
            template = template.without(self.cursor);
        }
        fits(&template) && template.encode(&own, out).is_ok()
    }

    /// What is left of the record's time, in seconds and never less than one (MQTT-3.3.2-6).
    fn expiry_s(&self, now_ms: u64) -> Option<u32> {
        let left_ms = self
            .published_at_ms
            .saturating_add(self.ttl_ms)
            .saturating_sub(now_ms);
        let left_s = u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
        (self.ttl_ms > 0).then_some(left_s.max(1))
    }
}

fn gap_property(gap: &Gap) -> Option<(Text, Text)> {
    let body = serde_json::to_string(&GapBody::of(gap)).ok()?;
    Some((Text::from_static(GAP), Text::try_from(body).ok()?))
}
