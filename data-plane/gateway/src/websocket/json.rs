//! `highwater.v1.json`: each message is an object with a `type`, and most have an `id`.
//!
//! ```json
//! {"type": "subscribe", "id": 1, "topics": ["orders/#"], "from": "last:10", "credit": {"messages": 100}}
//! {"type": "message", "sub": 1, "records": [{"topic": "orders/eu", "offset": 7, "data": "…"}]}
//! ```

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use highwater_broker::{
    Broker, Result, catalogue::Project, segment::Encoding, subscription::Delivery,
};
use highwater_proto::limits::{
    SOCKET_DELIVERY_BYTES_MAX, SOCKET_FIELDS_MAX, SOCKET_ID_BYTES_MAX, SOCKET_MESSAGE_BYTES_MAX,
    SOCKET_SUBSCRIPTIONS_MAX,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, value::MapDeserializer},
};
use serde_json::{json, value::RawValue};

use super::codec::{Id, Reply, Request, invalid};
use crate::{
    deliver,
    json::{self, ErrorBody, GapBody, MessageBody, ResultBody},
};

/// Reads a client's message.
pub fn decode(text: &[u8]) -> Result<(Id, Result<Request>)> {
    let malformed =
        |error: serde_json::Error| invalid(format!("the message is malformed: {error}"));
    let mut fields: Fields<'_> = serde_json::from_slice(text).map_err(malformed)?;
    let missing = || invalid("the message has no `type`");
    let kind = fields.take("type").ok_or_else(missing)?;
    let kind: String = serde_json::from_str(kind.get()).map_err(malformed)?;
    let subscription = fields.take("sub");
    let id = match (kind.as_str(), subscription) {
        ("flow" | "ack" | "nack", subscription) => subscription,
        (_, None) => fields.take("id"),
        _ => return Err(invalid("only `flow`, `ack` and `nack` have a `sub`")),
    };
    let id = id.map(id_of).transpose()?.unwrap_or_default();
    let request = match kind.as_str() {
        "auth" => fields
            .read()
            .map(|AuthBody { credential }| Request::Auth { credential }),
        "subscribe" => fields.read().map(SubscribeBody::into_request),
        "unsubscribe" => fields.read().map(|Nothing {}| Request::Unsubscribe),
        "publish" => {
            let message = fields.read::<MessageBody<'_>>();
            let request = message.and_then(MessageBody::into_request);
            request.map(|request| Request::Publish(Box::new(request)))
        }
        "flow" => fields.read().map(|FlowBody { credit }| Request::Flow {
            messages: credit.messages,
            bytes: credit.bytes,
        }),
        "ack" => fields.read().map(|body: AcksBody| body.into_request(false)),
        "nack" => fields.read().map(|body: AcksBody| body.into_request(true)),
        "ping" => fields.read().map(|Nothing {}| Request::Ping),
        _ => return Err(invalid("there is no message of this `type`")),
    };
    Ok((id, request))
}

