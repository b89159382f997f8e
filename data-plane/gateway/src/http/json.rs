//! Records and results as JSON. The payload is `data`, a string, when it is JSON or text in UTF-8, and
//! `data_base64` otherwise: so every payload comes back byte for byte.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use highwater_broker::{
    Broker,
    catalogue::Project,
    subscription::{Delivery, Gap, record_cursor},
};
use highwater_proto::client::{Message, PublishResult};
use prost::Message as _;
use serde::{Serialize, Serializer, ser::SerializeSeq};

/// A publish result.
#[derive(Debug, Serialize)]
pub struct ResultBody<'a> {
    cursor: &'a str,
    offset: u64,
    topic: &'a str,
    duplicate: bool,
}

impl<'a> ResultBody<'a> {
    /// What the body says of a result.
    pub fn of(result: &'a PublishResult) -> ResultBody<'a> {
        ResultBody {
            cursor: &result.cursor,
            offset: result.offset,
            topic: &result.topic,
            duplicate: result.duplicate,
        }
    }
}

/// A gap.
#[derive(Debug, Serialize)]
pub struct GapBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    requested: &'a str,
    first_available: &'a str,
    reason: &'a str,
}

impl<'a> GapBody<'a> {
    /// What the body says of a gap.
    pub fn of(gap: &'a Gap) -> GapBody<'a> {
        GapBody {
            topic: gap.topic.as_ref().map(|t| t.as_str()),
            requested: &gap.requested,
            first_available: &gap.first_available,
            reason: gap.reason.name(),
        }
    }
}

/// The records of some deliveries, as an array. Each is decoded as it is written.
pub struct Records<'a> {
    /// What opens and seals cursors.
    pub broker: &'a Broker,
    /// Whose records they are.
    pub project: &'a Project,
    /// The records.
    pub deliveries: &'a [Delivery],
}

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut array = serializer.serialize_seq(None)?;
        for delivery in self.deliveries {
            for slice in &delivery.slices {
                let segment = &slice.segment;
                let shard = self.project.shard_of(&segment.topic.name);
                for index in slice.start..slice.end {
                    let scope = &delivery.cursors;
                    let cursor =
                        record_cursor(self.broker, self.project, shard, scope, slice, index);
                    // Every message was encoded by this service; one that is not is shown as empty.
                    let message =
                        Message::decode(segment.messages[index].clone()).unwrap_or_default();
                    array.serialize_element(&RecordBody {
                        topic: segment.topic.name.as_str(),
                        offset: segment.base_offset + index as u64,
                        cursor: &cursor,
                        published_at_ms: segment.time_ms,
                        content_type: &message.content_type,
                        headers: Headers(&message),
                        key: &message.key,
                        ttl_ms: message.ttl_ms,
                        traceparent: &message.traceparent,
                        payload: Payload::of(&message),
                    })?;
                }
            }
        }
        array.end()
    }
}

#[derive(Serialize)]
struct RecordBody<'a> {
    topic: &'a str,
    offset: u64,
    cursor: &'a str,
    published_at_ms: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    content_type: &'a str,
    #[serde(skip_serializing_if = "Headers::is_empty")]
    headers: Headers<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    key: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    ttl_ms: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    traceparent: &'a str,
    #[serde(flatten)]
    payload: Payload<'a>,
}

/// Pairs in an array, because names may repeat and their order is kept: `[["name", "value"], …]`.
struct Headers<'a>(&'a Message);

impl Headers<'_> {
    fn is_empty(&self) -> bool {
        self.0.headers.is_empty()
    }
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.headers.iter().map(|h| (&h.name, &h.value)))
    }
}

#[derive(Serialize)]
enum Payload<'a> {
    #[serde(rename = "data")]
    Text(&'a str),
    #[serde(rename = "data_base64")]
    Bytes(String),
}

impl<'a> Payload<'a> {
    fn of(message: &'a Message) -> Payload<'a> {
        let text = match is_text(&message.content_type) {
            true => std::str::from_utf8(&message.payload).ok(),
            false => None,
        };
        match text {
            Some(text) => Payload::Text(text),
            None => Payload::Bytes(STANDARD.encode(&message.payload)),
        }
    }
}

/// Whether a content type is JSON or text (RFC 6839, section 3.1, for the suffix).
pub fn is_text(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or("").trim();
    let essence = essence.to_ascii_lowercase();
    essence.starts_with("text/") || essence == "application/json" || essence.ends_with("+json")
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
