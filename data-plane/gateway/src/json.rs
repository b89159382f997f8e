//! Records, results and gaps as JSON, the same in HTTP pages, event streams and WebSocket frames.
//!
//! The payload is `data`, a string, when it is said to be JSON or text and is UTF-8, and `data_base64` otherwise: so
//! every payload comes back byte for byte.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use highwater_broker::{Refusal, Result, subscription::Gap};
use highwater_proto::client::{Header, Message, PublishRequest, PublishResult};
use prost::Message as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{
    deliver::RecordParts,
    http::{invalid, problem::retry_delay_ms},
};

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

/// What is said of every refusal, for programs.
#[derive(Debug, Serialize)]
pub struct Verdict {
    code: &'static str,
    retryable: bool,
    has_no_side_effects: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Verdict {
    /// Of this refusal.
    pub fn of(refusal: &Refusal) -> Verdict {
        let code = refusal.code();
        Verdict {
            code: code.name(),
            retryable: code.is_retryable(),
            has_no_side_effects: code.has_no_side_effects(),
            retry_after_ms: retry_delay_ms(refusal),
        }
    }
}

/// A refusal, of one request among many.
#[derive(Debug, Serialize)]
pub struct ErrorBody {
    message: String,
    #[serde(flatten)]
    verdict: Verdict,
}

impl ErrorBody {
    /// What the body says of a refusal.
    pub fn of(refusal: &Refusal) -> ErrorBody {
        ErrorBody {
            message: refusal.to_string(),
            verdict: Verdict::of(refusal),
        }
    }
}

/// Writes a record as an object.
pub fn put_record(record: &RecordParts<'_>, buf: &mut BytesMut) {
    // Every message was encoded by this service; one that is not is shown as empty.
    let message = Message::decode(record.message.clone()).unwrap_or_default();
    let text = match message.is_text || is_text(&message.content_type) {
        true => std::str::from_utf8(&message.payload).ok(),
        false => None,
    };
    let body = RecordBody {
        topic: record.topic,
        offset: record.offset,
        cursor: record.cursor,
        published_at_ms: record.published_at_ms,
        content_type: &message.content_type,
        headers: Headers(&message),
        key: &message.key,
        ttl_ms: message.ttl_ms,
        traceparent: &message.traceparent,
        retain: message.retain,
        reply_to: &message.reply_to,
        correlation_base64: &message.correlation,
        is_text: message.is_text,
        data: text,
        data_base64: text.is_none().then(|| STANDARD.encode(&message.payload)),
    };
    put(&body, buf);
}

/// Writes a record as an element of an array: the object and a comma, so that any run of elements is
/// one piece of memory. See [`array`].
pub fn put_element(record: &RecordParts<'_>, buf: &mut BytesMut) {
    put_record(record, buf);
    buf.put_u8(b',');
}

/// The pieces of an array, from runs of elements that each end with a comma.
pub fn array(mut runs: Vec<Bytes>) -> Vec<Bytes> {
    if let Some(last) = runs.last_mut() {
        last.truncate(last.len() - 1);
    }
    runs.insert(0, Bytes::from_static(b"["));
    runs.push(Bytes::from_static(b"]"));
    runs
}

/// Writes a value that can always be written: it has no maps with other keys than strings.
pub fn put(value: &impl Serialize, buf: &mut BytesMut) {
    serde_json::to_writer(buf.writer(), value).expect("a growing buffer takes every value");
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
    #[serde(skip_serializing_if = "is_false")]
    retain: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    reply_to: &'a str,
    #[serde(skip_serializing_if = "Bytes::is_empty", serialize_with = "as_base64")]
    correlation_base64: &'a Bytes,
    #[serde(skip_serializing_if = "is_false")]
    is_text: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// Pairs in an array, because names may repeat and their order is kept: `[["name", "value"], …]`.
struct Headers<'a>(&'a Message);

impl Headers<'_> {
    fn is_empty(&self) -> bool {
        self.0.headers.is_empty()
    }
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.headers.iter().map(|h| (&h.name, &h.value)))
    }
}

/// A message to publish.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageBody<'a> {
    /// The topic.
    pub topic: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    data_base64: Option<String>,
    #[serde(default)]
    content_type: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    key: String,
    #[serde(default)]
    ttl_ms: u64,
    #[serde(default)]
    idempotency_key: String,
    #[serde(default)]
    /// Append only if the topic still ends here.
    pub if_cursor: String,
    #[serde(default)]
    traceparent: String,
    #[serde(default)]
    retain: bool,
    #[serde(default)]
    reply_to: String,
    #[serde(default)]
    correlation_base64: String,
    #[serde(default)]
    is_text: bool,
}

impl MessageBody<'_> {
    /// The publish it asks for.
    ///
    /// # Errors
    /// `invalid_request` when the payload is given twice, or something is not what it says.
    pub fn into_request(self) -> Result<PublishRequest> {
        let mut content_type = self.content_type;
        let payload = match (self.data, self.data_base64) {
            (Some(_), Some(_)) => {
                return Err(invalid("a message has `data` or `data_base64`, not both"));
            }
            (None, None) => Vec::new(),
            (None, Some(encoded)) => from_base64("data_base64", &encoded)?,
            (Some(data), None) => {
                let (payload, implied) = payload_of(data)?;
                if content_type.is_empty() {
                    content_type = implied.to_owned();
                }
                payload
            }
        };
        let header = |(name, value)| Header { name, value };
        let message = Message {
            payload: payload.into(),
            content_type,
            headers: self.headers.into_iter().map(header).collect(),
            key: self.key,
            ttl_ms: self.ttl_ms,
            traceparent: self.traceparent,
            retain: self.retain,
            reply_to: self.reply_to,
            correlation: from_base64("correlation_base64", &self.correlation_base64)?.into(),
            is_text: self.is_text,
            ..Message::default()
        };
        Ok(PublishRequest {
            topic: self.topic,
            message: Some(message),
            idempotency_key: self.idempotency_key,
            if_cursor: self.if_cursor,
        })
    }
}

/// The bytes of `data`, and the content type it has when none is given.
fn payload_of(data: &RawValue) -> Result<(Vec<u8>, &'static str)> {
    let text = data.get();
    if !text.starts_with('"') {
        return Ok((text.as_bytes().to_vec(), "application/json"));
    }
    // A lone surrogate is JSON and no text.
    let not_text = |_| invalid("`data` is not Unicode text");
    let text: String = serde_json::from_str(text).map_err(not_text)?;
    Ok((text.into_bytes(), "text/plain; charset=utf-8"))
}

/// Whether a content type is JSON or text (RFC 6839, section 3.1, for the suffix).
pub fn is_text(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or("").trim();
    let essence = essence.to_ascii_lowercase();
    essence.starts_with("text/") || essence == "application/json" || essence.ends_with("+json")
}

/// Bytes of a field or header.
pub fn from_base64(name: &str, encoded: &str) -> Result<Vec<u8>> {
    let not_base64 = |_| invalid(format!("`{name}` is not base64"));
    STANDARD.decode(encoded).map_err(not_base64)
}

fn as_base64<S: Serializer>(bytes: &Bytes, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
