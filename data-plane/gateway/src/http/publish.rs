//! `POST /v1/messages/{topic…}`: the body is the payload, whatever it is; the rest is in headers.
//!
//! | header | meaning |
//! |---|---|
//! | `Content-Type` | the message's content type |
//! | `Idempotency-Key` | a retry with the same key is answered with the first attempt's result |
//! | `If-Match` | append only if the topic still ends at this cursor, which may stand in quotes |
//! | `Highwater-Key` | the compaction key |
//! | `Highwater-TTL` | time to live: milliseconds, or a number with `ms`, `s`, `m`, `h` or `d` |
//! | `Highwater-Retain` | `true` makes the record the topic's retained one; without a payload, there is none |
//! | `Highwater-Reply-To` | the topic on which an answer is expected |
//! | `Highwater-Correlation` | what an answer is told by, in base64 |
//! | `Highwater-Payload-Format` | `text` says that the payload is UTF-8, `bytes` nothing |
//! | `Highwater-Header-<name>` | one header of the message; the name arrives in lower case |
//! | `traceparent` | W3C trace context, ignored when malformed |

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Extension, Path, State, rejection::PathRejection},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
        header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT, IF_MATCH},
    },
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use highwater_broker::{Refusal, Result};
use highwater_proto::{
    ErrorCode,
    client::{Header, Message, PublishRequest, PublishResult},
    limits::REQUEST_BYTES_MAX,
};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::{
    cloud_events, invalid, principal,
    query::{Parameters, parse_duration},
    rate, refuse, topic,
};
use crate::{
    gateway::Door,
    json::{ResultBody, from_base64},
    metrics::Protocol,
    publish::publish_one,
    receiving::RequestRoom,
    serve::Connection,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Publishes one message.
pub async fn publish(
    State(door): State<Arc<Door>>,
    Extension(connection): Extension<Connection>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let published = async {
        let principal = principal(&door, &headers)?;
        Parameters::of(&uri)?.end()?;
        let topic = topic(path)?;
        let mut request = read_headers(&headers)?;
        request.topic = topic.to_string();
        let payload_bytes_max = principal.project.payload_bytes_max;
        let payload = read_body(&door, &connection, &headers, body, payload_bytes_max).await?;
        let message = request.message.get_or_insert_default();
        message.payload = payload;
        cloud_events::understand(&headers, message)?;
        Ok((principal, request))
    };
    match published.await {
        Err(refusal) => refuse(&door, refusal),
        Ok((principal, request)) => {
            let published = publish_one(&door, Protocol::Http, &principal, request).await;
            let response = match published {
                Ok(result) => created(&result),
                // The funnel has counted it.
                Err(refusal) => super::Problem(refusal).into_response(),
            };
            rate::say(&door, &principal.project, response)
        }
    }
}

fn created(result: &PublishResult) -> Response {
    (StatusCode::CREATED, Json(ResultBody::of(result))).into_response()
}

/// Reads a body of a bounded length in a bounded time.
///
/// # Errors
/// `payload_too_large`, `timeout`, `overloaded` when too many bodies are coming in already, or
/// `invalid_request` when it ends early.
pub async fn read_body(
    door: &Door,
    connection: &Connection,
    headers: &HeaderMap,
    mut body: Body,
    bytes_max: usize,
) -> Result<Bytes> {
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|v| v != "identity")
    {
        return Err(invalid("the body of a publish has no content encoding"));
    }
    let read = async {
        let room = connection.room.request();
        let read = match body.size_hint().lower() <= bytes_max as u64 {
            true => collect(&mut body, bytes_max, room).await,
            false => Err(too_large(bytes_max)),
        };
        // A client that waits for permission has sent nothing, and need not.
        if read.is_err() && !headers.contains_key(EXPECT) {
            discard(&mut body).await;
        }
        read
    };
    let in_time = tokio::time::timeout(door.options.body_timeout, read).await;
    in_time.unwrap_or_else(|_| {
        let message = "the body did not come in time";
        Err(Refusal::new(ErrorCode::Timeout, message))
    })
}