/// Strings and whole numbers are ids, and are given back as they were written.
fn id_of(value: &RawValue) -> Result<Id> {
    let text = value.get();
    let is_id = text.starts_with('"') || text.bytes().all(|byte| byte.is_ascii_digit());
    match is_id && text.len() <= SOCKET_ID_BYTES_MAX {
        true => Ok(Id(text.into())),
        false => Err(invalid("an id is a short string or a whole number")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthBody {
    credential: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscribeBody {
    topics: Vec<String>,
    #[serde(default)]
    from: String,
    #[serde(default)]
    credit: CreditBody,
    #[serde(default)]
    group: String,
}

impl SubscribeBody {
    fn into_request(self) -> Request {
        Request::Subscribe {
            topics: self.topics,
            from: self.from,
            credit: (self.credit.messages, self.credit.bytes),
            group: self.group,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcksBody {
    cursors: Vec<String>,
}

impl AcksBody {
    fn into_request(self, is_returned: bool) -> Request {
        Request::Ack {
            cursors: self.cursors,
            is_returned,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowBody {
    credit: CreditBody,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct CreditBody {
    messages: u64,
    bytes: u64,
}

/// The fields of an object that were not taken yet. Their values are looked at when it is known of which
/// type they are.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn read<T: Deserialize<'a>>(self) -> Result<T> {
        let read = T::deserialize(MapDeserializer::new(self.0.into_iter()));
        read.map_err(|error: serde_json::Error| {
            invalid(format!("the message is malformed: {error}"))
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields<'a>, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object of at most {SOCKET_FIELDS_MAX} fields")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::with_capacity(8);
                while let Some(field) = map.next_entry()? {
                    if fields.len() == SOCKET_FIELDS_MAX {
                        return Err(de::Error::invalid_length(SOCKET_FIELDS_MAX + 1, &self));
                    }
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Writes a reply.
pub fn encode(id: &Id, reply: Reply<'_>, buf: &mut BytesMut) {
    match reply {
        Reply::Hello {
            connection,
            heartbeat_ms,
        } => {
            let limits = json!({
                "message_bytes": SOCKET_MESSAGE_BYTES_MAX,
                "subscriptions": SOCKET_SUBSCRIPTIONS_MAX,
            });
            let body = json!({
                "connection": connection, "heartbeat_ms": heartbeat_ms, "limits": limits,
            });
            put("hello", "id", id, &body, buf);
        }
        Reply::Authenticated => put("authenticated", "id", id, &json!({}), buf),
        Reply::Subscribed { cursor } => {
            put("subscribed", "id", id, &json!({ "cursor": cursor }), buf);
        }
        Reply::Unsubscribed { cursor } => {
            put("unsubscribed", "id", id, &json!({ "cursor": cursor }), buf);
        }
        Reply::Published(result) => put("published", "id", id, &ResultBody::of(result), buf),
        Reply::Gap(gap) => put("gap", "sub", id, &GapBody::of(gap), buf),
        Reply::Refused(refusal) => {
            put("error", "id", id, &ErrorBody::of(refusal), buf);
        }
        Reply::Draining { reconnect_after_ms } => {
            let body = json!({ "reconnect_after_ms": reconnect_after_ms });
            put("draining", "id", id, &body, buf);
        }
        Reply::AuthExpiring { expires_at_ms } => {
            let body = json!({ "expires_at_ms": expires_at_ms });
            put("auth_expiring", "id", id, &body, buf);
        }
        Reply::Pong => put("pong", "id", id, &json!({}), buf),
    }
}

/// Writes `{"type": …, <name>: <id>, <the members of the body>}`.
fn put(kind: &str, id_name: &str, id: &Id, body: &impl Serialize, buf: &mut BytesMut) {
    put_head(kind, id_name, id, buf);
    let mut members = BytesMut::new();
    json::put(body, &mut members);
    if &members[..] != b"{}" {
        buf.put_u8(b',');
    }
    // The body's own brace closes the message.
    buf.put_slice(&members[1..]);
}

fn put_head(kind: &str, id_name: &str, id: &Id, buf: &mut BytesMut) {
    for part in [r#"{"type":""#, kind, "\""] {
        buf.put_slice(part.as_bytes());
    }
    if !id.0.is_empty() {
        for part in [",\"", id_name, "\":", &id.0] {
            buf.put_slice(part.as_bytes());
        }
    }
}

/// The messages with the records of a delivery.
pub fn deliver(
    broker: &Broker,
    project: &Project,
    subscription: &Id,
    delivery: &Delivery,
) -> Vec<Vec<Bytes>> {
    let (encoding, bytes_max) = (Encoding::Json, SOCKET_DELIVERY_BYTES_MAX);
    let chunks = deliver::chunks(broker, project, encoding, delivery, bytes_max);
    let message = |runs| {
        let mut head = BytesMut::with_capacity(64);
        put_head("message", "sub", subscription, &mut head);
        head.put_slice(b",\"records\":");
        let mut pieces = json::array(runs);
        head.put_slice(&pieces[0]);
        pieces[0] = head.freeze();
        pieces.push(Bytes::from_static(b"}"));
        pieces
    };
    chunks.into_iter().map(message).collect()
}