/// The whole body, in memory that it has room for.
async fn collect(body: &mut Body, bytes_max: usize, mut room: RequestRoom) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| invalid("the body ended before it was complete"))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let length = bytes.len() + data.len();
        if length > bytes_max {
            return Err(too_large(bytes_max));
        }
        // It doubles, as the buffer does.
        room.grow(length.next_power_of_two().min(bytes_max))?;
        bytes.extend_from_slice(data);
    }
    Ok(bytes.freeze())
}

fn too_large(bytes_max: usize) -> Refusal {
    let message = format!("the body has at most {bytes_max} bytes");
    Refusal::new(ErrorCode::PayloadTooLarge, message)
}

/// Reads on for a while: closing a connection with unread data resets it, and many clients would
/// lose the answer that tells them why.
async fn discard(body: &mut Body) {
    let mut left = REQUEST_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(bytes) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// Everything the headers say about the message.
fn read_headers(headers: &HeaderMap) -> Result<PublishRequest> {
    let mut request = PublishRequest::default();
    let mut message = Message {
        content_type: one(headers, &CONTENT_TYPE)?.unwrap_or_default(),
        ..Message::default()
    };
    request.idempotency_key = one(headers, &IDEMPOTENCY_KEY)?.unwrap_or_default();
    request.if_cursor = condition(headers)?.unwrap_or_default();
    if let Some(text) = one(headers, &TRACEPARENT)?
        && is_traceparent(&text)
    {
        message.traceparent = text;
    }
    let mut seen = Vec::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("highwater-") else {
            continue;
        };
        let value = text(name, value)?;
        match name.split_once('-') {
            Some(("header", name)) if !name.is_empty() => {
                message.headers.push(Header {
                    name: name.to_owned(),
                    value,
                });
            }
            _ if seen.contains(&name) => {
                return Err(invalid(format!("there is one header `Highwater-{name}`")));
            }
            _ => read_field(name, value, &mut message)?,
        }
        seen.push(name);
    }
    request.message = Some(message);
    Ok(request)
}

/// Reads one of the service's own headers, which is about the message.
fn read_field(name: &str, value: String, message: &mut Message) -> Result<()> {
    match name {
        "key" => message.key = value,
        "ttl" => {
            let ttl = parse_duration(&value);
            let ttl = ttl.ok_or_else(|| invalid("`Highwater-TTL` is a number of milliseconds"))?;
            message.ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        }
        "retain" => {
            let not_flag = |_| invalid("`Highwater-Retain` is true or false");
            message.retain = value.parse().map_err(not_flag)?;
        }
        "reply-to" => message.reply_to = value,
        "correlation" => {
            message.correlation = from_base64("Highwater-Correlation", &value)?.into();
        }
        "payload-format" => {
            message.is_text = match value.as_str() {
                "text" => true,
                "bytes" => false,
                _ => return Err(invalid("`Highwater-Payload-Format` is text or bytes")),
            };
        }
        _ => return Err(invalid(format!("there is no header `Highwater-{name}`"))),
    }
    Ok(())
}

/// The value of a header that is given once at most.
fn one(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => text(name.as_str(), value).map(Some),
        (Some(_), Some(_)) => Err(invalid(format!(
            "the header `{name}` is given more than once"
        ))),
    }
}

fn text(name: &str, value: &HeaderValue) -> Result<String> {
    let text = std::str::from_utf8(value.as_bytes());
    let text = text.map_err(|_| invalid(format!("the header `{name}` is not UTF-8")))?;
    Ok(text.to_owned())
}

/// The cursor at which a topic is to end.
pub fn condition(headers: &HeaderMap) -> Result<Option<String>> {
    one(headers, &IF_MATCH)?.map(cursor_of_tag).transpose()
}

/// The cursor of an entity tag (RFC 9110, section 8.8.3), whose quotes may be missing.
fn cursor_of_tag(tag: String) -> Result<String> {
    let bare = tag
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .unwrap_or(&tag);
    match bare.is_empty() || bare == "*" {
        true => Err(invalid("`If-Match` holds one cursor")),
        false => Ok(bare.to_owned()),
    }
}

/// Version 00 (W3C Trace Context, section 3.2.2): lengths and lower-case hexadecimal digits.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &&str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let lengths = parts.iter().map(|p| p.len());
    lengths.eq([2, 32, 16, 2]) && parts.iter().all(hex) && parts[0] != "ff"
}
